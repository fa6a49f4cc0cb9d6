//! Token counts as servers write them. A count that makes no sense is a count that was not given: usage beside an answer
//! must never cost the answer.

use serde_json::Value;

/// A whole number from 0 to 2^64 - 1, also written as `12.0` or in quotes; none for anything else.
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
            assert_eq!(count(&serde_json::from_str(text).unwrap()), expected, "{text}");
        }
    }
}
