//! Answers to what never reaches the handler. Which dialect the client speaks is not known here, so the bodies have the
//! members that all three vendors' SDKs look for; the id is of the same kind as on every other answer.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use memchr::memmem;

use crate::random;

const REQUEST_ID: &str = "x-routeapi-request-id";

/// Longest answer that hyper makes by itself.
const MAX_BARE_ANSWER_BYTES: usize = 256;

/// As a response.
pub(super) fn response(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    let id = id();
    let mut response = Response::new(Full::from(body(status, message, &id)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// As HTTP/1.1, for a connection that is closed behind it.
pub(super) fn bytes(status: StatusCode, message: &str) -> Vec<u8> {
    let id = id();
    let body = body(status, message, &id);
    let retry = if status == StatusCode::SERVICE_UNAVAILABLE { "retry-after: 1\r\n" } else { "" };
    let (length, status) = (body.len(), status.to_string());
    format!(
        "HTTP/1.1 {status}\r\n{REQUEST_ID}: {id}\r\n{retry}content-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// What to send in the place of hyper's own refusal of a request it cannot read, which says nothing but a status. It is
/// told by what every answer of ours has and it has not; it is written alone, since nothing is read behind it.
pub(super) fn replacement_for(written: &[u8]) -> Option<Vec<u8>> {
    let status = written.strip_prefix(b"HTTP/1.1 ")?.get(..3).filter(|status| status.starts_with(b"4"))?;
    let bare = written.len() <= MAX_BARE_ANSWER_BYTES
        && memmem::find(written, b"content-length: 0\r\n").is_some()
        && memmem::find(written, REQUEST_ID.as_bytes()).is_none();
    let status = StatusCode::from_bytes(status).ok().filter(|_| bare)?;
    let message = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "the request's header section is too large",
        StatusCode::URI_TOO_LONG => "the request's path is too long",
        _ => "the request is not legal HTTP",
    };
    Some(bytes(status, message))
}

fn id() -> String {
    let [high, low] = random::bits();
    random::request_id(high, low)
}

fn body(status: StatusCode, message: &str, id: &str) -> String {
    let (kind, word) = match status {
        StatusCode::SERVICE_UNAVAILABLE => ("overloaded_error", "UNAVAILABLE"),
        StatusCode::REQUEST_TIMEOUT => ("timeout_error", "DEADLINE_EXCEEDED"),
        status if status.is_client_error() => ("invalid_request_error", "INVALID_ARGUMENT"),
        _ => ("api_error", "INTERNAL"),
    };
    let error = serde_json::json!({ "type": kind, "message": message, "code": status.as_u16(), "status": word });
    serde_json::json!({ "type": "error", "error": error, "request_id": id }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hypers_own_bare_error_is_replaced() {
        let bare = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        let text = String::from_utf8(replacement_for(bare).unwrap()).unwrap();
        assert!(text.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\nx-routeapi-request-id: "), "{text}");
        assert!(text.contains("\"header section") || text.contains("header section is too large"), "{text}");
        for ours in [
            &b"HTTP/1.1 400 Bad Request\r\nx-routeapi-request-id: 1\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 10\r\n\r\n",
            b"data: HTTP/1.1 400 content-length: 0\r\n",
            b"",
        ] {
            assert_eq!(replacement_for(ours), None);
        }
    }
}
