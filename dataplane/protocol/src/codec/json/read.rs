//! Reading: one object at a time, its members unparsed until asked for.
//!
//! `null` counts as absent (docs/protocols/README.md). Of duplicate members the last wins, as in every common
//! parser. What is left after all known members were taken is what the dialect says and this program does not know.
//! Paths of errors are built on the way up, so that a legal body pays nothing for them.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::{
    codec::Malformed,
    report::cut,
    scan::{MAX_ELEMENTS, MAX_MEMBERS},
};

/// Longest name of a tool, in bytes.
pub const MAX_TOOL_NAME: usize = 1024;
/// Longest message of an error, in bytes.
const MAX_MESSAGE: usize = 512;

/// How member names are spelled in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// One way only.
    Exact,
    /// As protobuf JSON takes them: `camelCase`, and `snake_case` for the same member.
    Proto,
}

/// One JSON object.
#[derive(Debug)]
pub struct Object<'a> {
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
    spelling: Spelling,
}

impl<'a> Object<'a> {
    /// Reads a document.
    ///
    /// # Errors
    /// When it is not JSON, or not an object.
    pub fn parse(body: &'a [u8], spelling: Spelling) -> Result<Self, Malformed> {
        let members = serde_json::from_slice(body)
            .map_err(|error| Malformed { field: None, message: format!("the body is not a JSON object: {error}") })?;
        Self::new(members, spelling)
    }

    /// Reads a member's value.
    ///
    /// # Errors
    /// When it is not an object.
    pub fn from_raw(raw: &'a RawValue, spelling: Spelling) -> Result<Self, Malformed> {
        let members = serde_json::from_str(raw.get()).map_err(|_| malformed("must be an object"))?;
        Self::new(members, spelling)
    }

    fn new(Members(members): Members<'a>, spelling: Spelling) -> Result<Self, Malformed> {
        let Some(mut members) = members else {
            return Err(malformed(&format!("has more than {MAX_MEMBERS} members")));
        };
        if spelling == Spelling::Proto {
            for (name, _) in &mut members {
                if name.contains('_') {
                    *name = Cow::Owned(camel(name));
                }
            }
        }
        Ok(Self { members, spelling })
    }

    /// Removes a member and gives its text; `null` is none.
    pub fn take_raw(&mut self, name: &str) -> Option<&'a RawValue> {
        let value = self.members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| *value)?;
        self.members.retain(|(key, _)| key != name);
        (value.get() != "null").then_some(value)
    }

    /// Removes a member and reads it.
    ///
    /// # Errors
    /// When it has another type.
    pub fn take<T: Deserialize<'a>>(&mut self, name: &str) -> Result<Option<T>, Malformed> {
        self.take_raw(name).map(|raw| read(raw).map_err(|error| error.within(name))).transpose()
    }

    /// Removes a member that must be there and reads it.
    ///
    /// # Errors
    /// When it is absent or has another type.
    pub fn need<T: Deserialize<'a>>(&mut self, name: &str) -> Result<T, Malformed> {
        self.take(name)?.ok_or_else(|| malformed("is required").within(name))
    }

    /// Removes the `name` of a tool, which must be there. Vendors take 128 characters; answers and results repeat it.
    ///
    /// # Errors
    /// When it is absent, no string, or longer than [`MAX_TOOL_NAME`].
    pub fn need_name(&mut self) -> Result<String, Malformed> {
        let name: String = self.need("name")?;
        if name.len() > MAX_TOOL_NAME {
            return Err(malformed(&format!("is longer than {MAX_TOOL_NAME} bytes")).within("name"));
        }
        Ok(name)
    }

    /// Removes a member that is an object.
    ///
    /// # Errors
    /// When it is something else.
    pub fn object(&mut self, name: &str) -> Result<Option<Self>, Malformed> {
        let spelling = self.spelling;
        self.take_raw(name).map(|raw| Self::from_raw(raw, spelling).map_err(|error| error.within(name))).transpose()
    }

    /// Removes a member that is a list of anything.
    ///
    /// # Errors
    /// When it is not a list.
    pub fn list(&mut self, name: &str) -> Result<Vec<&'a RawValue>, Malformed> {
        let list = self.take_raw(name).map(|raw| elements(raw).map_err(|error| error.within(name)));
        Ok(list.transpose()?.unwrap_or_default())
    }

    /// Removes a member that is a list of objects; absent is empty.
    ///
    /// # Errors
    /// When it, or one of its elements, is something else.
    pub fn objects(&mut self, name: &str) -> Result<Vec<Self>, Malformed> {
        let spelling = self.spelling;
        let objects = self.list(name)?.into_iter().enumerate().map(|(index, raw)| {
            Self::from_raw(raw, spelling).map_err(|error| error.within(&format!("{name}[{index}]")))
        });
        objects.collect()
    }

    /// Whether a member is there and not `null`.
    pub fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(key, value)| key == name && value.get() != "null")
    }

    /// Whether a member is there, `null` or not.
    pub fn names(&self, name: &str) -> bool {
        self.members.iter().any(|(key, _)| key == name)
    }

    /// Whether no member holds anything: each is `null`, `""`, `[]` or `{}`. Servers that block_sequencer structs without
    /// care write such members for what is absent.
    pub fn says_nothing(&self) -> bool {
        self.members.iter().all(|(_, value)| matches!(value.get(), "null" | "\"\"" | "[]" | "{}"))
    }

    /// A member without removing it; `null` is none.
    pub fn peek(&self, name: &str) -> Option<&'a RawValue> {
        let value = self.members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| *value)?;
        (value.get() != "null").then_some(value)
    }

    /// All that is left, nulls included.
    pub fn members(self) -> impl Iterator<Item = (Cow<'a, str>, &'a RawValue)> {
        self.members.into_iter()
    }

    /// What nobody took, without nulls.
    pub fn rest(self) -> impl Iterator<Item = (Cow<'a, str>, &'a RawValue)> {
        self.members.into_iter().filter(|(_, value)| value.get() != "null")
    }
}

