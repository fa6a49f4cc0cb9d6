//! `error` objects in the middle of a stream.

use crate::{
    codec::{Malformed, json::read::Object},
    problem::{Problem, ProblemKind},
};

/// Reads `{"code","message","status"}`.
pub fn decode(mut error: Object<'_>) -> Problem {
    let code = error.take::<u16>("code").ok().flatten().filter(|code| (400..=599).contains(code));
    let word: Option<String> = error.take("status").ok().flatten();
    let message: Option<String> = error.take("message").ok().flatten();
    let kind = kind(word.as_deref().unwrap_or_default(), code);
    let message = message.unwrap_or_else(|| "the upstream failed without saying why".to_owned());
    Problem { status: code.unwrap_or_else(|| kind.status()), code: word, ..Problem::new(kind, message) }
}

fn kind(word: &str, code: Option<u16>) -> ProblemKind {
    match (word, code) {
        ("INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE", _) => ProblemKind::InvalidRequest,
        ("UNAUTHENTICATED", _) | (_, Some(401)) => ProblemKind::Authentication,
        ("PERMISSION_DENIED", _) | (_, Some(403)) => ProblemKind::Permission,
        ("NOT_FOUND", _) | (_, Some(404)) => ProblemKind::NotFound,
        ("RESOURCE_EXHAUSTED", _) | (_, Some(429)) => ProblemKind::RateLimited,
        ("UNAVAILABLE", _) | (_, Some(503)) => ProblemKind::Overloaded,
        ("DEADLINE_EXCEEDED", _) | (_, Some(504)) => ProblemKind::Timeout,
        (_, Some(413)) => ProblemKind::TooLarge,
        (_, Some(400 | 409 | 422)) => ProblemKind::InvalidRequest,
        _ => ProblemKind::Upstream,
    }
}

/// An answer that is not one of this dialect.
pub fn unreadable(error: &Malformed) -> Problem {
    let place = error.field.as_deref().unwrap_or("body");
    Problem::new(ProblemKind::Upstream, format!("the upstream's answer cannot be read: {place}: {}", error.message))
}
