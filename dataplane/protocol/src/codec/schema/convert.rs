//! One walk over a schema, steered by a table of what the target takes.

use super::tree::Node;

/// Deepest nesting that is sent, references included. Both vendors refuse far less.
const MAX_DEPTH: usize = 24;
/// Most schemas that one conversion may produce: a short circular schema with several references grows exponentially.
const MAX_SCHEMAS: usize = 2_000;

/// What a target takes.
#[derive(Clone, Copy)]
pub struct Dialect {
    /// Keywords that go through as they are.
    keeps: &'static [&'static str],
    /// Values of `format` that go through.
    formats: &'static [&'static str],
    /// OpenAPI's way: `nullable` for `null` types, `enum` of one for `const`, inclusive bounds.
    openapi: bool,
    /// Whether every object must refuse members that are not declared.
    closed_objects: bool,
}

/// The `Schema` message of the Gemini API.
pub const GEMINI: Dialect = Dialect {
    keeps: &[
        "type",
        "title",
        "nullable",
        "enum",
        "required",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "pattern",
        "propertyOrdering",
        "example",
        "default",
    ],
    formats: &["date-time", "enum", "float", "double", "int32", "int64"],
    openapi: true,
    closed_objects: false,
};

/// Anthropic's structured outputs: no numeric, length or count bounds.
pub const ANTHROPIC: Dialect = Dialect {
    keeps: &["type", "title", "enum", "const", "required", "default"],
    formats: &["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"],
    openapi: false,
    closed_objects: true,
};

/// Keywords that constrain nothing: they leave without a word.
const ANNOTATIONS: &[&str] = &[
    "$schema",
    "$id",
    "$comment",
    "$anchor",
    "$defs",
    "definitions",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
];

/// Converts schemas of one document.
pub struct Converter<'a> {
    root: &'a Node,
    dialect: Dialect,
    produced: usize,
    weakened: bool,
}

/// A schema in the making.
#[derive(Default)]
struct Draft {
    members: Vec<(String, Node)>,
    description: Option<String>,
    /// Constraints as words.
    notes: Vec<String>,
}

// === impl Converter ===

impl<'a> Converter<'a> {
    /// For this document.
    pub const fn new(root: &'a Node, dialect: Dialect) -> Self {
        Self { root, dialect, produced: 0, weakened: false }
    }

    /// Whether some constraint is no longer enforced.
    pub const fn weakened(&self) -> bool {
        self.weakened
    }

    /// One schema, at any depth.
    pub fn schema(&mut self, schema: &Node, depth: usize) -> Node {
        self.produced = self.produced.saturating_add(1);
        if depth > MAX_DEPTH || self.produced > MAX_SCHEMAS {
            self.weakened = true;
            return open_schema();
        }
        // `true` is the open schema; `false` cannot be said.
        let Node::Object(members) = schema else {
            return open_schema();
        };
        if let Some(target) = schema.get("$ref").and_then(Node::as_text) {
            return self.reference(&target, members, depth);
        }
        let mut draft = Draft::default();
        for (keyword, value) in members {
            self.keyword(keyword, value, depth, &mut draft);
        }
        self.complete(draft)
    }

    /// The schema that a reference names, with the reference's own siblings in front.
    fn reference(&mut self, target: &str, siblings: &[(String, Node)], depth: usize) -> Node {
        let Some(Node::Object(found)) = self.resolve(target) else {
            self.weakened = true;
            return open_schema();
        };
        let mut merged: Vec<(String, Node)> = siblings.iter().filter(|(name, _)| name != "$ref").cloned().collect();
        for (name, value) in found {
            if !merged.iter().any(|(taken, _)| taken == name) {
                merged.push((name.clone(), value.clone()));
            }
        }
        self.schema(&Node::Object(merged), depth.saturating_add(1))
    }

