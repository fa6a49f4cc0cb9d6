//! Anthropic's events.

use serde_json::Value;

use super::{
    failed,
    glance::{self, Begins},
    identified, usage,
};
use crate::{dialect::Family, exchange::Observed, framing::sse::Frame, ir::FinishReason};

pub(super) fn event(frame: Frame<'_>, seen: &mut Observed) {
    match frame.event {
        Some("ping" | "content_block_stop") => {}
        Some("content_block_delta") => {
            let chars = delivered(frame.data.as_bytes());
            seen.delivered(chars);
        }
        _ => {
            if let Ok(body) = serde_json::from_str::<Value>(frame.data) {
                parsed(&body, frame.data, seen);
            }
        }
    }
}

fn parsed(body: &Value, data: &str, seen: &mut Observed) {
    match body.get("type").and_then(Value::as_str) {
        Some("message_start") => {
            let message = body.get("message").unwrap_or(&Value::Null);
            identified(message.get("id"), message.get("model"), seen);
            counted(message.get("usage"), seen);
        }
        Some("content_block_start") => {
            let kind = body.pointer("/content_block/type").and_then(Value::as_str);
            seen.content |= !matches!(kind, None | Some("text" | "thinking"));
            seen.delivered(delivered(data.as_bytes()));
        }
        Some("content_block_delta") => seen.delivered(delivered(data.as_bytes())),
        Some("message_delta") => {
            counted(body.get("usage"), seen);
            if let Some(reason) = body.pointer("/delta/stop_reason").and_then(Value::as_str) {
                seen.finished(finish(reason));
            }
        }
        Some("message_stop") => seen.complete = seen.error.is_none(),
        Some("error") => failed(Family::Anthropic, body, seen),
        _ => {}
    }
}

fn counted(counts: Option<&Value>, seen: &mut Observed) {
    if let Some(counts) = counts.filter(|counts| counts.is_object()) {
        seen.count(usage::anthropic(counts));
    }
}

/// Characters of text, thinking and arguments.
pub(super) fn delivered(json: &[u8]) -> u64 {
    let mut chars = 0;
    glance::members(json, |name, value| {
        if let (b"text" | b"thinking" | b"partial_json", Begins::Text(text)) = (name, value) {
            chars += glance::chars(text);
        }
    });
    chars
}

pub(super) fn finish(reason: &str) -> FinishReason {
    match reason {
        "end_turn" => FinishReason::Stop,
        "stop_sequence" => FinishReason::StopSequence,
        "tool_use" => FinishReason::ToolCalls,
        "max_tokens" => FinishReason::Length,
        "model_context_window_exceeded" => FinishReason::ContextFull,
        "refusal" => FinishReason::ContentFilter,
        "pause_turn" => FinishReason::Pause,
        _ => FinishReason::Other,
    }
}
