//! Members of a JSON text at any depth, in one pass, without building or checking anything.
//!
//! This is what makes tapping cheap: of hundreds of events in a stream, all but a few say nothing but a piece of text,
//! and of those only its length matters. It must not be trusted with more: names are compared as written, and text that
//! is not JSON gives whatever it gives.

/// What follows a member's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begins<'a> {
    /// A string: what stands between its quotes, escapes as written.
    Text(&'a [u8]),
    /// Anything else, from its first byte on.
    Other(&'a [u8]),
}

/// Hands on every member.
pub(super) fn members<'a>(json: &'a [u8], mut each: impl FnMut(&'a [u8], Begins<'a>)) {
    let mut rest = json;
    while let Some((name, tail)) = string(rest) {
        rest = tail;
        let Some(value) = tail.trim_ascii_start().strip_prefix(b":") else { continue };
        let value = value.trim_ascii_start();
        if value.first() == Some(&b'"') {
            let Some((text, tail)) = string(value) else { return };
            each(name, Begins::Text(text));
            rest = tail;
        } else {
            each(name, Begins::Other(value));
        }
    }
}

/// Hands on the members of the outermost object alone. What a client wrote (tools, metadata) is repeated inside some
/// events, and must not be mistaken for the event's own members.
pub(super) fn top_members<'a>(json: &'a [u8], mut each: impl FnMut(&'a [u8], Begins<'a>)) {
    let (mut rest, mut depth) = (json, 0_u32);
    loop {
        let Some(place) = rest.iter().position(|byte| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']')) else { return };
        let (_, found) = rest.split_at(place);
        match found.first() {
            Some(b'{' | b'[') => depth = depth.saturating_add(1),
            Some(b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {
                let Some((name, tail)) = string(found) else { return };
                rest = tail;
                let value = tail.trim_ascii_start().strip_prefix(b":").filter(|_| depth == 1);
                let Some(value) = value.map(<[u8]>::trim_ascii_start) else { continue };
                if value.first() == Some(&b'"') {
                    let Some((text, tail)) = string(value) else { return };
                    each(name, Begins::Text(text));
                    rest = tail;
                } else {
                    each(name, Begins::Other(value));
                }
                continue;
            }
        }
        rest = found.get(1..).unwrap_or_default();
    }
}

/// The first string in `json`, and what follows it.
fn string(json: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = memchr::memchr(b'"', json)? + 1;
    let body = json.get(start..)?;
    let mut end = 0;
    loop {
        end += memchr::memchr2(b'"', b'\\', body.get(end..)?)?;
        if body.get(end) == Some(&b'"') {
            return Some((body.get(..end)?, body.get(end + 1..)?));
        }
        end += 2;
    }
}

/// Characters of a string as it reads, from how it is written. A surrogate pair counts as two.
pub(super) fn chars(written: &[u8]) -> u64 {
    let plain = |bytes: &[u8]| bytes.iter().filter(|byte| **byte & 0xC0 != 0x80).count() as u64;
    let (mut count, mut rest) = (0, written);
    while let Some(place) = memchr::memchr(b'\\', rest) {
        let (before, escape) = rest.split_at(place);
        count += plain(before) + 1;
        let length = if escape.get(1) == Some(&b'u') { 6 } else { 2 };
        rest = escape.get(length..).unwrap_or_default();
    }
    count + plain(rest)
}

/// A whole number at the start of a value.
pub(super) fn number(value: &[u8]) -> Option<u64> {
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(value.get(..digits)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_seen_at_any_depth() {
        let json = br#"{"a":"x\"y","b" : {"c":["\"a\":1",{"d":null}]},"e":12}"#;
        let mut seen = Vec::new();
        members(json, |name, value| {
            let value = match value {
                Begins::Text(text) => String::from_utf8_lossy(text).into_owned(),
                Begins::Other(rest) => char::from(rest[0]).to_string(),
            };
            seen.push(format!("{}={value}", String::from_utf8_lossy(name)));
        });
        assert_eq!(seen, ["a=x\\\"y", "b={", "c=[", "d=n", "e=1"]);
        for cut in 0..json.len() {
            members(&json[..cut], |_, _| {});
        }
    }

    #[test]
    fn outermost_members_are_told_from_inner_ones() {
        let json = br#"{"response":{"type":"inner","tools":[{"type":"x"}],"s":"}{\""},"type":"outer","n":3}"#;
        let mut seen = Vec::new();
        top_members(json, |name, value| {
            if let Begins::Text(text) = value {
                seen.push(format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(text)));
            }
        });
        assert_eq!(seen, ["type=outer"]);
        for cut in 0..json.len() {
            top_members(&json[..cut], |_, _| {});
        }
    }

    #[test]
    fn characters_are_counted_as_they_read() {
        for text in ["", "plain", "é漢\u{2028}", "a\nb\"c\\", "\u{1}"] {
            let written = serde_json::to_string(text).expect("JSON");
            let inner = &written.as_bytes()[1..written.len() - 1];
            assert_eq!(chars(inner), text.chars().count() as u64, "{text:?}");
        }
        assert_eq!(chars(b"\\u00e9\\"), 2);
        assert_eq!((number(b"12}"), number(b"x")), (Some(12), None));
    }
}
