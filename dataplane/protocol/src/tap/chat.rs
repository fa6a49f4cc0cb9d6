//! Chat's chunks.

use serde_json::{Value, json};

use super::{
    Outline, ScanValue, failed,
    glance::{self, Begins},
    identified, usage,
};
use crate::{codec::chat::finish_reason, dialect::Family, exchange::Observed, problem::understand::is_error};

#[derive(Debug, Default)]
pub(crate) struct Chat {
    /// A chunk with the answer's id has been parsed.
    identified: bool,
}

impl Chat {
    pub(super) fn event(&mut self, data: &str, seen: &mut Observed) {
        if data.trim() == "[DONE]" {
            seen.complete = seen.error.is_none();
            return;
        }
        let mut matters = !self.identified;
        delta(data.as_bytes(), seen, |name, value| match (name, value) {
            (b"finish_reason", Begins::Text(_)) | (b"error", Begins::Text(_)) => matters = true,
            (b"usage" | b"error", Begins::Other(value)) => matters |= value.first() != Some(&b'n'),
            _ => {}
        });
        if matters && let Some(chunk) = Outline::read(data) {
            self.parsed(&chunk, seen);
        }
    }

    fn parsed(&mut self, chunk: &Outline<'_>, seen: &mut Observed) {
        if let Some(error) = chunk.small("error").filter(is_error) {
            failed(Family::OpenAi, &json!({ "error": error }), seen);
            return;
        }
        identified(chunk.small("id").as_ref(), chunk.small("model").as_ref(), seen);
        self.identified |= seen.response_id.is_some();
        if let Some(counts) = chunk.small("usage").filter(Value::is_object) {
            seen.count(usage::openai(&counts));
        }
        if let Some(choices) = chunk.get("choices") {
            choices.each_element(chunk.text, |choice| {
                count_in_choice(chunk.text, &choice, seen);
                let reason = choice.member(chunk.text, "finish_reason");
                if let Some(reason) = reason.as_ref().and_then(|reason| reason.text(chunk.text)) {
                    seen.finished(finish_reason(&reason, false, false));
                }
            });
        }
    }
}

/// Counts that stand in a choice (Moonshot).
pub(super) fn count_in_choice(body: &[u8], choice: &ScanValue, seen: &mut Observed) {
    let counts = choice.member(body, "usage").and_then(|counts| counts.small(body));
    if let Some(counts) = counts.filter(Value::is_object) {
        seen.count(usage::openai(&counts));
    }
}

/// Counts what a choice delivers; other members go to `each`.
pub(super) fn delta<'a>(json: &'a [u8], seen: &mut Observed, mut each: impl FnMut(&'a [u8], Begins<'a>)) {
    let mut chars = 0;
    // One thought under several names: some servers repeat `reasoning` in `reasoning_content` and in the details.
    let mut thoughts = [0_u64; 3];
    glance::members(json, |name, value| match (name, value) {
        (b"content" | b"refusal" | b"arguments" | b"input", Begins::Text(text)) => chars += glance::chars(text),
        (b"reasoning_content", Begins::Text(text)) => thoughts[0] += glance::chars(text),
        (b"reasoning", Begins::Text(text)) => thoughts[1] += glance::chars(text),
        (b"text" | b"summary", Begins::Text(text)) => thoughts[2] += glance::chars(text),
        // Only functions and custom tools have names; a call without arguments is content.
        (b"name", Begins::Text(text)) => seen.content |= !text.is_empty(),
        (name, value) => each(name, value),
    });
    seen.delivered(chars + thoughts.into_iter().max().unwrap_or(0));
}
