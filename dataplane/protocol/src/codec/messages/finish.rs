//! Why an answer ended, in Anthropic's words (docs/protocols/finish-and-errors.md).

use crate::{
    codec::chat,
    ir::{Finish, FinishReason},
};

/// Reads `stop_reason` and `stop_sequence`. A complete call outranks a plain end.
pub fn read(reason: Option<&str>, stop_sequence: Option<String>, has_call: bool) -> Finish {
    let reason = match reason.map(of) {
        None | Some(FinishReason::Stop) if has_call => FinishReason::ToolCalls,
        Some(reason) => reason,
        None => FinishReason::Other,
    };
    Finish { reason, stop_sequence }
}

/// What `stop_reason` says. Servers that speak this dialect beside OpenAI's write OpenAI's words as well.
pub fn of(reason: &str) -> FinishReason {
    match reason {
        "end_turn" => FinishReason::Stop,
        "stop_sequence" => FinishReason::StopSequence,
        "tool_use" => FinishReason::ToolCalls,
        "max_tokens" => FinishReason::Length,
        "model_context_window_exceeded" => FinishReason::ContextFull,
        // Classifiers stopped the answer; the model's own declining is ordinary text.
        "refusal" => FinishReason::ContentFilter,
        "pause_turn" => FinishReason::Pause,
        "" => FinishReason::Other,
        other => chat::finish_reason(other, false, false),
    }
}

/// What of an answer's content bears upon its `stop_reason`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said {
    /// A call.
    pub call: bool,
    /// A refusal of the model's own, which other dialects mark on the text and not on the end.
    pub refusal: bool,
}

/// `stop_reason` for a client. A call outranks a plain end (hard case 90); a truncated call does not.
pub const fn write(reason: FinishReason, said: Said) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::Other if said.call => "tool_use",
        FinishReason::Stop if said.refusal => "refusal",
        FinishReason::ToolCalls => "tool_use",
        FinishReason::Stop | FinishReason::Malformed | FinishReason::Other => "end_turn",
        FinishReason::StopSequence => "stop_sequence",
        FinishReason::Length => "max_tokens",
        FinishReason::ContextFull => "model_context_window_exceeded",
        FinishReason::ContentFilter | FinishReason::Refusal => "refusal",
        FinishReason::Pause => "pause_turn",
    }
}

#[cfg(test)]
mod tests {
    use super::{FinishReason, Said, read, write};

    #[test]
    fn every_reason_has_its_word() {
        let rows = [
            (FinishReason::Stop, false, "end_turn"),
            (FinishReason::Stop, true, "tool_use"), // hard case 90
            (FinishReason::ToolCalls, true, "tool_use"),
            (FinishReason::Length, true, "max_tokens"),
            (FinishReason::StopSequence, false, "stop_sequence"),
            (FinishReason::ContextFull, false, "model_context_window_exceeded"),
            (FinishReason::ContentFilter, false, "refusal"), // hard case 231, the other way
            (FinishReason::Refusal, false, "refusal"),
            (FinishReason::Pause, false, "pause_turn"),
            (FinishReason::Malformed, false, "end_turn"),
            (FinishReason::Other, false, "end_turn"),
        ];
        for (reason, call, word) in rows {
            assert_eq!(write(reason, Said { call, refusal: false }), word, "{reason:?}");
        }
        let refused = |call| Said { call, refusal: true };
        assert_eq!(write(FinishReason::Stop, refused(false)), "refusal");
        assert_eq!(write(FinishReason::Stop, refused(true)), "tool_use");
        assert_eq!(write(FinishReason::Length, refused(false)), "max_tokens");
    }

    #[test]
    fn hard_case_231_refusals_are_filtered_content() {
        assert_eq!(read(Some("refusal"), None, false).reason, FinishReason::ContentFilter);
        assert_eq!(read(Some("end_turn"), None, true).reason, FinishReason::ToolCalls);
        assert_eq!(read(Some("max_tokens"), None, true).reason, FinishReason::Length);
        assert_eq!(read(Some("new_reason"), None, true).reason, FinishReason::Other);
        assert_eq!(read(None, None, false).reason, FinishReason::Other);
    }
}
