//! Schemas as OpenAI takes them (checked by its API before a model sees them; November 2026).
//!
//! OpenAI refuses what the other vendors take: an object without `properties`, an array without `items`, and at the root
//! of a tool anything but one plain object. Completing adds only members that constrain nothing. `strict` promises that
//! every object is closed and requires all that it declares; a schema that does not is sent without the promise.

use std::{borrow::Cow, collections::BTreeSet};

use serde_json::value::RawValue;

use super::{Converted, tree, tree::Node};

/// Combinators that OpenAI refuses at the root of a tool's schema.
const COMBINATORS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Keywords that strict mode refuses at any depth.
const NOT_STRICT: [&str; 21] = [
    "default",
    "uniqueItems",
    "contains",
    "minContains",
    "maxContains",
    "propertyNames",
    "minProperties",
    "maxProperties",
    "unevaluatedItems",
    "unevaluatedProperties",
    "additionalItems",
    "allOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "patternProperties",
    "prefixItems",
    "dependentRequired",
    "dependentSchemas",
];
/// The members of an object in order.
type Members<'a> = Vec<(Cow<'a, str>, Node<'a>)>;

/// Longest combinator that is kept as words in the description, in bytes.
const MAX_NOTE: usize = 2_000;
/// Most members of branches that are looked at.
const MAX_LOOKED_AT: usize = 100_000;
/// Why a schema cannot be completed.
const TOO_LARGE: &str = "the schema is too large to be converted";
/// Why a tool's schema is refused.
const NO_OBJECT: &str = "the upstream takes only an object at the root of a tool's schema";
/// Formats of strings that strict mode knows.
const STRICT_FORMATS: [&str; 9] =
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"];
/// Keywords of which a strict schema has at least one.
const SAYS_WHAT: [&str; 5] = ["type", "$ref", "anyOf", "enum", "const"];

/// The schema of a tool's parameters.
///
/// # Errors
/// In words, when its root can be no object.
pub fn for_tool(schema: &RawValue) -> Result<Converted, &'static str> {
    converted(schema, NO_OBJECT, true)
}

/// A tool's schema whose root is one plain object, which Anthropic demands as well: alternatives at the root are refused.
///
/// # Errors
/// In words, when its root can be no object.
pub fn with_plain_root(schema: &RawValue) -> Result<Converted, &'static str> {
    converted(schema, NO_OBJECT, false)
}

