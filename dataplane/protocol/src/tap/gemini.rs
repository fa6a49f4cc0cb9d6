//! Gemini's chunks. Nearly each carries counts, and there are few of them, so all are parsed.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::outline::{Outline, failed, failed_bare, identified};
use crate::{
    codec::gemini,
    dialect::Family,
    ir::FinishReason,
    problem::understand::is_error,
    response_stats::ResponseStats,
    scan::{Kind, Value as ScanValue},
    usage,
};

#[derive(Debug, Default)]
pub(crate) struct Gemini {
    /// A call has come; `STOP` means that its result is awaited then, also in a later chunk.
    called: bool,
}

impl Gemini {
    pub(super) fn event(&mut self, data: &str, seen: &mut ResponseStats) {
        if let Some(chunk) = Outline::read(data.as_bytes()) {
            self.parsed(&chunk, seen);
        }
    }

    pub(super) fn parsed(&mut self, chunk: &Outline<'_>, seen: &mut ResponseStats) {
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
        let text = |value: Option<ScanValue>| value.and_then(|value| value.small_text(chunk.text));
        identified(text(get("responseId")), text(get("modelVersion")), seen);
        if let Some(counts) = small("usageMetadata").filter(Value::is_object) {
            seen.count(usage::gemini(&counts));
        }
        let candidates = get("candidates").filter(|candidates| candidates.kind != Kind::Null);
        let answers =
            candidates.is_some() || ["usageMetadata", "promptFeedback"].iter().any(|name| get(name).is_some());
        failed_bare(Family::Gemini, chunk.text, answers || inner.is_some(), seen);
        let mut finish_word = None;
        if let Some(candidates) = candidates {
            candidates.each_element(chunk.text, |candidate| {
                let [content, reason, counts] =
                    candidate.named(chunk.text, ["content", "finishReason", "usageMetadata"]);
                if let Some(parts) = content.and_then(|content| content.member(chunk.text, "parts")) {
                    parts.each_element(chunk.text, |part| self.part(chunk.text, &part, seen));
                }
                if let Some(counts) = counts.and_then(|counts| counts.small(chunk.text)).filter(Value::is_object) {
                    seen.count(usage::gemini(&counts));
                }
                let word = reason.as_ref().and_then(|reason| word(reason, chunk.text)).map(Cow::into_owned);
                finish_word = finish_word.take().or(word);
            });
        }
        if let Some(word) = finish_word.as_deref().and_then(gemini::stated_finish) {
            // Old backends say STOP on every chunk, so the last word counts.
            seen.finish = None;
            let reason = gemini::finish_reason(word, self.called);
            if gemini::broke_off(word) || (reason == FinishReason::Other && !seen.content) {
                seen.error.get_or_insert_with(|| gemini::came_to_nothing(word));
            } else {
                seen.finished(reason);
            }
        }
        if let Some(feedback) = get("promptFeedback")
            && feedback.member(chunk.text, "blockReason").is_some_and(|reason| reason.text(chunk.text).is_some())
        {
            seen.finished(FinishReason::ContentFilter);
        }
    }

    fn part(&mut self, body: &[u8], part: &ScanValue, seen: &mut ResponseStats) {
        let names =
            ["text", "functionCall", "inlineData", "executableCode", "codeExecutionResult", "toolCall", "fileData"];
        let [text, call, others @ ..] = part.named(body, names);
        if let Some(text) = text.as_ref().and_then(|text| text.text(body)) {
            seen.delivered(text.chars().count() as u64);
        }
        if let Some(call) = &call {
            self.called = true;
            // In pieces, on Vertex AI.
            let [whole, pieces] = call.named(body, ["args", "partialArgs"]);
            let arguments = whole.or(pieces).map_or(0, |arguments| arguments.bytes(body).len() as u64);
            seen.delivered(arguments);
        }
        seen.content |= call.is_some() || others.iter().any(Option::is_some);
    }
}

/// A word, also as the number that protobuf has for it.
fn word<'a>(value: &ScanValue, body: &'a [u8]) -> Option<Cow<'a, str>> {
    match value.kind {
        Kind::Number => std::str::from_utf8(value.bytes(body)).ok().map(Cow::Borrowed),
        _ => value.text(body),
    }
}
