//! Responses' events.

use serde_json::Value;

use super::{
    failed,
    glance::{self, Begins},
    identified, usage,
};
use crate::{dialect::Family, exchange::Observed, framing::sse::Frame, ir::FinishReason};

#[derive(Debug, Default)]
pub(crate) struct Responses {
    sequence: Option<u64>,
}

impl Responses {
    pub(super) fn sequence(&self) -> Option<u64> {
        self.sequence
    }

    pub(super) fn event(&mut self, frame: Frame<'_>, seen: &mut Observed) {
        let (mut kind, mut chars) = (frame.event.map(str::as_bytes), 0);
        glance::top_members(frame.data.as_bytes(), |name, value| match (name, value) {
            (b"type", Begins::Text(text)) => kind = kind.or(Some(text)),
            (b"delta", Begins::Text(text)) => chars = glance::chars(text),
            (b"sequence_number", Begins::Other(value)) => self.sequence = glance::number(value).max(self.sequence),
            _ => {}
        });
        let kind = kind.unwrap_or_default();
        if kind.ends_with(b".delta") {
            if !kind.starts_with(b"response.audio") && !kind.starts_with(b"response.image") {
                seen.delivered(chars);
            }
            return;
        }
        let matters: [&[u8]; 7] = [
            b"response.created",
            b"response.output_item.added",
            b"response.completed",
            b"response.incomplete",
            b"response.failed",
            b"response.cancelled",
            b"error",
        ];
        if matters.contains(&kind)
            && let Ok(body) = serde_json::from_str::<Value>(frame.data)
        {
            parsed(kind, &body, seen);
        }
    }
}

fn parsed(kind: &[u8], body: &Value, seen: &mut Observed) {
    match kind {
        b"response.output_item.added" => {
            let item = body.pointer("/item/type").and_then(Value::as_str);
            seen.content |= !matches!(item, None | Some("message" | "reasoning"));
        }
        b"error" => failed(Family::OpenAi, body, seen),
        _ => response(body.get("response").unwrap_or(&Value::Null), body, seen),
    }
}

/// A response object, whole or inside an event; `envelope` is what an error is read from.
pub(super) fn response(response: &Value, envelope: &Value, seen: &mut Observed) {
    identified(response.get("id"), response.get("model"), seen);
    if let Some(counts) = response.get("usage").filter(|counts| counts.is_object()) {
        seen.count(usage::openai(counts));
    }
    match response.get("status").and_then(Value::as_str) {
        Some("completed") => {
            let items = response.get("output").and_then(Value::as_array);
            let calls = items.into_iter().flatten().any(|item| {
                matches!(item.get("type").and_then(Value::as_str), Some("function_call" | "custom_tool_call"))
            });
            seen.finished(if calls { FinishReason::ToolCalls } else { FinishReason::Stop });
            seen.complete = true;
        }
        Some("incomplete") => {
            let reason = response.pointer("/incomplete_details/reason").and_then(Value::as_str);
            seen.finished(match reason {
                Some("max_output_tokens") => FinishReason::Length,
                Some("content_filter") => FinishReason::ContentFilter,
                _ => FinishReason::Other,
            });
            seen.complete = true;
        }
        Some("failed" | "cancelled") => failed(Family::OpenAi, envelope, seen),
        _ => {}
    }
}