    /// `#`, `#/$defs/x`, `#/properties/a/items`: pointers into the same document. Others are out of reach.
    fn resolve(&self, target: &str) -> Option<&'a Node> {
        let path = target.strip_prefix('#')?;
        path.split('/').skip(1).try_fold(self.root, |node, step| {
            let step = step.replace("~1", "/").replace("~0", "~");
            match node {
                Node::Array(elements) => elements.get(step.parse::<usize>().ok()?),
                Node::Object(_) | Node::Leaf(_) => node.get(&step),
            }
        })
    }

    fn keyword(&mut self, keyword: &str, value: &Node, depth: usize, draft: &mut Draft) {
        let below = depth.saturating_add(1);
        match keyword {
            "description" => draft.description = value.as_text(),
            "properties" => {
                // Names of properties are the client's own words, whatever they look like.
                let properties = self.each_member(value, below);
                draft.put("properties", properties);
            }
            "items" => self.items(value, below, draft),
            "prefixItems" => self.tuple(value, below, draft),
            "anyOf" | "oneOf" => {
                self.weakened |= keyword == "oneOf";
                self.alternatives(value, below, draft);
            }
            "allOf" => self.all_of(value, depth, draft),
            "type" => self.types(value, draft),
            "format" if value.as_text().is_some_and(|format| self.dialect.formats.contains(&format.as_str())) => {
                draft.put(keyword, value.clone());
            }
            "enum" if self.dialect.openapi => self.openapi_enum(value, draft),
            "const" if self.dialect.openapi => self.openapi_enum(&Node::Array(vec![value.clone()]), draft),
            "required" => draft.put("required", without_repeats(value)),
            "additionalProperties" if is(value, "false") => {}
            "exclusiveMinimum" if self.dialect.openapi => self.bound("minimum", keyword, value, draft),
            "exclusiveMaximum" if self.dialect.openapi => self.bound("maximum", keyword, value, draft),
            _ if self.dialect.keeps.contains(&keyword) => draft.put(keyword, value.clone()),
            _ if ANNOTATIONS.contains(&keyword) => {}
            _ => self.note(keyword, value, draft),
        }
    }

    /// A constraint that the target cannot enforce, as words.
    fn note(&mut self, keyword: &str, value: &Node, draft: &mut Draft) {
        self.weakened = true;
        draft.notes.push(format!("{keyword}: {}", value.to_json()));
    }

    fn each_member(&mut self, value: &Node, depth: usize) -> Node {
        let Node::Object(members) = value else {
            return Node::Object(Vec::new());
        };
        Node::Object(members.iter().map(|(name, schema)| (name.clone(), self.schema(schema, depth))).collect())
    }

    fn items(&mut self, value: &Node, depth: usize, draft: &mut Draft) {
        match value {
            // The older spelling of a tuple.
            Node::Array(_) => self.tuple(value, depth, draft),
            // Beside `prefixItems`, `false` says that nothing follows the tuple.
            Node::Leaf(_) if draft.has("items") => {}
            Node::Leaf(_) | Node::Object(_) => {
                let items = self.schema(value, depth);
                draft.put("items", items);
            }
        }
    }

    /// A tuple has no equivalent: a list of any of its elements comes nearest (hard case 182).
    fn tuple(&mut self, value: &Node, depth: usize, draft: &mut Draft) {
        let Node::Array(elements) = value else { return };
        self.note("prefixItems", value, draft);
        if draft.has("items") {
            return;
        }
        let mut schemas: Vec<Node> = elements.iter().map(|element| self.schema(element, depth)).collect();
        let items = match schemas.len() {
            0 => open_schema(),
            1 => schemas.remove(0),
            _ => Node::Object(vec![("anyOf".to_owned(), Node::Array(schemas))]),
        };
        draft.put("items", items);
    }

    fn alternatives(&mut self, value: &Node, depth: usize, draft: &mut Draft) {
        let Node::Array(elements) = value else { return };
        let is_null = |schema: &Node| schema.get("type").is_some_and(|kind| kind.as_text().as_deref() == Some("null"));
        if self.dialect.openapi && elements.iter().any(is_null) {
            draft.put("nullable", Node::truth(true));
        }
        let openapi = self.dialect.openapi;
        let kept = elements.iter().filter(|schema| !(openapi && is_null(schema)));
        let mut schemas: Vec<Node> = kept.map(|schema| self.schema(schema, depth)).collect();
        if schemas.len() == 1
            && let Node::Object(members) = schemas.remove(0)
        {
            for (name, member) in members {
                draft.put_if_absent(&name, member);
            }
        } else if !schemas.is_empty() {
            draft.put_if_absent("anyOf", Node::Array(schemas));
        }
    }

    /// All of several schemas: their members in one, as far as they do not contradict each other.
    fn all_of(&mut self, value: &Node, depth: usize, draft: &mut Draft) {
        let Node::Array(elements) = value else { return };
        for element in elements {
            let Node::Object(members) = self.schema(element, depth.saturating_add(1)) else {
                continue;
            };
            for (name, member) in members {
                match (name.as_str(), member) {
                    ("properties" | "required", member) => draft.join(&name, member),
                    ("description", member) => draft.description = draft.description.take().or(member.as_text()),
                    (_, member) => draft.put_if_absent(&name, member),
                }
            }
        }
    }

    fn types(&mut self, value: &Node, draft: &mut Draft) {
        let Node::Array(kinds) = value else {
            return draft.put("type", value.clone());
        };
        if !self.dialect.openapi {
            return draft.put("type", value.clone());
        }
        let names: Vec<String> = kinds.iter().filter_map(Node::as_text).collect();
        if names.iter().any(|name| name == "null") {
            draft.put("nullable", Node::truth(true));
        }
        let mut others: Vec<&String> = names.iter().filter(|name| *name != "null").collect();
        if others.len() > 1 {
            let kind = |name: &&String| Node::Object(vec![("type".to_owned(), Node::text(name))]);
            draft.put_if_absent("anyOf", Node::Array(others.iter().map(kind).collect()));
        } else if let Some(only) = others.pop() {
            draft.put("type", Node::text(only));
        }
    }

    /// Gemini's `enum` lists strings only; a `null` in it means nullable.
    fn openapi_enum(&mut self, value: &Node, draft: &mut Draft) {
        let Node::Array(elements) = value else { return };
        if elements.iter().any(|element| is(element, "null")) {
            draft.put("nullable", Node::truth(true));
        }
        let others: Vec<Node> = elements.iter().filter(|element| !is(element, "null")).cloned().collect();
        if others.iter().all(|element| element.as_text().is_some()) {
            draft.put_if_absent("enum", Node::Array(others));
        } else {
            self.note("enum", value, draft);
        }
    }

    /// An exclusive bound as an inclusive one, with the exact one in words.
    fn bound(&mut self, inclusive: &str, keyword: &str, value: &Node, draft: &mut Draft) {
        self.note(keyword, value, draft);
        // Draft 4 writes `exclusiveMinimum: true` beside `minimum`.
        if !is(value, "true") && !is(value, "false") {
            draft.put_if_absent(inclusive, value.clone());
        }
    }

    fn complete(&mut self, mut draft: Draft) -> Node {
        let is_object = draft.has("properties")
            || draft.members.iter().any(|(name, value)| name == "type" && value.as_text().as_deref() == Some("object"));
        if self.dialect.closed_objects && is_object {
            draft.put("additionalProperties", Node::truth(false));
        }
        draft.into_node()
    }
}

