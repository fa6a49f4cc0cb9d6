//! Chat's chunks.

use serde_json::{Value, json};

use super::{
    json_scan::{self, Begins},
    outline::{Outline, failed, failed_bare, identified},
};
use crate::{
    codec::chat,
    dialect::Family,
    problem::understand::is_error,
    response_stats::ResponseStats,
    scan::{Kind, Value as ScanValue},
    usage,
};

#[derive(Debug, Default)]
pub(crate) struct Chat {
    /// A chunk with the answer's id has been parsed.
    identified: bool,
}

impl Chat {
    pub(super) fn event(&mut self, data: &str, seen: &mut ResponseStats) {
        if data.trim() == "[DONE]" {
            seen.complete = seen.error.is_none();
            return;
        }
        let (mut matters, mut answers) = (!self.identified, false);
        delta(data.as_bytes(), seen, |name, value| match (name, value) {
            (b"finish_reason", Begins::Text(_)) | (b"error", Begins::Text(_)) => matters = true,
            (b"usage" | b"error", Begins::Other(value)) => matters |= value.first() != Some(&b'n'),
            (b"choices", _) => answers = true,
            _ => {}
        });
        if (matters || !answers)
            && let Some(chunk) = Outline::read(data.as_bytes())
        {
            self.parsed(&chunk, data, seen);
        }
    }

    fn parsed(&mut self, chunk: &Outline<'_>, data: &str, seen: &mut ResponseStats) {
        if let Some(error) = chunk.small("error").filter(is_error) {
            failed(Family::OpenAi, &json!({ "error": error }), seen);
            return;
        }
        let counts = chunk.small("usage").filter(Value::is_object);
        let choices = chunk.get("choices").filter(|choices| choices.kind != Kind::Null);
        failed_bare(Family::OpenAi, data.as_bytes(), counts.is_some() || choices.is_some(), seen);
        identified(chunk.small_text("id"), chunk.small_text("model"), seen);
        self.identified |= seen.response_id.is_some();
        if let Some(counts) = counts {
            seen.count(usage::openai(&counts));
        }
        if let Some(choices) = choices {
            choices.each_element(chunk.text, |one| choice(chunk.text, &one, seen));
        }
    }
}

/// Why a choice ended or failed, and counts that stand in it (Moonshot).
pub(super) fn choice(body: &[u8], choice: &ScanValue, seen: &mut ResponseStats) {
    let [counts, reason, error] = choice.named(body, ["usage", "finish_reason", "error"]);
    if let Some(counts) = counts.and_then(|counts| counts.small(body)).filter(Value::is_object) {
        seen.count(usage::openai(&counts));
    }
    if let Some(error) = error.and_then(|error| error.small(body)).filter(is_error) {
        return failed(Family::OpenAi, &json!({ "error": error }), seen);
    }
    let reason = reason.as_ref().and_then(|reason| reason.text(body));
    let Some(reason) = reason.as_deref().and_then(chat::stated_finish) else { return };
    if chat::broke_off(reason) {
        seen.error.get_or_insert_with(|| chat::stopped_early(reason));
    } else {
        seen.finished(chat::finish_reason(reason, false, false));
    }
}

/// Counts what a choice delivers; other members go to `each`.
pub(super) fn delta<'a>(json: &'a [u8], seen: &mut ResponseStats, mut each: impl FnMut(&'a [u8], Begins<'a>)) {
    let mut chars = 0;
    // One thought under several names: some servers repeat `reasoning` in `reasoning_content` and in the details.
    let mut thoughts = [0_u64; 3];
    json_scan::members(json, |name, value| match (name, value) {
        (b"content" | b"refusal" | b"arguments" | b"input", Begins::Text(text)) => chars += json_scan::chars(text),
        (b"reasoning_content", Begins::Text(text)) => thoughts[0] += json_scan::chars(text),
        (b"reasoning", Begins::Text(text)) => thoughts[1] += json_scan::chars(text),
        (b"text" | b"summary", Begins::Text(text)) => thoughts[2] += json_scan::chars(text),
        // Only functions and custom tools have names; a call without arguments is content.
        (b"name", Begins::Text(text)) => seen.content |= !text.is_empty(),
        (name, value) => each(name, value),
    });
    seen.delivered(chars + thoughts.into_iter().max().unwrap_or(0));
}