fn converted(schema: &RawValue, no_object: &'static str, completes: bool) -> Result<Converted, &'static str> {
    let Node::Object(members) = tree::parse(schema).map_err(|_| TOO_LARGE)?.into_node() else {
        return Ok(Converted { schema: schema.to_owned(), weakened: false });
    };
    let (mut members, weakened) = flatten(dereferenced(members), no_object)?;
    if !has_type(&members, "object") && member(&members, "type").is_some() {
        return Err(no_object);
    }
    match members.iter_mut().find(|(name, _)| name == "type") {
        Some((_, kind)) => *kind = Node::word("\"object\""),
        None => members.insert(0, ("type".into(), Node::word("\"object\""))),
    }
    let mut root = Node::Object(members);
    if completes {
        complete(&mut root);
    }
    Ok(Converted { schema: root.into_raw().unwrap_or_else(|| schema.to_owned()), weakened })
}

/// The root with the members of what it refers to (generators write recursive models so), beside its definitions.
fn dereferenced(members: Members<'_>) -> Members<'_> {
    if member(&members, "$ref").is_none() {
        return members;
    }
    let root = Node::Object(members.clone());
    let Some(Node::Object(target)) = resolve(&root, &root) else { return members };
    let mut merged: Members<'_> = members.into_iter().filter(|(name, _)| name != "$ref").collect();
    let own: BTreeSet<String> = merged.iter().map(|(name, _)| name.to_string()).collect();
    merged.extend(target.iter().filter(|(name, _)| !own.contains(name.as_ref())).cloned());
    merged
}

/// The schema of an answer.
///
/// # Errors
/// In words, when its root is no object.
pub fn for_output(schema: &RawValue) -> Result<Converted, &'static str> {
    converted(schema, "the upstream takes only an object at the root of an answer's schema", true)
}

/// Whether a schema keeps what `strict: true` promises, at every depth.
pub fn is_strict(schema: &RawValue) -> bool {
    tree::parse(schema).is_ok_and(|root| strict(&root.into_node()))
}

fn strict(schema: &Node<'_>) -> bool {
    let Node::Object(members) = schema else { return false };
    members.iter().all(|(keyword, value)| match keyword.as_ref() {
        name if NOT_STRICT.contains(&name) => false,
        "properties" | "$defs" | "definitions" => match value {
            Node::Object(schemas) => schemas.iter().all(|(_, schema)| strict(schema)),
            Node::Array(_) | Node::Leaf(_) => false,
        },
        "anyOf" => matches!(value, Node::Array(schemas) if schemas.iter().all(strict)),
        "items" => strict(value),
        "format" => value.as_text().is_some_and(|format| STRICT_FORMATS.contains(&format.as_str())),
        _ => true,
    }) && SAYS_WHAT.iter().any(|name| member(members, name).is_some())
        && (!is_object(members) || is_closed(members))
}

fn is_closed(members: &[(Cow<'_, str>, Node<'_>)]) -> bool {
    let is_false = |value: &Node<'_>| matches!(value, Node::Leaf(json) if json == "false");
    let required: BTreeSet<String> = match member(members, "required") {
        Some(Node::Array(names)) => names.iter().filter_map(Node::as_text).collect(),
        _ => BTreeSet::new(),
    };
    let declared = match member(members, "properties") {
        Some(Node::Object(properties)) => properties.iter().all(|(name, _)| required.contains(name.as_ref())),
        _ => false,
    };
    declared && member(members, "additionalProperties").is_some_and(is_false)
}

/// Adds what OpenAI demands, where a schema stands and nowhere else.
fn complete(schema: &mut Node<'_>) {
    let Node::Object(members) = schema else { return };
    for (keyword, value) in members.iter_mut() {
        match (keyword.as_ref(), value) {
            ("properties" | "$defs" | "definitions" | "patternProperties", Node::Object(schemas)) => {
                schemas.iter_mut().for_each(|(_, schema)| complete(schema));
            }
            ("items" | "additionalProperties" | "not" | "if" | "then" | "else", schema) => complete(schema),
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Node::Array(schemas)) => {
                schemas.iter_mut().for_each(complete);
            }
            _ => {}
        }
    }
    let is_combined =
        |members: &[(Cow<'_, str>, Node<'_>)]| COMBINATORS.iter().any(|name| member(members, name).is_some());
    if has_type(members, "object") && member(members, "properties").is_none() && !is_combined(members) {
        members.push(("properties".into(), Node::Object(Vec::new())));
    }
    if has_type(members, "array") && member(members, "items").is_none() && !is_combined(members) {
        members.push(("items".into(), Node::Object(Vec::new())));
    }
}

fn has_type(members: &[(Cow<'_, str>, Node<'_>)], name: &str) -> bool {
    match member(members, "type") {
        Some(Node::Array(kinds)) => kinds.iter().any(|kind| kind.as_text().as_deref() == Some(name)),
        Some(kind) => kind.as_text().as_deref() == Some(name),
        None => false,
    }
}

/// The root without combinators: what all alternatives demand is demanded, what some declare is declared, and the
/// combinator itself stays as words.
fn flatten<'a>(members: Members<'a>, no_object: &'static str) -> Result<(Members<'a>, bool), &'static str> {
    if !COMBINATORS.iter().any(|name| member(&members, name).is_some()) {
        return Ok((members, false));
    }
    let root = Node::Object(members);
    let Node::Object(members) = &root else { return Ok((Vec::new(), true)) };
    let mut flat = Flat::default();
    flat.declare(members)?;
    flat.required.extend(required(members));
    for (keyword, value) in members {
        let Node::Array(branches) = value else { continue };
        let mut shared: Option<BTreeSet<String>> = None;
        match keyword.as_ref() {
            "allOf" | "anyOf" | "oneOf" => {}
            _ => continue,
        }
        for branch in branches {
            let Some(Node::Object(branch)) = resolve(&root, branch) else {
                return Err(no_object);
            };
            if !is_object(branch) && member(branch, "required").is_none() {
                return Err(no_object);
            }
            flat.declare(branch)?;
            let names: BTreeSet<String> = required(branch).collect();
            flat.pay(names.len())?;
            if keyword == "allOf" {
                flat.required.extend(names);
            } else {
                shared =
                    Some(shared.map_or_else(|| names.clone(), |known| known.intersection(&names).cloned().collect()));
            }
        }
        flat.required.extend(shared.unwrap_or_default());
        let text = value.to_json();
        if text.len() <= MAX_NOTE {
            flat.notes.push(format!("{keyword}: {text}"));
        }
    }
    Ok((flat.finish(members), true))
}

