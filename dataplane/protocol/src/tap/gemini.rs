//! Gemini's chunks. Nearly each carries counts, and there are few of them, so all are parsed.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::{Outline, ScanValue, failed, identified, usage};
use crate::{
    codec::gemini::finish_reason, dialect::Family, exchange::Observed, ir::FinishReason, problem::understand::is_error,
};

#[derive(Debug, Default)]
pub(crate) struct Gemini {
    /// A call has come; `STOP` means that its result is awaited then, also in a later chunk.
    called: bool,
}

impl Gemini {
    pub(super) fn event(&mut self, data: &str, seen: &mut Observed) {
        if let Some(chunk) = Outline::read(data) {
            self.parsed(&chunk, seen);
        }
    }

    pub(super) fn parsed(&mut self, chunk: &Outline<'_>, seen: &mut Observed) {
        // Code Assist wraps the answer once more.
        let inner = chunk.get("response");
        let get = |name: &str| match inner {
            Some(inner) => inner.member(chunk.text, name),
            None => chunk.get(name).cloned(),
        };
        let small = |name: &str| get(name).and_then(|value| value.small(chunk.text));
        if let Some(error) = small("error").filter(is_error) {
            failed(Family::Gemini, &json!({ "error": error }), seen);
            return;
        }
        identified(small("responseId").as_ref(), small("modelVersion").as_ref(), seen);
        if let Some(counts) = small("usageMetadata").filter(Value::is_object) {
            seen.count(usage::gemini(&counts));
        }
        let mut finish_word = None;
        if let Some(candidates) = get("candidates") {
            candidates.each_element(chunk.text, |candidate| {
                let [content, reason] = candidate.named(chunk.text, ["content", "finishReason"]);
                if let Some(parts) = content.and_then(|content| content.member(chunk.text, "parts")) {
                    parts.each_element(chunk.text, |part| self.part(chunk.text, &part, seen));
                }
                let word = reason.as_ref().and_then(|reason| reason.text(chunk.text)).map(Cow::into_owned);
                finish_word = finish_word.take().or(word);
            });
        }
        if let Some(word) = finish_word {
            // Old backends say STOP on every chunk, so the last word counts.
            seen.finish = None;
            seen.finished(finish_reason(&word, self.called));
        }
        if let Some(feedback) = get("promptFeedback")
            && feedback.member(chunk.text, "blockReason").is_some_and(|reason| reason.text(chunk.text).is_some())
        {
            seen.finished(FinishReason::ContentFilter);
        }
    }

    fn part(&mut self, body: &[u8], part: &ScanValue, seen: &mut Observed) {
        let names =
            ["text", "functionCall", "inlineData", "executableCode", "codeExecutionResult", "toolCall", "fileData"];
        let [text, call, others @ ..] = part.named(body, names);
        if let Some(text) = text.as_ref().and_then(|text| text.text(body)) {
            seen.delivered(text.chars().count() as u64);
        }
        if let Some(call) = &call {
            self.called = true;
            let arguments = call.member(body, "args").map_or(0, |arguments| arguments.bytes(body).len() as u64);
            seen.delivered(arguments);
        }
        seen.content |= call.is_some() || others.iter().any(Option::is_some);
    }
}
