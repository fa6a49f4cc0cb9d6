//! `x-routeapi-warnings`: which request fields were changed or dropped for an upstream, as
//! `dropped;field=seed, adapted;field=reasoning_effort;from=minimal;to=low`.
//!
//! Field names come from the client's own JSON, so everything outside a plain alphabet is replaced, and both a name and
//! the whole header are bounded; what no longer fits is counted, not forgotten.

use http::HeaderValue;
use routeapi_protocol::report::Warning;

/// Longest header value; proxies in front commonly take 8 KiB for all headers together.
const MOST: usize = 2_048;
/// Longest name or value of one warning.
const LONGEST: usize = 96;

/// All warnings as one header value; none if there are none.
pub(in crate::request) fn header(warnings: &[Warning]) -> Option<HeaderValue> {
    let mut text = String::new();
    for (at, warning) in warnings.iter().enumerate() {
        let next = word(warning);
        if text.len() + next.len() + 2 > MOST {
            text.push_str(&format!(", more;count={}", warnings.len() - at));
            break;
        }
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&next);
    }
    if text.is_empty() { None } else { HeaderValue::try_from(text).ok() }
}

/// One warning.
pub(in crate::request) fn word(warning: &Warning) -> String {
    match warning {
        Warning::Adapted { field, from, to } => {
            format!("adapted;field={};from={};to={}", plain(field), plain(from), plain(to))
        }
        Warning::Dropped { field } => format!("dropped;field={}", plain(field)),
    }
}

fn plain(text: &str) -> String {
    let legal = |letter: char| letter.is_ascii_alphanumeric() || "_.-[]$:/ ".contains(letter);
    text.chars().take(LONGEST).map(|letter| if legal(letter) { letter } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(field: String) -> Warning {
        Warning::Dropped { field: field.into() }
    }

    #[test]
    fn names_fields_and_never_more() {
        let adapted = Warning::Adapted { field: "reasoning_effort".into(), from: "minimal".into(), to: "low".into() };
        let value = header(&[dropped("seed".into()), adapted]).unwrap();
        assert_eq!(value, "dropped;field=seed, adapted;field=reasoning_effort;from=minimal;to=low");
        assert_eq!(header(&[]), None);
        assert_eq!(header(&[dropped("a\r\nset-cookie: x;ü,".into())]).unwrap(), "dropped;field=a__set-cookie: x___");
    }

    #[test]
    fn is_bounded_and_counts_the_rest() {
        let many: Vec<_> = (0..500).map(|at| dropped(format!("field_{at}"))).collect();
        let value = header(&many).unwrap();
        assert!(value.len() < MOST + 32);
        let (_, rest) = value.to_str().unwrap().rsplit_once("more;count=").unwrap();
        let shown = value.to_str().unwrap().matches("dropped;").count();
        assert_eq!(rest.parse::<usize>().unwrap() + shown, 500);
    }
}