/// A root in the making.
#[derive(Default)]
struct Flat<'a> {
    properties: Vec<(Cow<'a, str>, Node<'a>)>,
    known: BTreeSet<String>,
    required: BTreeSet<String>,
    notes: Vec<String>,
    /// Members that were looked at; a branch may be named by many references.
    looked_at: usize,
}

impl<'a> Flat<'a> {
    /// Counts members before they are looked at.
    fn pay(&mut self, members: usize) -> Result<(), &'static str> {
        self.looked_at = self.looked_at.saturating_add(members);
        if self.looked_at > MAX_LOOKED_AT { Err(TOO_LARGE) } else { Ok(()) }
    }

    fn declare(&mut self, members: &[(Cow<'a, str>, Node<'a>)]) -> Result<(), &'static str> {
        if let Some(Node::Object(properties)) = member(members, "properties") {
            self.pay(properties.len())?;
            for (name, schema) in properties {
                if self.known.insert(name.to_string()) {
                    self.properties.push((name.clone(), schema.clone()));
                }
            }
        }
        Ok(())
    }

    fn finish(self, members: &[(Cow<'a, str>, Node<'a>)]) -> Members<'a> {
        let replaced = ["properties", "required", "description", "additionalProperties"];
        let is_kept = |name: &str| !replaced.contains(&name) && !COMBINATORS.contains(&name);
        let mut out: Members<'a> = members
            .iter()
            .filter(|(name, _)| is_kept(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        out.push(("properties".into(), Node::Object(self.properties)));
        if !self.required.is_empty() {
            out.push(("required".into(), Node::Array(self.required.iter().map(|name| Node::text(name)).collect())));
        }
        let mut words: Vec<String> = member(members, "description").and_then(Node::as_text).into_iter().collect();
        if !self.notes.is_empty() {
            words.push(format!("({})", self.notes.join("; ")));
        }
        if !words.is_empty() {
            out.push(("description".into(), Node::text(&words.join(" "))));
        }
        out
    }
}

/// A branch, or what its reference into the same document names; one step only.
fn resolve<'n, 'a>(root: &'n Node<'a>, branch: &'n Node<'a>) -> Option<&'n Node<'a>> {
    let Some(target) = branch.get("$ref").and_then(Node::as_text) else { return Some(branch) };
    let mut steps = target.strip_prefix("#/")?.split('/');
    steps.try_fold(root, |node, step| node.get(&step.replace("~1", "/").replace("~0", "~")))
}

fn required<'n>(members: &'n [(Cow<'_, str>, Node<'_>)]) -> impl Iterator<Item = String> + use<'n> {
    let names = match member(members, "required") {
        Some(Node::Array(names)) => names.as_slice(),
        _ => &[],
    };
    names.iter().filter_map(Node::as_text)
}

fn is_object(members: &[(Cow<'_, str>, Node<'_>)]) -> bool {
    match member(members, "type") {
        Some(Node::Array(kinds)) => kinds.iter().any(|kind| kind.as_text().as_deref() == Some("object")),
        Some(kind) => kind.as_text().as_deref() == Some("object"),
        None => member(members, "properties").is_some(),
    }
}

