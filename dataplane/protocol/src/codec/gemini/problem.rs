//! `error` objects in the middle of a stream, and answers that are none.

use serde_json::{Value, json, value::RawValue};

use crate::{
    codec::Malformed,
    dialect::Family,
    problem::{Problem, ProblemKind, understand},
};

/// Reads `{"code","message","status"}`, or a text; none if it says nothing.
pub fn decode(raw: &RawValue) -> Option<Problem> {
    let error: Value = serde_json::from_str(raw.get()).ok()?;
    understand::is_error(&error).then(|| understand::event(Family::Gemini, &json!({ "error": error })))
}

/// The model's answer is none: it, or its server, gave up.
pub fn came_to_nothing(reason: &str) -> Problem {
    Problem::new(ProblemKind::Upstream, format!("the model's answer came to nothing: {reason}"))
}

/// An answer that is not one of this dialect.
pub fn unreadable(error: &Malformed) -> Problem {
    let place = error.field.as_deref().unwrap_or("body");
    Problem::new(ProblemKind::Upstream, format!("the upstream's answer cannot be read: {place}: {}", error.message))
}
