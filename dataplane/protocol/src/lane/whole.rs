//! Whole answers, on both lanes.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, value::RawValue};

use super::{Codecs, in_clients_words, observe, truncated, unreadable};
use crate::{
    codec::{NameMap, ResponseContext, accumulate::Accumulator},
    dialect::Operation,
    framing::sse::{self, SseDecoder},
    ir::{Block, Response},
    problem::{Problem, understand},
    request::most_bytes,
    response_translation::{Answer, Lane, ResponseTranslation, Whole},
    scan::{Kind, Scan},
    tap,
};

/// Most bytes by which a large answer may grow.
const MAX_GROWTH: usize = 16 << 20;

const JSON: &str = "application/json";

/// The answer for the client.
///
/// # Errors
/// When it is no answer of the upstream's dialect, or says that it failed.
pub(crate) fn answer(
    translation: &ResponseTranslation,
    reply: &ResponseContext,
    answer: Answer<'_>,
) -> Result<Whole, Problem> {
    let events = are_events(&answer);
    match &translation.lane {
        Lane::Passthrough { .. } if events => match Codecs::between(translation.upstream, translation.client) {
            Some(codecs) => translate(translation, codecs, &NameMap::default(), (reply, &answer.body)),
            None => Err(unreadable("the upstream answered with events where a whole answer was asked for")),
        },
        Lane::Passthrough { .. } => {
            // Judged as on the other lane, so that another upstream can answer; the bytes of a good one stay.
            let stats = tap::whole::look(translation.upstream, &answer.body)
                .ok_or_else(|| understand::no_answer(translation.upstream.family(), &answer.body))?;
            if let Some(problem) = stats.error {
                return Err(problem);
            }
            Ok(Whole { body: answer.body, content_type: JSON, stats, changed: false })
        }
        Lane::Raw => Err(unreadable("an answer of this kind is never read as a whole")),
        Lane::Translated { codecs, names, custom_tools } => {
            let reply = ResponseContext { custom_tools: Arc::clone(custom_tools), ..reply.clone() };
            translate(translation, *codecs, names, (&reply, &answer.body))
        }
    }
}

fn translate(
    translation: &ResponseTranslation,
    codecs: Codecs,
    names: &NameMap,
    (reply, body): (&ResponseContext, &Bytes),
) -> Result<Whole, Problem> {
    let read =
        if begins_like_events(body) { from_events(codecs, body) } else { decode(translation.upstream, codecs, body) };
    let mut response = read.map_err(|mut problem| {
        if translation.upstream != translation.client {
            in_clients_words(&mut problem, translation.client);
        }
        problem
    })?;
    restore_names(&mut response, names);
    let stats = observe::response(&response, translation.client);
    let most = most_bytes(body.len(), MAX_GROWTH);
    let body = codecs.client.encode_response(&response, &ResponseContext { most_bytes: Some(most), ..reply.clone() });
    if body.len() > most {
        return Err(unreadable("the upstream's answer becomes too large in the client's format"));
    }
    Ok(Whole { body: body.into(), content_type: JSON, stats, changed: true })
}

/// Reads an upstream's whole JSON, which may say that it failed in spite of its status.
pub(super) fn decode(upstream: Operation, codecs: Codecs, body: &[u8]) -> Result<Response, Problem> {
    let has_error = memchr::memmem::find(body, b"\"error\"").is_some();
    if has_error
        && let Some(error) = stated_error(body)
        && understand::is_error(&error)
    {
        return Err(understand::event(upstream.family(), &serde_json::json!({ "error": error })));
    }
    if !begins_like_json(body) {
        return Err(understand::no_answer(upstream.family(), body));
    }
    codecs
        .upstream
        .decode_response(body)
        .map_err(|problem| understand::bare(upstream.family(), body).unwrap_or(problem))
}

/// What a document says failed, as the vendor wrote it, as the body of an error answer: an object that holds an `error`
/// or is one; none for anything else. Of Responses' last event it is the error alone.
pub(crate) fn stated(upstream: Operation, document: &[u8]) -> Option<Bytes> {
    if !document.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let whole = || Some(Bytes::copy_from_slice(document));
    if stated_error(document).is_some_and(|error| understand::is_error(&error)) {
        return whole();
    }
    let scan = Scan::read(document).ok()?;
    let nested = scan.last(document, "response").and_then(|response| response.member(document, "error"));
    if let Some(error) = nested.filter(|error| matches!(error.kind, Kind::Object { .. })) {
        return Some([b"{\"error\":".as_slice(), error.bytes(document), b"}"].concat().into());
    }
    let answers = tap::whole::holds(upstream).iter().any(|name| scan.last(document, name).is_some());
    understand::bare(upstream.family(), document).filter(|_| !answers)?;
    whole()
}

/// The `error` of an object, or of the first object in a list.
fn stated_error(body: &[u8]) -> Option<Value> {
    let body = body.trim_ascii_start();
    let object = match body.strip_prefix(b"[") {
        Some(rest) => {
            let mut first = serde_json::Deserializer::from_slice(rest).into_iter::<&RawValue>();
            first.next()?.ok()?.get().as_bytes()
        }
        None => body,
    };
    let scan = Scan::read(object).ok()?;
    scan.last(object, "error")?.small(object)
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

fn are_events(answer: &Answer<'_>) -> bool {
    let stated = answer.content_type.is_some_and(|kind| kind.trim_start().starts_with("text/event-stream"));
    let are_events = begins_like_events(&answer.body) || (stated && !begins_like_json(&answer.body));
    (200..300).contains(&answer.status) && are_events
}

/// Events are known by their first line: some servers send them with another content type.
fn begins_like_events(body: &[u8]) -> bool {
    let body = sse::without_mark(body).trim_ascii_start();
    [&b"data:"[..], b"event:", b"id:", b"retry:", b":"].iter().any(|field| body.starts_with(field))
}

fn begins_like_json(body: &[u8]) -> bool {
    matches!(body.trim_ascii_start().first(), None | Some(b'{' | b'['))
}
