//! Which session a body says it belongs to, for upstreams that are chosen by session. No dialect checks it, and it is
//! never sent on because of this: what is kept is a hash.
//!
//! Looked for in this order:
//!
//! | member | who writes it |
//! |---|---|
//! | `prompt_cache_key` | Chat and Responses: what OpenAI itself routes by, so that cached input is found |
//! | `metadata.user_id` | Messages: Claude Code puts its session there, beside its device and account |
//! | `safety_identifier`, `user` | Chat and Responses: a person, or what a gateway in between made of `metadata.user_id` |
//!
//! Gemini's bodies have nothing of the kind.

use sha2::{Digest, Sha256};

use crate::scan::{Kind, Scan, Value};

/// Longest value, in bytes as written, that is decoded and looked into. OpenAI takes 64 characters, Anthropic 256. What is
/// longer is hashed as it stands, in one pass and without a copy.
const MAX_DECODED: usize = 2048;

/// A session, and the member that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodySession {
    /// Such as `prompt_cache_key`.
    pub member: &'static str,
    /// SHA-256 of its name.
    pub hash: [u8; 32],
}

/// The first member that names one. An empty name is none.
pub(super) fn of(scan: &Scan, body: &[u8]) -> Option<BodySession> {
    let named = |member: &'static str, value: &Value| Some(BodySession { member, hash: hash(value, body)? });
    let top = |member: &'static str| named(member, scan.last(body, member)?);
    let user_id = || named("metadata.user_id", &scan.last(body, "metadata")?.member(body, "user_id")?);
    top("prompt_cache_key").or_else(user_id).or_else(|| top("safety_identifier")).or_else(|| top("user"))
}

fn hash(value: &Value, body: &[u8]) -> Option<[u8; 32]> {
    if !matches!(value.kind, Kind::String { .. }) {
        return None;
    }
    if value.span.len() > MAX_DECODED {
        return Some(Sha256::digest(value.bytes(body)).into());
    }
    let text = value.text(body)?;
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let session = in_object(text);
    let session = session.as_deref().or_else(|| behind_account(text)).unwrap_or(text);
    Some(Sha256::digest(session.as_bytes()).into())
}

/// Claude Code from 2.1.78: `{"device_id":"…","account_uuid":"…","session_id":"…"}` as text.
fn in_object(text: &str) -> Option<String> {
    if !text.starts_with('{') {
        return None;
    }
    let scan = Scan::read(text.as_bytes()).ok()?;
    let session = scan.last(text.as_bytes(), "session_id")?.text(text.as_bytes())?;
    Some(session.trim().to_owned()).filter(|session| !session.is_empty())
}

/// Claude Code before: `user_<device>_account_<account>_session_<session>`.
fn behind_account(text: &str) -> Option<&str> {
    let (_, session) = text.strip_prefix("user_")?.rsplit_once("_session_")?;
    Some(session).filter(|session| !session.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(body: &str) -> Option<(&'static str, [u8; 32])> {
        let session = of(&Scan::read(body.as_bytes()).unwrap(), body.as_bytes())?;
        Some((session.member, session.hash))
    }

    fn hash_of(text: &str) -> [u8; 32] {
        Sha256::digest(text).into()
    }

    #[test]
    fn every_dialects_member_names_the_session() {
        let claude = r#"{"metadata":{"user_id":"{\"device_id\":\"d\",\"account_uuid\":\"\",\"session_id\":\"s-1\"}"}}"#;
        for (body, expected) in [
            (r#"{"prompt_cache_key":"k"}"#, Some(("prompt_cache_key", "k"))),
            (r#"{"prompt_cache_key":" k\u0065 ","user":"u"}"#, Some(("prompt_cache_key", "ke"))),
            (r#"{"prompt_cache_key":"","user":"u"}"#, Some(("user", "u"))),
            (r#"{"prompt_cache_key":7,"safety_identifier":"p","user":"u"}"#, Some(("safety_identifier", "p"))),
            (claude, Some(("metadata.user_id", "s-1"))),
            (r#"{"metadata":{"user_id":"user_0a_account__session_s-1"}}"#, Some(("metadata.user_id", "s-1"))),
            (r#"{"metadata":{"user_id":"user_0a_account_7_session_s-1"}}"#, Some(("metadata.user_id", "s-1"))),
            (r#"{"user":"user_0a_account__session_s-1"}"#, Some(("user", "s-1"))),
            (r#"{"metadata":{"user_id":"{\"session_id\":"}}"#, Some(("metadata.user_id", "{\"session_id\":"))),
            (r#"{"metadata":{"user_id":"{\"session_id\":7}"}}"#, Some(("metadata.user_id", "{\"session_id\":7}"))),
            (r#"{"metadata":{"user_id":"user_0a_session_"}}"#, Some(("metadata.user_id", "user_0a_session_"))),
            (r#"{"metadata":{"user_id":"a_session_b"}}"#, Some(("metadata.user_id", "a_session_b"))),
            (r#"{"metadata":[],"user":null}"#, None),
            (r#"{"messages":[{"user":"u","prompt_cache_key":"k"}]}"#, None),
            ("{}", None),
        ] {
            assert_eq!(found(body), expected.map(|(member, text)| (member, hash_of(text))), "{body}");
        }
    }

    #[test]
    fn a_long_one_counts_as_a_whole() {
        let long = |end: &str| format!(r#"{{"prompt_cache_key":"{}{end}"}}"#, r"\u00e9".repeat(100_000));
        let (first, second) = (found(&long("a")), found(&long("b")));
        assert!(first.is_some() && first != second, "not cut");
        assert_eq!(first, found(&long("a")));
        let written = format!("\"{}\"", "x".repeat(MAX_DECODED));
        assert_eq!(found(&format!("{{\"user\":{written}}}")), Some(("user", hash_of(&written))));
    }
}
