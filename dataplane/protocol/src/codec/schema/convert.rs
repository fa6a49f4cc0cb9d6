//! One walk over a schema, steered by a table of what the target takes.
//!
//! References make more of a schema than was sent, so every member that is looked at and every byte that is to be written
//! is paid for before it is made ([`Converter::spend`]); a conversion that would cost more than it may ends.

use std::{borrow::Cow, collections::HashSet};

use super::tree::{Members, Node, TooLarge, Tree, Value, minified};

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
    root: &'a Tree<'a>,
    dialect: Dialect,
    produced: usize,
    weakened: bool,
    /// Bytes that may still be made.
    left: usize,
}

/// A schema in the making.
#[derive(Default)]
struct Draft<'a> {
    members: Vec<(Cow<'a, str>, Node<'a>)>,
    /// Names of the properties, once those of several schemas are joined.
    properties: HashSet<Cow<'a, str>>,
    description: Option<Cow<'a, str>>,
    /// Constraints as words.
    notes: Vec<String>,
}

/// A keyword and its value.
type Member<'a> = (&'a str, &'a Tree<'a>);
type Written<'a> = Result<Node<'a>, TooLarge>;

// === impl Converter ===

impl<'a> Converter<'a> {
    /// For this document, of which at most `most` bytes are made.
    pub const fn new(root: &'a Tree<'a>, dialect: Dialect, most: usize) -> Self {
        Self { root, dialect, produced: 0, weakened: false, left: most }
    }

    /// Whether some constraint is no longer enforced.
    pub const fn weakened(&self) -> bool {
        self.weakened
    }

