//! Responses' events.

use serde_json::{Value, json};

use super::{
    json_scan::{self, Begins},
    outline::{Outline, failed, identified, text_of},
};
use crate::{
    dialect::Family, ir::FinishReason, response_stats::ResponseStats, scan::Value as ScanValue, usage, wire::sse::Frame,
};

#[derive(Debug, Default)]
pub(crate) struct Responses {
    sequence: Option<u64>,
}

impl Responses {
    pub(super) fn sequence(&self) -> Option<u64> {
        self.sequence
    }

    pub(super) fn event(&mut self, frame: Frame<'_>, seen: &mut ResponseStats) {
        let (mut kind, mut chars) = (frame.event.map(str::as_bytes), 0);
        json_scan::top_members(frame.data.as_bytes(), |name, value| match (name, value) {
            (b"type", Begins::Text(text)) => kind = kind.or(Some(text)),
            (b"delta", Begins::Text(text)) => chars = json_scan::chars(text),
            (b"sequence_number", Begins::Other(value)) => self.sequence = json_scan::number(value).max(self.sequence),
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
            && let Some(body) = Outline::read(frame.data.as_bytes())
        {
            parsed(kind, &body, seen);
        }
    }
}

fn parsed(kind: &[u8], body: &Outline<'_>, seen: &mut ResponseStats) {
    match kind {
        b"response.output_item.added" => {
            let item = body.get("item").and_then(|item| item.member(body.text, "type"));
            let item = item.as_ref().and_then(|item| item.text(body.text));
            seen.content |= !matches!(item.as_deref(), None | Some("message" | "reasoning"));
        }
        b"error" => {
            let members = ["error", "code", "message", "param", "type"];
            let members = members.iter().filter_map(|name| Some(((*name).to_owned(), body.small(name)?)));
            failed(Family::OpenAi, &Value::Object(members.collect()), seen);
        }
        _ => response(body, body.get("response"), true, seen),
    }
}

/// A response object, whole or inside an event; an error is read from what it stands in.
pub(super) fn response(body: &Outline<'_>, object: Option<&ScanValue>, in_event: bool, seen: &mut ResponseStats) {
    let response = body.some(object, ["id", "model", "usage", "status", "incomplete_details", "error"]);
    identified(text_of(&response, "id"), text_of(&response, "model"), seen);
    if let Some(counts) = response.get("usage").filter(|counts| counts.is_object()) {
        seen.count(usage::openai(counts));
    }
    match response.get("status").and_then(Value::as_str) {
        Some("completed") => {
            let mut calls = false;
            if let Some(output) = object.and_then(|object| object.member(body.text, "output")) {
                output.each_element(body.text, |item| {
                    let kind = item.member(body.text, "type");
                    let kind = kind.as_ref().and_then(|kind| kind.text(body.text));
                    calls |= matches!(kind.as_deref(), Some("function_call" | "custom_tool_call"));
                });
            }
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
        Some("failed" | "cancelled") if in_event => failed(Family::OpenAi, &json!({ "response": response }), seen),
        Some("failed" | "cancelled") => failed(Family::OpenAi, &response, seen),
        _ => {}
    }
}
