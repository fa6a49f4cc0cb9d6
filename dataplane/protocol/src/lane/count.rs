//! Token counts between two dialects. Answers are whole, always.

use bytes::Bytes;

use super::{
    parts::{JSON, Whole, unreadable},
    stated,
};
use crate::{count, dialect::Operation, problem::Problem, response_stats::ResponseStats};

/// The answer for the client, between these operations (the upstream's, the client's).
///
/// # Errors
/// When it is no answer of the upstream's dialect, or says that it failed.
pub(crate) fn answer((upstream, client): (Operation, Operation), body: &Bytes) -> Result<Whole, Problem> {
    stated::check_document((upstream, client), body)?;
    let tokens = count::tokens(upstream, body)
        .ok_or_else(|| unreadable("the upstream's answer does not say how many tokens it counted"))?;
    // Counting costs nothing, so its answer is no usage.
    let stats = ResponseStats { content: true, complete: true, ..ResponseStats::default() };
    Ok(Whole { body: count::answer(client, tokens).into(), content_type: JSON, stats, changed: true })
}
