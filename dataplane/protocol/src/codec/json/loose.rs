//! Text as compatible servers send it: a string, or a number or boolean where a string is due.
//!
//! Some servers write ids and even words as JSON numbers. The official SDKs take them without a word, so they are no
//! reason to end an answer.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde_json::value::RawValue;

/// A string, or the text of a number or boolean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loose<'a>(Cow<'a, str>);

impl<'a> Loose<'a> {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, owned.
    pub fn into_string(self) -> String {
        self.0.into_owned()
    }
}

/// For `#[serde(deserialize_with)]` on optional members.
///
/// What is a list or an object says nothing: one odd member is no reason to lose what stands beside it.
///
/// # Errors
/// When it is no JSON.
pub fn option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    let raw = Option::<&RawValue>::deserialize(deserializer)?;
    Ok(raw.and_then(|raw| serde_json::from_str::<Loose<'_>>(raw.get()).ok()).map(|loose| loose.0))
}

/// The same, owned.
///
/// # Errors
/// When it is no JSON.
pub fn owned<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(option(deserializer)?.map(Cow::into_owned))
}

/// The same for whole numbers: one, or the text of one. Anything else says nothing.
///
/// # Errors
/// When it is no JSON.
pub fn number<'de, D: Deserializer<'de>, N: FromStr>(deserializer: D) -> Result<Option<N>, D::Error> {
    Ok(option(deserializer)?.and_then(|text| text.parse().ok()))
}

/// The same for pieces of JSON text: a piece as text, or the object itself.
///
/// # Errors
/// When it is no JSON.
pub fn json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let raw = Option::<&RawValue>::deserialize(deserializer)?;
    Ok(raw.and_then(|raw| {
        if raw.get().starts_with('{') {
            return Some(raw.get().to_owned());
        }
        serde_json::from_str::<Loose<'_>>(raw.get()).ok().map(Loose::into_string)
    }))
}

impl<'de> Deserialize<'de> for Loose<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Loose<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Loose(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Loose(Cow::Owned(text.to_owned())))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Loose(Cow::Owned(number.to_string())))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Loose(Cow::Owned(number.to_string())))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
                Ok(Loose(Cow::Owned(number.to_string())))
            }

            fn visit_bool<E: Error>(self, truth: bool) -> Result<Self::Value, E> {
                Ok(Loose(Cow::Owned(truth.to_string())))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::Loose;

    #[test]
    fn numbers_stand_for_text() {
        for (json, text) in
            [("\"a\"", "a"), ("\"\\u0061\"", "a"), ("7", "7"), ("-1", "-1"), ("1.5", "1.5"), ("true", "true")]
        {
            assert_eq!(serde_json::from_str::<Loose<'_>>(json).unwrap().as_str(), text);
        }
        for json in ["[]", "{}", "[1]"] {
            assert!(serde_json::from_str::<Loose<'_>>(json).is_err(), "{json}");
        }
        assert_eq!(serde_json::from_str::<Option<Loose<'_>>>("null").unwrap(), None);
    }
}
