//! JSON as an ordered tree: member order is what models generate by, and numbers keep their spelling.
//!
//! What is read ([`Tree`]) borrows from the document, what is written ([`Node`]) borrows from both, so that a value which
//! is used many times costs its bytes only where it is written.

use std::{borrow::Cow, cell::OnceCell, fmt::Write};

use serde_json::value::RawValue;

use crate::ir::Raw;

/// Deeper levels stay unparsed text.
const MAX_DEPTH: usize = 64;
/// Most values of one schema. Vendors take some thousands of properties.
const MAX_VALUES: usize = 50_000;
/// Objects with more members than this are searched by an index.
const FEW: usize = 16;

/// The schema is too large to be converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// One value of a document, and its text.
#[derive(Debug)]
pub struct Tree<'a> {
    /// JSON text as it stands in the document.
    pub text: &'a str,
    /// What it is.
    pub value: Value<'a>,
}

/// What a value is.
#[derive(Debug)]
pub enum Value<'a> {
    /// An object.
    Object(Members<'a>),
    /// Elements.
    Array(Vec<Tree<'a>>),
    /// A string, number, boolean or null, or a value too deep to be looked at.
    Leaf,
}

/// Members in order, duplicates included.
#[derive(Debug, Default)]
pub struct Members<'a> {
    list: Vec<(Cow<'a, str>, Tree<'a>)>,
    /// Positions by name; of one name the first comes first.
    index: OnceCell<Vec<usize>>,
}

/// One value that is written.
#[derive(Clone, Debug)]
pub enum Node<'a> {
    /// Members in order.
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
    /// Elements.
    Array(Vec<Node<'a>>),
    /// JSON text as it is.
    Leaf(Cow<'a, str>),
}

/// Reads a value in one pass.
///
/// # Errors
/// When it holds more than [`MAX_VALUES`].
pub fn parse(raw: &RawValue) -> Result<Tree<'_>, TooLarge> {
    Reader { text: raw.get(), at: 0, values: 0 }.value(0)
}

/// A place in JSON text that was checked before: what is not JSON ends the reading early.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    values: usize,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Tree<'a>, TooLarge> {
        self.values = self.values.saturating_add(1);
        if self.values > MAX_VALUES {
            return Err(TooLarge);
        }
        self.space();
        let start = self.at;
        let below = depth.saturating_add(1);
        let value = match self.peek() {
            Some(b'{') if depth < MAX_DEPTH => {
                let mut members = Vec::new();
                self.each(b'}', |reader| {
                    let name = reader.name();
                    reader.space();
                    reader.skip(b':');
                    members.push((name, reader.value(below)?));
                    Ok(())
                })?;
                Value::Object(Members { list: members, index: OnceCell::new() })
            }
            Some(b'[') if depth < MAX_DEPTH => {
                let mut elements = Vec::new();
                self.each(b']', |reader| {
                    elements.push(reader.value(below)?);
                    Ok(())
                })?;
                Value::Array(elements)
            }
            Some(b'{' | b'[') => {
                self.pass();
                Value::Leaf
            }
            Some(b'"') => {
                self.string();
                Value::Leaf
            }
            _ => {
                self.at = self.end_of_scalar();
                Value::Leaf
            }
        };
        Ok(Tree { text: self.text.get(start..self.at).unwrap_or_default(), value })
    }

    /// The members or elements up to a closing bracket.
    fn each(&mut self, bracket: u8, mut one: impl FnMut(&mut Self) -> Result<(), TooLarge>) -> Result<(), TooLarge> {
        self.at = self.at.saturating_add(1);
        self.space();
        while self.peek().is_some_and(|byte| byte != bracket) {
            let before = self.at;
            one(self)?;
            self.space();
            self.skip(b',');
            self.space();
            if self.at == before {
                break;
            }
        }
        self.skip(bracket);
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at = self.at.saturating_add(1);
        }
    }

    fn skip(&mut self, byte: u8) {
        if self.peek() == Some(byte) {
            self.at = self.at.saturating_add(1);
        }
    }

    fn name(&mut self) -> Cow<'a, str> {
        let start = self.at;
        self.string();
        let written = self.text.get(start..self.at).unwrap_or_default();
        match written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(plain) if !plain.contains('\\') => Cow::Borrowed(plain),
            _ => Cow::Owned(serde_json::from_str(written).unwrap_or_default()),
        }
    }

    /// From the opening quote to behind the closing one.
    fn string(&mut self) {
        self.at = self.at.saturating_add(1);
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let Some(place) = memchr::memchr2(b'"', b'\\', rest) else {
                self.at = self.text.len();
                return;
            };
            let escaped = rest.get(place) == Some(&b'\\');
            self.at = self.at.saturating_add(place).saturating_add(if escaped { 2 } else { 1 });
            if !escaped {
                return;
            }
        }
    }

    /// Passes over an object or array without looking into it.
    fn pass(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.string();
                    continue;
                }
                b'{' | b'[' => depth = depth.saturating_add(1),
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.at = self.at.saturating_add(1);
            if depth == 0 {
                return;
            }
        }
    }

    fn end_of_scalar(&self) -> usize {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
        self.at.saturating_add(rest.iter().position(ends).unwrap_or(rest.len()))
    }
}