    /// One schema, at any depth.
    ///
    /// # Errors
    /// When the whole becomes too large.
    pub fn schema(&mut self, schema: &'a Tree<'a>, depth: usize) -> Written<'a> {
        match &schema.value {
            Value::Object(members) => self.of(members.iter().collect(), depth),
            // `true` is the open schema; `false` cannot be said.
            Value::Array(_) | Value::Leaf => self.of(Vec::new(), depth),
        }
    }

    fn of(&mut self, members: Vec<Member<'a>>, depth: usize) -> Written<'a> {
        self.spend(members.len().saturating_add(2))?;
        self.produced = self.produced.saturating_add(1);
        if depth > MAX_DEPTH || self.produced > MAX_SCHEMAS {
            self.weakened = true;
            return Ok(open_schema());
        }
        let target = members.iter().find(|(name, _)| *name == "$ref").and_then(|(_, target)| target.as_text());
        if let Some(target) = target {
            return self.reference(&target, members, depth);
        }
        let mut draft = Draft::default();
        for (keyword, value) in members {
            self.keyword(keyword, value, depth, &mut draft)?;
        }
        Ok(self.complete(draft))
    }

    /// Pays for bytes before they are made.
    fn spend(&mut self, bytes: usize) -> Result<(), TooLarge> {
        self.left = self.left.checked_sub(bytes).ok_or(TooLarge)?;
        Ok(())
    }

    /// A value as it is.
    fn kept(&mut self, value: &Tree<'a>) -> Written<'a> {
        self.spend(value.text.len())?;
        Ok(value.kept())
    }

    /// The schema that a reference names, with the reference's own siblings in front.
    fn reference(&mut self, target: &str, siblings: Vec<Member<'a>>, depth: usize) -> Written<'a> {
        self.spend(target.len())?;
        let Some(found) = self.resolve(target) else {
            self.weakened = true;
            return Ok(open_schema());
        };
        let mut merged: Vec<Member<'a>> = siblings.into_iter().filter(|(name, _)| *name != "$ref").collect();
        let mut taken: HashSet<&str> = merged.iter().map(|(name, _)| *name).collect();
        self.spend(found.count())?;
        merged.extend(found.iter().filter(|(name, _)| taken.insert(*name)));
        self.of(merged, depth.saturating_add(1))
    }

    /// `#`, `#/$defs/x`, `#/properties/a/items`: pointers into the same document. Others are out of reach.
    fn resolve(&self, target: &str) -> Option<&'a Members<'a>> {
        let path = target.strip_prefix('#')?;
        let found = path.split('/').skip(1).try_fold(self.root, |node, step| {
            let step = step.replace("~1", "/").replace("~0", "~");
            match &node.value {
                Value::Array(elements) => elements.get(step.parse::<usize>().ok()?),
                Value::Object(members) => members.get(&step),
                Value::Leaf => None,
            }
        });
        match &found?.value {
            Value::Object(members) => Some(members),
            Value::Array(_) | Value::Leaf => None,
        }
    }

    fn keyword(
        &mut self,
        keyword: &'a str,
        value: &'a Tree<'a>,
        depth: usize,
        draft: &mut Draft<'a>,
    ) -> Result<(), TooLarge> {
        let below = depth.saturating_add(1);
        match keyword {
            "description" => {
                self.spend(value.text.len())?;
                draft.description = value.as_text();
            }
            "properties" => {
                // Names of properties are the client's own words, whatever they look like.
                let properties = self.each_member(value, below)?;
                draft.put("properties", properties);
            }
            "items" => self.items(value, below, draft)?,
            "prefixItems" => self.tuple(value, below, draft)?,
            "anyOf" | "oneOf" => {
                self.weakened |= keyword == "oneOf";
                self.alternatives(value, below, draft)?;
            }
            "allOf" => self.all_of(value, depth, draft)?,
            "type" => self.types(value, draft)?,
            "format" if value.as_text().is_some_and(|format| self.dialect.formats.contains(&format.as_ref())) => {
                draft.put(keyword, self.kept(value)?);
            }
            "enum" if self.dialect.openapi => match &value.value {
                Value::Array(elements) => self.openapi_enum(value.text, elements.iter(), draft)?,
                Value::Object(_) | Value::Leaf => {}
            },
            "const" if self.dialect.openapi => self.openapi_enum(value.text, std::iter::once(value), draft)?,
            "required" => draft.put("required", self.without_repeats(value)?),
            "additionalProperties" if is(value, "false") => {}
            "exclusiveMinimum" if self.dialect.openapi => self.bound("minimum", keyword, value, draft)?,
            "exclusiveMaximum" if self.dialect.openapi => self.bound("maximum", keyword, value, draft)?,
            _ if self.dialect.keeps.contains(&keyword) => draft.put(keyword, self.kept(value)?),
            _ if ANNOTATIONS.contains(&keyword) => {}
            _ => self.note(keyword, value.text, draft)?,
        }
        Ok(())
    }

    /// A constraint that the target cannot enforce, as words. Inside a string, quotes take two bytes.
    fn note(&mut self, keyword: &str, text: &str, draft: &mut Draft<'a>) -> Result<(), TooLarge> {
        self.weakened = true;
        self.spend(keyword.len().saturating_add(text.len()).saturating_mul(2))?;
        draft.notes.push(format!("{keyword}: {}", minified(text)));
        Ok(())
    }

    fn each_member(&mut self, value: &'a Tree<'a>, depth: usize) -> Written<'a> {
        let Value::Object(members) = &value.value else {
            return Ok(Node::Object(Vec::new()));
        };
        let mut properties = Vec::new();
        for (name, schema) in members.iter() {
            self.spend(name.len())?;
            properties.push((Cow::Borrowed(name), self.schema(schema, depth)?));
        }
        Ok(Node::Object(properties))
    }

    fn items(&mut self, value: &'a Tree<'a>, depth: usize, draft: &mut Draft<'a>) -> Result<(), TooLarge> {
        match &value.value {
            // The older spelling of a tuple.
            Value::Array(_) => self.tuple(value, depth, draft)?,
            // Beside `prefixItems`, `false` says that nothing follows the tuple.
            Value::Leaf if draft.has("items") => {}
            Value::Leaf | Value::Object(_) => {
                let items = self.schema(value, depth)?;
                draft.put("items", items);
            }
        }
        Ok(())
    }

    /// A tuple has no equivalent: a list of any of its elements comes nearest (hard case 182).
    fn tuple(&mut self, value: &'a Tree<'a>, depth: usize, draft: &mut Draft<'a>) -> Result<(), TooLarge> {
        let Value::Array(elements) = &value.value else { return Ok(()) };
        self.note("prefixItems", value.text, draft)?;
        if draft.has("items") {
            return Ok(());
        }
        let mut schemas = self.each(elements.iter(), depth)?;
        let items = match schemas.len() {
            0 => open_schema(),
            1 => schemas.remove(0),
            _ => Node::Object(vec![("anyOf".into(), Node::Array(schemas))]),
        };
        draft.put("items", items);
        Ok(())
    }

    fn each(&mut self, schemas: impl Iterator<Item = &'a Tree<'a>>, depth: usize) -> Result<Vec<Node<'a>>, TooLarge> {
        schemas.map(|schema| self.schema(schema, depth)).collect()
    }

    fn alternatives(&mut self, value: &'a Tree<'a>, depth: usize, draft: &mut Draft<'a>) -> Result<(), TooLarge> {
        let Value::Array(elements) = &value.value else { return Ok(()) };
        let openapi = self.dialect.openapi;
        let is_null = |schema: &Tree<'_>| {
            openapi && schema.get("type").is_some_and(|kind| kind.as_text().as_deref() == Some("null"))
        };
        if elements.iter().any(is_null) {
            draft.put("nullable", Node::word("true"));
        }
        let mut schemas = self.each(elements.iter().filter(|schema| !is_null(schema)), depth)?;
        if schemas.len() == 1
            && let Node::Object(members) = schemas.remove(0)
        {
            for (name, member) in members {
                draft.put_if_absent(name, member);
            }
        } else if !schemas.is_empty() {
            draft.put_if_absent("anyOf".into(), Node::Array(schemas));
        }
        Ok(())
    }

    /// All of several schemas: their members in one, as far as they do not contradict each other.
    fn all_of(&mut self, value: &'a Tree<'a>, depth: usize, draft: &mut Draft<'a>) -> Result<(), TooLarge> {
        let Value::Array(elements) = &value.value else { return Ok(()) };
        for element in elements {
            let Node::Object(members) = self.schema(element, depth.saturating_add(1))? else {
                continue;
            };
            for (name, member) in members {
                match name.as_ref() {
                    "properties" | "required" => draft.join(name, member),
                    "description" => {
                        draft.description = draft.description.take().or(member.as_text().map(Cow::Owned));
                    }
                    _ => draft.put_if_absent(name, member),
                }
            }
        }
        Ok(())
    }

    fn types(&mut self, value: &'a Tree<'a>, draft: &mut Draft<'a>) -> Result<(), TooLarge> {
        let Value::Array(kinds) = &value.value else {
            draft.put("type", self.kept(value)?);
            return Ok(());
        };
        if !self.dialect.openapi {
            draft.put("type", self.kept(value)?);
            return Ok(());
        }
        // One schema for each.
        self.spend(value.text.len().saturating_add(kinds.len().saturating_mul(r#"{"type":},"#.len())))?;
        let names: Vec<_> = kinds.iter().filter_map(Tree::as_text).collect();
        if names.iter().any(|name| name == "null") {
            draft.put("nullable", Node::word("true"));
        }
        let mut others: Vec<_> = names.iter().filter(|name| *name != "null").collect();
        if others.len() > 1 {
            let kind = |name: &&Cow<'_, str>| Node::Object(vec![("type".into(), Node::text(name))]);
            draft.put_if_absent("anyOf".into(), Node::Array(others.iter().map(kind).collect()));
        } else if let Some(only) = others.pop() {
            draft.put("type", Node::text(only));
        }
        Ok(())
    }

    /// Gemini's `enum` lists strings only; a `null` in it means nullable. `text` is that of all elements.
    fn openapi_enum(
        &mut self,
        text: &str,
        elements: impl Iterator<Item = &'a Tree<'a>> + Clone,
        draft: &mut Draft<'a>,
    ) -> Result<(), TooLarge> {
        if elements.clone().any(|element| is(element, "null")) {
            draft.put("nullable", Node::word("true"));
        }
        let others = elements.clone().filter(|element| !is(element, "null"));
        if others.clone().all(|element| element.as_text().is_some()) {
            self.spend(text.len().saturating_add(2))?;
            draft.put_if_absent("enum".into(), Node::Array(others.map(Tree::kept).collect()));
            return Ok(());
        }
        let list: Vec<&str> = elements.map(|element| element.text).collect();
        self.spend(text.len())?;
        self.note("enum", &format!("[{}]", list.join(",")), draft)
    }

    /// An exclusive bound as an inclusive one, with the exact one in words.
    fn bound(
        &mut self,
        inclusive: &'static str,
        keyword: &str,
        value: &'a Tree<'a>,
        draft: &mut Draft<'a>,
    ) -> Result<(), TooLarge> {
        self.note(keyword, value.text, draft)?;
        // Draft 4 writes `exclusiveMinimum: true` beside `minimum`.
        if !is(value, "true") && !is(value, "false") {
            let value = self.kept(value)?;
            draft.put_if_absent(inclusive.into(), value);
        }
        Ok(())
    }

    /// Some servers refuse `required: ["a","a"]` (hard case 186).
    fn without_repeats(&mut self, value: &'a Tree<'a>) -> Written<'a> {
        let Value::Array(elements) = &value.value else {
            return self.kept(value);
        };
        self.spend(value.text.len())?;
        let mut seen = HashSet::new();
        let unique = elements.iter().filter(|element| seen.insert(element.as_text()));
        Ok(Node::Array(unique.map(Tree::kept).collect()))
    }

    fn complete(&self, mut draft: Draft<'a>) -> Node<'a> {
        let is_object = draft.has("properties")
            || draft.members.iter().any(|(name, value)| name == "type" && value.as_text().as_deref() == Some("object"));
        if self.dialect.closed_objects && is_object {
            draft.put("additionalProperties", Node::word("false"));
        }
        draft.into_node()
    }
}

// === impl Draft ===

/// Keywords are those that the target takes, so that there are few.
impl<'a> Draft<'a> {
    fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(taken, _)| taken == name)
    }

    fn put(&mut self, name: &'a str, value: Node<'a>) {
        match self.members.iter_mut().find(|(taken, _)| taken == name) {
            Some((_, old)) => *old = value,
            None => self.members.push((name.into(), value)),
        }
    }

    fn put_if_absent(&mut self, name: Cow<'a, str>, value: Node<'a>) {
        if !self.has(&name) {
            self.members.push((name, value));
        }
    }

    /// Adds the members or elements of `value` to those that are there.
    fn join(&mut self, name: Cow<'a, str>, value: Node<'a>) {
        match (self.members.iter_mut().find(|(taken, _)| *taken == name).map(|(_, old)| old), value) {
            (Some(Node::Object(old)), Node::Object(more)) => {
                if self.properties.is_empty() {
                    self.properties.extend(old.iter().map(|(name, _)| name.clone()));
                }
                old.extend(more.into_iter().filter(|(key, _)| self.properties.insert(key.clone())));
            }
            (Some(Node::Array(old)), Node::Array(more)) => old.extend(more),
            (None, value) => self.members.push((name, value)),
            (Some(_), _) => {}
        }
    }

    fn into_node(mut self) -> Node<'a> {
        let mut words = self.description.map(Cow::into_owned).into_iter().collect::<Vec<_>>();
        if !self.notes.is_empty() {
            words.push(format!("({})", self.notes.join("; ")));
        }
        if !words.is_empty() {
            self.members.push(("description".into(), Node::text(&words.join(" "))));
        }
        Node::Object(self.members)
    }
}

const fn open_schema<'a>() -> Node<'a> {
    Node::Object(Vec::new())
}

fn is(value: &Tree<'_>, json: &str) -> bool {
    matches!(value.value, Value::Leaf) && value.text == json
}
