//! `finish_reason` (protocols 2.5).

use crate::ir::FinishReason;

/// Reads the reason. `called` says whether the answer holds a call, which overrules a plain `stop`.
pub fn decode(reason: &str, called: bool) -> FinishReason {
    match reason {
        "stop" | "eos" | "end_turn" | "" if called => FinishReason::ToolCalls,
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
