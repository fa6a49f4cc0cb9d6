//! Schemas that no vendor takes but their own: what older drafts of JSON Schema wrote otherwise, and what serialisers
//! write for absent members.
//!
//! Tool servers send `"required": null`, tuples as a list under `items`, `exclusiveMinimum: true` and types in upper case.
//! OpenAI and Anthropic check every schema against draft 2020-12 and refuse the whole request. What is legal already
//! stays byte for byte; what is repaired means the same as before.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::tree::{self, Node};
use crate::ir::Raw;

/// Keywords that may not be `null`; as values of a schema's own, `const` and `default` may.
const NEVER_NULL: [&str; 32] = [
    "$defs",
    "$id",
    "$ref",
    "$schema",
    "additionalProperties",
    "allOf",
    "anyOf",
    "definitions",
    "description",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "properties",
    "propertyNames",
    "required",
    "title",
    "type",
];

/// The schema as draft 2020-12 has it.
pub fn modern(schema: &RawValue) -> Raw {
    let Ok(tree) = tree::parse(schema) else { return schema.to_owned() };
    let (mut root, mut changed) = (tree.into_node(), false);
    repair(&mut root, &mut changed);
    match changed.then(|| root.into_raw()).flatten() {
        Some(repaired) => repaired,
        None => schema.to_owned(),
    }
}

/// Repairs a schema and those inside. Depth is bounded by the tree.
fn repair(schema: &mut Node<'_>, changed: &mut bool) {
    let Node::Object(members) = schema else { return };
    let before = members.len();
    members.retain(|(name, value)| !(is(value, "null") && NEVER_NULL.contains(&name.as_ref())));
    *changed |= members.len() < before;
    tuple(members, changed);
    for (exclusive, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        self::bound(members, (exclusive, bound), changed);
    }
    for (keyword, value) in members.iter_mut() {
        match (keyword.as_ref(), value) {
            ("type", kind) => types(kind, changed),
            ("properties" | "$defs" | "definitions" | "patternProperties", Node::Object(schemas)) => {
                schemas.iter_mut().for_each(|(_, schema)| repair(schema, changed));
            }
            ("items" | "additionalProperties" | "not" | "if" | "then" | "else" | "propertyNames", schema) => {
                repair(schema, changed);
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Node::Array(schemas)) => {
                schemas.iter_mut().for_each(|schema| repair(schema, changed));
            }
            _ => {}
        }
    }
    // Draft 3 said so of a property.
    let before = members.len();
    members.retain(|(name, value)| !(name == "required" && (is(value, "true") || is(value, "false"))));
    *changed |= members.len() < before;
}

/// `items` as a list is `prefixItems`.
fn tuple(members: &mut [(Cow<'_, str>, Node<'_>)], changed: &mut bool) {
    if members.iter().any(|(name, _)| name == "prefixItems") {
        return;
    }
    if let Some((name, _)) = members.iter_mut().find(|(name, value)| name == "items" && matches!(value, Node::Array(_)))
    {
        *name = "prefixItems".into();
        *changed = true;
    }
}

/// An exclusive bound was a flag beside the bound.
fn bound(members: &mut Vec<(Cow<'_, str>, Node<'_>)>, (exclusive, bound): (&str, &str), changed: &mut bool) {
    let place =
        |members: &[(Cow<'_, str>, Node<'_>)], wanted: &str| members.iter().position(|(name, _)| name == wanted);
    let Some(at) = place(members, exclusive) else { return };
    let flag = members.get(at).map(|(_, value)| (is(value, "true"), is(value, "false")));
    let Some((is_set, is_unset)) = flag.filter(|(is_set, is_unset)| *is_set || *is_unset) else { return };
    debug_assert_ne!(is_set, is_unset);
    *changed = true;
    match place(members, bound).filter(|_| is_set) {
        Some(limit) => {
            let (_, value) = members.remove(limit);
            if let Some((_, flag)) = members.iter_mut().find(|(name, _)| name == exclusive) {
                *flag = value;
            }
        }
        None => {
            members.remove(at);
        }
    }
}

/// Types are written in lower case; Google's own are not.
fn types(kind: &mut Node<'_>, changed: &mut bool) {
    match kind {
        Node::Array(kinds) => kinds.iter_mut().for_each(|kind| types(kind, changed)),
        Node::Leaf(json) if json.bytes().any(|letter| letter.is_ascii_uppercase()) => {
            *json = json.to_ascii_lowercase().into();
            *changed = true;
        }
        Node::Leaf(_) | Node::Object(_) => {}
    }
}

fn is(value: &Node<'_>, word: &str) -> bool {
    matches!(value, Node::Leaf(json) if json == word)
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::modern;

    fn repaired(schema: &str) -> String {
        modern(&RawValue::from_string(schema.to_owned()).unwrap()).get().to_owned()
    }

    #[test]
    fn older_drafts_and_absent_members_are_repaired() {
        let rows = [
            (r#"{"type":"object","properties":{},"required":null}"#, r#"{"type":"object","properties":{}}"#),
            (
                r#"{"type":"object","properties":{"a":{"type":"string","description":null,"enum":null,"default":null}}}"#,
                r#"{"type":"object","properties":{"a":{"type":"string","default":null}}}"#,
            ),
            (
                r#"{"properties":{"a":{"type":"array","items":[{"type":"STRING"},{"type":"number"}]}}}"#,
                r#"{"properties":{"a":{"type":"array","prefixItems":[{"type":"string"},{"type":"number"}]}}}"#,
            ),
            (r#"{"type":"number","minimum":0,"exclusiveMinimum":true}"#, r#"{"type":"number","exclusiveMinimum":0}"#),
            (r#"{"type":"number","maximum":9,"exclusiveMaximum":false}"#, r#"{"type":"number","maximum":9}"#),
            (
                r#"{"type":"OBJECT","properties":{"a":{"type":["STRING","NULL"],"required":true}}}"#,
                r#"{"type":"object","properties":{"a":{"type":["string","null"]}}}"#,
            ),
        ];
        for (written, meant) in rows {
            assert_eq!(repaired(written), meant, "{written}");
        }
    }

    #[test]
    fn what_is_legal_stays_byte_for_byte() {
        for schema in [
            r#"{ "type" : "object", "properties" : { "required" : {"const": null}, "items": {"type":"array"} } }"#,
            r#"{"enum":[null,"OBJECT"],"default":null,"x-note":null,"exclusiveMinimum":0}"#,
            "true",
            "[1]",
            "null",
        ] {
            assert_eq!(repaired(schema), schema);
        }
    }
}
