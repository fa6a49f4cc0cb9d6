//! Whom a request says it is for. Known for the record alone; no dialect checks it.
//!
//! OpenAI: `safety_identifier`, and `user` before it. Anthropic: `metadata.user_id`. Gemini has nothing of the kind.

use std::borrow::Cow;

use crate::scan::{Kind, Scan, Value};

/// Most bytes that are looked at. Anthropic takes 256 characters, OpenAI 64.
const MOST: usize = 2048;

/// The first of them that is a string. What is too long is cut.
pub(super) fn of(scan: &Scan, body: &[u8]) -> Option<Box<str>> {
    let top = ["safety_identifier", "user"].into_iter().find_map(|name| text(scan.last(body, name)?, body));
    top.or_else(|| text(&scan.last(body, "metadata")?.member(body, "user_id")?, body)).map(Box::from)
}

fn text<'a>(value: &Value, body: &'a [u8]) -> Option<Cow<'a, str>> {
    let text = if value.span.len() <= MOST {
        value.text(body)?
    } else if matches!(value.kind, Kind::String { .. }) {
        // As it is written, escapes and all, so that nothing long is decoded.
        String::from_utf8_lossy(value.bytes(body).get(1..MOST)?)
    } else {
        return None;
    };
    Some(text).filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(body: &str) -> Option<String> {
        of(&Scan::read(body.as_bytes()).unwrap(), body.as_bytes()).map(String::from)
    }

    #[test]
    fn every_dialects_member_is_read() {
        for (body, user) in [
            (r#"{"user":"a"}"#, Some("a")),
            (r#"{"user":"a\u0062"}"#, Some("ab")),
            (r#"{"user":"a","safety_identifier":"b"}"#, Some("b")),
            (r#"{"user":"a","safety_identifier":" "}"#, Some("a")),
            (r#"{"metadata":{"k":"v","user_id":"c"}}"#, Some("c")),
            (r#"{"user":null,"metadata":{"user_id":"c"}}"#, Some("c")),
            (r#"{"user":7,"metadata":[]}"#, None),
            (r#"{"metadata":{"user_id":{}}}"#, None),
            (r#"{"messages":[{"user":"a"}]}"#, None),
        ] {
            assert_eq!(found(body).as_deref(), user, "{body}");
        }
    }

    #[test]
    fn a_long_one_is_cut_and_not_decoded() {
        let escaped = found(&format!(r#"{{"user":"{}"}}"#, r"\u00e9".repeat(100_000))).unwrap();
        assert_eq!((escaped.len(), escaped.starts_with(r"\u00e9")), (MOST - 1, true));
        let plain = found(&format!(r#"{{"user":"{}"}}"#, "\u{e9}".repeat(100_000))).unwrap();
        assert!(plain.starts_with('\u{e9}') && plain.len() <= MOST + 3, "{}", plain.len());
    }
}
