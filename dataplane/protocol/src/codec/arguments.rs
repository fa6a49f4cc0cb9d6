//! A call's arguments where the target demands a JSON object (docs/protocols/mapping.md).

use serde_json::{StreamDeserializer, value::RawValue};

use crate::codec::{block_sequencer::MAX_GLUED, json::write};

/// The member that keeps what is no object.
const WRAPPER: &str = "_raw";
/// An object without members.
const EMPTY: &str = "{}";

/// Arguments as an object.
#[derive(Debug)]
pub struct Object {
    /// JSON text of an object.
    pub json: String,
    /// Whether the model's text was no object and stands in a wrapper now.
    pub wrapped: bool,
}

/// Arguments as one object: nothing is `{}`, an object is itself byte for byte, anything else keeps its value (or, if it
/// is no JSON at all, its text) under `_raw`.
pub fn as_object(arguments: &str) -> Object {
    let text = arguments.trim();
    if text.is_empty() {
        return Object { json: EMPTY.to_owned(), wrapped: false };
    }
    match serde_json::from_str::<&RawValue>(text) {
        Ok(value) if value.get().starts_with('{') => Object { json: value.get().to_owned(), wrapped: false },
        Ok(value) => match inside(value) {
            // Some models write the object into a string once more.
            Some(json) => Object { json, wrapped: false },
            None => Object { json: write::text(|o| o.put_json(WRAPPER, value.get())), wrapped: true },
        },
        Err(_) => Object { json: write::text(|o| o.put(WRAPPER, arguments)), wrapped: true },
    }
}

/// The object that a JSON string holds; none if it holds something else.
fn inside(value: &RawValue) -> Option<String> {
    let text: String = serde_json::from_str(value.get()).ok()?;
    let object = serde_json::from_str::<&RawValue>(text.trim()).ok()?;
    object.get().starts_with('{').then(|| object.get().to_owned())
}

/// Arguments that some model or server wrote into a JSON string once more, as the object they are; others as they are.
pub fn unquoted(arguments: String) -> String {
    if !arguments.trim_start().starts_with('"') {
        return arguments;
    }
    let object = serde_json::from_str::<&RawValue>(arguments.trim()).ok().and_then(inside);
    object.unwrap_or(arguments)
}

/// Arguments as one object each, where a model glued some together (hard case 174); else as [`as_object`].
pub fn as_objects(arguments: &str) -> Vec<Object> {
    let values: StreamDeserializer<'_, _, &RawValue> = serde_json::Deserializer::from_str(arguments).into_iter();
    match values.take(MAX_GLUED.saturating_add(1)).collect::<Result<Vec<_>, _>>() {
        Ok(values)
            if (2..=MAX_GLUED).contains(&values.len()) && values.iter().all(|value| value.get().starts_with('{')) =>
        {
            values.iter().map(|value| as_object(value.get())).collect()
        }
        _ => vec![as_object(arguments)],
    }
}

#[cfg(test)]
mod tests {
    use super::{as_object, as_objects, unquoted};

    #[test]
    fn only_a_quoted_object_is_unquoted() {
        let rows = [
            (r#""{\"a\":1}""#, r#"{"a":1}"#),
            (r#" "{\"a\":\"b\"}" "#, r#"{"a":"b"}"#),
            (r#""text""#, r#""text""#),
            (r#""{\"a\":""#, r#""{\"a\":""#),
            (r#"{"a":"\"x\""}"#, r#"{"a":"\"x\""}"#),
            ("", ""),
        ];
        for (written, meant) in rows {
            assert_eq!(unquoted(written.to_owned()), meant);
        }
    }

    #[test]
    fn always_an_object() {
        let rows = [
            ("", "{}", false),
            (" \n", "{}", false),
            (r#" {"n":0,"b":false,"s":"","f":1.0} "#, r#"{"n":0,"b":false,"s":"","f":1.0}"#, false), // hard case 14
            (r#""text""#, r#"{"_raw":"text"}"#, true),                                               // hard case 175
            (r#""{\"a\":1}""#, r#"{"a":1}"#, false),
            ("null", r#"{"_raw":null}"#, true),
            ("[1]", r#"{"_raw":[1]}"#, true),
            (r#"{"a":"#, r#"{"_raw":"{\"a\":"}"#, true),
            (r#"{"a":1}{"a":2}"#, r#"{"_raw":"{\"a\":1}{\"a\":2}"}"#, true), // hard case 174
        ];
        for (arguments, json, wrapped) in rows {
            let object = as_object(arguments);
            assert_eq!((object.json.as_str(), object.wrapped), (json, wrapped), "{arguments}");
        }
    }

    #[test]
    fn hard_case_174_glued_objects_are_several_calls() {
        let texts = |arguments: &str| as_objects(arguments).into_iter().map(|object| object.json).collect::<Vec<_>>();
        assert_eq!(texts(r#"{"a":1} {"a":2}"#), [r#"{"a":1}"#, r#"{"a":2}"#]);
        assert_eq!(texts(r#"{"a":1}"#), [r#"{"a":1}"#]);
        assert_eq!(texts("1 2"), [r#"{"_raw":"1 2"}"#]);
        assert_eq!(texts(""), ["{}"]);
    }
}
