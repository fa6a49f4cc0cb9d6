//! JSON manifests: one object, or several one after the other as `jq` and `kubectl get -o json` print them. YAML readers
//! take the first for YAML and fail at the second.

use std::fmt;

use routeapi_crds::yaml::{Document, ReadError};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// The objects of a text that is JSON from beginning to end. None for a text that does not begin as JSON or is not JSON
/// throughout, unless `only` says that it can be nothing else: then the error is told after what could be read.
pub fn read_each(text: &str, only: bool) -> Option<Vec<Result<Document, ReadError>>> {
    if !only && !text.trim_start().starts_with('{') {
        return None;
    }
    let mut found = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Strict>();
    loop {
        let before = stream.byte_offset();
        let index = found.len() + 1;
        match stream.next() {
            None => return Some(found),
            Some(Ok(Strict(value))) => found.push(Ok(Document { index, line: line(text, before), value })),
            Some(Err(error)) if only => {
                let message = error.to_string();
                let message = message.split(" at line ").next().unwrap_or_default().to_owned();
                // What comes inside a later object is counted from the beginning of the text.
                found.push(Err(ReadError { index, line: error.line().max(1), message }));
                return Some(found);
            }
            Some(Err(_)) => return None,
        }
    }
}

/// The line, from 1, of the first character after `offset` that is no white space.
fn line(text: &str, offset: usize) -> usize {
    let rest = text.get(offset..).unwrap_or_default();
    let start = offset + (rest.len() - rest.trim_start().len());
    1 + memchr::memchr_iter(b'\n', text.as_bytes().get(..start).unwrap_or_default()).count()
}

/// A value in which no member stands twice: an error, never a silent choice, as with YAML.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, it: bool) -> Result<Value, E> {
        Ok(it.into())
    }

    fn visit_u64<E>(self, it: u64) -> Result<Value, E> {
        Ok(it.into())
    }

    fn visit_i64<E>(self, it: i64) -> Result<Value, E> {
        Ok(it.into())
    }

    fn visit_f64<E: Error>(self, it: f64) -> Result<Value, E> {
        Number::from_f64(it).map(Value::Number).ok_or_else(|| E::custom("a number that JSON does not have"))
    }

    fn visit_str<E>(self, it: &str) -> Result<Value, E> {
        Ok(it.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((name, Strict(value))) = members.next_entry::<String, Strict>()? {
            if map.contains_key(&name) {
                return Err(A::Error::custom(format!("duplicate entry with key {name:?}")));
            }
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn concatenated_json_objects_keep_their_lines() {
        let text = "\n{\"a\": 1,\n \"s\": \"\\ud83d\\ude00\\/\"}\n\n{\"b\": [null, true, -1, 1.5]} {\"c\": {}}\n";
        let found: Vec<Document> = read_each(text, false).unwrap().into_iter().map(Result::unwrap).collect();
        let told: Vec<_> = found.iter().map(|it| (it.index, it.line, it.value.clone())).collect();
        assert_eq!(
            told,
            [
                (1, 2, json!({"a": 1, "s": "\u{1f600}/"})),
                (2, 5, json!({"b": [null, true, -1, 1.5]})),
                (3, 5, json!({"c": {}})),
            ]
        );
    }

    #[test]
    fn non_json_falls_back_to_yaml() {
        for text in ["", "a: 1", "{a: 1}", "{\"a\": 1}\n---\n{\"b\": 2}\n", "# {\n{\"a\": 1}"] {
            assert!(read_each(text, false).is_none_or(|found| found.is_empty()), "{text}");
        }
        let found = read_each("{\"a\": 1}\n{\"b\": }\n", true).unwrap();
        assert!(found[0].is_ok());
        let error = found[1].as_ref().unwrap_err();
        assert_eq!((error.index, error.line, error.message.as_str()), (2, 2, "expected value"));
    }

    #[test]
    fn duplicate_member_is_an_error() {
        let found = read_each("{\"a\": {\"b\": 1, \"b\": 2}}", true).unwrap();
        assert_eq!(found[0].as_ref().unwrap_err().message, "duplicate entry with key \"b\"");
    }
}
