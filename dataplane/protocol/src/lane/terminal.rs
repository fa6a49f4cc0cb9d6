//! What a stream that failed ends with, in each dialect (docs/protocols/streaming.md, hard cases 127 and 131).
//!
//! Never an end marker: a `[DONE]`, `message_stop` or `response.completed` would make a cut answer look whole.

use crate::{
    codec::{ResponseContext, converse::HEARTBEAT},
    dialect::{Family, Operation},
    framing::Framing,
    problem::{Problem, render},
    response_stats::ResponseStats,
    wire::{event_stream, sse},
};

/// What of a stream's past its terminal error depends on.
pub(crate) struct Past<'a> {
    pub(crate) context: &'a ResponseContext,
    pub(crate) seen: &'a ResponseStats,
    /// The last `sequence_number` that went out (Responses).
    pub(crate) sequence: Option<u64>,
    /// Elements have gone out (JSON arrays).
    pub(crate) elements: bool,
}

/// The terminal error: its family's, but for OpenAI's Responses.
pub(crate) fn error(operation: Operation, framing: Framing, problem: &Problem, past: &Past<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match (operation.family(), framing) {
        (Family::Anthropic, _) => {
            let data = format!("{{\"type\":\"error\",\"error\":{}}}", render::anthropic_error(problem));
            sse::write(&mut out, Some("error"), data.as_bytes());
        }
        (Family::Bedrock, _) => render::bedrock_event(problem, &mut out),
        (Family::Gemini, Framing::JsonArray) => {
            let lead = if past.elements { ",\r\n" } else { "[" };
            out.extend_from_slice(format!("{lead}{{\"error\":{}}}]", render::gemini_error(problem)).as_bytes());
        }
        (Family::Gemini, _) => {
            sse::write(&mut out, None, format!("{{\"error\":{}}}", render::gemini_error(problem)).as_bytes());
        }
        (Family::OpenAi, _) if operation == Operation::Responses => responses(&mut out, problem, past),
        (Family::OpenAi, _) => {
            sse::write(&mut out, None, format!("{{\"error\":{}}}", render::openai_error(problem)).as_bytes());
        }
    }
    out
}

/// `response.failed`, after a `response.created` if none went out, because clients insist on it being first.
fn responses(out: &mut Vec<u8>, problem: &Problem, past: &Past<'_>) {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let id = past.seen.response_id.clone().unwrap_or_else(|| format!("resp_{}", past.context.id));
    let model = past.seen.response_model.as_deref().unwrap_or(&past.context.model);
    let object = |status: &str, error: &str| {
        format!(
            "{{\"id\":{},\"object\":\"response\",\"created_at\":{},\"status\":\"{status}\",\"error\":{error},\
             \"incomplete_details\":null,\"instructions\":null,\"model\":{},\"output\":[],\
             \"parallel_tool_calls\":true,\"tool_choice\":\"auto\",\"tools\":[],\"usage\":null}}",
            text(&id),
            past.context.created,
            text(model)
        )
    };
    let mut event = |kind: &str, sequence: u64, object: &str| {
        let data = format!("{{\"type\":\"{kind}\",\"sequence_number\":{sequence},\"response\":{object}}}");
        sse::write(out, Some(kind), data.as_bytes());
    };
    let next = past.sequence.map_or(0, |last| last.saturating_add(1));
    let begun = past.sequence.is_some() || past.seen.response_id.is_some();
    if !begun {
        event("response.created", next, &object("in_progress", "null"));
    }
    let failed =
        format!("{{\"code\":{},\"message\":{}}}", text(render::responses_code(problem)), text(&problem.message));
    event("response.failed", next + u64::from(!begun), &object("failed", &failed));
}

/// What keeps an idle connection open (docs/protocols/streaming.md); nothing where nothing is legal.
pub(crate) fn heartbeat(operation: Operation, framing: Framing, past: &Past<'_>) -> Vec<u8> {
    if !operation.streams() {
        return Vec::new();
    }
    match (operation, framing) {
        (Operation::ChatCompletions, _) if past.seen.finish.is_none() => {
            let text = |text: &str| serde_json::Value::from(text).to_string();
            let id = past.seen.response_id.clone().unwrap_or_else(|| format!("chatcmpl-{}", past.context.id));
            let model = past.seen.response_model.as_deref().unwrap_or(&past.context.model);
            let data = format!(
                "{{\"id\":{},\"object\":\"chat.completion.chunk\",\"created\":{},\"model\":{},\
                 \"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":null}}]}}",
                text(&id),
                past.context.created,
                text(model)
            );
            let mut out = Vec::new();
            sse::write(&mut out, None, data.as_bytes());
            out
        }
        // A repeated `response.in_progress` would break the upstream's own numbering; comments are legal.
        (Operation::Responses | Operation::Stored(_), _) | (Operation::Direct(_), Framing::Sse) => {
            b": keepalive\n\n".to_vec()
        }
        _ => match operation.family() {
            Family::OpenAi => Vec::new(),
            Family::Anthropic => b"event: ping\ndata: {\"type\":\"ping\"}\n\n".to_vec(),
            Family::Gemini => b"\n".to_vec(),
            Family::Bedrock => {
                let mut out = Vec::new();
                event_stream::write(&mut out, HEARTBEAT, b"{}");
                out
            }
        },
    }
}
