use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;

fn fault(body: &str) -> NotJson {
    Scan::read(body.as_bytes()).expect_err(body)
}

#[test]
fn faults_are_named_with_their_place() {
    let cases = [
        ("", 0, Fault::End),
        ("[1]", 0, Fault::Object),
        ("{", 1, Fault::End),
        ("{\"a\":1,}", 7, Fault::Name),
        ("{a:1}", 1, Fault::Name),
        ("{\"a\" 1}", 5, Fault::Colon),
        ("{\"a\":}", 5, Fault::Value),
        ("{\"a\":tru}", 8, Fault::Value),
        ("{\"a\":[1 2]}", 8, Fault::Separator),
        ("{\"a\":[1,]}", 8, Fault::Value),
        ("{\"a\":01}", 6, Fault::Separator),
        ("{\"a\":1.}", 7, Fault::Number),
        ("{\"a\":-}", 6, Fault::Number),
        ("{\"a\":\"\\x\"}", 7, Fault::Escape),
        ("{\"a\":\"\\u12g4\"}", 10, Fault::Escape),
        ("{\"a\":\"x\ny\"}", 7, Fault::Control),
        ("{\"a\":1} {", 8, Fault::Trailing),
        ("{\"a\":\"x", 7, Fault::End),
    ];
    for (body, position, expected) in cases {
        assert_eq!(fault(body), NotJson { position, fault: expected }, "{body}");
    }
    let invalid = Scan::read(b"{\"a\":\"\xff\"}").expect_err("not UTF-8");
    assert_eq!(invalid, NotJson { position: 6, fault: Fault::Utf8 });
}

#[test]
fn depth_is_capped_where_serde_json_caps_it() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    let deepest = nested(MAX_DEPTH);
    assert!(Scan::read(deepest.as_bytes()).is_ok());
    assert!(serde_json::from_str::<serde_json::Value>(&deepest).is_ok());
    let deeper = nested(MAX_DEPTH + 1);
    assert_eq!(fault(&deeper).fault, Fault::Depth);
    assert!(serde_json::from_str::<serde_json::Value>(&deeper).is_err());
}

#[test]
fn names_are_compared_as_they_read() {
    let body = br#"{"mod\u0065l":"a","x":{"model":"b"},"n":3,"s":"\"q\"","f":1.0}"#;
    let scan = Scan::read(body).expect("valid");
    let text = |name| scan.last(body, name).and_then(|value| value.text(body)).map(Cow::into_owned);
    assert_eq!(text("model").as_deref(), Some("a"));
    assert_eq!(text("s").as_deref(), Some("\"q\""));
    assert_eq!(scan.last(body, "n").and_then(|value| value.count(body)), Some(3));
    assert_eq!(scan.last(body, "f").and_then(|value| value.count(body)), None);
    let inner = scan.last(body, "x").and_then(|value| value.member(body, "model")).expect("inner");
    assert_eq!(inner.text(body).as_deref(), Some("b"));
}

#[test]
fn repetition_is_seen_through_escapes() {
    let body = br#"{"model":"a","\u006dodel":"b"}"#;
    let scan = Scan::read(body).expect("valid");
    assert_eq!(scan.once(body, "model"), Err(Repeated("model")));
    assert_eq!(scan.once(body, "other"), Ok(None));
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<i32>().prop_map(|number| (f64::from(number) / 8.0).into()),
        ".{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::btree_map(".{0,6}", inner, 0..5)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = serde_json::Map<String, serde_json::Value>> {
    prop::collection::btree_map(".{0,6}", json(), 0..6).prop_map(|map| map.into_iter().collect())
}

proptest! {
    #[test]
    fn spans_are_the_values(map in object(), pretty: bool) {
        let value = serde_json::Value::Object(map.clone());
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.expect("text");
        let scan = Scan::read(text.as_bytes()).expect("valid");
        prop_assert_eq!(scan.members().len(), map.len());
        for (name, expected) in &map {
            let found = scan.last(text.as_bytes(), name).expect("present");
            let read: serde_json::Value = serde_json::from_slice(found.bytes(text.as_bytes())).expect("a value");
            prop_assert_eq!(&read, expected);
        }
    }

    #[test]
    fn agrees_with_serde_json_on_what_is_json(map in object(), at in any::<prop::sample::Index>(), byte in "[\\[\\]{}\",:0-9.eE+\\\\ntu\u{1}x -]") {
        let mut text = serde_json::to_string(&map).expect("text");
        let chars: Vec<usize> = text.char_indices().map(|(place, _)| place).collect();
        let place = chars[at.index(chars.len())];
        let old = text[place..].chars().next().expect("a character").len_utf8();
        text.replace_range(place..place + old, &byte);
        let theirs = serde_json::from_str::<&RawValue>(&text).is_ok_and(|raw| raw.get().starts_with('{'));
        prop_assert_eq!(Scan::read(text.as_bytes()).is_ok(), theirs, "{}", text);
    }
}
