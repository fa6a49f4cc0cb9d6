//! A problem as an error body of each family (docs/protocols/finish-and-errors.md).
//!
//! Only words that the family itself uses come out: an Anthropic client must never see an OpenAI type. The order of
//! members is the vendors', because Google's clients look at the first one.

use std::borrow::Cow;

use super::{Problem, ProblemKind, context_length};
use crate::{dialect::Family, wire::event_stream};

/// The status in that dialect, and the body. `request_id` goes where the dialect has room for one.
pub fn render(family: Family, problem: &Problem, request_id: &str) -> (u16, Vec<u8>) {
    let status = status(family, problem);
    let body = match family {
        Family::OpenAi => format!("{{\"error\":{}}}", openai_error(problem)),
        Family::Anthropic => {
            format!("{{\"type\":\"error\",\"error\":{},\"request_id\":{}}}", anthropic_error(problem), text(request_id))
        }
        Family::Gemini => format!("{{\"error\":{}}}", gemini_error(problem)),
        Family::Bedrock => bedrock_error(problem),
    };
    (status, body.into_bytes())
}

/// The HTTP status that a client of this family expects for the problem.
pub fn status(family: Family, problem: &Problem) -> u16 {
    match (family, problem.kind, problem.status) {
        (Family::Anthropic, ProblemKind::Overloaded, _) => 529,
        // 529 is Anthropic's alone.
        (_, ProblemKind::Overloaded, _) | (_, _, 529) => 503,
        // Amazon's SDKs know an error by its type, and each type has one status.
        (Family::Bedrock, ProblemKind::Authentication | ProblemKind::Permission, _) => 403,
        (Family::Bedrock, ProblemKind::Timeout, _) => 408,
        // Upstreams answer context overflow with 400 or 413, and wrong models with 400 or 404: theirs stands.
        (_, _, status) if (400..600).contains(&status) => status,
        (_, kind, _) => kind.status(),
    }
}

/// OpenAI's error object, without its envelope.
pub(crate) fn openai_error(problem: &Problem) -> String {
    let (kind, code) = openai_words(problem);
    let code = problem.code.as_deref().filter(|_| keeps_code(problem.kind)).or(code);
    format!(
        "{{\"message\":{},\"type\":{},\"param\":{},\"code\":{}}}",
        text(&problem.message),
        text(kind),
        maybe(problem.param.as_deref()),
        maybe(code)
    )
}

/// The code for an OpenAI Responses stream's `response.failed`, of those that Codex knows
/// (docs/protocols/responses.md).
pub(crate) fn responses_code(problem: &Problem) -> &str {
    match problem.kind {
        ProblemKind::ContextLength => "context_length_exceeded",
        ProblemKind::QuotaExceeded => "insufficient_quota",
        ProblemKind::RateLimited => "rate_limit_exceeded",
        ProblemKind::Overloaded => "server_is_overloaded",
        ProblemKind::InvalidRequest => "invalid_prompt",
        _ => "server_error",
    }
}

/// Anthropic's error object, without its envelope.
///
/// A request that continues a message thread is refused in the words that make the SDK send the whole history instead
/// (hard case 280); only a Messages request has a member `thread`.
pub(crate) fn anthropic_error(problem: &Problem) -> String {
    let message = match &problem.param {
        _ if problem.kind == ProblemKind::ContextLength => context_length::anthropic(&problem.message),
        Some(param) if !problem.message.contains(param.as_ref()) => format!("{param}: {}", problem.message),
        _ => problem.message.to_string(),
    };
    let details = match problem.param.as_deref() {
        Some("thread") => r#","details":{"error_code":"thread_unsupported_request","unsupported":["thread"]}"#,
        _ => "",
    };
    format!("{{\"type\":{},\"message\":{}{details}}}", text(anthropic_type(problem)), text(&message))
}

