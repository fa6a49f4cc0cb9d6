//! `finishReason` (docs/protocols/finish-and-errors.md). There is no reason for calls: an answer with calls ends with
//! `STOP`.

use crate::ir::FinishReason;

/// The reason that a member states; protobuf's default is none.
pub fn stated(reason: &str) -> Option<&str> {
    Some(reason).filter(|reason| !matches!(*reason, "" | "0" | "FINISH_REASON_UNSPECIFIED"))
}

/// Whether the model or its server gave up on the answer: for a reason that Google does not tell, or because the model
/// wrote a call that cannot be read. What has come until then is no complete answer, and clients that read it as one
/// stop in the middle of their work.
pub fn broke_off(reason: &str) -> bool {
    decode(reason, false) == FinishReason::Malformed || matches!(reason.to_ascii_uppercase().as_str(), "OTHER" | "5")
}

/// Reads the reason, also as the number that protobuf has for it. `called` says whether the answer holds a call.
pub fn decode(reason: &str, called: bool) -> FinishReason {
    match reason.to_ascii_uppercase().as_str() {
        "STOP" | "" | "1" if called => FinishReason::ToolCalls,
        "STOP" | "" | "1" => FinishReason::Stop,
        "MAX_TOKENS" | "2" => FinishReason::Length,
        "SAFETY"
        | "RECITATION"
        | "3"
        | "4"
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
