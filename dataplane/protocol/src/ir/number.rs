//! A number as it was written: `1.0` stays `1.0`, and no digit is lost on the way through a float.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use serde_json::value::RawValue;

use super::Raw;

/// A JSON number, as text.
#[derive(Clone, Debug)]
pub struct Number(Raw);

impl Number {
    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The nearest float.
    pub fn as_f64(&self) -> Option<f64> {
        self.as_str().parse().ok()
    }

    /// The value, if it is written as a whole number of this size.
    pub fn as_i64(&self) -> Option<i64> {
        self.as_str().parse().ok()
    }

    /// The value, if it is written as a whole number of this size.
    pub fn as_u64(&self) -> Option<u64> {
        self.as_str().parse().ok()
    }
}

impl fmt::Display for Number {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        if raw.get().starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
            Ok(Self(raw))
        } else {
            Err(D::Error::custom("must be a number"))
        }
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_survives() {
        for text in ["0.1", "1e-7", "1.0", "-0.0", "1E+2", "9007199254740993", "0.30000000000000004", "1.000"] {
            let number: Number = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&number).unwrap(), text);
        }
        for text in ["\"1\"", "true", "null", "[1]"] {
            assert!(serde_json::from_str::<Number>(text).is_err(), "{text}");
        }
        let big: Number = serde_json::from_str("9007199254740993").unwrap();
        assert_eq!((big.as_i64(), big.as_u64()), (Some(9_007_199_254_740_993), Some(9_007_199_254_740_993)));
    }
}