/// Google's error object, without its envelope. The code is a number and comes first.
pub(crate) fn gemini_error(problem: &Problem) -> String {
    let code = status(Family::Gemini, problem);
    let message = match problem.kind {
        ProblemKind::ContextLength => context_length::gemini(&problem.message),
        _ => problem.message.to_string(),
    };
    let mut details = String::new();
    if let Some(ms) = problem.retry_after_ms {
        let (seconds, rest) = (ms / 1000, ms % 1000);
        let fraction = if rest == 0 { String::new() } else { format!(".{rest:03}") };
        details = format!(
            ",\"details\":[{{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":\"{seconds}{fraction}s\"}}]"
        );
    }
    format!(
        "{{\"code\":{code},\"message\":{},\"status\":{}{details}}}",
        text(&message),
        text(gemini_status(problem, code))
    )
}

/// Amazon's error object. Its type stands in a header, [`error_headers`].
pub(crate) fn bedrock_error(problem: &Problem) -> String {
    format!("{{\"message\":{}}}", text(&bedrock_message(problem)))
}

fn bedrock_message(problem: &Problem) -> Cow<'_, str> {
    match &problem.param {
        _ if problem.kind == ProblemKind::ContextLength => context_length::bedrock(&problem.message),
        Some(param) if !problem.message.contains(param.as_ref()) => format!("{param}: {}", problem.message).into(),
        _ => Cow::Borrowed(problem.message.as_ref()),
    }
}

/// Headers without which an error of this family's is not understood.
pub fn error_headers(family: Family, problem: &Problem) -> Option<(&'static str, &'static str)> {
    match family {
        Family::Bedrock => Some(("x-amzn-errortype", bedrock_type(problem))),
        Family::OpenAi | Family::Anthropic | Family::Gemini => None,
    }
}

/// An exception of Converse's service model.
const fn bedrock_type(problem: &Problem) -> &'static str {
    match problem.kind {
        ProblemKind::InvalidRequest
        | ProblemKind::ContextLength
        | ProblemKind::ContentFiltered
        | ProblemKind::TooLarge => "ValidationException",
        ProblemKind::Authentication | ProblemKind::Permission => "AccessDeniedException",
        ProblemKind::NotFound | ProblemKind::ModelNotFound => "ResourceNotFoundException",
        ProblemKind::RateLimited => "ThrottlingException",
        ProblemKind::QuotaExceeded => "ServiceQuotaExceededException",
        ProblemKind::Overloaded => "ServiceUnavailableException",
        ProblemKind::Timeout => "ModelTimeoutException",
        ProblemKind::Upstream | ProblemKind::Internal => "InternalServerException",
    }
}

/// A problem as the last frame of an event stream: an exception that the stream's model names, or an error with a code.
pub(crate) fn bedrock_event(problem: &Problem, out: &mut Vec<u8>) {
    let named = match problem.kind {
        ProblemKind::InvalidRequest
        | ProblemKind::ContextLength
        | ProblemKind::ContentFiltered
        | ProblemKind::TooLarge => "validationException",
        ProblemKind::RateLimited => "throttlingException",
        ProblemKind::Overloaded => "serviceUnavailableException",
        ProblemKind::Upstream => "modelStreamErrorException",
        ProblemKind::Internal => "internalServerException",
        ProblemKind::Authentication
        | ProblemKind::Permission
        | ProblemKind::NotFound
        | ProblemKind::ModelNotFound
        | ProblemKind::QuotaExceeded
        | ProblemKind::Timeout => {
            return event_stream::write_error(out, bedrock_type(problem), &bedrock_message(problem));
        }
    };
    event_stream::write_exception(out, named, bedrock_error(problem).as_bytes());
}

