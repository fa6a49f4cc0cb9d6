//! Anthropic's events.

use serde_json::{Value, json};

use super::{
    json_scan::{self, Begins},
    outline::{Outline, failed, failed_bare, identified, text_of},
};
use crate::{
    codec::{
        chat,
        messages::{began_again, finish_reason},
    },
    dialect::Family,
    problem::understand::{self, is_error},
    response_stats::ResponseStats,
    usage,
    wire::sse::Frame,
};

pub(super) fn event(frame: Frame<'_>, seen: &mut ResponseStats) {
    match frame.event {
        Some("ping" | "content_block_stop") => {}
        Some("content_block_delta") => {
            let chars = delivered(frame.data.as_bytes());
            seen.delivered(chars);
        }
        _ => {
            if let Some(body) = Outline::read(frame.data.as_bytes()) {
                parsed(&body, frame.data, seen);
            }
        }
    }
}

fn parsed(body: &Outline<'_>, data: &str, seen: &mut ResponseStats) {
    let kind = body.get("type").and_then(|kind| kind.text(body.text));
    match kind.as_deref() {
        Some("message_start") => {
            if seen.response_id.is_some() {
                // What came before was cut off. Its bytes go on, but this is no complete answer.
                seen.error.get_or_insert_with(began_again);
            }
            let message = body.some(body.get("message"), ["id", "model", "usage"]);
            identified(text_of(&message, "id"), text_of(&message, "model"), seen);
            counted(message.get("usage"), seen);
        }
        Some("content_block_start") => {
            let kind = body.get("content_block").and_then(|block| block.member(body.text, "type"));
            let kind = kind.as_ref().and_then(|kind| kind.text(body.text));
            seen.content |= !matches!(kind.as_deref(), None | Some("text" | "thinking"));
            seen.delivered(delivered(data.as_bytes()));
        }
        Some("content_block_delta") => seen.delivered(delivered(data.as_bytes())),
        Some("message_delta") => {
            counted(body.small("usage").as_ref(), seen);
            let reason = body.get("delta").and_then(|delta| delta.member(body.text, "stop_reason"));
            if let Some(reason) = reason.as_ref().and_then(|reason| reason.text(body.text)) {
                finished(&reason, seen);
            }
        }
        Some("message_stop") => seen.complete = seen.error.is_none(),
        Some("error") => match body.small("error").filter(is_error) {
            Some(error) => failed(Family::Anthropic, &json!({ "error": error }), seen),
            None => {
                let told = || understand::no_answer(Family::Anthropic, data.as_bytes());
                seen.error.get_or_insert_with(told);
            }
        },
        None => failed_bare(Family::Anthropic, data.as_bytes(), false, seen),
        Some(_) => {}
    }
}

fn counted(counts: Option<&Value>, seen: &mut ResponseStats) {
    if let Some(counts) = counts.filter(|counts| counts.is_object()) {
        seen.count(usage::anthropic(counts));
    }
}

/// Characters of text, thinking and arguments.
pub(super) fn delivered(json: &[u8]) -> u64 {
    let mut chars = 0;
    json_scan::members(json, |name, value| {
        if let (b"text" | b"thinking" | b"partial_json", Begins::Text(text)) = (name, value) {
            chars += json_scan::chars(text);
        }
    });
    chars
}

/// Notes why the answer ended, or that the server gave up on it.
pub(super) fn finished(reason: &str, seen: &mut ResponseStats) {
    if chat::broke_off(reason) {
        seen.error.get_or_insert_with(|| chat::stopped_early(reason));
    } else {
        seen.finished(finish_reason(reason));
    }
}