/// Reads a list.
///
/// # Errors
/// When it is none, or has more elements than [`MAX_ELEMENTS`].
pub fn elements(raw: &RawValue) -> Result<Vec<&RawValue>, Malformed> {
    let Elements(list) = read(raw)?;
    list.ok_or_else(|| malformed(&format!("has more than {MAX_ELEMENTS} elements")))
}

/// Reads a value.
///
/// # Errors
/// When it has another type.
pub fn read<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<T, Malformed> {
    serde_json::from_str(raw.get()).map_err(|error| malformed(&short(&error)))
}

/// An error without a place yet.
pub fn malformed(message: &str) -> Malformed {
    // It may quote what the client wrote.
    let message = cut(message.to_owned().into(), MAX_MESSAGE).into_owned();
    Malformed { field: None, message }
}

impl Malformed {
    /// The same error, seen from one level further out.
    #[must_use]
    pub fn within(self, outer: &str) -> Self {
        let field = match self.field {
            Some(inner) if inner.starts_with('[') => format!("{outer}{inner}"),
            Some(inner) => format!("{outer}.{inner}"),
            None => outer.to_owned(),
        };
        Self { field: Some(field), message: self.message }
    }
}

/// Serde's message without line and column, which would point into a member and not into the client's body.
fn short(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    let text = text.get(..end).unwrap_or_default();
    // What this program's types are called concerns nobody.
    let Some((found, expected)) = text.rsplit_once("expected ") else { return text.to_owned() };
    let expected = match expected {
        "u64" | "u32" | "u16" | "i64" | "i32" => "a whole number",
        "f64" | "f32" => "a number",
        "a sequence" => "a list",
        "a map" => "an object",
        "a boolean" => "true or false",
        other => other,
    };
    format!("{found}expected {expected}")
}

/// `system_instruction` as `systemInstruction`.
pub fn camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut raise = false;
    for character in name.chars() {
        if character == '_' {
            raise = !out.is_empty();
        } else if raise {
            out.push(character.to_ascii_uppercase());
            raise = false;
        } else {
            out.push(character);
        }
    }
    out
}

/// The members of an object in order; none if there are too many.
struct Members<'a>(Option<Vec<(Cow<'a, str>, &'a RawValue)>>);

/// The elements of a list; none if there are too many.
struct Elements<'a>(Option<Vec<&'a RawValue>>);

/// The one member of an object; none if it has none or several.
pub struct Only<'a>(pub Option<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Elements<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = seq.next_element()? {
                    if elements.len() == MAX_ELEMENTS {
                        while seq.next_element::<IgnoredAny>()?.is_some() {}
                        return Ok(Elements(None));
                    }
                    elements.push(element);
                }
                Ok(Elements(Some(elements)))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

impl<'de> Deserialize<'de> for Only<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Only<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let Some(Key(name)) = map.next_key()? else { return Ok(Only(None)) };
                let only = Some((name, map.next_value()?));
                let mut several = false;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    several = true;
                }
                Ok(Only(only.filter(|_| !several)))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    if members.len() == MAX_MEMBERS {
                        map.next_value::<IgnoredAny>()?;
                        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                        return Ok(Members(None));
                    }
                    members.push((key, map.next_value()?));
                }
                Ok(Members(Some(members)))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A member name, borrowed unless it holds escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl<'de> Visitor<'de> for Name {
            type Value = Key<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a member name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(Name)
    }
}

#[cfg(test)]
mod tests {
    use super::{Object, Spelling, malformed};

    #[test]
    fn members_come_once_and_the_unknown_stays() {
        let body = br#"{"a":1,"b":null,"a":2,"x_future":{"k":[1.0,null]},"\u0063":false}"#;
        let mut object = Object::parse(body, Spelling::Exact).unwrap();
        assert_eq!(object.take::<u64>("a").unwrap(), Some(2), "the last of duplicates");
        assert_eq!(object.take::<u64>("b").unwrap(), None, "null is absent");
        assert_eq!(object.take::<bool>("c").unwrap(), Some(false), "an escaped name");
        let rest: Vec<_> = object.rest().map(|(name, raw)| (name.into_owned(), raw.get().to_owned())).collect();
        assert_eq!(rest, [("x_future".to_owned(), r#"{"k":[1.0,null]}"#.to_owned())]);
    }

    #[test]
    fn proto_takes_both_spellings() {
        let body = br#"{"system_instruction":{"inline_data":{"mime_type":"a"}}}"#;
        let mut object = Object::parse(body, Spelling::Proto).unwrap();
        let mut inner = object.object("systemInstruction").unwrap().unwrap().object("inlineData").unwrap().unwrap();
        assert_eq!(inner.take::<String>("mimeType").unwrap().as_deref(), Some("a"));
    }

    #[test]
    fn errors_name_the_place() {
        let body = br#"{"messages":[{"role":1}]}"#;
        let mut object = Object::parse(body, Spelling::Exact).unwrap();
        let mut messages = object.objects("messages").unwrap();
        let error = messages[0].need::<String>("role").unwrap_err().within("messages[0]");
        assert_eq!(error.field.as_deref(), Some("messages[0].role"));
        assert!(error.message.contains("expected a string") && !error.message.contains("line"), "{}", error.message);
        assert_eq!(malformed("x").within("[1]").within("a").field.as_deref(), Some("a[1]"));
    }
}
