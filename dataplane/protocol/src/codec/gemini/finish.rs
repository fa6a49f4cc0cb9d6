//! `finishReason` (docs/protocols/finish-and-errors.md). There is no reason for calls: an answer with calls ends with
//! `STOP`.

use crate::ir::FinishReason;

/// Reads the reason. `called` says whether the answer holds a call.
pub fn decode(reason: &str, called: bool) -> FinishReason {
    match reason.to_ascii_uppercase().as_str() {
        "STOP" | "" if called => FinishReason::ToolCalls,
        "STOP" | "" => FinishReason::Stop,
        "MAX_TOKENS" => FinishReason::Length,
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "LANGUAGE"
        | "MODEL_ARMOR"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION"
        | "IMAGE_OTHER"
        | "NO_IMAGE" => FinishReason::ContentFilter,
        "MALFORMED_FUNCTION_CALL"
        | "MALFORMED_RESPONSE"
        | "UNEXPECTED_TOOL_CALL"
        | "TOO_MANY_TOOL_CALLS"
        | "MISSING_THOUGHT_SIGNATURE" => FinishReason::Malformed,
        "CONTINUATION" => FinishReason::Pause,
        _ => FinishReason::Other,
    }
}

/// Writes the reason.
pub const fn encode(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::StopSequence | FinishReason::ToolCalls => "STOP",
        FinishReason::Length | FinishReason::ContextFull => "MAX_TOKENS",
        FinishReason::ContentFilter | FinishReason::Refusal => "SAFETY",
        // `CONTINUATION` would make Google's client resend with a token that nobody issued.
        FinishReason::Pause => "MAX_TOKENS",
        FinishReason::Malformed => "MALFORMED_FUNCTION_CALL",
        FinishReason::Other => "OTHER",
    }
}
