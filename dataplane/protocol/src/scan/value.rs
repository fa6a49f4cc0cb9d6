//! Values by their place in the body.

use std::{borrow::Cow, ops::Range};

use super::bounds::MAX_TREE;

/// What a value is, as far as a glance at its first byte tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number,
    /// A string; `escaped` if it holds a backslash.
    String {
        /// Whether it holds escapes.
        escaped: bool,
    },
    /// An array.
    Array {
        /// Whether it has no elements.
        empty: bool,
    },
    /// An object.
    Object {
        /// Whether it has no members.
        empty: bool,
    },
}

/// One value, by its place in the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// What it is.
    pub kind: Kind,
    /// Its bytes, quotes and brackets included.
    pub span: Range<usize>,
}

/// One member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name's bytes, quotes included.
    pub name: Range<usize>,
    /// Its value.
    pub value: Value,
}

impl Member {
    /// Whether it is called `name`, however its name is escaped.
    pub fn is(&self, body: &[u8], name: &str) -> bool {
        let written = body.get(self.name.clone()).unwrap_or_default();
        match written.get(1..written.len().saturating_sub(1)) {
            Some(plain) if plain == name.as_bytes() => true,
            Some(plain) if memchr::memchr(b'\\', plain).is_some() => {
                serde_json::from_slice::<String>(written).is_ok_and(|decoded| decoded == name)
            }
            _ => false,
        }
    }
}

impl Value {
    /// The value as a tree, if it is at most [`MAX_TREE`] bytes long: a tree takes up to a hundred times its text.
    pub fn small(&self, body: &[u8]) -> Option<serde_json::Value> {
        let text = Some(self.bytes(body)).filter(|text| text.len() <= MAX_TREE)?;
        serde_json::from_slice(text).ok()
    }

    /// The bytes.
    pub fn bytes<'a>(&self, body: &'a [u8]) -> &'a [u8] {
        body.get(self.span.clone()).unwrap_or_default()
    }

    /// The text of a string; none for other kinds.
    pub fn text<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        let Kind::String { escaped } = self.kind else {
            return None;
        };
        let written = self.bytes(body);
        if escaped {
            return serde_json::from_slice::<String>(written).ok().map(Cow::Owned);
        }
        std::str::from_utf8(written.get(1..written.len().checked_sub(1)?)?).ok().map(Cow::Borrowed)
    }

    /// The text of a string that is at most [`MAX_TREE`] bytes long as it is written; none for other kinds.
    pub fn small_text<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        if self.span.len() <= MAX_TREE { self.text(body) } else { None }
    }

    /// A number as a count; none for other kinds and for what is not a whole number from 0.
    pub fn count(&self, body: &[u8]) -> Option<u64> {
        match self.kind {
            Kind::Number => std::str::from_utf8(self.bytes(body)).ok()?.parse().ok(),
            _ => None,
        }
    }
}
