//! Token counts as servers write them. A count that makes no sense is a count that was not given: usage beside an answer
//! must never cost the answer.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// A whole number from 0 to 2^64 - 1, also written as `12.0` or in quotes; none for anything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) Option<u64>);

/// The same of a parsed value.
pub(crate) fn count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| whole(value.as_f64()?)).or_else(|| quoted(value.as_str()?))
}

fn quoted(text: &str) -> Option<u64> {
    let text = text.trim();
    text.parse().ok().or_else(|| whole(text.parse().ok()?))
}

/// Floats are exact up to 2^53, which is more than any count.
fn whole(number: f64) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let is_count = number.fract() == 0.0 && (0.0..=EXACT).contains(&number);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, and in the range of u64")]
    is_count.then_some(number as u64)
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Count;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a count")
            }

            fn visit_u64<E>(self, number: u64) -> Result<Count, E> {
                Ok(Count(Some(number)))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Count, E> {
                Ok(Count(u64::try_from(number).ok()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Count, E> {
                Ok(Count(whole(number)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Count, E> {
                Ok(Count(quoted(text)))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Count, E> {
                Ok(Count(None))
            }

            fn visit_unit<E>(self) -> Result<Count, E> {
                Ok(Count(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Count, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Count(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Count, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Count(None))
            }
        }

        from.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_count_is_none_and_never_an_error() {
        for (text, expected) in [
            ("12", Some(12)),
            ("12.0", Some(12)),
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("1e300", None),
            ("-1", None),
            ("-1.0", None),
            ("1.5", None),
            ("\"12\"", Some(12)),
            ("\"12.0\"", Some(12)),
            ("\"12.5\"", None),
            ("\"many\"", None),
            ("true", None),
            ("null", None),
            ("[1,2]", None),
            ("{\"a\":1}", None),
        ] {
            assert_eq!(serde_json::from_str::<Count>(text).unwrap(), Count(expected), "{text}");
            assert_eq!(count(&serde_json::from_str(text).unwrap()), expected, "{text}");
        }
    }
}
