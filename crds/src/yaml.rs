//! Reads and writes YAML. The only file that uses the YAML library.
//!
//! Reading gives JSON values, as an API server sees them: one per document, with the line it starts at. Documents that
//! contain only comments are skipped. A duplicate key, a custom tag or a number that JSON does not have is an error. Merge keys (`<<`) are applied; numbers and booleans as keys become text, as with
//! kubectl. Each document is parsed on its own, so an error in one leaves the others readable.

use serde::Serialize;
use serde_json::{Map, Number, Value};
use serde_yaml::Value as Yaml;

/// One document of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Number among the file's non-empty documents, from 1.
    pub index: usize,
    /// First line with content, from 1.
    pub line: usize,
    /// Content as JSON.
    pub value: Value,
}

/// A document that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} (document {index}): {message}")]
pub struct ReadError {
    /// Number of the document among the file's non-empty documents, from 1.
    pub index: usize,
    /// Line of the error, from 1: where the parser stopped, or else where the document starts.
    pub line: usize,
    /// Description of the error, without its position.
    pub message: String,
}

/// A value that has no form in YAML, such as a map with a map as key.
#[derive(Debug, thiserror::Error)]
#[error("cannot be written as YAML: {0}")]
pub struct WriteError(String);

/// All documents of a text; an error in one does not affect the others.
pub fn read_each(text: &str) -> Vec<Result<Document, ReadError>> {
    let mut found = Vec::new();
    for part in parts(text) {
        let index = found.len() + 1;
        match read_one(part.text) {
            Ok(Value::Null) => {}
            Ok(value) => found.push(Ok(Document { index, line: part.content_line, value })),
            Err((place, message)) => {
                let line = place.map_or(part.content_line, |inner| part.line + inner);
                found.push(Err(ReadError { index, line, message }));
            }
        }
    }
    found
}

/// All documents of a text.
///
/// # Errors
/// The first document that cannot be read.
pub fn read(text: &str) -> Result<Vec<Document>, ReadError> {
    read_each(text).into_iter().collect()
}

/// A value as one YAML document, with a final newline and without `---`.
///
/// # Errors
/// For values that YAML has no form for, such as maps with maps as keys.
pub fn write<T: Serialize>(value: &T) -> Result<String, WriteError> {
    // By way of JSON: an enum with content becomes a map, not a `!tag` that only this library reads.
    let value = serde_json::to_value(value)?;
    serde_yaml::to_string(&value).map_err(|error| WriteError(error.to_string()))
}

impl From<serde_json::Error> for WriteError {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

/// The part of a text that is one document.
struct Part<'a> {
    text: &'a str,
    /// Where it starts, from 1.
    line: usize,
    /// First line that is neither empty nor a comment nor a separator.
    content_line: usize,
}

/// Splits at lines that start with `---`, which YAML does not allow inside a document, not even in quoted text.
/// Comments and directives before the first separator belong to the document after it.
fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let (mut start, mut line, mut content_line, mut marked, mut offset) = (0, 1, None, false, 0);
    for (number, written) in (1..).zip(text.split_inclusive('\n')) {
        let after_mark =
            written.strip_prefix("---").filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if after_mark.is_some() {
            if marked || content_line.is_some() {
                let text = text.get(start..offset).unwrap_or_default();
                parts.push(Part { text, line, content_line: content_line.unwrap_or(line) });
                (start, line, content_line) = (offset, number, None);
            }
            marked = true;
        }
        let content = after_mark.unwrap_or(written).trim();
        if content_line.is_none() && !content.is_empty() && !content.starts_with(['#', '%']) {
            content_line = Some(number);
        }
        offset += written.len();
    }
    let text = text.get(start..).unwrap_or_default();
    parts.push(Part { text, line, content_line: content_line.unwrap_or(line) });
    parts
}

/// Line, counted from 0 within the part, if the parser knows it; and message.
type LocatedError = (Option<usize>, String);

fn read_one(part: &str) -> Result<Value, LocatedError> {
    let located = |error: serde_yaml::Error| {
        let place = error.location();
        let mut message = error.to_string();
        // The position within the part would mislead beside the line in the file.
        if let Some(place) = &place {
            message = message.replace(&format!(" at line {} column {}", place.line(), place.column()), "");
        }
        (place.map(|place| place.line().saturating_sub(1)), message)
    };
    let mut yaml: Yaml = serde_yaml::from_str(part).map_err(located)?;
    yaml.apply_merge().map_err(located)?;
    json(yaml).map_err(|message| (None, message))
}

