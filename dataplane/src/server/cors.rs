//! Cross-origin requests of browsers (the Fetch standard, "CORS protocol"), for the origins that were listed; off by
//! default. Stands in front of the handler, so that a preflight needs no token and writes no record, and behind every
//! answer, so that a page can read errors too.
//!
//! The gateway knows no cookies: who calls is told by a key in a header, which a page has to hold. Therefore
//! `Access-Control-Allow-Credentials` is never sent, and `*` opens nothing to a page without a key.

use std::{collections::BTreeSet, str::FromStr};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
        ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};
use http_body_util::Full;

use super::error_response;

/// Who may call from a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cors {
    /// Every origin.
    Any,
    /// These, each as a browser writes it.
    Listed(BTreeSet<String>),
}

/// One of the origins on a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `*`
    Any,
    /// `scheme://host[:port]`
    One(String),
}

/// Not an origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOrigin {
    /// Every sandboxed frame and local file has this one.
    #[error("null is the origin of any sandboxed page, whoever wrote it; list real origins, or * for all")]
    Null,
    /// Something behind the host.
    #[error("{0:?} is not an origin: leave out what follows the host and port, as in https://chat.example.com")]
    Path(String),
    /// Something else.
    #[error("{0:?} is not an origin, such as https://chat.example.com or http://localhost:3000, or * for all")]
    Form(String),
}

/// Methods that the gateway takes.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, DELETE");

/// How long a browser may remember a preflight, in seconds: what Chromium remembers at most.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// Answer headers that a page may read, beside those that it always may.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "x-routeapi-request-id, x-routeapi-upstream, x-routeapi-warnings, x-routeapi-limit, x-request-id, request-id, \
     retry-after, retry-after-ms, x-should-retry, www-authenticate, x-ratelimit-limit-requests, \
     x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-ratelimit-limit-tokens, \
     x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, anthropic-ratelimit-requests-remaining, \
     anthropic-ratelimit-tokens-remaining, openai-processing-ms, openai-version",
);

/// What an answer depends on.
const VARY_PREFLIGHT: HeaderValue =
    HeaderValue::from_static("origin, access-control-request-method, access-control-request-headers");
const VARY_ORIGIN: HeaderValue = HeaderValue::from_static("origin");

/// Request headers that a page may send: what the SDKs send from a browser, and what callers add for tracing.
const HEADERS: [&str; 15] = [
    "accept",
    "api-key",
    "authorization",
    "baggage",
    "cache-control",
    "content-type",
    "http-referer",
    "idempotency-key",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-api-key",
    "x-request-id",
    "x-client-request-id",
    "x-title",
];
/// Families of such headers.
const PREFIXES: [&str; 6] = ["x-stainless-", "anthropic-", "openai-", "x-goog-", "x-openwebui-", "x-routeapi-"];

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let form = || InvalidOrigin::Form(text.to_owned());
        match text {
            "*" => return Ok(Self::Any),
            "null" => return Err(InvalidOrigin::Null),
            _ => {}
        }
        // Also apps have origins: app://obsidian.md, chrome-extension://…, tauri://localhost.
        let (scheme, authority) = text.split_once("://").ok_or_else(form)?;
        if authority.contains(['/', '?', '#']) {
            return Err(InvalidOrigin::Path(text.to_owned()));
        }
        let is_scheme = scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter));
        let host = authority.parse::<http::uri::Authority>().map_err(|_| form())?;
        if !is_scheme || host.host().is_empty() || authority.contains(['@', '*']) || authority.ends_with(':') {
            return Err(form());
        }
        let default = match scheme.to_ascii_lowercase().as_str() {
            "http" => ":80",
            "https" => ":443",
            _ => "",
        };
        // Browsers leave out the scheme's own port.
        let authority = authority.strip_suffix(default).filter(|_| !default.is_empty()).unwrap_or(authority);
        Ok(Self::One(format!("{scheme}://{authority}").to_ascii_lowercase()))
    }
}

/// What an answer to one request says to its browser.
#[derive(Clone, Debug)]
pub(super) struct CorsDecision {
    allowed: Option<HeaderValue>,
    varies: bool,
}

impl Cors {
    /// These origins; none for no CORS at all.
    pub fn new(origins: Vec<Origin>) -> Option<Self> {
        let mut listed = BTreeSet::new();
        for origin in origins {
            match origin {
                Origin::Any => return Some(Self::Any),
                Origin::One(origin) => drop(listed.insert(origin)),
            }
        }
        (!listed.is_empty()).then_some(Self::Listed(listed))
    }

    /// What the page behind a request may read.
    pub(super) fn decide(&self, headers: &HeaderMap) -> CorsDecision {
        match self {
            Self::Any => CorsDecision { allowed: Some(HeaderValue::from_static("*")), varies: false },
            Self::Listed(listed) => {
                let mut origins = headers.get_all(ORIGIN).iter();
                let (first, second) = (origins.next(), origins.next());
                let known = |origin: &&HeaderValue| origin.to_str().is_ok_and(|origin| listed.contains(origin));
                CorsDecision { allowed: first.filter(|_| second.is_none()).filter(known).cloned(), varies: true }
            }
        }
    }
}

impl CorsDecision {
    /// Answers a preflight; none for any other request.
    pub(super) fn preflight<B>(&self, request: &Request<B>) -> Option<Response<Full<Bytes>>> {
        let headers = request.headers();
        let is_preflight = request.method() == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !is_preflight {
            return None;
        }
        if self.allowed.is_none() {
            let why = "the page's origin is not among --cors-origins of this gateway";
            return Some(error_response::response(StatusCode::FORBIDDEN, why));
        }
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let answer = response.headers_mut();
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        answer.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        answer.insert(VARY, VARY_PREFLIGHT);
        if let Some(names) = requested(headers) {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
        }
        Some(response)
    }

