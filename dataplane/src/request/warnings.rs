//! `x-routeapi-warnings`: which request fields were changed, dropped or added for an upstream, as
//! `dropped;field=seed, adapted;field=reasoning_effort;from=minimal;to=low, defaulted;field=store`.
//!
//! Field names come from the client's own JSON, so everything outside a plain alphabet is replaced, and both a name and
//! the whole header are bounded; what no longer fits is counted, not forgotten.

use http::HeaderValue;
use routeapi_protocol::report::Warning;

/// Longest header value; proxies in front commonly take 8 KiB for all headers together.
const MAX_HEADER_BYTES: usize = 2_048;
/// Longest name or value of one warning.
const MAX_VALUE_CHARS: usize = 96;

/// All warnings as one header value; none if there are none.
pub(super) fn header(warnings: &[Warning]) -> Option<HeaderValue> {
    let text = list(warnings).join(", ");
    if text.is_empty() { None } else { HeaderValue::try_from(text).ok() }
}

/// All warnings, each as one word, in at most [`MAX_HEADER_BYTES`] bytes and a count of what did not fit.
pub(super) fn list(warnings: &[Warning]) -> Vec<String> {
    let (mut list, mut length, mut more) = (Vec::new(), 0_usize, 0_u64);
    for warning in warnings {
        if let Warning::More { count } = warning {
            more = more.saturating_add(*count);
            continue;
        }
        let next = format_warning(warning);
        length = length.saturating_add(next.len()).saturating_add(2);
        if length > MAX_HEADER_BYTES {
            more = more.saturating_add(1);
        } else {
            list.push(next);
        }
    }
    if more > 0 {
        list.push(format_warning(&Warning::More { count: more }));
    }
    list
}

fn format_warning(warning: &Warning) -> String {
    match warning {
        Warning::Adapted { field, from, to } => {
            format!("adapted;field={};from={};to={}", sanitize(field), sanitize(from), sanitize(to))
        }
        Warning::Dropped { field } => format!("dropped;field={}", sanitize(field)),
        Warning::Defaulted { field } => format!("defaulted;field={}", sanitize(field)),
        Warning::Estimated { field } => format!("estimated;field={}", sanitize(field)),
        Warning::More { count } => format!("more;count={count}"),
    }
}

fn sanitize(text: &str) -> String {
    let legal = |letter: char| letter.is_ascii_alphanumeric() || "_.-[]$:/ ".contains(letter);
    text.chars().take(MAX_VALUE_CHARS).map(|letter| if legal(letter) { letter } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(field: String) -> Warning {
        Warning::Dropped { field: field.into() }
    }

    #[test]
    fn warnings_header_names_fields_only() {
        let adapted = Warning::Adapted { field: "reasoning_effort".into(), from: "minimal".into(), to: "low".into() };
        let value = header(&[dropped("seed".into()), adapted]).unwrap();
        assert_eq!(value, "dropped;field=seed, adapted;field=reasoning_effort;from=minimal;to=low");
        assert_eq!(header(&[]), None);
        assert_eq!(header(&[dropped("a\r\nset-cookie: x;ü,".into())]).unwrap(), "dropped;field=a__set-cookie: x___");
    }

    #[test]
    fn warnings_header_is_bounded_and_counts_the_rest() {
        let many: Vec<_> = (0..500).map(|at| dropped(format!("field_{at}"))).collect();
        let value = header(&many).unwrap();
        assert!(value.len() < MAX_HEADER_BYTES + 32);
        let (_, rest) = value.to_str().unwrap().rsplit_once("more;count=").unwrap();
        let shown = value.to_str().unwrap().matches("dropped;").count();
        assert_eq!(rest.parse::<usize>().unwrap() + shown, 500);
    }

    #[test]
    fn omitted_warning_counts_add_up() {
        let many = [Warning::More { count: 3 }, dropped("seed".into()), Warning::More { count: 4 }];
        assert_eq!(header(&many).unwrap(), "dropped;field=seed, more;count=7");
    }
}
