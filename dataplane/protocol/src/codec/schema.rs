//! JSON Schema for targets that take only a part of it (protocols 2.2, rows "schema subset").
//!
//! Three conversions: to the OpenAPI subset of Gemini's `parameters`, to what Anthropic's constrained decoding takes, and
//! ([`openai`]) to what OpenAI demands of a schema. The first two keep what they cannot say as words in `description`, so the model still reads the constraint. Keywords are only
//! looked for where a schema stands: a *property* called `default` or `const` is never touched (hard case 184), nor is
//! the inside of `enum`, `default` or `examples`. Member order and number spelling survive. References are inlined to a
//! bounded depth and size; what lies deeper becomes an open schema, so that a circular schema ends (hard case 185).
//! A schema that is no JSON object is given back unchanged: the upstream says what is wrong with it.

mod convert;
pub mod openai;
mod tree;

use serde_json::value::RawValue;

use crate::ir::Raw;
use convert::Converter;
use tree::Node;

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

/// The subset that Gemini's `parameters` and `responseSchema` take.
pub fn for_gemini(schema: &RawValue) -> Converted {
    convert(schema, convert::GEMINI)
}

/// The subset that Anthropic takes for `strict` tools and `output_config.format`.
pub fn for_anthropic(schema: &RawValue) -> Converted {
    convert(schema, convert::ANTHROPIC)
}

/// A schema that says `"type": "object"` at its root, as Anthropic demands of every tool. Other members are kept as they
/// are.
pub fn as_object(schema: &RawValue) -> Raw {
    match tree::parse(schema) {
        Node::Object(mut members) if !members.iter().any(|(name, _)| name == "type") => {
            members.insert(0, ("type".to_owned(), Node::text("object")));
            Node::Object(members).into_raw().unwrap_or_else(|| schema.to_owned())
        }
        _ => schema.to_owned(),
    }
}

/// A schema with these words about it, unless it has its own: dialects without a member for them say them here.
pub fn described(schema: &RawValue, description: Option<&str>) -> Raw {
    let (Some(words), Node::Object(mut members)) = (description, tree::parse(schema)) else {
        return schema.to_owned();
    };
    if members.iter().any(|(name, _)| name == "description") {
        return schema.to_owned();
    }
    members.push(("description".to_owned(), Node::text(words)));
    Node::Object(members).into_raw().unwrap_or_else(|| schema.to_owned())
}

fn convert(schema: &RawValue, dialect: convert::Dialect) -> Converted {
    let root = tree::parse(schema);
    if !matches!(root, Node::Object(_)) {
        return Converted { schema: schema.to_owned(), weakened: false };
    }
    let mut converter = Converter::new(&root, dialect);
    let converted = converter.schema(&root, 0);
    Converted { weakened: converter.weakened(), schema: converted.into_raw().unwrap_or_else(|| schema.to_owned()) }
}

#[cfg(test)]
mod tests;
