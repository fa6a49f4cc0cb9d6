//! `error` objects that come in the middle of a stream, where no HTTP status tells what they are.

use serde_json::{Value, value::RawValue};

use crate::{
    codec::{
        Malformed,
        json::read::{Object, Spelling},
    },
    problem::{Problem, ProblemKind},
};

/// An `error` member, if it says anything: some servers send `null`, `""` or `{}` beside content.
pub fn decode(raw: &RawValue) -> Option<Problem> {
    let error: Value = serde_json::from_str(raw.get()).ok()?;
    let message = match &error {
        Value::String(text) => text.clone(),
        Value::Object(members) if members.is_empty() => return None,
        Value::Object(members) => match members.get("message") {
            Some(Value::String(text)) => text.clone(),
            _ => "the upstream failed without saying why".to_owned(),
        },
        _ => return None,
    };
    if message.is_empty() && !error.is_object() {
        return None;
    }
    let text = |name: &str| error.get(name).and_then(Value::as_str).map(str::to_owned);
    let status = ["code", "status"].iter().find_map(|name| {
        let value = error.get(name)?;
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
        u16::try_from(number).ok().filter(|status| (400..=599).contains(status))
    });
    let code = text("code");
    let kind = kind(code.as_deref(), text("type").as_deref(), status);
    Some(Problem {
        status: status.unwrap_or_else(|| kind.status()),
        param: text("param").map(Into::into),
        code,
        ..Problem::new(kind, message)
    })
}

/// An error that stands without an envelope, as vLLM writes it: `{"object":"error","message":…,"code":…}`.
pub fn bare(body: &[u8]) -> Option<Problem> {
    memchr::memmem::find(body, b"\"error\"")?;
    let object = Object::parse(body, Spelling::Exact).ok()?;
    let is_error = ["object", "type"].iter().any(|name| object.peek(name).is_some_and(|raw| raw.get() == "\"error\""));
    if !is_error || object.has("choices") {
        return None;
    }
    of_document(std::str::from_utf8(body).ok()?)
}

/// An error that is the whole document.
pub fn of_document(document: &str) -> Option<Problem> {
    decode(serde_json::from_str::<&RawValue>(document).ok()?)
}

/// The kind, from the most to the least telling member.
fn kind(code: Option<&str>, word: Option<&str>, status: Option<u16>) -> ProblemKind {
    for word in [code, word].into_iter().flatten() {
        return match word {
            "context_length_exceeded" => ProblemKind::ContextLength,
            "content_filter" | "content_policy_violation" => ProblemKind::ContentFiltered,
            "insufficient_quota" => ProblemKind::QuotaExceeded,
            "model_not_found" => ProblemKind::ModelNotFound,
            "rate_limit_exceeded" | "rate_limit_error" | "requests" | "tokens" => ProblemKind::RateLimited,
            "overloaded" | "overloaded_error" => ProblemKind::Overloaded,
            "invalid_api_key" | "authentication_error" => ProblemKind::Authentication,
            "permission_error" => ProblemKind::Permission,
            "not_found_error" => ProblemKind::NotFound,
            "timeout_error" | "timeout" => ProblemKind::Timeout,
            "invalid_request_error" => ProblemKind::InvalidRequest,
            _ => continue,
        };
    }
    match status {
        Some(400 | 409 | 422) => ProblemKind::InvalidRequest,
        Some(401) => ProblemKind::Authentication,
        Some(403) => ProblemKind::Permission,
        Some(404) => ProblemKind::NotFound,
        Some(408 | 504) => ProblemKind::Timeout,
        Some(413) => ProblemKind::TooLarge,
        Some(429) => ProblemKind::RateLimited,
        Some(503 | 529) => ProblemKind::Overloaded,
        _ => ProblemKind::Upstream,
    }
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
