//! Whole answers: an upstream's read, a client's written.

use super::{
    citations,
    content_decode::Reader,
    finish::{self, Said},
    usage,
};
use crate::{
    codec::{
        ResponseContext, arguments, chat,
        ids::{self, ANTHROPIC_CALL_ID, call_id, invented_call_id, prefixed},
        json::{
            loose::Loose,
            read::{Object, Spelling},
            write::{self, Elements},
        },
        media,
        tagged_state::{self, Place},
    },
    dialect::Family,
    ir::{Block, Candidate, Opaque, Reasoning, Response, ToolCall},
    problem::{Problem, ProblemKind, understand},
};

/// Reads an answer.
///
/// # Errors
/// When it is no Messages answer, or an error in spite of its status.
pub fn decode(body: &[u8]) -> Result<Response, Problem> {
    let unreadable = |why: crate::codec::Malformed| {
        Problem::new(ProblemKind::Upstream, format!("the upstream's answer cannot be read: {why}"))
    };
    let mut object = Object::parse(body, Spelling::Exact).map_err(unreadable)?;
    if let Some(error) = object.take::<serde_json::Value>("error").map_err(unreadable)?.filter(understand::is_error) {
        return Err(understand::event(Family::Anthropic, &serde_json::json!({ "error": error })));
    }
    // An answer that says why it ended may have nothing to say.
    let mut blocks = match object.take_raw("content") {
        Some(content) => Reader::of_answers().content(content).map_err(unreadable)?,
        None if object.has("stop_reason") => Vec::new(),
        None => return Err(Problem::new(ProblemKind::Upstream, "the upstream's answer has no content")),
    };
    citations::place(&mut blocks);
    let has_call = blocks.iter().any(|block| matches!(block, Block::ToolCall(_)));
    // What stands beside the content is no reason to lose it, however it is written.
    let mut text = |name: &str| object.take::<Loose<'_>>(name).ok().flatten().map(Loose::into_string);
    let (id, model) = (ids::of_answer(text("id")), text("model"));
    let (reason, stop_sequence) = (text("stop_reason"), text("stop_sequence"));
    if let Some(word) = reason.as_deref().filter(|word| chat::broke_off(word)) {
        return Err(chat::stopped_early(word));
    }
    if let Ok(Some(mut details)) = object.object("stop_details")
        && let Ok(Some(explanation)) = details.take::<String>("explanation")
    {
        blocks.push(Block::Refusal(explanation));
    }
    let lost = if object.has("container") { vec!["container".into()] } else { Vec::new() };
    Ok(Response {
        id,
        model,
        created: None,
        candidates: vec![Candidate { blocks, finish: finish::read(reason.as_deref(), stop_sequence, has_call) }],
        lost,
        usage: object.take::<usage::WireUsage>("usage").ok().flatten().map(Into::into),
    })
}

/// Writes an answer. Only the first candidate can be said; a request for more was refused on its way in.
pub fn encode(response: &Response, reply: &ResponseContext) -> Vec<u8> {
    let candidate = response.candidates.first();
    let blocks = candidate.map(|candidate| candidate.blocks.as_slice()).unwrap_or_default();
    let said = Said {
        call: blocks.iter().any(|block| matches!(block, Block::ToolCall(_))),
        refusal: blocks.iter().any(|block| matches!(block, Block::Refusal(_))),
    };
    let mut body = Vec::with_capacity(512);
    write::object_within(&mut body, reply.most_bytes.unwrap_or(usize::MAX), |o| {
        o.put("id", &prefixed(response.id.as_deref(), "msg_", &reply.id));
        o.put("type", "message");
        o.put("role", "assistant");
        o.put("model", &reply.model);
        o.list("content", |list| blocks.iter().for_each(|block| self::block(block, list)));
        let reason = candidate.map(|candidate| finish::write(candidate.finish.reason, said));
        o.put("stop_reason", &reason);
        o.put("stop_sequence", &candidate.and_then(|candidate| candidate.finish.stop_sequence.as_deref()));
        o.object("usage", |members| usage::write(response.usage.unwrap_or_default(), members));
    });
    body
}

fn block(block: &Block, to: &mut Elements<'_>) {
    match block {
        Block::Text(text) if text.text.is_empty() && text.state.is_none() => {}
        Block::Text(text) => {
            if !text.text.is_empty() {
                to.object(|o| {
                    o.put("type", "text");
                    o.put("text", &text.text);
                    citations::put(&text.citations, o);
                });
            }
            if let Some(state) = &text.state {
                thinking("", &tagged_state::write(Place::TextBefore, Some(state)), to); // hard case 145
            }
        }
        Block::Refusal(words) if words.is_empty() => {}
        Block::Refusal(words) => to.object(|o| {
            o.put("type", "text");
            o.put("text", words);
        }),
        Block::Reasoning(thought) => reasoning(thought, to),
        Block::ToolCall(asked) => call(asked, to),
        Block::Unknown(unknown) if unknown.family == Family::Anthropic => to.put_json(unknown.raw.get()),
        // What another vendor ran on its side.
        Block::Unknown(_) | Block::ToolResult(_) => {}
        // No Messages answer can hold media; the user is told that there were some.
        Block::Image(_) | Block::Audio(_) | Block::Video(_) | Block::Document(_) => {
            if let Some(words) = media::stand_in(block) {
                to.object(|o| {
                    o.put("type", "text");
                    o.put("text", &words);
                });
            }
        }
    }
}

/// Reasoning with Anthropic's own state is Anthropic's own block; any other travels under a tag, so that it is never
/// taken for native (hard case 97).
fn reasoning(reasoning: &Reasoning, to: &mut Elements<'_>) {
    match (&reasoning.state, reasoning.redacted) {
        (Some(Opaque { family: Family::Anthropic, value }), true) => to.object(|o| {
            o.put("type", "redacted_thinking");
            o.put("data", value);
        }),
        (Some(Opaque { family: Family::Anthropic, value }), false) => thinking(&reasoning.text, value, to),
        (None, _) if reasoning.text.is_empty() => {}
        (state, redacted) => {
            let place = if redacted { Place::Redacted } else { Place::Thought };
            thinking(&reasoning.text, &tagged_state::write(place, state.as_ref()), to);
        }
    }
}

fn call(call: &ToolCall, to: &mut Elements<'_>) {
    if let Some(state) = &call.state {
        thinking("", &tagged_state::write(Place::CallBehind, Some(state)), to);
    }
    for (index, input) in arguments::as_objects(&call.arguments).into_iter().enumerate() {
        let split = (index > 0).then(|| invented_call_id(&call.id, index));
        let id = split.as_deref().unwrap_or(&call.id);
        to.object(|o| {
            o.put("type", "tool_use");
            o.put("id", &call_id(id, ANTHROPIC_CALL_ID));
            o.put("name", &call.name);
            o.put_json("input", &input.json);
        });
    }
}

fn thinking(text: &str, signature: &str, to: &mut Elements<'_>) {
    to.object(|o| {
        o.put("type", "thinking");
        o.put("thinking", text);
        o.put("signature", signature);
    });
}

#[cfg(test)]
mod tests;
