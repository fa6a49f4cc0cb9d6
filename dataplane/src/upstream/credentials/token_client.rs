//! Calls to token endpoints: over the same connections, egress proxies, certificate authorities and address rules as upstreams.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request, Uri,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Limited};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::timeout;

use super::{
    environment::CloudEnvironment,
    local,
    token::{Answer, FetchError, MAX_ANSWER},
};
use crate::{
    clock,
    upstream::{
        answer_body::UpstreamBody,
        authorization::Authorization,
        clients::{Clients, InvalidTrust, Trust},
        payload::Payload,
        pool::Pool,
        sent::{MarkedBody, SentMark},
    },
};

/// Longest time for one call.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest file with a token or with credentials, in bytes.
const MAX_FILE: u64 = 64 << 10;

/// Asks clouds for tokens.
#[derive(Debug)]
pub struct TokenClient {
    pool: Pool,
    /// What the pod's environment says.
    pub(super) environment: CloudEnvironment,
}

impl TokenClient {
    /// Over connections as `clients` makes them.
    ///
    /// # Errors
    /// When the certificate authorities of this process cannot be used.
    pub fn new(clients: &Clients, environment: CloudEnvironment) -> Result<Self, InvalidTrust> {
        Ok(Self { pool: clients.new_pool(&Trust::default(), CALL_TIMEOUT)?, environment })
    }

    /// Posts a form.
    pub(super) async fn post_form(&self, url: &str, fields: &[(&str, &str)]) -> Result<Answer, FetchError> {
        let body = form(fields).into();
        let request = post(url, "application/x-www-form-urlencoded", body)?;
        self.call(url, request).await
    }

    /// Posts a form that is signed.
    pub(super) async fn post_signed_form(
        &self,
        url: &str,
        form: String,
        signer: &Authorization,
    ) -> Result<Answer, FetchError> {
        let request = post(url, "application/x-www-form-urlencoded", form.into())?;
        let (mut parts, body) = request.into_parts();
        signer
            .apply(&mut parts, Payload::Whole([&body, &[], &[]]), None, clock::now())
            .map_err(|_| FetchError::missing("the request cannot be signed with these keys"))?;
        self.call(url, Request::from_parts(parts, body)).await
    }

    /// Posts JSON with headers.
    pub(super) async fn post_json(
        &self,
        url: &str,
        header: (HeaderName, HeaderValue),
        body: Bytes,
    ) -> Result<Answer, FetchError> {
        let mut request = post(url, "application/json", body)?;
        request.headers_mut().insert(header.0, header.1);
        self.call(url, request).await
    }

    /// Gets a document of a local endpoint, which is reached past address rules and proxies. Its address comes from this
    /// program or from the process's environment, never from a configuration.
    pub(super) async fn get_local(
        &self,
        host: &str,
        path: &str,
        header: (HeaderName, HeaderValue),
    ) -> Result<Answer, FetchError> {
        let mut request = Request::get(path).body(Bytes::new()).map_err(|_| FetchError::unreachable("no such path"))?;
        request.headers_mut().insert(header.0, header.1);
        let got = timeout(CALL_TIMEOUT, local::send(host, request)).await;
        got.unwrap_or_else(|_| Err(late())).map_err(|error| error.at(host))
    }

    async fn call(&self, url: &str, request: Request<Bytes>) -> Result<Answer, FetchError> {
        let endpoint = request.uri().host().unwrap_or(url).to_owned();
        let called = timeout(CALL_TIMEOUT, self.send(request)).await;
        called.unwrap_or_else(|_| Err(late())).map_err(|error| error.at(&endpoint))
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Answer, FetchError> {
        let (mut parts, body) = request.into_parts();
        parts.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        parts.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let (Some(scheme), Some(authority)) = (parts.uri.scheme().cloned(), parts.uri.authority().cloned()) else {
            return Err(FetchError::missing("its address is not a URL"));
        };
        let unreachable = |error: &dyn std::fmt::Display| FetchError::unreachable(error.to_string());
        let host = self.pool.new_host(&scheme, &authority).map_err(|error| unreachable(&error))?;
        let connection = host.acquire().await.map_err(|error| unreachable(&error))?;
        let request = Request::from_parts(parts, MarkedBody::new(body, SentMark::default()));
        let response = connection.send(request).await.map_err(|error| unreachable(&error))?;
        let (head, body) = UpstreamBody::from_connection(response).into_parts();
        #[expect(clippy::disallowed_methods, reason = "what is collected is limited")]
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| unreachable(&error))?;
        Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes().to_vec() })
    }
}

fn late() -> FetchError {
    FetchError::unreachable(format!("no answer within {} s", CALL_TIMEOUT.as_secs()))
}

fn post(url: &str, content_type: &'static str, body: Bytes) -> Result<Request<Bytes>, FetchError> {
    let uri: Uri = url.parse().map_err(|_| FetchError::missing(format!("{url:?} is not a URL")))?;
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(request)
}

/// Fields as `application/x-www-form-urlencoded` has them.
pub(super) fn form(fields: &[(&str, &str)]) -> String {
    let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    fields.join("&")
}

/// Reads a file that a volume of the pod holds. `what` names what says where it is.
pub(super) async fn file(what: &str, path: &str) -> Result<String, FetchError> {
    let unreadable = |why: &dyn std::fmt::Display| FetchError::missing(format!("{what}: cannot read {path:?}: {why}"));
    let metadata = tokio::fs::metadata(path).await.map_err(|error| unreadable(&error))?;
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return Err(unreadable(&format!("it is no file of at most {MAX_FILE} bytes")));
    }
    let text = tokio::fs::read_to_string(path).await.map_err(|error| unreadable(&error))?;
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_encoded() {
        let fields = [("grant_type", "client_credentials"), ("scope", "https://x/.default"), ("s", "a&b=c é+")];
        assert_eq!(
            form(&fields),
            "grant%5Ftype=client%5Fcredentials&scope=https%3A%2F%2Fx%2F%2Edefault&s=a%26b%3Dc%20%C3%A9%2B"
        );
    }

    #[tokio::test]
    async fn files_are_read_anew_and_without_their_last_line_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let path = path.to_str().unwrap();
        for text in ["one\n", "two"] {
            std::fs::write(path, text).unwrap();
            assert_eq!(file("TOKEN_FILE", path).await.unwrap(), text.trim_end());
        }
        std::fs::write(path, "x".repeat(100_000)).unwrap();
        let error = file("TOKEN_FILE", path).await.unwrap_err();
        assert!(error.is_refusal && error.message.starts_with("TOKEN_FILE: cannot read"), "{error}");
        assert!(file("TOKEN_FILE", directory.path().to_str().unwrap()).await.is_err());
    }
}
