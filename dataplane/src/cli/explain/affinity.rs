//! Where the session of the explained request stays.

use std::{
    io::{self, Write},
    sync::Arc,
};

use anyhow::Context;
use http::{HeaderMap, HeaderName, HeaderValue};
use routeapi_channel::{ObjectId, snapshot::Token};
use routeapi_protocol::request::ParsedRequest;

use crate::{
    config::runtime::{Route, Upstream},
    request::{lacking, named_session},
    upstream::balance,
};

/// A header as curl takes it.
///
/// # Errors
/// When it is not a name and a value that HTTP allows.
pub(super) fn header(text: &str) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once(':').context("write it as NAME:VALUE")?;
    Ok((name.trim().parse().context("the name of the header")?, value.trim().parse().context("its value")?))
}

/// Says which upstream each of the callers' sessions stays on, if the route keeps sessions together.
pub(super) fn show(
    out: &mut impl Write,
    route: &Route,
    callers: &[(&ObjectId, &Token)],
    (request, headers): (&ParsedRequest, &HeaderMap),
) -> io::Result<()> {
    if route.affinity.is_none() {
        return Ok(());
    }
    let mut key = None;
    for (id, token) in callers {
        let Some(named) = named_session(route.affinity.as_ref(), id, headers, request) else { break };
        if key.is_none() {
            writeln!(out, "affinity    session named by {}", named.key)?;
        }
        key = Some(named.key);
        let candidates = candidates(route, token, request);
        match balance::home(&candidates, named.session) {
            Some(home) => writeln!(out, "            of {id} stays on {}", home.name)?,
            None => writeln!(out, "            of {id} has no upstream")?,
        }
    }
    if key.is_none() && !callers.is_empty() {
        writeln!(out, "affinity    none: the request names no session; --header adds a header")?;
    }
    Ok(())
}

/// The upstreams that may serve the request of this token.
fn candidates(route: &Route, token: &Token, request: &ParsedRequest) -> Vec<Arc<Upstream>> {
    let serves = |upstream: &&Arc<Upstream>| {
        let terms = upstream.terms(request.model()).filter(|terms| terms.priced || !token.deny_unpriced);
        terms.is_some_and(|terms| lacking(&terms, request).is_empty())
    };
    route.upstreams.iter().filter(serves).cloned().collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use routeapi_channel::{Catalog, Snapshot};
    use routeapi_metering::Share;
    use routeapi_protocol::{
        codec::Head,
        inbound::{self, Inbound},
    };
    use serde_json::{Value, json};

    use super::*;
    use crate::{config::compile, state::SharedState, upstream::AddressPolicy};

    /// What is said of a request with these headers to a route with this affinity.
    fn shown(affinity: &Value, headers: &[&str]) -> String {
        let timeouts = json!({"connect": "1s", "firstContent": "1s", "streamIdle": "1s", "request": "1s"});
        let upstream =
            |name: &str| json!({"name": name, "provider": "n/p", "priority": 0, "weight": 1, "timeouts": timeouts});
        let mut route = json!({"models": ["m"], "listed": true, "created": 0, "translation": "Default",
            "allowedNamespaces": {"only": ["n"]}, "upstreams": [upstream("a"), upstream("b")],
            "fallback": {"conditions": [], "maxAttempts": 1, "maxRetryAfter": "2s"}});
        if !affinity.is_null() {
            route["affinity"] = affinity.clone();
        }
        let snapshot = json!({
            "providers": {"n/p": {"type": "Echo", "baseUrl": "", "eviction": {"consecutiveFailures": 5, "duration": "30s"}}},
            "routes": {"n/r": route},
            "tokens": {"n/one": {"keys": [], "models": ["*"]}, "n/two": {"keys": [], "models": ["*"]}},
        });
        let snapshot: Snapshot = serde_json::from_value(snapshot).unwrap();
        let state = SharedState::new(AddressPolicy::Workstation);
        let revision = Catalog::of(&snapshot).unwrap().revision();
        let (runtime, _changes, refused) = compile::compile(&snapshot, &revision, state.view(), Share::default());
        assert!(refused.is_empty(), "{refused:?}");
        let Inbound::Call(matched) = inbound::route("POST", "/v1/chat/completions", None).unwrap() else { panic!() };
        let body = Bytes::from_static(br#"{"model":"m","messages":[]}"#);
        let request = ParsedRequest::read(matched, Head::default(), body).unwrap();
        let headers: HeaderMap = headers.iter().map(|text| header(text).unwrap()).collect();
        let callers: Vec<_> = snapshot.tokens.iter().collect();
        let mut out = Vec::new();
        show(&mut out, runtime.route("n", "m").unwrap(), &callers, (&request, &headers)).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_upstream_of_each_callers_session_is_named() {
        assert_eq!(shown(&Value::Null, &["session-id: 1"]), "");
        let none = "affinity    none: the request names no session; --header adds a header\n";
        assert_eq!(shown(&json!("session"), &[]), none);
        assert_eq!(shown(&json!({"header": "x-team"}), &["session-id: 1"]), none);
        let said: Vec<String> = (0..20).map(|at| shown(&json!("session"), &[&format!("Session-Id: {at}")])).collect();
        for text in &said {
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(lines[0], "affinity    session named by session-id");
            assert!(lines[1].starts_with("            of n/one stays on "), "{text}");
            assert!(lines[2].starts_with("            of n/two stays on "), "{text}");
        }
        assert!(said.iter().any(|text| *text != said[0]), "not always the same: {said:?}");
    }

    #[test]
    fn headers_are_written_as_for_curl() {
        assert_eq!(header("X-A:b:c").unwrap(), (HeaderName::from_static("x-a"), HeaderValue::from_static("b:c")));
        assert!(header("no colon").is_err() && header("a b: c").is_err() && header("a: b\u{1}c").is_err());
    }
}
