//! Which session a request belongs to, as its route reads it. Claims of the client, all of them: they decide between
//! upstreams that the route treats as equals, and nothing else.

use std::{borrow::Cow, sync::Arc};

use http::{HeaderMap, HeaderName};
use routeapi_channel::ObjectId;
use routeapi_protocol::request::ParsedRequest;
use sha2::{Digest, Sha256};

use crate::{
    config::runtime::{Affinity, Upstream},
    upstream::affinity::Session,
};

/// Headers in which clients name their session. The first that is there counts. docs/routes.md lists who sends which.
const SESSION_HEADERS: [&str; 8] = [
    "x-claude-code-session-id",
    "session-id",
    "session_id",
    "conversation_id",
    "x-opencode-session",
    "x-session-affinity",
    "x-session-id",
    "x-openwebui-chat-id",
];

/// Gemini CLI names no session, only its installation.
const INSTALLATION_HEADER: &str = "x-gemini-api-privileged-user-id";

/// A session, and what named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedSession {
    /// The session of this token.
    pub session: Session,
    /// The header, or the member of the body.
    pub key: Cow<'static, str>,
}

/// Where a session stays. Shared, as plan and record have it: a stream keeps room for a pointer.
#[derive(Debug)]
pub(super) struct SessionHome {
    /// What named it.
    pub key: Cow<'static, str>,
    /// Which session it is.
    pub session: Session,
    /// Its own upstream among those that may serve the call, ready or not.
    pub upstream: Arc<Upstream>,
}

/// The session of a request; none if the route has no affinity, or the client names no session.
pub fn named_session(
    affinity: Option<&Affinity>,
    token: &ObjectId,
    headers: &HeaderMap,
    request: &ParsedRequest,
) -> Option<NamedSession> {
    let (key, hash) = match affinity? {
        Affinity::Header(name) => (Cow::Owned(name.as_str().to_owned()), in_header(headers, name)?),
        Affinity::Session => known(headers, request)?,
    };
    Some(NamedSession { session: Session::new(token, &hash), key })
}

fn known(headers: &HeaderMap, request: &ParsedRequest) -> Option<(Cow<'static, str>, [u8; 32])> {
    let header = |name: &'static str| {
        let hash = in_header(headers, &HeaderName::from_static(name))?;
        Some((Cow::Borrowed(name), hash))
    };
    let body = || request.session().map(|session| (Cow::Borrowed(session.member), session.hash));
    SESSION_HEADERS.into_iter().find_map(header).or_else(body).or_else(|| header(INSTALLATION_HEADER))
}

/// Hashed alike wherever it stands, so that a client which names its session in a header and in the body may leave out one.
fn in_header(headers: &HeaderMap, name: &HeaderName) -> Option<[u8; 32]> {
    let value = headers.get(name)?.as_bytes().trim_ascii();
    (!value.is_empty()).then(|| Sha256::digest(value).into())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use routeapi_protocol::{
        codec::Head,
        inbound::{self, Inbound},
    };

    use super::*;

    fn found(affinity: Option<&Affinity>, headers: &[(&str, &str)], body: &'static str) -> Option<NamedSession> {
        let map = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let Inbound::Call(matched) = inbound::route("POST", "/v1/chat/completions", None).unwrap() else { panic!() };
        let request = ParsedRequest::read(matched, Head::default(), Bytes::from_static(body.as_bytes())).unwrap();
        named_session(affinity, &ObjectId::new("apps", "one"), &map, &request)
    }

    const PLAIN: &str = r#"{"model":"m","messages":[]}"#;
    const KEYED: &str = r#"{"model":"m","messages":[],"prompt_cache_key":"s"}"#;

    #[test]
    fn headers_of_agents_come_before_the_body() {
        let affinity = Some(&Affinity::Session);
        let key = |headers: &[(&str, &str)], body| found(affinity, headers, body).map(|named| named.key.into_owned());
        for name in SESSION_HEADERS {
            assert_eq!(key(&[(name, "s")], KEYED).as_deref(), Some(name));
            assert_eq!(key(&[(name, " ")], PLAIN), None, "{name}");
        }
        assert_eq!(key(&[(INSTALLATION_HEADER, "i")], KEYED).as_deref(), Some("prompt_cache_key"));
        assert_eq!(key(&[(INSTALLATION_HEADER, "i")], PLAIN).as_deref(), Some(INSTALLATION_HEADER));
        assert_eq!(key(&[("x-session-id", "a"), ("session_id", "b")], PLAIN).as_deref(), Some("session_id"));
        assert_eq!(key(&[], PLAIN), None);
    }

    #[test]
    fn one_session_is_the_same_in_header_and_body() {
        let of = |headers: &[(&str, &str)], body| found(Some(&Affinity::Session), headers, body).unwrap().session;
        assert_eq!(of(&[("session-id", "s")], PLAIN), of(&[], KEYED));
        assert_ne!(of(&[("session-id", "t")], PLAIN), of(&[], KEYED));
    }

    #[test]
    fn only_what_the_route_asks_for_counts() {
        assert_eq!(found(None, &[("session-id", "s")], KEYED), None);
        let header = Affinity::Header(HeaderName::from_static("x-team"));
        assert_eq!(found(Some(&header), &[("session-id", "s")], KEYED), None);
        let named = found(Some(&header), &[("x-team", "s"), ("session-id", "t")], KEYED).unwrap();
        assert_eq!(named.key, "x-team");
    }
}
