//! YAML in and out. The only place that knows which YAML library is used.
//!
//! Reading gives JSON values, as an API server sees them: one per document, with the line it starts at. Documents that
//! hold nothing but comments are left out. A key that is written twice, a custom tag or a number that JSON does not have
//! is an error, never a silent choice. Merge keys (`<<`) are applied; numbers and booleans as keys become text, as with
//! kubectl. Each document is parsed on its own, so an error in one leaves the others readable.

use serde::Serialize;
use serde_json::{Map, Number, Value};
use serde_yaml::Value as Yaml;

/// One document of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its place among the file's non-empty documents, from 1.
    pub index: usize,
    /// The line it starts at, from 1.
    pub line: usize,
    /// What it says.
    pub value: Value,
}

/// A document that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} (document {index}): {message}")]
pub struct ReadError {
    /// Place of the document among the file's non-empty documents, from 1.
    pub index: usize,
    /// The line to look at, from 1: where the parser stopped, else where the document starts.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// A value that YAML cannot express.
#[derive(Debug, thiserror::Error)]
#[error("cannot be written as YAML: {0}")]
pub struct WriteError(String);

/// Every document of a text, each readable or not.
pub fn read_each(text: &str) -> Vec<Result<Document, ReadError>> {
    let mut found = Vec::new();
    for (line, part) in documents(text) {
        let index = found.len() + 1;
        match read_one(part) {
            Ok(Value::Null) => {}
            Ok(value) => found.push(Ok(Document { index, line, value })),
            Err((inner, message)) => found.push(Err(ReadError {
                index,
                line: line + inner,
                message,
            })),
        }
    }
    found
}

/// Every document of a text.
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
    serde_yaml::to_string(value).map_err(|error| WriteError(error.to_string()))
}

impl From<serde_json::Error> for WriteError {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

/// Splits at lines that start with `---`, which YAML allows nowhere inside a document, not even in quoted text.
/// What precedes the first mark (comments, directives) belongs to the document that the mark opens.
fn documents(text: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut start_line, mut offset, mut empty) = (0, 1, 0, true);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let rest = line.strip_prefix("---");
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n'])) && !empty {
            parts.push((start_line, text.get(start..offset).unwrap_or_default()));
            (start, start_line, empty) = (offset, number + 1, true);
        }
        let content = line.trim();
        if !(content.is_empty() || content == "---" || content.starts_with(['#', '%'])) {
            if empty && rest.is_none() {
                start_line = start_line.max(number + 1);
            }
            empty = false;
        }
        offset += line.len();
    }
    parts.push((start_line, text.get(start..).unwrap_or_default()));
    parts
}

type Problem = (usize, String);

fn read_one(part: &str) -> Result<Value, Problem> {
    let located = |error: serde_yaml::Error| {
        let line = error.location().map_or(0, |place| place.line().saturating_sub(1));
        (line, error.to_string())
    };
    let mut yaml: Yaml = serde_yaml::from_str(part).map_err(located)?;
    yaml.apply_merge().map_err(located)?;
    json(yaml).map_err(|message| (0, message))
}

fn json(yaml: Yaml) -> Result<Value, String> {
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(it) => Value::Bool(it),
        Yaml::Number(it) => Value::Number(number(&it)?),
        Yaml::String(it) => Value::String(it),
        Yaml::Sequence(items) => Value::Array(items.into_iter().map(json).collect::<Result<_, _>>()?),
        Yaml::Mapping(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                let key = self::key(key)?;
                let value = json(value)?;
                if map.insert(key.clone(), value).is_some() {
                    return Err(format!("key {key:?} is written twice"));
                }
            }
            Value::Object(map)
        }
        Yaml::Tagged(it) => return Err(format!("tag {} has no meaning here", it.tag)),
    })
}

fn number(yaml: &serde_yaml::Number) -> Result<Number, String> {
    let whole = yaml
        .as_u64()
        .map(Number::from)
        .or_else(|| yaml.as_i64().map(Number::from));
    whole
        .or_else(|| yaml.as_f64().and_then(Number::from_f64))
        .ok_or_else(|| format!("{yaml} is not a number in JSON"))
}

fn key(yaml: Yaml) -> Result<String, String> {
    match yaml {
        Yaml::String(text) => Ok(text),
        Yaml::Number(number) => Ok(number.to_string()),
        Yaml::Bool(flag) => Ok(flag.to_string()),
        Yaml::Null | Yaml::Sequence(_) | Yaml::Mapping(_) | Yaml::Tagged(_) => Err("a key must be text".to_owned()),
    }
}
