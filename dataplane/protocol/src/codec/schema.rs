//! JSON Schema for targets that take only a part of it (docs/protocols/mapping.md#json-schema).
//!
//! Three conversions: to the OpenAPI subset of Gemini's `parameters`, to what Anthropic's constrained decoding takes, and
//! ([`openai`]) to what OpenAI demands of a schema. The first two keep what they cannot say as words in `description`, so the model still reads the constraint. Keywords are only
//! looked for where a schema stands: a *property* called `default` or `const` is never touched (hard case 184), nor is
//! the inside of `enum`, `default` or `examples`. Member order and number spelling survive. References are inlined to a
//! bounded depth and number; what lies deeper becomes an open schema, so that a circular schema ends (hard case 185). A
//! schema that becomes larger than it may, in bytes, is not converted at all.
//! A schema that is no JSON object is given back unchanged: the upstream says what is wrong with it.

mod convert;
mod drafts;
pub mod openai;
pub mod tree;

use std::borrow::Cow;

use serde::{
    Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::ir::Raw;
use convert::Converter;
use tree::Value;

pub use drafts::modern;
pub use tree::TooLarge;

/// The schema of a tool that states none.
pub const EMPTY_OBJECT: &str = r#"{"type":"object","properties":{}}"#;

/// A converted schema.
#[derive(Debug)]
pub struct Converted {
    /// As it can be sent.
    pub schema: Raw,
    /// Whether some constraint is no longer enforced (it may still stand in a description).
    pub weakened: bool,
}

/// The subset that Gemini's `parameters` and `responseSchema` take, in at most `most` bytes.
///
/// # Errors
/// When it becomes larger.
pub fn for_gemini(schema: &RawValue, most: usize) -> Result<Converted, TooLarge> {
    convert(schema, convert::GEMINI, most)
}

/// The subset that Anthropic takes for `strict` tools and `output_config.format`, in at most `most` bytes.
///
/// # Errors
/// When it becomes larger.
pub fn for_anthropic(schema: &RawValue, most: usize) -> Result<Converted, TooLarge> {
    convert(schema, convert::ANTHROPIC, most)
}

/// A schema that says `"type": "object"` at its root, as Anthropic demands of every tool. Everything else stays as it is.
pub fn as_object(schema: &RawValue) -> Cow<'_, str> {
    let text = schema.get();
    match (text.strip_prefix('{').map(str::trim_start), has_member(text, "type")) {
        (Some("}"), false) => r#"{"type":"object"}"#.into(),
        (Some(members), false) => format!(r#"{{"type":"object",{members}"#).into(),
        _ => text.into(),
    }
}

/// Whether an object has a member of this name.
fn has_member(text: &str, name: &str) -> bool {
    struct Named<'n>(&'n str);
    impl<'de> Visitor<'de> for Named<'_> {
        type Value = bool;

        fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            out.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
            let mut found = false;
            while let Some((name, _)) = map.next_entry::<Cow<'_, str>, IgnoredAny>()? {
                found |= name == self.0;
            }
            Ok(found)
        }
    }
    serde_json::Deserializer::from_str(text).deserialize_map(Named(name)).unwrap_or(false)
}

/// A schema with these words about it, unless it has its own: dialects without a member for them say them here.
pub fn described(schema: &RawValue, description: Option<&str>) -> Raw {
    let text = schema.get();
    let (Some(words), Some(members)) = (description, text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')))
    else {
        return schema.to_owned();
    };
    if has_member(text, "description") {
        return schema.to_owned();
    }
    let comma = if members.trim().is_empty() { "" } else { "," };
    let words = serde_json::Value::from(words);
    let described = format!(r#"{{{members}{comma}"description":{words}}}"#);
    RawValue::from_string(described).unwrap_or_else(|_| schema.to_owned())
}

fn convert(schema: &RawValue, dialect: convert::Dialect, most: usize) -> Result<Converted, TooLarge> {
    let root = tree::parse(schema)?;
    if !matches!(root.value, Value::Object(_)) {
        return Ok(Converted { schema: schema.to_owned(), weakened: false });
    }
    let mut converter = Converter::new(&root, dialect, most);
    let converted = converter.schema(&root, 0)?;
    let weakened = converter.weakened();
    Ok(Converted { schema: converted.into_raw().unwrap_or_else(|| schema.to_owned()), weakened })
}

#[cfg(test)]
mod tests;
