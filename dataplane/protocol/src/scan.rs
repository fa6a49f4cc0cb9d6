//! One pass over a JSON body: is it JSON at all, and where are its top-level members.
//!
//! No tree is built and nothing is copied: a member is a name and the byte range of its value, which is what
//! [`crate::splice`] needs. The reading is strict (RFC 8259 and UTF-8), because the upstream's reader may be stricter
//! than ours and a clear 400 with a position is worth more than a foreign one. Nesting is capped at [`MAX_DEPTH`].
//!
//! Not decided here: what members mean, and which may not repeat (see [`Scan::once`]). Numbers are not evaluated.
//! Escaped surrogates may stand alone, as the grammar allows.

mod reader;

use std::{borrow::Cow, ops::Range};

use reader::Reader;

/// Deepest nesting of arrays and objects that is accepted; the same as `serde_json`'s, so that a body that scans can
/// also be decoded.
pub const MAX_DEPTH: usize = 127;

/// Most top-level members of a body that are accepted. No API has a hundred.
pub const MAX_MEMBERS: usize = 1024;

/// Most elements of a list that is kept: messages, parts, tools. Anthropic takes 100,000 messages.
pub const MAX_ELEMENTS: usize = 100_000;

/// Longest value that is made a tree of, in bytes: counts, errors, reasons.
pub const MAX_TREE: usize = 64 * 1024;

/// The body is not the JSON object that a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at byte {position}")]
pub struct NotJson {
    /// Offset of the offending byte, from 0.
    pub position: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong at one byte of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The body stops in the middle.
    #[error("unexpected end")]
    End,
    /// A value was due.
    #[error("expected a value")]
    Value,
    /// The body as a whole has to be an object.
    #[error("expected an object")]
    Object,
    /// A member name was due.
    #[error("expected a member name in double quotes")]
    Name,
    /// A colon was due.
    #[error("expected a colon")]
    Colon,
    /// A comma or the end of the array or object was due.
    #[error("expected a comma or a closing bracket")]
    Separator,
    /// A number is not written as JSON writes numbers.
    #[error("malformed number")]
    Number,
    /// A backslash is followed by something that is no escape.
    #[error("malformed escape")]
    Escape,
    /// A control character stands unescaped in a string.
    #[error("unescaped control character in a string")]
    Control,
    /// Not UTF-8.
    #[error("invalid UTF-8")]
    Utf8,
    /// Too many brackets inside each other.
    #[error("nested too deeply")]
    Depth,
    /// The body has more members than [`MAX_MEMBERS`].
    #[error("more than {MAX_MEMBERS} members")]
    Members,
    /// Something follows the document.
    #[error("unexpected text after the document")]
    Trailing,
}

/// What a value is, as far as a json_scan tells.
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

/// The top-level members of a body, in order.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    members: Vec<Member>,
    objects: usize,
}

/// A member that decides routing or limits stands in the body twice, so that two readers could read two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is given more than once")]
pub struct Repeated(pub &'static str);

impl Scan {
    /// Reads a whole body.
    ///
    /// # Errors
    /// When it is not one JSON object in UTF-8.
    pub fn read(body: &[u8]) -> Result<Self, NotJson> {
        if let Err(error) = std::str::from_utf8(body) {
            return Err(NotJson { position: error.valid_up_to(), fault: Fault::Utf8 });
        }
        let mut reader = Reader::at(body, 0);
        reader.space();
        if reader.peek() != Some(b'{') {
            return Err(reader.fault(if reader.peek().is_none() { Fault::End } else { Fault::Object }));
        }
        let mut members = Vec::with_capacity(16);
        let mut more = None;
        reader.object(1, |member| {
            if members.len() < MAX_MEMBERS {
                members.push(member);
            } else {
                more.get_or_insert(member.name.start);
            }
        })?;
        if let Some(position) = more {
            return Err(NotJson { position, fault: Fault::Members });
        }
        reader.space();
        if reader.peek().is_some() {
            return Err(reader.fault(Fault::Trailing));
        }
        Ok(Self { members, objects: reader.objects })
    }

    /// All top-level members in order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How many objects the body holds, at any depth and itself included.
    pub const fn objects(&self) -> usize {
        self.objects
    }

    /// The value of the member called `name`, if there is exactly one.
    ///
    /// # Errors
    /// When there are several.
    pub fn once(&self, body: &[u8], name: &'static str) -> Result<Option<&Value>, Repeated> {
        let mut found = self.members.iter().filter(|member| member.is(body, name));
        let first = found.next();
        if found.next().is_some() {
            return Err(Repeated(name));
        }
        Ok(first.map(|member| &member.value))
    }

    /// The value of the last member called `name`, which is how most readers resolve repetition.
    pub fn last(&self, body: &[u8], name: &str) -> Option<&Value> {
        self.members.iter().rev().find(|member| member.is(body, name)).map(|member| &member.value)
    }
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
    /// Hands on the elements of an array inside a scanned body; none if it is no array.
    pub fn each_element(&self, body: &[u8], each: impl FnMut(Self)) {
        let mut reader = Reader::at(body, self.span.start);
        if matches!(self.kind, Kind::Array { .. }) {
            // The body has been read before, so this cannot fail; if it did, fewer elements would be seen.
            let _ = reader.array(1, each);
        }
    }

    /// The elements of an array inside a scanned body; none if it has more than `most`, no elements if it is no array.
    pub fn elements(&self, body: &[u8], most: usize) -> Option<Vec<Self>> {
        let (mut elements, mut more) = (Vec::new(), false);
        self.each_element(body, |element| {
            if elements.len() < most {
                elements.push(element);
            } else {
                more = true;
            }
        });
        (!more).then_some(elements)
    }

    /// The value of the last member called `name`, of an object.
    pub fn member(&self, body: &[u8], name: &str) -> Option<Self> {
        let [found] = self.named(body, [name]);
        found
    }

    /// The values of the last members of these names, of an object, in one pass.
    pub fn named<const N: usize>(&self, body: &[u8], names: [&str; N]) -> [Option<Self>; N] {
        let mut found = [const { None }; N];
        let mut reader = Reader::at(body, self.span.start);
        if matches!(self.kind, Kind::Object { .. }) {
            let _ = reader.object(1, |member| {
                let place = found.iter_mut().zip(names).find(|(_, name)| member.is(body, name));
                if let Some((place, _)) = place {
                    *place = Some(member.value);
                }
            });
        }
        found
    }

    /// Hands on the value of every member with one of these names, of an object, however often it is repeated.
    pub fn each_named(&self, body: &[u8], names: &[&str], mut each: impl FnMut(Self)) {
        let mut reader = Reader::at(body, self.span.start);
        if matches!(self.kind, Kind::Object { .. }) {
            let _ = reader.object(1, |member| {
                if names.iter().any(|name| member.is(body, name)) {
                    each(member.value);
                }
            });
        }
    }

    /// Hands on every member of an object inside a scanned body; none if it is no object.
    pub fn each_member(&self, body: &[u8], each: impl FnMut(Member)) {
        let mut reader = Reader::at(body, self.span.start);
        if matches!(self.kind, Kind::Object { .. }) {
            let _ = reader.object(1, each);
        }
    }

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

    /// A number as a count; none for other kinds and for what is not a whole number from 0.
    pub fn count(&self, body: &[u8]) -> Option<u64> {
        match self.kind {
            Kind::Number => std::str::from_utf8(self.bytes(body)).ok()?.parse().ok(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
