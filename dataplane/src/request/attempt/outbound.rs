//! The headers of an upstream request, by an allow-list: what the dialect's codec asks for, the client's headers of the
//! same vendor on passthrough, and the trace. Nothing else of the client goes out: no credentials, cookies, addresses or
//! SDK telemetry.

use http::{HeaderMap, HeaderName, HeaderValue};
use routeapi_protocol::dialect::Family;

use crate::request::context::Trace;

/// Headers that belong to a credential and so to whoever holds the upstream's key. Vendors refuse a key whose
/// organization or project is not the one named here.
const NEVER: [&str; 5] = [
    "x-goog-api-key",
    "openai-organization",
    "openai-project",
    "x-goog-user-project",
    "x-goog-iam-authorization-token",
];

/// Headers for the upstream.
pub(super) fn headers(
    client: &HeaderMap,
    same_dialect: Option<Family>,
    asked: Vec<(&'static str, String)>,
    trace: Option<&Trace>,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut out: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(asked.len() + 4);
    for (name, value) in asked {
        // A value from a client's header was legal there; a model's name never stands in one.
        if let Ok(value) = HeaderValue::try_from(value) {
            out.push((HeaderName::from_static(name), value));
        }
    }
    let by_codec = out.len();
    if let Some(family) = same_dialect {
        for (name, value) in client {
            let replaced = out.iter().take(by_codec).any(|(asked, _)| asked == name);
            if !replaced && passes(family, name.as_str()) {
                out.push((name.clone(), value.clone()));
            }
        }
    }
    if let Some(trace) = trace {
        if let Ok(parent) = HeaderValue::try_from(trace.parent()) {
            out.push((HeaderName::from_static("traceparent"), parent));
        }
        if let Some(state) = &trace.state {
            out.push((HeaderName::from_static("tracestate"), state.clone()));
        }
    }
    out
}

/// Whether a client's header goes to an upstream of the same vendor (protocols 0.3).
fn passes(family: Family, name: &str) -> bool {
    let prefixes: &[&str] = match family {
        Family::OpenAi => &["openai-", "x-codex-"],
        Family::Anthropic => &["anthropic-", "x-claude-code-"],
        Family::Gemini => &["x-goog-"],
    };
    prefixes.iter().any(|prefix| name.starts_with(prefix)) && !NEVER.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer sk-x"),
            ("x-api-key", "sk-x"),
            ("x-goog-api-key", "sk-x"),
            ("cookie", "a=b"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-stainless-lang", "python"),
            ("anthropic-version", "2023-06-01"),
            ("anthropic-future", "yes"),
            ("x-claude-code-session-id", "s"),
            ("openai-organization", "org"),
            ("openai-beta", "b"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        headers.append("anthropic-beta", "one".parse().unwrap());
        headers.append("anthropic-beta", "two".parse().unwrap());
        headers
    }

    fn sent(family: Option<Family>, asked: Vec<(&'static str, String)>) -> Vec<String> {
        let mut sent: Vec<_> = headers(&client(), family, asked, None)
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        sent.sort();
        sent
    }

    #[test]
    fn only_the_vendors_own_headers_pass_and_never_a_credential() {
        assert_eq!(
            sent(Some(Family::Anthropic), Vec::new()),
            [
                "anthropic-beta: one",
                "anthropic-beta: two",
                "anthropic-future: yes",
                "anthropic-version: 2023-06-01",
                "x-claude-code-session-id: s"
            ]
        );
        assert_eq!(sent(Some(Family::OpenAi), Vec::new()), ["openai-beta: b"]);
        assert!(sent(Some(Family::Gemini), Vec::new()).is_empty());
        assert!(sent(None, Vec::new()).is_empty());
    }

    #[test]
    fn what_the_codec_asks_for_replaces_the_clients() {
        let asked = vec![("anthropic-version", "2023-06-01".to_owned()), ("anthropic-beta", "one,two".to_owned())];
        assert_eq!(
            sent(Some(Family::Anthropic), asked),
            [
                "anthropic-beta: one,two",
                "anthropic-future: yes",
                "anthropic-version: 2023-06-01",
                "x-claude-code-session-id: s"
            ]
        );
    }
}
