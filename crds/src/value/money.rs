//! Money as integers: one unit is a billionth of a US dollar, so that no price or sum is ever a float.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount in nano-dollars (10⁻⁹ USD). Written by users as a decimal string such as `"2.50"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NanoUsd(i64);

/// The text is not digits with at most nine decimals.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an amount in US dollars: write it as a quoted decimal like \"2.50\"")]
pub struct InvalidMoney(pub String);

impl NanoUsd {
    /// From nano-dollars.
    pub const fn new(nanos: i64) -> Self {
        Self(nanos)
    }

    /// In nano-dollars.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl FromStr for NanoUsd {
    type Err = InvalidMoney;

    fn from_str(text: &str) -> Result<Self, InvalidMoney> {
        let invalid = || InvalidMoney(text.to_owned());
        let (whole, fraction) = text.split_once('.').map_or((text, None), |(w, f)| (w, Some(f)));
        let digits = |part: &str, most: usize| {
            (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !digits(whole, 7) || fraction.is_some_and(|part| !digits(part, 9)) {
            return Err(invalid());
        }
        let whole: i64 = whole.parse().map_err(|_| invalid())?;
        let fraction: i64 = format!("{:0<9}", fraction.unwrap_or("")).parse().map_err(|_| invalid())?;
        Ok(Self(whole * 1_000_000_000 + fraction))
    }
}

impl fmt::Display for NanoUsd {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nanos = self.0.unsigned_abs();
        let fraction = format!("{:09}", nanos % 1_000_000_000);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        write!(out, "{sign}{}{point}{fraction}", nanos / 1_000_000_000)
    }
}

impl Serialize for NanoUsd {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NanoUsd {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for NanoUsd {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "NanoUsd".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 17,
            "pattern": "^[0-9]{1,7}(\\.[0-9]{1,9})?$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_decimals_exactly_and_writes_them_back() {
        for (text, nanos, canonical) in [
            ("0", 0, "0"),
            ("2.50", 2_500_000_000, "2.5"),
            ("0.000000001", 1, "0.000000001"),
            ("9999999.999999999", 9_999_999_999_999_999, "9999999.999999999"),
        ] {
            let read: NanoUsd = text.parse().unwrap();
            assert_eq!(read.get(), nanos);
            assert_eq!(read.to_string(), canonical);
        }
        for text in ["", ".5", "1.", "-1", "1e3", "1.0000000001", "12345678", "$1", "+1"] {
            assert!(text.parse::<NanoUsd>().is_err(), "{text}");
        }
    }
}