fn member<'n, 'a>(members: &'n [(Cow<'a, str>, Node<'a>)], name: &str) -> Option<&'n Node<'a>> {
    members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::{for_output, for_tool, is_strict, with_plain_root};
    use crate::ir::Raw;

    fn raw(json: &str) -> Raw {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    fn tool(json: &str) -> String {
        match for_tool(&raw(json)) {
            Ok(converted) => converted.schema.get().to_owned(),
            Err(why) => format!("refused: {why}"),
        }
    }

    #[test]
    fn objects_get_properties_and_arrays_items() {
        let rows = [
            (r#"{"type":"object"}"#, r#"{"type":"object","properties":{}}"#),
            ("{}", r#"{"type":"object","properties":{}}"#),
            (
                r#"{"type":"object","properties":{"a":{"type":"array"},"items":{"type":["object","null"]}}}"#,
                r#"{"type":"object","properties":{"a":{"type":"array","items":{}},"items":{"type":["object","null"],"properties":{}}}}"#,
            ),
            (
                r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/A"}},"$defs":{"A":{"type":"array"}}}"##,
                r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/A"}},"$defs":{"A":{"type":"array","items":{}}}}"##,
            ),
            (
                r#"{"type":"object","properties":{"n":{"default":{"type":"object"},"type":"string"}}}"#,
                r#"{"type":"object","properties":{"n":{"default":{"type":"object"},"type":"string"}}}"#,
            ),
        ];
        for (schema, expected) in rows {
            assert_eq!(tool(schema), expected);
        }
    }

    #[test]
    fn roots_become_plain_objects() {
        let rows = [
            (r#"{"type":["object","null"]}"#, r#"{"type":"object","properties":{}}"#),
            (
                r##"{"$defs":{"N":{"type":"object","properties":{"next":{"$ref":"#/$defs/N"}}}},"$ref":"#/$defs/N"}"##,
                r##"{"$defs":{"N":{"type":"object","properties":{"next":{"$ref":"#/$defs/N"}}}},"type":"object","properties":{"next":{"$ref":"#/$defs/N"}}}"##,
            ),
            (r##"{"$ref":"#/$defs/missing"}"##, r##"{"type":"object","$ref":"#/$defs/missing","properties":{}}"##),
        ];
        for (schema, expected) in rows {
            assert_eq!(tool(schema), expected);
        }
        let any = r#"{"anyOf":[{"type":"object","properties":{"a":{}}},{"type":"object","properties":{"b":{}}}]}"#;
        let output = for_output(&raw(any)).unwrap();
        assert!(output.weakened && output.schema.get().starts_with(r#"{"type":"object","properties":{"a":{},"b":{}}"#));
        let plain = with_plain_root(&raw(r#"{"type":"object"}"#)).unwrap();
        assert_eq!(plain.schema.get(), r#"{"type":"object"}"#, "nothing is added where nothing is demanded");
    }

    #[test]
    fn alternatives_at_the_root_become_one_object() {
        let any = r#"{"anyOf":[{"type":"object","properties":{"a":{},"b":{}},"required":["a","b"]},{"type":"object","properties":{"a":{}},"required":["a"]}]}"#;
        let flat = tool(any);
        assert!(
            flat.starts_with(
                r#"{"type":"object","properties":{"a":{},"b":{}},"required":["a"],"description":"(anyOf: "#
            ),
            "{flat}"
        );
        let all = r##"{"allOf":[{"$ref":"#/$defs/X"},{"required":["b"]}],"properties":{"b":{}},"$defs":{"X":{"properties":{"a":{}},"required":["a"]}}}"##;
        assert!(tool(all).contains(r#""properties":{"b":{},"a":{}},"required":["a","b"]"#), "{}", tool(all));
    }

    #[test]
    fn roots_that_are_no_objects_are_refused() {
        for schema in [r#"{"type":"array","items":{}}"#, r#"{"anyOf":[{"type":"string"},{"type":"object"}]}"#] {
            assert!(tool(schema).starts_with("refused: "), "{schema}");
        }
        assert!(for_output(&raw(r#"{"type":"array"}"#)).is_err());
        assert!(for_output(&raw(r#"{"type":"object"}"#)).is_ok());
    }

    #[test]
    fn strictness_is_checked_at_every_depth() {
        let strict = [
            r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}"#,
            r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/A"}},"required":["a"],"additionalProperties":false,"$defs":{"A":{"type":"string"}}}"##,
        ];
        for schema in strict {
            assert!(is_strict(&raw(schema)), "{schema}");
        }
        let loose = [
            r#"{"type":"object","properties":{"a":{},"b":{}},"required":["a"],"additionalProperties":false}"#,
            r#"{"type":"object","properties":{"a":{}},"required":["a"]}"#,
            r#"{"type":"object","properties":{"a":{"type":"array","items":{"type":"object"}}},"required":["a"],"additionalProperties":false}"#,
            r#"{"type":"object","properties":{"a":{"oneOf":[{}]}},"required":["a"],"additionalProperties":false}"#,
            r#"{"type":"object","properties":{},"$defs":{"A":{"type":"object"}},"additionalProperties":false}"#,
            r#"{"type":"object","properties":{"a":{}},"required":["a"],"additionalProperties":false}"#,
            r#"{"type":"object","properties":{"a":{"type":"string","format":"uri"}},"required":["a"],"additionalProperties":false}"#,
            r#"{"type":"object","properties":{"a":{"type":"string","default":""}},"required":["a"],"additionalProperties":false}"#,
            "true",
        ];
        for schema in loose {
            assert!(!is_strict(&raw(schema)), "{schema}");
        }
    }
}
