//! Why an answer ended, in Converse's words (docs/protocols/finish-and-errors.md).

use crate::{
    codec::messages,
    ir::{Finish, FinishReason},
};

/// Reads `stopReason`. A complete call outranks a plain end.
pub fn read(reason: Option<&str>, stop_sequence: Option<String>, has_call: bool) -> Finish {
    let reason = match reason.map(of) {
        None | Some(FinishReason::Stop) if has_call => FinishReason::ToolCalls,
        Some(reason) => reason,
        None => FinishReason::Other,
    };
    Finish { reason, stop_sequence }
}

/// What `stopReason` says. Claude's own words come through where Converse has none.
pub fn of(reason: &str) -> FinishReason {
    match reason {
        "guardrail_intervened" | "content_filtered" => FinishReason::ContentFilter,
        "malformed_model_output" | "malformed_tool_use" => FinishReason::Malformed,
        other => messages::finish_reason(other),
    }
}

/// `stopReason` for a client. A call outranks a plain end; a truncated call does not.
pub const fn write(reason: FinishReason, has_call: bool) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::Other if has_call => "tool_use",
        FinishReason::Malformed if has_call => "malformed_tool_use",
        FinishReason::ToolCalls => "tool_use",
        FinishReason::Stop | FinishReason::Other => "end_turn",
        FinishReason::StopSequence => "stop_sequence",
        // The turn goes on in another request, as one that was cut does.
        FinishReason::Length | FinishReason::Pause => "max_tokens",
        FinishReason::ContextFull => "model_context_window_exceeded",
        FinishReason::ContentFilter | FinishReason::Refusal => "content_filtered",
        FinishReason::Malformed => "malformed_model_output",
    }
}

#[cfg(test)]
mod tests {
    use super::{FinishReason, of, read, write};

    #[test]
    fn words_come_back_as_they_went() {
        for word in [
            "end_turn",
            "tool_use",
            "max_tokens",
            "stop_sequence",
            "content_filtered",
            "malformed_model_output",
            "model_context_window_exceeded",
        ] {
            assert_eq!(write(of(word), false), word);
        }
        assert_eq!(of("guardrail_intervened"), FinishReason::ContentFilter);
        assert_eq!(write(of("malformed_tool_use"), true), "malformed_tool_use");
        assert_eq!(of("new_reason"), FinishReason::Other);
    }

    #[test]
    fn a_call_outranks_a_plain_end_and_nothing_else() {
        assert_eq!(read(Some("end_turn"), None, true).reason, FinishReason::ToolCalls);
        assert_eq!(read(Some("max_tokens"), None, true).reason, FinishReason::Length);
        assert_eq!(read(None, None, false).reason, FinishReason::Other);
        assert_eq!(write(FinishReason::Stop, true), "tool_use");
        assert_eq!(write(FinishReason::Length, true), "max_tokens");
    }
}
