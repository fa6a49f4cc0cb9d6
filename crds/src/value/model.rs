//! Model IDs and patterns that match several of them.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An exact model id, or a prefix written with one trailing `*`. `*` alone matches every model.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModelPattern {
    /// Exactly this ID.
    Exact(String),
    /// Every ID that starts with this text (which may be empty).
    Prefix(String),
}

/// The text is neither a model ID nor a prefix of one followed by `*`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a model id or a prefix ending in '*'")]
pub struct InvalidModelPattern(pub String);

impl ModelPattern {
    /// Whether a model id falls under this pattern. Ids are compared byte by byte.
    pub fn matches(&self, model: &str) -> bool {
        match self {
            Self::Exact(id) => id == model,
            Self::Prefix(prefix) => model.starts_with(prefix.as_str()),
        }
    }
}

impl FromStr for ModelPattern {
    type Err = InvalidModelPattern;

    fn from_str(text: &str) -> Result<Self, InvalidModelPattern> {
        let (id, prefix) = text.strip_suffix('*').map_or((text, false), |id| (id, true));
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@-".contains(&byte);
        let legal = id.bytes().next().map_or(prefix, |first| first.is_ascii_alphanumeric());
        if !legal || !id.bytes().all(inner) || text.len() > 253 {
            return Err(InvalidModelPattern(text.to_owned()));
        }
        Ok(if prefix { Self::Prefix(id.to_owned()) } else { Self::Exact(id.to_owned()) })
    }
}

impl fmt::Display for ModelPattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(id) => out.write_str(id),
            Self::Prefix(prefix) => write!(out, "{prefix}*"),
        }
    }
}

impl Serialize for ModelPattern {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ModelPattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for ModelPattern {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ModelPattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 253,
            "pattern": "^(\\*|[A-Za-z0-9][A-Za-z0-9._:/@-]*\\*?)$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_exactly_or_by_prefix() {
        let pattern = |text: &str| text.parse::<ModelPattern>().unwrap();
        assert!(pattern("gpt-4o").matches("gpt-4o"));
        assert!(!pattern("gpt-4o").matches("gpt-4o-mini"));
        assert!(pattern("gpt-*").matches("gpt-4o"));
        assert!(pattern("*").matches("anything/at:all"));
        for text in ["", "-a", "a b", "a**", "*a", "ü"] {
            assert!(text.parse::<ModelPattern>().is_err(), "{text}");
        }
        assert_eq!(pattern("embed-*").to_string(), "embed-*");
    }
}
