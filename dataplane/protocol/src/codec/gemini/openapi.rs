//! Gemini's `Schema` (an OpenAPI subset in protobuf JSON) as the JSON Schema that every other dialect takes.
//!
//! Types become lower case, `nullable` becomes a type, 64-bit counts lose their quotes. Names of properties are data and
//! stay as they are, and so does everything inside `enum`, `default` and `example`. Levels beyond the bound are kept
//! unconverted.

use serde_json::value::RawValue;

use crate::{
    codec::json::{
        read::{Object, Spelling, read},
        write::{self, Members},
    },
    ir::Raw,
};

/// Deepest level that is converted.
const MAX_DEPTH: usize = 64;

/// The schema as JSON Schema; unchanged if it is no object.
pub fn to_json_schema(schema: &RawValue) -> Raw {
    RawValue::from_string(convert(schema, 0)).unwrap_or_else(|_| schema.to_owned())
}

fn convert(schema: &RawValue, depth: usize) -> String {
    let below = depth.saturating_add(1);
    match Object::from_raw(schema, Spelling::Proto) {
        Ok(members) if depth < MAX_DEPTH => write::text(|out| object(members, below, out)),
        _ => schema.get().to_owned(),
    }
}

fn object(mut schema: Object<'_>, depth: usize, out: &mut Members<'_>) {
    let nullable = schema.take::<bool>("nullable").ok().flatten() == Some(true);
    for (name, value) in schema.members() {
        match name.as_ref() {
            "type" => kind(value, nullable, out),
            "properties" | "$defs" | "defs" => properties(&name, value, depth, out),
            "items" | "additionalProperties" => out.put_json(&name, &convert(value, depth)),
            "anyOf" | "oneOf" | "allOf" | "prefixItems" => list(&name, value, depth, out),
            "minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties" => {
                out.put_json(&name, value.get().trim_matches('"'));
            }
            // An order of generation, which only Google has.
            "propertyOrdering" => {}
            "format" if value.get() == "\"enum\"" => {}
            _ => out.put(&name, value),
        }
    }
}

fn kind(value: &RawValue, nullable: bool, out: &mut Members<'_>) {
    match read::<String>(value) {
        Ok(word) if nullable => out.put("type", &[word.to_ascii_lowercase().as_str(), "null"]),
        Ok(word) if word == "TYPE_UNSPECIFIED" => {}
        Ok(word) => out.put("type", &word.to_ascii_lowercase()),
        Err(_) => out.put("type", value),
    }
}

fn properties(name: &str, value: &RawValue, depth: usize, out: &mut Members<'_>) {
    match Object::from_raw(value, Spelling::Exact) {
        Ok(properties) => out.object(name, |out| {
            for (property, schema) in properties.members() {
                out.put_json(&property, &convert(schema, depth));
            }
        }),
        Err(_) => out.put(name, value),
    }
}

fn list(name: &str, value: &RawValue, depth: usize, out: &mut Members<'_>) {
    match read::<Vec<&RawValue>>(value) {
        Ok(schemas) => out.list(name, |out| schemas.iter().for_each(|schema| out.put_json(&convert(schema, depth)))),
        Err(_) => out.put(name, value),
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
        assert_eq!(to_json_schema(&raw).get(), expected);
    }
}
