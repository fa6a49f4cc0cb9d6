//! The headers of an upstream request, by an exact list: what the dialect's codec asks for, the client's headers that the
//! dialect is known to need on passthrough or that the provider's owner wants passed on, the trace, and what the owner
//! adds. Nothing else of the client goes out: no credentials, cookies, addresses, identities that a proxy in front has
//! added, or SDK telemetry.

use http::{HeaderMap, HeaderName, HeaderValue};
use routeapi_protocol::dialect::Family;

use crate::{request::context::Trace, upstream::Additions};

/// Most bytes that the values of a client's passed headers may have together: far more than all known beta flags.
pub(super) const MAX_PASSED_BYTES: usize = 8 << 10;

/// Headers for the upstream.
pub(super) fn headers(
    client: &HeaderMap,
    same_dialect: Option<Family>,
    asked: Vec<(&'static str, String)>,
    trace: Option<&Trace>,
    additions: Option<&Additions>,
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
            if !replaced && passed(family).contains(&name.as_str()) {
                out.push((name.clone(), value.clone()));
            }
        }
    }
    let known = out.len();
    for name in additions.map_or(&[][..], Additions::forwarded) {
        if !out.iter().take(known).any(|(held, _)| held == name) {
            out.extend(client.get_all(name).iter().map(|value| (name.clone(), value.clone())));
        }
    }
    if let Some(trace) = trace
        && let Ok(parent) = HeaderValue::try_from(trace.parent())
    {
        out.push((HeaderName::from_static("traceparent"), parent));
    }
    for (name, value) in additions.map_or(&[][..], Additions::headers) {
        if !Additions::is_list(name) {
            out.retain(|(held, _)| held != name);
        }
        out.push((name.clone(), value.clone()));
    }
    out
}

/// The client's headers that an upstream of the same vendor is sent. A header that is not listed is not needed by any
/// official SDK (docs/protocols/README.md), or belongs to whoever holds the upstream's key:
///
/// - `openai-organization`, `openai-project`, `anthropic-workspace-id`, `anthropic-user-profile-id` and
///   `x-goog-user-project` choose what of the provider's account is billed;
/// - `x-goog-authenticated-user-*` and `x-goog-iap-jwt-assertion` are identities, set by a proxy in front;
/// - `x-goog-api-client`, `x-stainless-*` and the like are telemetry about the client's program.
pub(super) const fn passed(family: Family) -> &'static [&'static str] {
    match family {
        // Beta features; Codex's choice of features and its turns' state, which it expects back from the same server.
        Family::OpenAi => &["openai-beta", "x-codex-beta-features", "x-codex-turn-state", "x-codex-turn-metadata"],
        // The API's version and beta features; Claude Code's sessions, which the vendor's prompt cache follows.
        Family::Anthropic => {
            &["anthropic-version", "anthropic-beta", "x-claude-code-session-id", "x-claude-code-agent-id"]
        }
        Family::Gemini | Family::Bedrock => &[],
    }
}

/// The first of the client's headers with which those that a provider's owner wants passed on are longer than
/// [`MAX_PASSED_BYTES`] together.
pub(super) fn first_forwarded_too_long<'a>(additions: &'a Additions, client: &HeaderMap) -> Option<&'a str> {
    first_beyond(additions.forwarded().iter().map(HeaderName::as_str), client)
}

/// The first of the client's headers with which the passed ones are longer than [`MAX_PASSED_BYTES`] together.
pub(super) fn first_too_long(family: Family, client: &HeaderMap) -> Option<&'static str> {
    first_beyond(passed(family).iter().copied(), client)
}

