//! Whole answers: an upstream's read, a client's written.

use super::{
    content_decode::Reader,
    finish,
    formats::{Kind, blob},
    usage,
};
use crate::{
    codec::{
        Malformed, ResponseContext, arguments,
        ids::{BEDROCK_CALL_ID, call_id, invented_call_id},
        json::{
            read::{Object, Spelling},
            write::{self, Elements},
        },
        media,
        tagged_state::{self, Place},
    },
    dialect::Family,
    ir::{Block, Candidate, Media, MediaSource, Opaque, Reasoning, Response, ToolCall},
    problem::{Problem, ProblemKind},
};

/// Reads an answer.
///
/// # Errors
/// When it is no Converse answer.
pub fn decode(body: &[u8]) -> Result<Response, Problem> {
    let unreadable =
        |why: Malformed| Problem::new(ProblemKind::Upstream, format!("the upstream's answer cannot be read: {why}"));
    let mut object = Object::parse(body, Spelling::Exact).map_err(unreadable)?;
    let reason: Option<String> = object.take("stopReason").ok().flatten();
    let mut output = object.object("output").map_err(unreadable)?;
    let message = output.as_mut().map(|output| output.object("message")).transpose().map_err(unreadable)?.flatten();
    // An answer that says why it ended may have nothing to say.
    let content = match message {
        Some(mut message) => message.take_raw("content"),
        None if reason.is_some() => None,
        None => return Err(Problem::new(ProblemKind::Upstream, "the upstream's answer has no output")),
    };
    let blocks = content.map(|raw| Reader::default().content(raw)).transpose().map_err(unreadable)?;
    let blocks = blocks.unwrap_or_default();
    let has_call = blocks.iter().any(|block| matches!(block, Block::ToolCall(_)));
    // What stands beside the content is no reason to lose it, however it is written.
    let stop_sequence = object.object("additionalModelResponseFields").ok().flatten();
    let stop_sequence = stop_sequence.and_then(|mut fields| fields.take("stop_sequence").ok().flatten());
    let counts = object.take_raw("usage").and_then(usage::read);
    let lost = if object.has("trace") { vec!["trace".into()] } else { Vec::new() };
    Ok(Response {
        id: None,
        model: None,
        created: None,
        candidates: vec![Candidate { blocks, finish: finish::read(reason.as_deref(), stop_sequence, has_call) }],
        usage: counts,
        lost,
    })
}

/// Writes an answer. Only the first candidate can be said; a request for more was refused on its way in.
pub fn encode(response: &Response, reply: &ResponseContext) -> Vec<u8> {
    let candidate = response.candidates.first();
    let blocks = candidate.map(|candidate| candidate.blocks.as_slice()).unwrap_or_default();
    let has_call = blocks.iter().any(|block| matches!(block, Block::ToolCall(_)));
    let mut body = Vec::with_capacity(512);
    write::object_within(&mut body, reply.most_bytes.unwrap_or(usize::MAX), |o| {
        o.object("output", |o| {
            o.object("message", |o| {
                o.put("role", "assistant");
                o.list("content", |list| blocks.iter().for_each(|block| self::block(block, list)));
            });
        });
        let reason = candidate.map(|candidate| finish::write(candidate.finish.reason, has_call));
        o.put("stopReason", reason.unwrap_or("end_turn"));
        usage::write(response.usage.unwrap_or_default(), o);
        if let Some(text) = candidate.and_then(|candidate| candidate.finish.stop_sequence.as_ref()) {
            o.object("additionalModelResponseFields", |o| o.put("stop_sequence", text));
        }
    });
    body
}

fn block(block: &Block, to: &mut Elements<'_>) {
    match block {
        Block::Text(text) => {
            if !text.text.is_empty() {
                words(&text.text, to);
            }
            if let Some(state) = &text.state {
                thought("", Some(&tagged_state::write(Place::TextBefore, Some(state))), to);
            }
        }
        Block::Refusal(text) if text.is_empty() => {}
        Block::Refusal(text) => words(text, to),
        Block::Reasoning(thought) => reasoning(thought, to),
        Block::ToolCall(asked) => call(asked, to),
        Block::Unknown(unknown) if unknown.family == Family::Bedrock => to.put_json(unknown.raw.get()),
        // What another vendor ran on its side.
        Block::Unknown(_) | Block::ToolResult(_) => {}
        Block::Image(_) | Block::Audio(_) | Block::Video(_) | Block::Document(_) => match picture(block) {
            Some((format, bytes)) => to.object(|o| {
                o.object("image", |o| {
                    o.put("format", format);
                    o.object("source", |o| o.put("bytes", bytes));
                });
            }),
            // The user is told that there was something.
            None => media::stand_in(block).into_iter().for_each(|text| words(&text, to)),
        },
    }
}

/// A picture that an answer can hold: its format and its bytes.
pub fn picture(block: &Block) -> Option<(&'static str, &str)> {
    match block {
        Block::Image(Media { source: MediaSource::Inline { mime, data }, .. }) => {
            Some((Kind::Image.format(mime)?, data))
        }
        _ => None,
    }
}

fn words(text: &str, to: &mut Elements<'_>) {
    to.object(|o| o.put("text", text));
}

/// Reasoning with Claude's own state is as Bedrock has it; any other state travels under a tag, so that it is never taken
/// for Claude's.
fn reasoning(reasoning: &Reasoning, to: &mut Elements<'_>) {
    match (&reasoning.state, reasoning.redacted) {
        (Some(Opaque { family: Family::Anthropic, value }), true) => to.object(|o| {
            o.object("reasoningContent", |o| o.put("redactedContent", &blob(value)));
        }),
        (Some(Opaque { family: Family::Anthropic, value }), false) => thought(&reasoning.text, Some(value), to),
        (None, _) if reasoning.text.is_empty() => {}
        (None, _) => thought(&reasoning.text, None, to),
        (state, redacted) => {
            let place = if redacted { Place::Redacted } else { Place::Thought };
            thought(&reasoning.text, Some(&tagged_state::write(place, state.as_ref())), to);
        }
    }
}

fn thought(text: &str, signature: Option<&str>, to: &mut Elements<'_>) {
    to.object(|o| {
        o.object("reasoningContent", |o| {
            o.object("reasoningText", |o| {
                o.put("text", text);
                o.put_some("signature", signature);
            });
        });
    });
}

fn call(call: &ToolCall, to: &mut Elements<'_>) {
    if let Some(state) = &call.state {
        thought("", Some(&tagged_state::write(Place::CallBehind, Some(state))), to);
    }
    for (index, input) in arguments::as_objects(&call.arguments).into_iter().enumerate() {
        let split = (index > 0).then(|| invented_call_id(&call.id, index));
        let id = split.as_deref().unwrap_or(&call.id);
        to.object(|o| {
            o.object("toolUse", |o| {
                o.put("toolUseId", &call_id(id, BEDROCK_CALL_ID));
                o.put("name", &call.name);
                o.put_json("input", &input.json);
            });
        });
    }
}

#[cfg(test)]
mod tests;
