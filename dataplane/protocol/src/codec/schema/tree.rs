//! JSON as an ordered tree: member order is what models generate by, and numbers keep their spelling.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::value::RawValue;

use crate::ir::Raw;

/// Deeper levels stay unparsed text.
const MAX_DEPTH: usize = 64;

/// One value.
#[derive(Clone, Debug)]
pub enum Node {
    /// Members in order, duplicates included.
    Object(Vec<(String, Node)>),
    /// Elements.
    Array(Vec<Node>),
    /// A string, number, boolean or null as written, or a value too deep to be looked at.
    Leaf(Raw),
}

struct Members(Vec<(String, Raw)>);

/// Reads a value. Text that is no JSON cannot get here, for a `RawValue` was checked; the fallback is a leaf.
pub fn parse(raw: &RawValue) -> Node {
    parse_at(raw, 0)
}

fn parse_at(raw: &RawValue, depth: usize) -> Node {
    let leaf = || Node::Leaf(raw.to_owned());
    if depth >= MAX_DEPTH {
        return leaf();
    }
    let below = depth.saturating_add(1);
    match raw.get().as_bytes().first() {
        Some(b'{') => serde_json::from_str::<Members>(raw.get()).map_or_else(
            |_| leaf(),
            |members| {
                Node::Object(members.0.into_iter().map(|(name, value)| (name, parse_at(&value, below))).collect())
            },
        ),
        Some(b'[') => serde_json::from_str::<Vec<Raw>>(raw.get()).map_or_else(
            |_| leaf(),
            |elements| Node::Array(elements.iter().map(|element| parse_at(element, below)).collect()),
        ),
        _ => leaf(),
    }
}

// === impl Node ===

impl Node {
    /// A string.
    pub fn text(text: &str) -> Self {
        Self::json(&serde_json::Value::from(text))
    }

    /// A boolean.
    pub fn truth(truth: bool) -> Self {
        Self::json(&serde_json::Value::from(truth))
    }

    fn json(value: &serde_json::Value) -> Self {
        serde_json::value::to_raw_value(value).map_or_else(|_| Self::Object(Vec::new()), Self::Leaf)
    }

    /// The string it is, if it is one.
    pub fn as_text(&self) -> Option<String> {
        match self {
            Self::Leaf(raw) => serde_json::from_str(raw.get()).ok(),
            Self::Object(_) | Self::Array(_) => None,
        }
    }

    /// A member of the object it is.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            Self::Array(_) | Self::Leaf(_) => None,
        }
    }

    /// Its JSON text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Its JSON text, as raw JSON.
    pub fn into_raw(self) -> Option<Raw> {
        match self {
            Self::Leaf(raw) => Some(raw),
            other => serde_json::value::to_raw_value(&other).ok(),
        }
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
            Self::Array(elements) => elements.serialize(serializer),
            Self::Leaf(raw) => raw.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}
