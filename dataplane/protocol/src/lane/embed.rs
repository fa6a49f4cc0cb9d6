//! Embeddings between two dialects. Answers are whole, always, but there may be several to one request.

use bytes::Bytes;

use super::{
    parts::{AnswerPart, JSON, Whole, in_clients_words, unreadable},
    stated,
};
use crate::{
    dialect::Operation,
    embed::{self, Asked},
    ir::Usage,
    problem::Problem,
    request::bounds::most_bytes,
    response_stats::ResponseStats,
};

/// Most bytes by which a large answer may grow: numbers are longer than base64.
const MAX_GROWTH: usize = 16 << 20;

/// The answer to one call, between these operations (the upstream's, the client's): all that there are texts for, or a part.
/// `counted` are the input tokens that its head names.
///
/// # Errors
/// When it is no answer of the upstream's dialect, or says that it failed.
pub(crate) fn part(
    (upstream, client): (Operation, Operation),
    asked: &Asked,
    counted: Option<u64>,
    body: &Bytes,
) -> Result<AnswerPart, Problem> {
    stated::check_document((upstream, client), body)?;
    let answered = embed::answered(client, upstream, asked, body).map_err(|mut problem| {
        in_clients_words(&mut problem, client);
        problem
    })?;
    if answered.elements.len() > most_bytes(body.len(), MAX_GROWTH) {
        return Err(unreadable("the upstream's answer becomes too large in the client's format"));
    }
    let mut stats =
        ResponseStats { content: true, complete: true, response_model: answered.model, ..ResponseStats::default() };
    if let Some(tokens) = answered.input_tokens.or(counted) {
        stats.count(Usage { input: Some(tokens), ..Usage::default() });
    }
    Ok(AnswerPart { elements: answered.elements, stats })
}

/// The answer for the client, of the answers to all calls. What one of them has not counted, nobody knows the sum of.
pub(crate) fn join(client: Operation, model: &str, parts: &[AnswerPart]) -> Whole {
    let counted = parts.iter().try_fold(0, |sum: u64, part| Some(sum.saturating_add(part.stats.usage?.input?)));
    let elements = parts.iter().map(|part| part.elements.as_str());
    let body = embed::joined(client, model, elements, counted).into();
    let response_model = parts.iter().find_map(|part| part.stats.response_model.clone());
    let mut stats = ResponseStats { content: true, complete: true, response_model, ..ResponseStats::default() };
    match counted {
        Some(tokens) => stats.count(Usage { input: Some(tokens), ..Usage::default() }),
        None => stats.lose("usage".into()),
    }
    Whole { body, content_type: JSON, stats, changed: true }
}
