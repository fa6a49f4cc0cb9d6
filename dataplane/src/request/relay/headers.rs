//! Which of an upstream's response headers reach the client: on passthrough those of its dialect (protocols 0.3),
//! otherwise none. An allow-list, so hop-by-hop headers, cookies and infrastructure names stay behind.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER},
};

/// Headers by their whole name.
const NAMES: [&str; 4] = ["request-id", "x-request-id", "retry-after-ms", "x-should-retry"];
/// Headers by how they begin.
const PREFIXES: [&str; 4] = ["anthropic-", "openai-", "x-ratelimit-", "x-goog-"];

/// The headers that pass.
pub(in crate::request) fn passed(upstream: &HeaderMap, same_dialect: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if !same_dialect {
        return headers;
    }
    for (name, value) in upstream {
        if passes(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

fn passes(name: &HeaderName) -> bool {
    // Content-Length is set anew by the server from what the body really holds, which is the same for unchanged bytes.
    let standard = [CONTENT_TYPE, CONTENT_ENCODING, RETRY_AFTER];
    let text = name.as_str();
    standard.contains(name) || NAMES.contains(&text) || PREFIXES.iter().any(|prefix| text.starts_with(prefix))
}

/// The body is the gateway's own now.
pub(super) fn rewritten(headers: &mut HeaderMap, content_type: &'static str) {
    headers.remove(CONTENT_ENCODING);
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
}

/// Each event shall reach the client at once, also through a proxy in front (nginx reads the second header).
pub(super) fn unbuffered(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
}

/// Says which of the route's upstreams answered.
pub(super) fn name_upstream(headers: &mut HeaderMap, upstream: &str) {
    if let Ok(value) = HeaderValue::from_str(upstream) {
        headers.insert("x-routeapi-upstream", value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dialects_headers_pass_and_no_others() {
        let mut upstream = HeaderMap::new();
        for name in [
            "content-type",
            "retry-after",
            "request-id",
            "anthropic-ratelimit-requests-remaining",
            "x-ratelimit-limit-tokens",
            "openai-processing-ms",
            "connection",
            "keep-alive",
            "transfer-encoding",
            "content-length",
            "set-cookie",
            "server",
            "via",
            "alt-svc",
        ] {
            upstream.insert(name, HeaderValue::from_static("v"));
        }
        let passed = passed(&upstream, true);
        let mut names: Vec<_> = passed.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "anthropic-ratelimit-requests-remaining",
                "content-type",
                "openai-processing-ms",
                "request-id",
                "retry-after",
                "x-ratelimit-limit-tokens"
            ]
        );
        assert!(super::passed(&upstream, false).is_empty());
    }
}