// === impl Draft ===

impl Draft {
    fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(taken, _)| taken == name)
    }

    fn put(&mut self, name: &str, value: Node) {
        match self.members.iter_mut().find(|(taken, _)| taken == name) {
            Some((_, old)) => *old = value,
            None => self.members.push((name.to_owned(), value)),
        }
    }

    fn put_if_absent(&mut self, name: &str, value: Node) {
        if !self.has(name) {
            self.members.push((name.to_owned(), value));
        }
    }

    /// Adds the members or elements of `value` to those that are there.
    fn join(&mut self, name: &str, value: Node) {
        match (self.members.iter_mut().find(|(taken, _)| taken == name).map(|(_, old)| old), value) {
            (Some(Node::Object(old)), Node::Object(more)) => {
                more.into_iter().for_each(|(key, schema)| {
                    if !old.iter().any(|(taken, _)| *taken == key) {
                        old.push((key, schema));
                    }
                });
            }
            (Some(Node::Array(old)), Node::Array(more)) => old.extend(more),
            (None, value) => self.members.push((name.to_owned(), value)),
            (Some(_), _) => {}
        }
    }

    fn into_node(mut self) -> Node {
        let mut words = self.description.into_iter().collect::<Vec<_>>();
        if !self.notes.is_empty() {
            words.push(format!("({})", self.notes.join("; ")));
        }
        if !words.is_empty() {
            self.members.push(("description".to_owned(), Node::text(&words.join(" "))));
        }
        Node::Object(self.members)
    }
}

const fn open_schema() -> Node {
    Node::Object(Vec::new())
}

fn is(value: &Node, json: &str) -> bool {
    matches!(value, Node::Leaf(raw) if raw.get() == json)
}

/// Some servers refuse `required: ["a","a"]` (hard case 186).
fn without_repeats(value: &Node) -> Node {
    let Node::Array(elements) = value else {
        return value.clone();
    };
    let mut seen = Vec::new();
    let unique = elements.iter().filter(|element| {
        let name = element.as_text();
        let new = !seen.contains(&name);
        seen.push(name);
        new
    });
    Node::Array(unique.cloned().collect())
}
