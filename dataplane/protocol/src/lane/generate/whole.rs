//! Whole answers.

use bytes::Bytes;

use super::observe;
use crate::{
    codec::{NameMap, ResponseContext, accumulate::Accumulator},
    dialect::Operation,
    ir::{Block, Response},
    lane::{
        parts::{Codecs, JSON, Whole, in_clients_words, truncated, unreadable},
        stated,
    },
    problem::{Problem, understand},
    request::bounds::most_bytes,
    wire::{sniff, sse::SseDecoder},
};

/// Most bytes by which a large answer may grow.
const MAX_GROWTH: usize = 16 << 20;

/// The answer for the client, between these operations (the upstream's, the client's).
///
/// # Errors
/// When it is no answer of the upstream's dialect, or says that it failed.
pub(crate) fn answer(
    codecs: Codecs,
    (upstream, client): (Operation, Operation),
    names: &NameMap,
    context: &ResponseContext,
    body: &Bytes,
) -> Result<Whole, Problem> {
    let read = if sniff::is_events(body) { from_events(codecs, body) } else { decode(upstream, codecs, body) };
    let mut response = read.map_err(|mut problem| {
        if upstream != client {
            in_clients_words(&mut problem, client);
        }
        problem
    })?;
    restore_names(&mut response, names);
    let stats = observe::response(&response, client);
    let most = most_bytes(body.len(), MAX_GROWTH);
    let body = codecs.client.encode_response(&response, &ResponseContext { most_bytes: Some(most), ..context.clone() });
    if body.len() > most {
        return Err(unreadable("the upstream's answer becomes too large in the client's format"));
    }
    Ok(Whole { body: body.into(), content_type: JSON, stats, changed: true })
}

/// Reads an upstream's whole JSON, which may say that it failed in spite of its status.
pub(super) fn decode(upstream: Operation, codecs: Codecs, body: &[u8]) -> Result<Response, Problem> {
    let has_error = memchr::memmem::find(body, b"\"error\"").is_some();
    if has_error
        && let Some(error) = stated::error(body)
        && understand::is_error(&error)
    {
        return Err(understand::event(upstream.family(), &serde_json::json!({ "error": error })));
    }
    if !sniff::is_json(body) {
        return Err(understand::no_answer(upstream.family(), body));
    }
    codecs
        .upstream
        .decode_response(body)
        .map_err(|problem| understand::bare(upstream.family(), body).unwrap_or(problem))
}

fn from_events(codecs: Codecs, body: &[u8]) -> Result<Response, Problem> {
    let (mut events, mut decoder, mut frames) = (Vec::new(), codecs.upstream.stream_decoder(), SseDecoder::new());
    let read = frames.push(body, |frame| decoder.push(frame, &mut events));
    read.map_err(|_| unreadable("the upstream sent an event that is too large"))?;
    frames.finish(|frame| decoder.push(frame, &mut events));
    decoder.finish(&mut events);
    let mut fold = Accumulator::default();
    events.into_iter().try_for_each(|event| fold.push(event))?;
    if fold.is_complete() { Ok(fold.finish()) } else { Err(truncated()) }
}

fn restore_names(response: &mut Response, names: &NameMap) {
    for block in response.candidates.iter_mut().flat_map(|candidate| &mut candidate.blocks) {
        if let Block::ToolCall(call) = block {
            call.name = names.original(&call.name).to_owned();
        }
    }
}
