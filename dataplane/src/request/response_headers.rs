//! Which of an upstream's response headers reach the client: on passthrough those of its dialect
//! (docs/protocols/README.md), otherwise none. An allow-list, so hop-by-hop headers, cookies and infrastructure names
//! stay behind.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER},
};

const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const UPSTREAM: HeaderName = HeaderName::from_static("x-routeapi-upstream");

/// What an answer is, and what SDKs and their users read of it (docs/protocols/README.md): the vendor's id for support,
/// when to try again, and what is left of the vendor's rates. Never the provider's account (`openai-organization`,
/// `openai-project`, `anthropic-organization-id`), nor anything of the vendor's infrastructure.
const PASSED_HEADERS: [&str; 31] = [
    "content-type",
    "content-encoding",
    "request-id",
    "x-request-id",
    "x-amzn-requestid",
    "x-amzn-errortype",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "openai-processing-ms",
    "openai-version",
    "openai-model",
    "x-codex-turn-state",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
    "anthropic-ratelimit-requests-limit",
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset",
    "anthropic-ratelimit-tokens-limit",
    "anthropic-ratelimit-tokens-remaining",
    "anthropic-ratelimit-tokens-reset",
    "anthropic-ratelimit-input-tokens-limit",
    "anthropic-ratelimit-input-tokens-remaining",
    "anthropic-ratelimit-input-tokens-reset",
    "anthropic-ratelimit-output-tokens-limit",
    "anthropic-ratelimit-output-tokens-remaining",
    "anthropic-ratelimit-output-tokens-reset",
];

/// The headers that pass.
pub(super) fn passed(upstream: &HeaderMap, same_dialect: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if !same_dialect {
        return headers;
    }
    // Content-Length is set anew by the server from what the body really holds, which is the same for unchanged bytes.
    for (name, value) in upstream {
        if PASSED_HEADERS.contains(&name.as_str()) && (name != RETRY_AFTER || is_wait(value)) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

/// Whether `retry-after` says how long to wait: seconds from 0, or a date. SDKs read others as no wait at all, or fail.
fn is_wait(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|text| {
        let text = text.trim();
        let is_seconds = text.parse::<f64>().is_ok_and(|seconds| seconds.is_finite() && seconds >= 0.0);
        is_seconds || httpdate::parse_http_date(text).is_ok()
    })
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
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
}

/// Says which of the route's upstreams answered.
pub(in crate::request) fn name_upstream(headers: &mut HeaderMap, upstream: &str) {
    if let Ok(value) = HeaderValue::from_str(upstream) {
        headers.insert(UPSTREAM, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_retry_after_is_not_forwarded() {
        let passes = |value: &'static str| {
            let mut upstream = HeaderMap::new();
            upstream.insert("retry-after", HeaderValue::from_static(value));
            !passed(&upstream, true).is_empty()
        };
        for value in ["0", "7", "1.5", "Tue, 14 Nov 2023 22:13:30 GMT"] {
            assert!(passes(value), "{value}");
        }
        for value in ["-1", "abc", "", "NaN", "inf", "soon GMT", "Tue, 14 Nov 2023 25:13:30 GMT"] {
            assert!(!passes(value), "{value}");
        }
    }

    #[test]
    fn only_listed_response_headers_are_forwarded() {
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
            "openai-organization",
            "openai-project",
            "anthropic-organization-id",
            "anthropic-future",
            "x-ratelimit-future",
            "x-goog-upload-url",
            "x-envoy-upstream-service-time",
            "cf-ray",
        ] {
            upstream.insert(name, HeaderValue::from_static("1"));
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
