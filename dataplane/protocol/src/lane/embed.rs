//! Embeddings between two dialects. Answers are whole, always.

use bytes::Bytes;

use super::{
    parts::{JSON, Whole, in_clients_words, unreadable},
    stated,
};
use crate::{
    dialect::Operation,
    embed::{self, Reply},
    ir::Usage,
    problem::Problem,
    request::bounds::most_bytes,
    response_stats::ResponseStats,
};

/// Most bytes by which a large answer may grow: numbers are longer than base64.
const MAX_GROWTH: usize = 16 << 20;

/// The answer for the client, between these operations (the upstream's, the client's).
///
/// # Errors
/// When it is no answer of the upstream's dialect, or says that it failed.
pub(crate) fn answer(
    (upstream, client): (Operation, Operation),
    reply: &Reply<'_>,
    body: &Bytes,
) -> Result<Whole, Problem> {
    stated::check_document((upstream, client), body)?;
    let answered = embed::answer(client, upstream, reply, body).map_err(|mut problem| {
        in_clients_words(&mut problem, client);
        problem
    })?;
    if answered.body.len() > most_bytes(body.len(), MAX_GROWTH) {
        return Err(unreadable("the upstream's answer becomes too large in the client's format"));
    }
    let mut stats =
        ResponseStats { content: true, complete: true, response_model: answered.model, ..ResponseStats::default() };
    match answered.input_tokens {
        Some(tokens) => stats.count(Usage { input: Some(tokens), ..Usage::default() }),
        None => stats.lose("usage".into()),
    }
    Ok(Whole { body: answered.body, content_type: JSON, stats, changed: true })
}
