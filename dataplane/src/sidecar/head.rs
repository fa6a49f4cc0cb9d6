//! What of a request's and an answer's head goes on. Pure.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{self, AUTHORIZATION, CONNECTION},
    request,
    uri::PathAndQuery,
};
use percent_encoding::percent_decode_str;

use super::{settings::GatewayUrl, token::Token};

/// Headers in which an SDK, or its user, may put a key. The values are of no use to the gateway.
const CREDENTIALS: [&str; 5] = ["authorization", "x-api-key", "x-goog-api-key", "api-key", "x-routeapi-key"];

/// Of these, those by which the gateway tells whose list of models is asked for where several vendors share a path.
const VENDORS_KEYS: [&str; 2] = ["x-api-key", "x-goog-api-key"];

/// What is about one connection (RFC 9110, 7.6.1), or about the host that was called.
const HOP_BY_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
    header::HOST,
];

/// The request's target has no path that could be asked of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request's target is no path of a gateway")]
pub(super) struct NoPath;

/// The head as the gateway gets it: the same call, as this pod.
pub(super) fn to_gateway(
    mut head: request::Parts,
    gateway: &GatewayUrl,
    token: &Token,
) -> Result<request::Parts, NoPath> {
    if head.method == Method::CONNECT {
        return Err(NoPath);
    }
    let path = head.uri.path_and_query().filter(|path| path.path().starts_with('/')).ok_or(NoPath)?;
    let path = without_key(path)?;
    head.uri = gateway.join(path).map_err(|_| NoPath)?;
    drop_hop_by_hop(&mut head.headers);
    let is_reading = matches!(head.method, Method::GET | Method::HEAD);
    for name in CREDENTIALS {
        let was_sent = head.headers.remove(name).is_some();
        if was_sent && is_reading && VENDORS_KEYS.contains(&name) {
            head.headers.insert(name, token.bare.clone());
        }
    }
    head.headers.insert(AUTHORIZATION, token.bearer.clone());
    Ok(head)
}

/// The headers as the client gets them.
pub(super) fn to_client(mut headers: HeaderMap) -> HeaderMap {
    drop_hop_by_hop(&mut headers);
    headers
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .into_iter()
        .filter_map(|value: &HeaderValue| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // Nothing that says what follows may be named away.
        .filter(|name| *name != header::CONTENT_LENGTH && *name != header::CONTENT_TYPE)
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// The path without the parameter `key`, in which Google's clients send theirs. The rest stays as it was written.
fn without_key(path: &PathAndQuery) -> Result<PathAndQuery, NoPath> {
    let is_key = |pair: &str| percent_decode_str(pair.split('=').next().unwrap_or_default()).eq(*b"key");
    match path.query() {
        Some(query) if query.split('&').any(is_key) => {
            let left: Vec<_> = query.split('&').filter(|pair| !is_key(pair)).collect();
            let mark = if left.is_empty() { "" } else { "?" };
            format!("{}{mark}{}", path.path(), left.join("&")).parse().map_err(|_| NoPath)
        }
        _ => Ok(path.clone()),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn forwarded(method: &str, target: &str, headers: &[(&'static str, &str)]) -> Result<request::Parts, NoPath> {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let gateway = GatewayUrl::read("https://gateway.ai.svc:8443", false).unwrap();
        let token = Token {
            bearer: HeaderValue::from_static("Bearer of-the-pod"),
            bare: HeaderValue::from_static("of-the-pod"),
        };
        to_gateway(request.body(()).unwrap().into_parts().0, &gateway, &token)
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        headers.keys().map(HeaderName::as_str).collect()
    }

    #[test]
    fn every_credential_is_replaced_by_the_pods() {
        for name in CREDENTIALS {
            let head = forwarded("POST", "/v1/messages", &[(name, "dummy"), ("x-app", "1")]).unwrap();
            assert_eq!(names(&head.headers).len(), 2, "{name}: {:?}", head.headers);
            assert_eq!(head.headers[AUTHORIZATION], "Bearer of-the-pod");
            assert_eq!(head.headers["x-app"], "1");
        }
        let head = forwarded("GET", "/v1/models", &[("x-goog-api-key", "dummy"), ("x-api-key", "dummy")]).unwrap();
        assert_eq!(head.headers["x-goog-api-key"], "of-the-pod", "tells whose list is asked for");
        assert_eq!(head.headers["x-api-key"], "of-the-pod");
        assert_eq!(head.uri, "https://gateway.ai.svc:8443/v1/models");
    }

    #[test]
    fn key_leaves_the_query_and_nothing_else_does() {
        for (target, expected) in [
            ("/v1beta/models/m:generateContent?key=dummy", "/v1beta/models/m:generateContent"),
            ("/v1beta/x?alt=sse&key=dummy&a=%2F", "/v1beta/x?alt=sse&a=%2F"),
            ("/x?k%65y=dummy&monkey=1&key", "/x?monkey=1"),
            ("/x?monkey=1&&a", "/x?monkey=1&&a"),
            ("/x?", "/x?"),
            ("http://127.0.0.1:4000/v1/models?key=dummy", "/v1/models"),
        ] {
            let head = forwarded("GET", target, &[]).unwrap();
            assert_eq!(head.uri.path_and_query().unwrap(), expected, "{target}");
        }
        assert_eq!(forwarded("CONNECT", "example.com:443", &[]).unwrap_err(), NoPath);
        assert_eq!(forwarded("OPTIONS", "*", &[]).map(|head| head.uri.to_string()), Err(NoPath));
    }

    #[test]
    fn what_is_about_the_connection_stays_behind() {
        let head = forwarded(
            "POST",
            "/v1/messages",
            &[
                ("connection", "close, x-named, Content-Length"),
                ("x-named", "1"),
                ("content-length", "2"),
                ("te", "trailers"),
                ("expect", "100-continue"),
                ("upgrade", "h2c"),
                ("host", "127.0.0.1:4000"),
                ("proxy-authorization", "Basic x"),
                ("traceparent", "00-1"),
            ],
        );
        let mut kept = names(&head.unwrap().headers).join(" ");
        assert_eq!(kept, "content-length traceparent authorization");
        let answer = [("keep-alive", "5"), ("transfer-encoding", "chunked"), ("x-request-id", "1")];
        let answer = answer.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        kept = names(&to_client(answer.into_iter().collect())).join(" ");
        assert_eq!(kept, "x-request-id");
    }
}
