//! Whole answers. One is read as a stream of one chunk, which it is.

use super::{finish, grounding, problem, reasoning_state, stream_decode::Decoder, usage};
use crate::{
    codec::{
        Malformed, ResponseContext,
        accumulate::Accumulator,
        arguments, ids,
        json::{
            read::{Object, Spelling, malformed},
            write::{self, Elements},
        },
    },
    dialect::Family,
    ir::{Block, Citation, MediaSource, Opaque, Response, ToolCall},
    problem::{Problem, ProblemKind},
};

/// Reads an upstream's answer.
pub fn decode(body: &[u8]) -> Result<Response, Problem> {
    check(body).map_err(|error| problem::unreadable(&error))?;
    let text = std::str::from_utf8(body)
        .map_err(|_| Problem::new(ProblemKind::Upstream, "the upstream's answer is not UTF-8"))?;
    let mut events = Vec::new();
    Decoder::whole(text, &mut events);
    let mut fold = Accumulator::default();
    for event in events {
        fold.push(event)?;
    }
    Ok(fold.finish())
}

/// A chunk may say nothing at all; a whole answer may not.
fn check(body: &[u8]) -> Result<(), Malformed> {
    if body.trim_ascii_start().starts_with(b"[") {
        return Ok(());
    }
    let top = Object::parse(body, Spelling::Proto)?;
    let known = ["candidates", "promptFeedback", "response", "error"];
    if known.iter().any(|name| top.has(name)) { Ok(()) } else { Err(malformed("is required").within("candidates")) }
}

/// Writes an answer for a client.
pub fn encode(response: &Response, reply: &ResponseContext) -> Vec<u8> {
    let mut body = Vec::new();
    write::object_within(&mut body, reply.most_bytes.unwrap_or(usize::MAX), |out| {
        if response.candidates.is_empty() {
            out.object("promptFeedback", |out| out.put("blockReason", "OTHER"));
        } else {
            out.list("candidates", |out| {
                for (index, candidate) in response.candidates.iter().enumerate() {
                    out.object(|out| {
                        out.object("content", |out| {
                            out.list("parts", |out| encode_parts(&candidate.blocks, out));
                            out.put("role", "model");
                        });
                        out.put("finishReason", finish::encode(candidate.finish.reason));
                        grounding::put(candidate.blocks.iter().flat_map(citations), out);
                        out.put("index", &index);
                    });
                }
            });
        }
        usage::encode(&response.usage.unwrap_or_default(), out);
        out.put("modelVersion", &reply.model);
        out.put("responseId", response.id.as_deref().unwrap_or(&reply.id));
    });
    body
}

fn encode_parts(blocks: &[Block], out: &mut Elements<'_>) {
    for block in blocks {
        match block {
            // A block that holds nothing but sources.
            Block::Text(text) if text.text.is_empty() && text.state.is_none() => {}
            Block::Text(text) => text_part(&text.text, false, text.state.as_ref().map(|state| (state, false)), out),
            Block::Refusal(text) => text_part(text, false, None, out),
            Block::Reasoning(block) => {
                let state = block.state.as_ref().map(|state| (state, block.redacted));
                text_part(&block.text, true, state, out);
            }
            Block::ToolCall(call) => call_parts(call, out),
            Block::Unknown(unknown) if unknown.family == Family::Gemini => out.put(&unknown.raw),
            // What other vendors' servers did by themselves is not the client's to see as a part.
            Block::Unknown(_) | Block::ToolResult(_) => {}
            media => media_part(media, out),
        }
    }
    if out.is_empty() {
        text_part("", false, None, out);
    }
}

fn citations(block: &Block) -> &[Citation] {
    match block {
        Block::Text(text) => &text.citations,
        _ => &[],
    }
}

/// Media as a part, with Google's signature if one hangs on it.
pub fn media_part(block: &Block, out: &mut Elements<'_>) {
    let (source, state) = match block {
        Block::Image(media) | Block::Audio(media) | Block::Video(media) => (&media.source, media.state.as_ref()),
        Block::Document(document) => (&document.source, None),
        _ => return,
    };
    out.object(|out| {
        match source {
            MediaSource::Inline { mime, data } => out.object("inlineData", |out| {
                out.put("mimeType", mime);
                out.put("data", data);
            }),
            MediaSource::Url { url: uri, mime } => out.object("fileData", |out| {
                out.put_some("mimeType", mime.as_deref());
                out.put("fileUri", uri);
            }),
            MediaSource::FileId { id, .. } => out.object("fileData", |out| out.put("fileUri", id)),
        }
        let own = state.filter(|state| state.family == Family::Gemini);
        out.put_some("thoughtSignature", own.map(|state| &state.value));
    });
}

/// A text part; `state` is reasoning state and whether its text is hidden.
pub fn text_part(text: &str, thought: bool, state: Option<(&Opaque, bool)>, out: &mut Elements<'_>) {
    out.object(|out| {
        out.put("text", text);
        out.put_some("thought", thought.then_some(true));
        out.put_some("thoughtSignature", state.map(|(state, redacted)| reasoning_state::write(state, redacted)));
    });
}

/// A call as a part; arguments that a model glued together are as many calls (hard case 174).
pub fn call_parts(call: &ToolCall, out: &mut Elements<'_>) {
    for (position, object) in arguments::as_objects(&call.arguments).into_iter().enumerate() {
        let first = position == 0;
        out.object(|out| {
            out.object("functionCall", |out| {
                if first {
                    out.put("id", &call.id);
                } else {
                    out.put("id", &ids::invented_call_id(&call.id, position));
                }
                out.put("name", &call.name);
                out.put_json("args", &object.json);
            });
            let state = call.state.as_ref().filter(|_| first);
            out.put_some("thoughtSignature", state.map(|state| reasoning_state::write(state, false)));
        });
    }
}
