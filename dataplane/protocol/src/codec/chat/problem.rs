//! `error` objects that come in the middle of a stream, where no HTTP status tells what they are.

use serde_json::{Value, json, value::RawValue};

use crate::{
    codec::Malformed,
    dialect::Family,
    problem::{Problem, ProblemKind, understand},
};

/// An `error` member, if it says anything: some servers send `null`, `""` or `{}` beside content.
pub fn decode(raw: &RawValue) -> Option<Problem> {
    let error: Value = serde_json::from_str(raw.get()).ok()?;
    understand::is_error(&error).then(|| understand::event(Family::OpenAi, &json!({ "error": error })))
}

/// The server gave up on the answer and says so by the reason of its end.
pub fn stopped_early(word: &str) -> Problem {
    Problem::new(ProblemKind::Upstream, format!("the upstream stopped its answer early: {word}"))
}

/// An answer that is not one of this dialect.
pub fn unreadable(error: &Malformed) -> Problem {
    let place = error.field.as_deref().unwrap_or("body");
    Problem::new(ProblemKind::Upstream, format!("the upstream's answer cannot be read: {place}: {}", error.message))
}

#[cfg(test)]
mod tests {
    use super::decode;
    use crate::problem::ProblemKind;

    fn read(json: &str) -> Option<(ProblemKind, u16, String)> {
        let raw: Box<serde_json::value::RawValue> = serde_json::from_str(json).unwrap();
        decode(&raw).map(|problem| (problem.kind, problem.status, problem.message.into_owned()))
    }

    #[test]
    fn loose_errors_are_read_and_empty_ones_are_none() {
        assert_eq!(read("null"), None);
        assert_eq!(read("{}"), None);
        assert_eq!(read("\"\""), None);
        assert_eq!(read("\"boom\""), Some((ProblemKind::Upstream, 502, "boom".into())));
        let limited = r#"{"message":"slow","type":"x","code":429}"#;
        assert_eq!(read(limited), Some((ProblemKind::RateLimited, 429, "slow".into())));
        let quota = r#"{"message":"pay","type":"rate_limit_error","code":"insufficient_quota"}"#;
        assert_eq!(read(quota), Some((ProblemKind::QuotaExceeded, 429, "pay".into())));
    }
}
