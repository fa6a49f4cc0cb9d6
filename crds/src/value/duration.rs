//! Durations as Gateway API writes them (GEP-2257): `500ms`, `1m30s`, `720h`. There is no unit above the hour.

use std::{borrow::Cow, fmt, str::FromStr, time};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A non-negative duration in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u64);

/// The text is not one to four groups of digits and a unit out of `h`, `m`, `s`, `ms`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration: write it like 500ms, 30s, 1m30s or 24h")]
pub struct InvalidDuration(pub String);

impl Duration {
    /// From whole milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// From whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs * 1000)
    }

    /// In whole milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }
}

impl From<Duration> for time::Duration {
    fn from(value: Duration) -> Self {
        Self::from_millis(value.0)
    }
}

impl FromStr for Duration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let invalid = || InvalidDuration(text.to_owned());
        let mut rest = text;
        let mut millis = 0u64;
        for group in 0..=4 {
            if rest.is_empty() && group > 0 {
                return Ok(Self(millis));
            }
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at_checked(digits).ok_or_else(invalid)?;
            let unit = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (unit, tail) = tail.split_at_checked(unit).ok_or_else(invalid)?;
            let factor = match unit {
                "h" => 3_600_000,
                "m" => 60_000,
                "s" => 1_000,
                "ms" => 1,
                _ => return Err(invalid()),
            };
            if digits == 0 || digits > 5 || group == 4 {
                return Err(invalid());
            }
            millis += number.parse::<u64>().map_err(|_| invalid())? * factor;
            rest = tail;
        }
        Err(invalid())
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return out.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if rest >= size {
                write!(out, "{}{unit}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 24,
            "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_gateway_api_round_trip() {
        for (text, millis, canonical) in [
            ("500ms", 500, "500ms"),
            ("1m30s", 90_000, "1m30s"),
            ("720h", 2_592_000_000, "720h"),
            ("0s", 0, "0s"),
            ("1h1m1s1ms", 3_661_001, "1h1m1s1ms"),
            ("90s", 90_000, "1m30s"),
        ] {
            let read: Duration = text.parse().unwrap();
            assert_eq!(read.as_millis(), millis, "{text}");
            assert_eq!(read.to_string(), canonical);
        }
        for text in ["", "s", "5", "1d", "1.5s", "-1s", "123456s", "1s1s1s1s1s", " 1s"] {
            assert_eq!(text.parse::<Duration>(), Err(InvalidDuration(text.to_owned())), "{text}");
        }
    }
}
