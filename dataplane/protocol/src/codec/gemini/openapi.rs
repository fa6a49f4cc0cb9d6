//! Gemini's `Schema` (an OpenAPI subset in protobuf JSON) as the JSON Schema that every other dialect takes.
//!
//! Types become lower case, `nullable` becomes a type, 64-bit counts lose their quotes. Names of properties are data and
//! stay as they are, and so does everything inside `enum`, `default` and `example`. Levels beyond the bound are kept
//! unconverted, and the whole is read once.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{
    codec::{
        Malformed,
        json::read::{camel, malformed},
        schema::tree::{self, Node, Tree, Value},
    },
    ir::Raw,
};

/// The schema as JSON Schema; unchanged if it is no object.
///
/// # Errors
/// When it is too large to be converted.
pub fn to_json_schema(schema: &RawValue) -> Result<Raw, Malformed> {
    let root = tree::parse(schema).map_err(|_| malformed("is too large"))?;
    Ok(convert(root).into_raw().unwrap_or_else(|| schema.to_owned()))
}

fn convert(schema: Tree<'_>) -> Node<'_> {
    let Value::Object(members) = schema.value else { return as_it_is(&schema) };
    let nullable = members.iter().any(|(name, value)| name == "nullable" && value.text == "true");
    let mut out = Vec::new();
    for (name, value) in members.into_members() {
        let name = if name.contains('_') { Cow::Owned(camel(&name)) } else { name };
        let value = match name.as_ref() {
            "type" => match kind(&value, nullable) {
                Some(kind) => kind,
                None => continue,
            },
            "properties" | "$defs" | "defs" => properties(value),
            "items" | "additionalProperties" => convert(value),
            "anyOf" | "oneOf" | "allOf" | "prefixItems" => list(value),
            "minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties" => {
                Node::Leaf(Cow::Borrowed(value.text.trim_matches('"')))
            }
            // An order of generation, which only Google has.
            "nullable" | "propertyOrdering" => continue,
            "format" if value.text == "\"enum\"" => continue,
            _ => as_it_is(&value),
        };
        out.push((name, value));
    }
    Node::Object(out)
}

fn as_it_is<'a>(value: &Tree<'a>) -> Node<'a> {
    Node::Leaf(Cow::Borrowed(value.text))
}

fn kind<'a>(value: &Tree<'a>, nullable: bool) -> Option<Node<'a>> {
    match value.as_text() {
        Some(word) if nullable => {
            Some(Node::Array(vec![Node::text(&word.to_ascii_lowercase()), Node::word("\"null\"")]))
        }
        Some(word) if word == "TYPE_UNSPECIFIED" => None,
        Some(word) => Some(Node::text(&word.to_ascii_lowercase())),
        None => Some(as_it_is(value)),
    }
}

fn properties(value: Tree<'_>) -> Node<'_> {
    match value.value {
        Value::Object(properties) => {
            Node::Object(properties.into_members().map(|(name, schema)| (name, convert(schema))).collect())
        }
        Value::Array(_) | Value::Leaf => as_it_is(&value),
    }
}

fn list(value: Tree<'_>) -> Node<'_> {
    match value.value {
        Value::Array(schemas) => Node::Array(schemas.into_iter().map(convert).collect()),
        Value::Object(_) | Value::Leaf => as_it_is(&value),
    }
}

#[cfg(test)]
mod tests {
    use super::to_json_schema;

    #[test]
    fn types_and_nullables() {
        let raw: Box<serde_json::value::RawValue> = serde_json::from_str(
            r#"{"type":"OBJECT","properties":{"type":{"type":"STRING","nullable":true,"min_length":"0"},
                "any_of":{"type":"ARRAY","items":{"type":"INTEGER","default":null,"enum":["STRING"]}}},
                "propertyOrdering":["type"],"required":["type"]}"#,
        )
        .unwrap();
        let expected = concat!(
            r#"{"type":"object","properties":{"type":{"type":["string","null"],"minLength":0},"#,
            r#""any_of":{"type":"array","items":{"type":"integer","default":null,"enum":["STRING"]}}},"#,
            r#""required":["type"]}"#,
        );
        assert_eq!(to_json_schema(&raw).unwrap().get(), expected);
    }
}
