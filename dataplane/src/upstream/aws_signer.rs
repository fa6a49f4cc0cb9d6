//! AWS Signature Version 4: a proof that is about the whole request, its body and the time.

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode, sign},
    sign::v4,
};
use aws_smithy_runtime_api::client::identity::Identity;
use http::{
    HeaderName, HeaderValue,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
    request::Parts,
};
use sha2::{Digest, Sha256};

use super::payload::{Payload, Stale};
use crate::clock::Now;

/// The headers that are signed beside those of the signature itself. Everything else may be changed by a proxy on the way.
const SIGNED: [HeaderName; 2] = [HOST, CONTENT_TYPE];

/// Signs requests with one pair of keys, for one region and service.
#[derive(Clone)]
pub struct AwsSigner {
    identity: Identity,
    access_key_id: String,
    session_token: Option<String>,
    region: String,
    service: &'static str,
}

impl AwsSigner {
    /// With these keys.
    pub fn new(access_key_id: &str, secret: &str, token: Option<&str>, region: &str, service: &'static str) -> Self {
        let credentials = Credentials::new(access_key_id, secret, token.map(str::to_owned), None, "routeapi");
        Self {
            identity: credentials.into(),
            access_key_id: access_key_id.to_owned(),
            session_token: token.map(str::to_owned),
            region: region.to_owned(),
            service,
        }
    }

    /// Puts a signature on a request.
    ///
    /// # Errors
    /// When the request cannot be signed, as with a URL that is none.
    pub fn sign(&self, request: &mut Parts, body: Payload<'_>, now: Now) -> Result<(), Stale> {
        let time = UNIX_EPOCH + Duration::from_millis(u64::try_from(now.unix_ms).unwrap_or(0));
        let mut settings = SigningSettings::default();
        // The path is sent as it is, and encoded once more for the signature alone.
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let params = v4::SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name(self.service)
            .time(time)
            .settings(settings)
            .build()
            .map_err(|_| Stale)?
            .into();
        let uri = request.uri.to_string();
        let headers = request.headers.iter().filter(|(name, _)| SIGNED.contains(name));
        let headers: Vec<_> = headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
        let signable = SignableRequest::new(request.method.as_str(), &uri, headers.into_iter(), payload(body));
        let (instructions, _) = sign(signable.map_err(|_| Stale)?, &params).map_err(|_| Stale)?.into_parts();
        for (name, value) in instructions.headers() {
            let name = HeaderName::try_from(name).map_err(|_| Stale)?;
            let mut value = HeaderValue::try_from(value).map_err(|_| Stale)?;
            value.set_sensitive(name == AUTHORIZATION || name.as_str() == "x-amz-security-token");
            // In the place of an older signature's.
            request.headers.insert(name, value);
        }
        Ok(())
    }
}

fn payload(body: Payload<'_>) -> SignableBody<'static> {
    match body {
        Payload::Whole(pieces) => {
            let mut hash = Sha256::new();
            pieces.iter().for_each(|piece| hash.update(piece));
            SignableBody::Precomputed(hex::encode(hash.finalize()))
        }
        Payload::Streamed => SignableBody::UnsignedPayload,
    }
}

impl fmt::Debug for AwsSigner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("AwsSigner")
            .field("region", &self.region)
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

impl PartialEq for AwsSigner {
    fn eq(&self, other: &Self) -> bool {
        let key = |signer: &Self| {
            (signer.access_key_id.clone(), signer.session_token.clone(), signer.region.clone(), signer.service)
        };
        // A secret that differs beside the same key id does not belong to it.
        key(self) == key(other)
    }
}

impl Eq for AwsSigner {}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Request};

    use super::*;

    const HOST_URL: &str = "https://bedrock-runtime.us-east-1.amazonaws.com";

    fn signer() -> AwsSigner {
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        AwsSigner::new("AKIDEXAMPLE", secret, Some("session"), "us-east-1", "bedrock")
    }

    fn unsigned(path: &str) -> Parts {
        let mut request = Request::post(format!("{HOST_URL}{path}")).body(()).unwrap();
        for (name, value) in [
            ("content-type", "application/json"),
            ("traceparent", "00-a-b-01"),
            ("x-team", "a"),
            ("accept-encoding", "identity"),
        ] {
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        request.into_parts().0
    }

    /// 2026-11-30T08:00:00Z and some seconds.
    fn now(seconds: i64) -> Now {
        Now { unix_ms: 1_796_025_600_000 + seconds * 1_000, ..crate::clock::now() }
    }

    fn sign(parts: &mut Parts, body: &[u8], seconds: i64) {
        signer().sign(parts, Payload::Whole([body, &[], &[]]), now(seconds)).unwrap();
    }

    fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
        headers[name].to_str().unwrap()
    }

    /// Hard cases 239 and 240. The signatures are botocore 1.44's for the same requests.
    #[test]
    fn signatures_are_botocores() {
        for (path, signature) in [
            (
                "/model/anthropic.claude-3-5-sonnet-20240620-v1%3A0/converse",
                "9e68dd7e0c4390a90c8bd2f7ef01359e2ea172f33175ac7a948ee01c2b405715",
            ),
            (
                "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fabc/converse-stream",
                "d22cf2a3f44321f51d1dcaefaed84a6da3d63c535b345e5e97dfebe0157663a5",
            ),
        ] {
            let mut parts = unsigned(path);
            sign(&mut parts, br#"{"messages":[]}"#, 0);
            assert_eq!(text(&parts.headers, "x-amz-date"), "20261130T080000Z");
            assert_eq!(
                text(&parts.headers, "authorization"),
                format!(
                    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261130/us-east-1/bedrock/aws4_request, \
                     SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature={signature}"
                )
            );
        }
    }

    /// Hard cases 28, 242, 267 and 268: whatever else a request has is not signed, and nothing of an older signature is left.
    #[test]
    fn request_is_signed_anew_for_each_try() {
        let mut parts = unsigned("/model/m/converse");
        sign(&mut parts, b"{}", 0);
        let first = parts.headers.clone();
        sign(&mut parts, b"{ }", 5);
        for name in ["authorization", "x-amz-date", "x-amz-security-token"] {
            assert_eq!(parts.headers.get_all(name).iter().count(), 1, "{name}");
        }
        assert_ne!(first["authorization"], parts.headers["authorization"]);
        assert_eq!(text(&parts.headers, "x-amz-date"), "20261130T080005Z");
        assert!(!text(&parts.headers, "authorization").contains("traceparent"));
        assert_eq!(text(&parts.headers, "accept-encoding"), "identity");
        assert!(!format!("{:?} {:?}", signer(), parts.headers).contains("wJalr"));
    }
}
