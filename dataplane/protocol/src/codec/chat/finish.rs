//! `finish_reason` (docs/protocols/finish-and-errors.md).

use crate::ir::FinishReason;

/// Reads the reason. `called` and `refused` say whether the answer holds a call or a refusal's words, which overrule a
/// plain `stop`.
pub fn decode(reason: &str, called: bool, refused: bool) -> FinishReason {
    match reason.to_ascii_lowercase().as_str() {
        "stop" | "" | "eos" | "eos_token" | "end_turn" | "end" | "complete" | "completed" | "stop_sequence"
        | "stop_token" => match (called, refused) {
            (true, _) => FinishReason::ToolCalls,
            (false, true) => FinishReason::Refusal,
            (false, false) => FinishReason::Stop,
        },
        "length" | "max_tokens" | "max_length" | "model_length" | "max_output_tokens" | "repetition_truncation" => {
            FinishReason::Length
        }
        "tool_calls" | "tool_call" | "tool_use" | "function_call" | "function_calls" => FinishReason::ToolCalls,
        "content_filter" | "content_filtered" | "safety" | "sensitive" | "prohibited_content" | "recitation" => {
            FinishReason::ContentFilter
        }
        "refusal" => FinishReason::Refusal,
        _ if called => FinishReason::ToolCalls,
        _ => FinishReason::Other,
    }
}

/// The reason that a member states. Servers that write their own types out without care send an empty text, or the word
/// `null`, with every chunk until the last.
pub fn stated(reason: &str) -> Option<&str> {
    Some(reason).filter(|reason| !matches!(*reason, "" | "null" | "None"))
}

/// Whether the server says by this word that it gave up on the answer: DeepSeek and Zhipu out of capacity, vLLM, SGLang
/// and OpenRouter after a failure or a cancellation. What has come until then is no complete answer.
pub fn broke_off(reason: &str) -> bool {
    const WORDS: [&str; 15] = [
        "abort",
        "aborted",
        "canceled",
        "cancelled",
        "engine_overloaded",
        "error",
        "failed",
        "insufficient_system_resource",
        "internal_error",
        "internal_server_error",
        "interrupted",
        "network_error",
        "overloaded",
        "server_error",
        "timeout",
    ];
    WORDS.iter().any(|word| reason.eq_ignore_ascii_case(word))
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
    use super::{broke_off, decode, encode, stated};
    use crate::ir::FinishReason;

    #[test]
    fn what_the_answer_holds_overrules_a_plain_stop() {
        assert_eq!(decode("stop", true, false), FinishReason::ToolCalls);
        assert_eq!(decode("stop", false, true), FinishReason::Refusal);
        assert_eq!(decode("length", true, false), FinishReason::Length, "a truncated call is not complete");
        assert_eq!(decode("new_reason", false, false), FinishReason::Other);
        assert_eq!(decode("new_reason", true, false), FinishReason::ToolCalls);
        let words = [
            ("eos", FinishReason::Stop),
            ("STOP", FinishReason::Stop),
            ("max_tokens", FinishReason::Length),
            ("model_length", FinishReason::Length),
            ("tool_use", FinishReason::ToolCalls),
            ("sensitive", FinishReason::ContentFilter),
        ];
        for (word, reason) in words {
            assert_eq!(decode(word, false, false), reason, "{word}");
        }
        for word in ["insufficient_system_resource", "ERROR", "abort", "cancelled", "timeout"] {
            assert!(broke_off(word), "{word}");
        }
        for word in ["stop", "length", "unknown", "content_filter", "new_reason"] {
            assert!(!broke_off(word), "{word}");
        }
        assert_eq!([stated(""), stated("null"), stated("stop")], [None, None, Some("stop")]);
        assert_eq!(encode(FinishReason::Refusal, true), "stop");
        assert_eq!(encode(FinishReason::Refusal, false), "content_filter");
    }
}