fn first_beyond<'a>(mut names: impl Iterator<Item = &'a str>, client: &HeaderMap) -> Option<&'a str> {
    let mut sum = 0_usize;
    names.find(|name| {
        sum = client.get_all(*name).iter().fold(sum, |sum, value| sum.saturating_add(value.len()));
        sum > MAX_PASSED_BYTES
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

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
            ("openai-future", "x"),
            ("anthropic-workspace-id", "w"),
            ("x-goog-iap-jwt-assertion", "jwt"),
            ("x-goog-authenticated-user-email", "a@b"),
            ("x-goog-user-project", "p"),
            ("x-goog-api-client", "gl-python"),
            ("tracestate", "vendor=1"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        headers.append("anthropic-beta", "one".parse().unwrap());
        headers.append("anthropic-beta", "two".parse().unwrap());
        headers
    }

    fn sent(family: Option<Family>, asked: Vec<(&'static str, String)>) -> Vec<String> {
        sent_with(family, asked, &json!({}))
    }

    fn sent_with(family: Option<Family>, asked: Vec<(&'static str, String)>, told: &Value) -> Vec<String> {
        let additions = Additions::new(&serde_json::from_value(told.clone()).unwrap()).unwrap();
        let mut sent: Vec<_> = headers(&client(), family, asked, None, Some(&additions))
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        sent.sort();
        sent
    }

    #[test]
    fn only_listed_request_headers_are_forwarded() {
        assert_eq!(
            sent(Some(Family::Anthropic), Vec::new()),
            [
                "anthropic-beta: one",
                "anthropic-beta: two",
                "anthropic-version: 2023-06-01",
                "x-claude-code-session-id: s"
            ]
        );
        assert_eq!(sent(Some(Family::OpenAi), Vec::new()), ["openai-beta: b"]);
        assert!(sent(Some(Family::Gemini), Vec::new()).is_empty());
        assert!(sent(None, Vec::new()).is_empty());
    }

    #[test]
    fn codec_headers_replace_the_clients() {
        let asked = vec![("anthropic-version", "2023-06-01".to_owned()), ("anthropic-beta", "one,two".to_owned())];
        assert_eq!(
            sent(Some(Family::Anthropic), asked),
            ["anthropic-beta: one,two", "anthropic-version: 2023-06-01", "x-claude-code-session-id: s"]
        );
    }

    #[test]
    fn provider_headers_and_forward_headers_are_applied() {
        let told = json!({
            "headers": {"x-team": {"plain": "a"}, "anthropic-version": {"plain": "2024-01-01"}, "anthropic-beta": {"plain": "three"}},
            "forwardHeaders": ["x-stainless-lang", "x-absent", "anthropic-beta"],
        });
        let asked = vec![("anthropic-version", "2023-06-01".to_owned())];
        assert_eq!(
            sent_with(Some(Family::Anthropic), asked, &told),
            [
                "anthropic-beta: one",
                "anthropic-beta: three",
                "anthropic-beta: two",
                "anthropic-version: 2024-01-01",
                "x-claude-code-session-id: s",
                "x-stainless-lang: python",
                "x-team: a",
            ]
        );
        let passed = sent_with(None, Vec::new(), &json!({"forwardHeaders": ["openai-future"]}));
        assert_eq!(passed, ["openai-future: x"], "in translation too");
    }

    #[test]
    fn only_traceparent_is_sent_of_a_trace() {
        let trace = Trace { trace_id: "a".repeat(32), span_id: "b".repeat(16), flags: "01".to_owned() };
        let sent = headers(&client(), None, Vec::new(), Some(&trace), None);
        let names: Vec<_> = sent.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["traceparent"]);
    }

    #[test]
    fn forwarded_headers_are_bounded_in_total() {
        let mut headers = HeaderMap::new();
        headers.append("x-unknown", "a".repeat(MAX_PASSED_BYTES * 2).parse().unwrap());
        headers.append("anthropic-beta", "a".repeat(MAX_PASSED_BYTES).parse().unwrap());
        assert_eq!(first_too_long(Family::Anthropic, &headers), None);
        headers.append("anthropic-beta", "b".parse().unwrap());
        assert_eq!(first_too_long(Family::Anthropic, &headers), Some("anthropic-beta"));
        assert_eq!(first_too_long(Family::OpenAi, &headers), None);
        let forwarded =
            |name: &str| Additions::new(&serde_json::from_value(json!({"forwardHeaders": [name]})).unwrap());
        assert_eq!(first_forwarded_too_long(&forwarded("x-unknown").unwrap(), &headers), Some("x-unknown"));
        assert_eq!(first_forwarded_too_long(&forwarded("x-other").unwrap(), &headers), None);
    }
}