    /// Lets the page read an answer.
    pub(super) fn insert_headers(self, headers: &mut HeaderMap) {
        if self.varies && !headers.contains_key(VARY) {
            headers.insert(VARY, VARY_ORIGIN);
        }
        if let Some(origin) = self.allowed {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}

/// Which of the headers that a page wants to send it may. No longer than what was asked.
fn requested(headers: &HeaderMap) -> Option<HeaderValue> {
    let lines = headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter().filter_map(|line| line.to_str().ok());
    let names = lines.flat_map(|line| line.split(',')).map(str::trim);
    let allowed: Vec<&str> =
        names.filter(|name| HeaderName::from_str(name).is_ok_and(|name| is_allowed(&name))).collect();
    if allowed.is_empty() { None } else { HeaderValue::from_str(&allowed.join(", ")).ok() }
}

fn is_allowed(name: &HeaderName) -> bool {
    let name = name.as_str();
    HEADERS.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str]) -> Cors {
        Cors::new(origins.iter().map(|origin| origin.parse().unwrap()).collect()).unwrap()
    }

    fn request(method: Method, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().method(method).uri("/v1/chat/completions");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    fn allowed(cors: &Cors, headers: &[(&str, &str)]) -> Option<String> {
        let mut answer = HeaderMap::new();
        cors.decide(request(Method::POST, headers).headers()).insert_headers(&mut answer);
        let allowed = answer.get(ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(answer.contains_key(ACCESS_CONTROL_EXPOSE_HEADERS), allowed.is_some());
        assert_eq!(answer.get(VARY), (*cors != Cors::Any).then_some(&VARY_ORIGIN));
        assert!(!answer.contains_key("access-control-allow-credentials"));
        allowed
    }

    #[test]
    fn origins_are_parsed_as_browsers_write_them() {
        for (text, origin) in [
            ("https://chat.example.com", "https://chat.example.com"),
            ("HTTPS://Chat.Example.com:443", "https://chat.example.com"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://localhost:80", "http://localhost"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("app://obsidian.md", "app://obsidian.md"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ] {
            assert_eq!(text.parse(), Ok(Origin::One(origin.to_owned())), "{text}");
        }
        assert_eq!("*".parse(), Ok(Origin::Any));
        assert_eq!("null".parse::<Origin>(), Err(InvalidOrigin::Null));
        for text in ["https://a.example/", "https://a.example/chat", "https://a.example?x"] {
            assert!(matches!(text.parse::<Origin>(), Err(InvalidOrigin::Path(_))), "{text}");
        }
        for text in [
            "",
            "a.example",
            "://a",
            "https://",
            "https://*.example",
            "https://u@a",
            "1x://a",
            "https://a b",
            "https://a:",
        ] {
            assert!(matches!(text.parse::<Origin>(), Err(InvalidOrigin::Form(_))), "{text}");
        }
        assert_eq!(Cors::new(Vec::new()), None);
        assert_eq!(Cors::new(vec![Origin::One("https://a".to_owned()), Origin::Any]), Some(Cors::Any));
    }

    #[test]
    fn only_listed_origins_are_allowed() {
        let listed = cors(&["https://a.example", "http://localhost:3000"]);
        assert_eq!(allowed(&listed, &[("origin", "https://a.example")]).as_deref(), Some("https://a.example"));
        for origin in [
            "null",
            "https://a.example.evil.example",
            "https://evil.example",
            "http://a.example",
            "https://a.example:8443",
            "https://a.example/",
            "https://a.example, https://evil.example",
            "",
        ] {
            assert_eq!(allowed(&listed, &[("origin", origin)]), None, "{origin}");
        }
        assert_eq!(allowed(&listed, &[]), None);
        let two = [("origin", "https://a.example"), ("origin", "https://evil.example")];
        assert_eq!(allowed(&listed, &two), None, "one origin or none");
        assert_eq!(allowed(&Cors::Any, &[("origin", "null")]).as_deref(), Some("*"));
    }

    #[test]
    fn preflight_answer_lists_allowed_methods_and_headers() {
        let asks = "authorization,content-type,x-stainless-lang,X-Api-Key,anthropic-beta,x-evil, cookie,\u{7f}";
        let headers = [
            ("origin", "https://a.example"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", asks),
        ];
        let preflight = |cors: &Cors, method, headers| {
            let request = request(method, headers);
            cors.decide(request.headers()).preflight(&request)
        };
        let listed = cors(&["https://a.example"]);
        let answer = preflight(&listed, Method::OPTIONS, &headers[..2]).unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        assert_eq!(answer.headers().get(ACCESS_CONTROL_ALLOW_HEADERS), None);
        let asks = asks.trim_end_matches('\u{7f}');
        let headers = [headers[0], headers[1], ("access-control-request-headers", asks)];
        let answer = preflight(&listed, Method::OPTIONS, &headers).unwrap();
        let names = "authorization, content-type, x-stainless-lang, X-Api-Key, anthropic-beta";
        assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_HEADERS], names);
        assert_eq!(answer.headers()[VARY], VARY_PREFLIGHT);
        assert!(preflight(&listed, Method::POST, &headers).is_none());
        assert!(preflight(&listed, Method::OPTIONS, &headers[1..]).is_none());
        assert!(preflight(&listed, Method::OPTIONS, &headers[..1]).is_none());
        let refused = preflight(&cors(&["https://b.example"]), Method::OPTIONS, &headers).unwrap();
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    }
}
