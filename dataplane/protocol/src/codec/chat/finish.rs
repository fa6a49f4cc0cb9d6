//! `finish_reason` (protocols 2.5).

use crate::ir::FinishReason;

/// Reads the reason. `called` and `refused` say whether the answer holds a call or a refusal's words, which overrule a
/// plain `stop`.
pub fn decode(reason: &str, called: bool, refused: bool) -> FinishReason {
    match reason {
        "stop" | "eos" | "end_turn" | "" if called => FinishReason::ToolCalls,
        "stop" | "eos" | "end_turn" | "" if refused => FinishReason::Refusal,
        "stop" | "eos" | "end_turn" | "" => FinishReason::Stop,
        "length" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "content_filter" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}

/// Writes the reason. `refused` says whether the refusal's words are in the answer.
pub const fn encode(reason: FinishReason, refused: bool) -> &'static str {
    match reason {
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::Length | FinishReason::ContextFull | FinishReason::Pause => "length",
        FinishReason::ContentFilter => "content_filter",
        FinishReason::Refusal if !refused => "content_filter",
        FinishReason::Stop
        | FinishReason::StopSequence
        | FinishReason::Refusal
        | FinishReason::Malformed
        | FinishReason::Other => "stop",
    }
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};
    use crate::ir::FinishReason;

    #[test]
    fn what_the_answer_holds_overrules_a_plain_stop() {
        assert_eq!(decode("stop", true, false), FinishReason::ToolCalls);
        assert_eq!(decode("stop", false, true), FinishReason::Refusal);
        assert_eq!(decode("length", true, false), FinishReason::Length, "a truncated call is not complete");
        assert_eq!(decode("new_reason", false, false), FinishReason::Other);
        assert_eq!(encode(FinishReason::Refusal, true), "stop");
        assert_eq!(encode(FinishReason::Refusal, false), "content_filter");
    }
}
