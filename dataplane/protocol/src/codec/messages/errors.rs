//! Failures inside a stream, in Anthropic's words (protocols 1.3, "errors").

use serde::Deserialize;

use crate::{
    codec::json::write,
    framing::sse,
    problem::{Problem, ProblemKind},
};

/// `error` as an upstream sends it.
#[derive(Debug, Default, Deserialize)]
pub struct WireError {
    r#type: Option<String>,
    message: Option<String>,
}

/// What an `error` event means.
pub fn read(error: WireError) -> Problem {
    let word = error.r#type.unwrap_or_default();
    let message = error.message.unwrap_or_default();
    let (kind, status) = match word.as_str() {
        "invalid_request_error" if message.starts_with("prompt is too long") => (ProblemKind::ContextLength, 400),
        "invalid_request_error" => (ProblemKind::InvalidRequest, 400),
        "authentication_error" => (ProblemKind::Authentication, 401),
        "billing_error" => (ProblemKind::QuotaExceeded, 402),
        "permission_error" => (ProblemKind::Permission, 403),
        "not_found_error" => (ProblemKind::NotFound, 404),
        "request_too_large" => (ProblemKind::TooLarge, 413),
        "rate_limit_error" => (ProblemKind::RateLimited, 429),
        "api_error" => (ProblemKind::Upstream, 500),
        "timeout_error" => (ProblemKind::Timeout, 504),
        "overloaded_error" => (ProblemKind::Overloaded, 529),
        _ => (ProblemKind::Upstream, 502),
    };
    let message = if message.is_empty() {
        "the upstream reported an error".to_owned()
    } else {
        message
    };
    let mut problem = Problem::new(kind, message);
    problem.status = status;
    problem.code = Some(word).filter(|word| !word.is_empty());
    problem
}

/// The `error` event for a client. Nothing follows it.
pub fn write(problem: &Problem, out: &mut Vec<u8>) {
    let mut body = Vec::new();
    write::object(&mut body, |o| {
        o.put("type", "error");
        o.object("error", |error| {
            error.put("type", word(problem.kind));
            error.put("message", &problem.message);
        });
    });
    sse::write(out, Some("error"), &body);
}

/// The `type` of an error. Only these are legal (hard case 138).
pub const fn word(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::InvalidRequest | ProblemKind::ContextLength | ProblemKind::ContentFiltered => {
            "invalid_request_error"
        }
        ProblemKind::Authentication => "authentication_error",
        ProblemKind::Permission => "permission_error",
        ProblemKind::NotFound | ProblemKind::ModelNotFound => "not_found_error",
        ProblemKind::TooLarge => "request_too_large",
        ProblemKind::RateLimited | ProblemKind::QuotaExceeded => "rate_limit_error",
        ProblemKind::Overloaded => "overloaded_error",
        ProblemKind::Timeout => "timeout_error",
        ProblemKind::Upstream | ProblemKind::Internal => "api_error",
    }
}