fn json(yaml: Yaml) -> Result<Value, String> {
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(flag) => Value::Bool(flag),
        Yaml::Number(value) => Value::Number(number(&value)?),
        Yaml::String(text) => Value::String(text),
        Yaml::Sequence(items) => Value::Array(items.into_iter().map(json).collect::<Result<_, _>>()?),
        Yaml::Mapping(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                let key = self::key(key)?;
                let value = json(value)?;
                if map.insert(key.clone(), value).is_some() {
                    return Err(format!("key {key:?} is a duplicate"));
                }
            }
            Value::Object(map)
        }
        Yaml::Tagged(tagged) => return Err(format!("tag {} is not supported", tagged.tag)),
    })
}

fn number(yaml: &serde_yaml::Number) -> Result<Number, String> {
    let whole = yaml.as_u64().map(Number::from).or_else(|| yaml.as_i64().map(Number::from));
    whole
        .or_else(|| yaml.as_f64().and_then(Number::from_f64))
        .ok_or_else(|| format!("{yaml} is not a number that JSON supports"))
}

fn key(yaml: Yaml) -> Result<String, String> {
    match yaml {
        Yaml::String(text) => Ok(text),
        Yaml::Number(number) => Ok(number.to_string()),
        Yaml::Bool(flag) => Ok(flag.to_string()),
        Yaml::Null | Yaml::Sequence(_) | Yaml::Mapping(_) | Yaml::Tagged(_) => Err("a key must be a string".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values(text: &str) -> Vec<(usize, usize, Value)> {
        read(text).unwrap().into_iter().map(|document| (document.index, document.line, document.value)).collect()
    }

    #[test]
    fn finds_documents_and_their_lines() {
        let text = "# first\n\na: 1\n---\n# only a comment\n---\n\n# why\nb: |\n  --- no mark\n--- {c: [2, x]}\n";
        let expected =
            vec![(1, 3, json!({"a": 1})), (2, 9, json!({"b": "--- no mark\n"})), (3, 11, json!({"c": [2, "x"]}))];
        assert_eq!(values(text), expected);
        assert_eq!(values("---\r\na: 1\r\n---\r\n"), vec![(1, 2, json!({"a": 1}))]);
        assert_eq!(values("%YAML 1.2\n---\na: 1\n...\n"), vec![(1, 3, json!({"a": 1}))]);
        assert!(values("").is_empty() && values("---\n---\n# nothing\n").is_empty());
    }

    #[test]
    fn json_is_read_too_and_numbers_stay_exact() {
        let text = "{\n\t\"a\": 9007199254740993, \"b\": -1, \"c\": 0.5, \"d\": null, \"e\": false, \"f\": 18446744073709551615}";
        let expected = json!({"a": 9_007_199_254_740_993_u64, "b": -1, "c": 0.5, "d": null, "e": false, "f": u64::MAX});
        assert_eq!(values(text), vec![(1, 1, expected)]);
    }

    #[test]
    fn merge_keys_apply_and_keys_become_text() {
        let text = "base: &b {x: 1, y: 2}\nit: {<<: *b, y: 3}\n1: one\ntrue: yes\n";
        let expected = json!({"base": {"x": 1, "y": 2}, "it": {"x": 1, "y": 3}, "1": "one", "true": "yes"});
        assert_eq!(values(text), vec![(1, 1, expected)]);
    }

    #[test]
    fn an_error_names_its_line_and_leaves_other_documents_alone() {
        let read = read_each("a: 1\n---\nb: 1\nb: 2\n---\nc: [\n---\nd: 4\n");
        assert_eq!(read.len(), 4);
        let error = |index: usize| read[index].as_ref().unwrap_err();
        assert!(error(1).message.contains("duplicate"), "{}", error(1));
        assert_eq!((error(1).index, error(1).line), (2, 3));
        assert!(!error(1).message.contains("line"), "{}", error(1));
        assert_eq!(error(2).index, 3);
        assert!((6..=7).contains(&error(2).line), "{}", error(2));
        assert_eq!(read[3].as_ref().unwrap().value, json!({"d": 4}));
        for (text, word) in
            [("a: !secret x", "tag"), ("a: .nan", "number"), ("1: a\n'1': b", "duplicate"), ("? [a]\n: b", "key")]
        {
            let error = super::read(text).unwrap_err();
            assert!(error.message.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn values_are_read_back_as_written() {
        let value = json!({"on": "no", "empty": "", "text": "a\nb\n", "list": [1, null, {"k": "true"}]});
        assert_eq!(values(&write(&value).unwrap()), vec![(1, 1, value)]);
    }
}
