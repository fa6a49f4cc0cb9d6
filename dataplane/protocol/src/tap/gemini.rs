//! Gemini's chunks. Nearly each carries counts, and there are few of them, so all are parsed.

use serde_json::Value;

use super::{failed, identified, usage};
use crate::{dialect::Family, exchange::Observed, ir::FinishReason, problem::understand::is_error};

#[derive(Debug, Default)]
pub(crate) struct Gemini {
    /// A call has come; `STOP` means that its result is awaited then, also in a later chunk.
    called: bool,
}

impl Gemini {
    pub(super) fn event(&mut self, data: &str, seen: &mut Observed) {
        if let Ok(chunk) = serde_json::from_str::<Value>(data) {
            self.parsed(&chunk, seen);
        }
    }

    pub(super) fn parsed(&mut self, chunk: &Value, seen: &mut Observed) {
        // Code Assist wraps the answer once more.
        let chunk = chunk.get("response").unwrap_or(chunk);
        if chunk.get("error").is_some_and(is_error) {
            failed(Family::Gemini, chunk, seen);
            return;
        }
        identified(chunk.get("responseId"), chunk.get("modelVersion"), seen);
        if let Some(counts) = chunk.get("usageMetadata").filter(|counts| counts.is_object()) {
            seen.count(usage::gemini(counts));
        }
        let mut finish_word = None;
        for candidate in chunk.get("candidates").and_then(Value::as_array).into_iter().flatten() {
            for part in candidate.pointer("/content/parts").and_then(Value::as_array).into_iter().flatten() {
                self.part(part, seen);
            }
            finish_word = finish_word.or_else(|| candidate.get("finishReason").and_then(Value::as_str));
        }
        if let Some(word) = finish_word {
            // Old backends say STOP on every chunk, so the last word counts.
            seen.finish = None;
            seen.finished(if self.called && word == "STOP" { FinishReason::ToolCalls } else { finish(word) });
        }
        if chunk.pointer("/promptFeedback/blockReason").is_some_and(Value::is_string) {
            seen.finished(FinishReason::ContentFilter);
        }
    }

    fn part(&mut self, part: &Value, seen: &mut Observed) {
        if let Some(text) = part.get("text").and_then(Value::as_str) {
            seen.delivered(text.chars().count() as u64);
        }
        if let Some(call) = part.get("functionCall") {
            self.called = true;
            let arguments = call.get("args").map(|arguments| arguments.to_string().len() as u64);
            seen.delivered(arguments.unwrap_or(0));
        }
        let other = ["functionCall", "inlineData", "executableCode", "codeExecutionResult", "toolCall", "fileData"];
        seen.content |= other.iter().any(|name| part.get(name).is_some());
    }
}

fn finish(word: &str) -> FinishReason {
    match word {
        "STOP" => FinishReason::Stop,
        "MAX_TOKENS" => FinishReason::Length,
        "CONTINUATION" => FinishReason::Pause,
        "MALFORMED_FUNCTION_CALL"
        | "MALFORMED_RESPONSE"
        | "UNEXPECTED_TOOL_CALL"
        | "MISSING_THOUGHT_SIGNATURE"
        | "TOO_MANY_TOOL_CALLS" => FinishReason::Malformed,
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "LANGUAGE"
        | "MODEL_ARMOR"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}
