//! Converse's events, and its whole answers.

use serde_json::Value;

use super::{
    json_scan::{self, Begins},
    outline::{Outline, failed},
};
use crate::{
    codec::{chat, converse::finish_reason},
    dialect::Family,
    response_stats::ResponseStats,
    scan::Value as ScanValue,
    usage,
    wire::sse::Frame,
};

pub(super) fn event(frame: Frame<'_>, seen: &mut ResponseStats) {
    match frame.event {
        Some("contentBlockDelta") => seen.delivered(delivered(frame.data.as_bytes())),
        // A call or a picture.
        Some("contentBlockStart") => seen.content = true,
        Some("messageStop") => {
            if let Some(body) = Outline::read(frame.data.as_bytes()) {
                finished(&body, seen);
            }
        }
        Some("metadata") => {
            if let Some(body) = Outline::read(frame.data.as_bytes()) {
                counted(&body, seen);
                // What comes last, unless it holds no more than times.
                seen.complete = seen.finish.is_some() && seen.usage.is_some() && seen.error.is_none();
            }
        }
        Some("error") => failed(Family::Bedrock, &serde_json::from_str(frame.data).unwrap_or_default(), seen),
        _ => {}
    }
}

/// Takes a whole answer.
pub(super) fn whole(body: &Outline<'_>, output: Option<&ScanValue>, seen: &mut ResponseStats) {
    if let Some(output) = output {
        seen.delivered(delivered(output.bytes(body.text)));
    }
    finished(body, seen);
    counted(body, seen);
}

fn finished(body: &Outline<'_>, seen: &mut ResponseStats) {
    let Some(reason) = body.get("stopReason").and_then(|reason| reason.text(body.text)) else { return };
    if chat::broke_off(&reason) {
        seen.error.get_or_insert_with(|| chat::stopped_early(&reason));
    } else {
        seen.finished(finish_reason(&reason));
    }
}

fn counted(body: &Outline<'_>, seen: &mut ResponseStats) {
    if let Some(counts) = body.small("usage").filter(Value::is_object) {
        seen.count(usage::bedrock(&counts));
    }
}

/// Characters of text, reasoning and arguments.
fn delivered(json: &[u8]) -> u64 {
    let mut chars = 0;
    json_scan::members(json, |name, value| {
        if let (b"text" | b"input", Begins::Text(text)) = (name, value) {
            chars += json_scan::chars(text);
        }
    });
    chars
}