// === impl Tree ===

impl<'a> Tree<'a> {
    /// The string it is, if it is one.
    pub fn as_text(&self) -> Option<Cow<'a, str>> {
        if !matches!(self.value, Value::Leaf) {
            return None;
        }
        match self.text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(plain) if !plain.contains('\\') => Some(Cow::Borrowed(plain)),
            Some(_) => serde_json::from_str(self.text).ok().map(Cow::Owned),
            None => None,
        }
    }

    /// A member of the object it is.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match &self.value {
            Value::Object(members) => members.get(name),
            Value::Array(_) | Value::Leaf => None,
        }
    }

    /// The value and all that is in it, to be changed.
    pub fn into_node(self) -> Node<'a> {
        match self.value {
            Value::Object(members) => {
                Node::Object(members.into_members().map(|(name, value)| (name, value.into_node())).collect())
            }
            Value::Array(elements) => Node::Array(elements.into_iter().map(Self::into_node).collect()),
            Value::Leaf => Node::Leaf(Cow::Borrowed(self.text)),
        }
    }

    /// The same value to be written, without white space between its parts.
    pub fn kept(&self) -> Node<'a> {
        Node::Leaf(minified(self.text))
    }
}

// === impl Members ===

impl<'a> Members<'a> {
    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tree<'a>)> {
        self.list.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// How many.
    pub const fn count(&self) -> usize {
        self.list.len()
    }

    /// In order.
    pub fn into_members(self) -> impl Iterator<Item = (Cow<'a, str>, Tree<'a>)> {
        self.list.into_iter()
    }

    /// The first member of this name.
    pub fn get(&self, name: &str) -> Option<&Tree<'a>> {
        if self.list.len() <= FEW {
            return self.list.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        }
        let key = |at: &usize| self.list.get(*at).map(|(key, _)| key.as_ref());
        let index = self.index.get_or_init(|| {
            let mut index: Vec<usize> = (0..self.list.len()).collect();
            index.sort_by_key(key);
            index
        });
        let place = index.partition_point(|at| key(at) < Some(name));
        let (found, value) = self.list.get(*index.get(place)?)?;
        (found == name).then_some(value)
    }
}

// === impl Node ===

impl<'a> Node<'a> {
    /// A member of the object it is.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            Self::Array(_) | Self::Leaf(_) => None,
        }
    }

    /// Its JSON text.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    /// A string.
    pub fn text(text: &str) -> Self {
        Self::Leaf(Cow::Owned(serde_json::to_string(text).unwrap_or_default()))
    }

    /// JSON text that is known.
    pub const fn word(json: &'static str) -> Self {
        Self::Leaf(Cow::Borrowed(json))
    }

    /// The string it is, if it is one.
    pub fn as_text(&self) -> Option<String> {
        match self {
            Self::Leaf(json) => serde_json::from_str(json).ok(),
            Self::Object(_) | Self::Array(_) => None,
        }
    }

    /// As raw JSON.
    pub fn into_raw(self) -> Option<Raw> {
        RawValue::from_string(self.to_json()).ok()
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Object(members) => {
                out.push('{');
                for (at, (name, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    // A string cannot fail to be written to a string.
                    let _ = write!(out, "{}:", serde_json::to_string(name).unwrap_or_default());
                    value.write(out);
                }
                out.push('}');
            }
            Self::Array(elements) => {
                out.push('[');
                for (at, element) in elements.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    element.write(out);
                }
                out.push(']');
            }
            Self::Leaf(json) => out.push_str(json),
        }
    }
}

/// JSON text without white space between its parts.
pub fn minified(json: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let (mut kept, mut at) = (0, 0);
    let bytes = json.as_bytes();
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let mut reader = Reader { text: json, at, values: 0 };
                reader.string();
                at = reader.at;
                continue;
            }
            b' ' | b'\n' | b'\r' | b'\t' => {
                out.push_str(json.get(kept..at).unwrap_or_default());
                kept = at.saturating_add(1);
            }
            _ => {}
        }
        at = at.saturating_add(1);
    }
    if kept == 0 {
        return Cow::Borrowed(json);
    }
    out.push_str(json.get(kept..).unwrap_or_default());
    Cow::Owned(out)
}