/// Type and code in OpenAI's words.
fn openai_words(problem: &Problem) -> (&'static str, Option<&'static str>) {
    match problem.kind {
        ProblemKind::InvalidRequest => ("invalid_request_error", None),
        ProblemKind::ContextLength => ("invalid_request_error", Some("context_length_exceeded")),
        ProblemKind::ContentFiltered => ("invalid_request_error", Some("content_policy_violation")),
        ProblemKind::TooLarge => ("invalid_request_error", Some("request_too_large")),
        ProblemKind::Authentication => ("authentication_error", Some("invalid_api_key")),
        ProblemKind::Permission => ("permission_error", None),
        ProblemKind::NotFound => ("not_found_error", None),
        ProblemKind::ModelNotFound => ("not_found_error", Some("model_not_found")),
        ProblemKind::RateLimited => ("rate_limit_error", Some("rate_limit_exceeded")),
        ProblemKind::QuotaExceeded => ("insufficient_quota", Some("insufficient_quota")),
        ProblemKind::Overloaded => ("server_error", Some("overloaded")),
        ProblemKind::Timeout => ("timeout_error", None),
        ProblemKind::Upstream | ProblemKind::Internal => ("server_error", None),
    }
}

/// Where the vendor's own code tells a client more than ours would.
const fn keeps_code(kind: ProblemKind) -> bool {
    matches!(
        kind,
        ProblemKind::InvalidRequest | ProblemKind::Permission | ProblemKind::NotFound | ProblemKind::Upstream
    )
}

/// A type of Anthropic's list.
fn anthropic_type(problem: &Problem) -> &'static str {
    match problem.kind {
        ProblemKind::InvalidRequest | ProblemKind::ContextLength | ProblemKind::ContentFiltered => {
            if problem.status == 409 { "conflict_error" } else { "invalid_request_error" }
        }
        ProblemKind::TooLarge => "request_too_large",
        ProblemKind::Authentication => "authentication_error",
        ProblemKind::Permission => "permission_error",
        ProblemKind::NotFound | ProblemKind::ModelNotFound => "not_found_error",
        ProblemKind::QuotaExceeded if problem.status == 402 => "billing_error",
        ProblemKind::RateLimited | ProblemKind::QuotaExceeded => "rate_limit_error",
        ProblemKind::Overloaded => "overloaded_error",
        ProblemKind::Timeout => "timeout_error",
        ProblemKind::Upstream | ProblemKind::Internal => "api_error",
    }
}

/// A word of `google.rpc.Code` that goes with kind and status.
fn gemini_status(problem: &Problem, code: u16) -> &'static str {
    match problem.kind {
        ProblemKind::InvalidRequest | ProblemKind::ContextLength | ProblemKind::TooLarge => match code {
            409 => "ABORTED",
            501 => "UNIMPLEMENTED",
            _ => "INVALID_ARGUMENT",
        },
        ProblemKind::ContentFiltered => "FAILED_PRECONDITION",
        ProblemKind::Authentication => "UNAUTHENTICATED",
        ProblemKind::Permission => "PERMISSION_DENIED",
        ProblemKind::NotFound | ProblemKind::ModelNotFound => "NOT_FOUND",
        ProblemKind::RateLimited | ProblemKind::QuotaExceeded => "RESOURCE_EXHAUSTED",
        ProblemKind::Overloaded => "UNAVAILABLE",
        ProblemKind::Timeout => "DEADLINE_EXCEEDED",
        ProblemKind::Upstream | ProblemKind::Internal if code == 500 => "INTERNAL",
        ProblemKind::Upstream | ProblemKind::Internal => "UNAVAILABLE",
    }
}

fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn maybe(value: Option<&str>) -> String {
    value.map_or_else(|| "null".to_owned(), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(family: Family, problem: &Problem) -> (u16, String) {
        let (status, body) = render(family, problem, "req_1");
        (status, String::from_utf8(body).expect("UTF-8"))
    }

    #[test]
    fn hard_case_280_a_thread_is_refused_in_the_words_of_the_sdk() {
        let problem = Problem::new(ProblemKind::InvalidRequest, "not here").at("thread");
        let (status, body) = render(Family::Anthropic, &problem, "r");
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let details = serde_json::json!({"error_code": "thread_unsupported_request", "unsupported": ["thread"]});
        assert_eq!((status, &body["error"]["details"]), (400, &details));
        assert_eq!(body["error"]["type"], "invalid_request_error");
    }

    #[test]
    fn each_family_gets_its_own_shape_and_words() {
        let problem = Problem::new(ProblemKind::ModelNotFound, "no model \"x\"").at("model");
        assert_eq!(
            shown(Family::OpenAi, &problem),
            (404, r#"{"error":{"message":"no model \"x\"","type":"not_found_error","param":"model","code":"model_not_found"}}"#.into())
        );
        assert_eq!(
            shown(Family::Anthropic, &problem),
            (404, r#"{"type":"error","error":{"type":"not_found_error","message":"no model \"x\""},"request_id":"req_1"}"#.into())
        );
        assert_eq!(
            shown(Family::Gemini, &problem),
            (404, r#"{"error":{"code":404,"message":"no model \"x\"","status":"NOT_FOUND"}}"#.into())
        );
    }

    #[test]
    fn amazons_sdks_find_an_exception_of_their_model_and_its_status() {
        let rows = [
            (ProblemKind::InvalidRequest, 400, "ValidationException", "m"),
            (ProblemKind::ContextLength, 400, "ValidationException", "Input is too long for requested model. m"),
            (ProblemKind::Authentication, 403, "AccessDeniedException", "m"),
            (ProblemKind::Permission, 403, "AccessDeniedException", "m"),
            (ProblemKind::ModelNotFound, 404, "ResourceNotFoundException", "m"),
            (ProblemKind::RateLimited, 429, "ThrottlingException", "m"),
            (ProblemKind::Overloaded, 503, "ServiceUnavailableException", "m"),
            (ProblemKind::Timeout, 408, "ModelTimeoutException", "m"),
            (ProblemKind::Internal, 500, "InternalServerException", "m"),
        ];
        for (kind, status, name, message) in rows {
            let problem = Problem::new(kind, "m");
            let body = serde_json::json!({ "message": message }).to_string();
            assert_eq!(shown(Family::Bedrock, &problem), (status, body), "{kind:?}");
            assert_eq!(error_headers(Family::Bedrock, &problem), Some(("x-amzn-errortype", name)));
        }
    }

    #[test]
    fn overload_is_529_for_anthropic_alone() {
        let problem = Problem { status: 529, ..Problem::new(ProblemKind::Overloaded, "busy") };
        let seen =
            [Family::OpenAi, Family::Anthropic, Family::Gemini, Family::Bedrock].map(|family| status(family, &problem));
        assert_eq!(seen, [503, 529, 503, 503]);
    }

    #[test]
    fn every_kind_is_legal_everywhere() {
        use ProblemKind::*;
        let kinds = [
            InvalidRequest,
            Authentication,
            Permission,
            NotFound,
            ModelNotFound,
            TooLarge,
            ContextLength,
            ContentFiltered,
            RateLimited,
            QuotaExceeded,
            Overloaded,
            Timeout,
            Upstream,
            Internal,
        ];
        let anthropic = [
            "invalid_request_error",
            "authentication_error",
            "permission_error",
            "not_found_error",
            "request_too_large",
            "rate_limit_error",
            "api_error",
            "timeout_error",
            "overloaded_error",
        ];
        for kind in kinds {
            let mut problem = Problem::new(kind, "m");
            problem.code = Some("RESOURCE_EXHAUSTED".into());
            problem.retry_after_ms = Some(1_500);
            assert!(anthropic.contains(&anthropic_type(&problem)), "{kind:?}");
            let (status, body) = render(Family::Bedrock, &problem, "r");
            let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            assert!((400..600).contains(&status) && body["message"].as_str().unwrap().ends_with('m'));
            assert!(error_headers(Family::Bedrock, &problem).unwrap().1.ends_with("Exception"));
            for family in [Family::OpenAi, Family::Anthropic, Family::Gemini] {
                assert_eq!(error_headers(family, &problem), None);
                let (status, body) = render(family, &problem, "r");
                let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
                assert!((400..600).contains(&status));
                assert!(body["error"]["message"].as_str().unwrap().ends_with('m'));
            }
        }
    }
}
