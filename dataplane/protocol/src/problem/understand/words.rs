//! The words of vendors, and what each means.

use crate::problem::ProblemKind;

/// What vendors say when a prompt is too long and have no word for it.
pub(super) const CONTEXT_LENGTH: &[&str] = &[
    "context length",
    "context window",
    "context limit",
    "prompt is too long",
    "input is too long",
    "exceeds the maximum number of tokens",
    "maximum allowed number of input tokens",
    "too many input tokens",
    // xAI, Moonshot, Qwen, llama.cpp, Zhipu and TGI.
    "maximum prompt length",
    "exceeded model token limit",
    "range of input length",
    "available context size",
    "prompt exceeds max length",
    "`max_new_tokens` must be",
];

/// What vendors say of a model that they do not have and have no word for it.
pub(super) const INVALID_MODEL: &[&str] = &[
    "invalid model",
    "unknown model",
    "not a valid model",
    "model identifier is invalid",
    "model id is not valid",
    // Bedrock's, of a model that it does not have in this way.
    "doesn't support the model that you provided",
    "isn't supported on this route",
    "does not support the '/v1/",
];

/// What vendors say when they refuse content and have no word for it.
pub(super) const CONTENT_FILTERED: &[&str] =
    &["content management policy", "content filtering policy", "violates our usage polic", "safety system"];

/// Whether a message, in small letters, has one of these phrases.
pub(super) fn says(message: &str, phrases: &[&str]) -> bool {
    phrases.iter().any(|phrase| message.contains(phrase))
}

/// Words that mean the same with every status.
pub(super) fn kind_of(word: &str) -> Option<ProblemKind> {
    Some(match word {
        "context_length_exceeded" | "model_context_window_exceeded" | "exceed_context_size_error" => {
            ProblemKind::ContextLength
        }
        "content_filter"
        | "content_policy_violation"
        | "moderation_blocked"
        | "ResponsibleAIPolicyViolation"
        | "PROHIBITED_CONTENT" => ProblemKind::ContentFiltered,
        "model_not_found" | "DeploymentNotFound" | "model_not_supported" => ProblemKind::ModelNotFound,
        "insufficient_quota"
        | "billing_error"
        | "billing_hard_limit_reached"
        | "usage_not_included"
        | "BILLING_DISABLED" => ProblemKind::QuotaExceeded,
        "overloaded_error" | "overloaded" | "server_is_overloaded" | "engine_overloaded" | "slow_down" => {
            ProblemKind::Overloaded
        }
        "rate_limit_error" | "rate_limit_exceeded" | "rate_limit_reached" => ProblemKind::RateLimited,
        "invalid_api_key" | "authentication_error" | "API_KEY_INVALID" | "UNAUTHENTICATED" => {
            ProblemKind::Authentication
        }
        "permission_error" | "PERMISSION_DENIED" => ProblemKind::Permission,
        "request_too_large" => ProblemKind::TooLarge,
        "timeout_error" | "DEADLINE_EXCEEDED" => ProblemKind::Timeout,
        // Amazon's exceptions; in streams they begin with a small letter.
        "ThrottlingException" | "throttlingException" | "TooManyRequestsException" => ProblemKind::RateLimited,
        "ModelNotReadyException" | "ServiceUnavailableException" | "serviceUnavailableException" => {
            ProblemKind::Overloaded
        }
        "ServiceQuotaExceededException" => ProblemKind::QuotaExceeded,
        "AccessDeniedException" => ProblemKind::Permission,
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "IncompleteSignatureException"
        | "InvalidClientTokenId"
        | "MissingAuthenticationTokenException"
        | "ExpiredTokenException" => ProblemKind::Authentication,
        "ResourceNotFoundException" => ProblemKind::ModelNotFound,
        "ModelTimeoutException" | "modelTimeoutException" => ProblemKind::Timeout,
        "InternalServerException" | "internalServerException" | "UnknownOperationException" => ProblemKind::Upstream,
        // Google's daily quotas do not come back in a minute.
        word if word.contains("PerDay") => ProblemKind::QuotaExceeded,
        _ => return None,
    })
}

/// The status that goes with a word, for errors that come without one.
pub(super) fn status_of(word: &str) -> Option<u16> {
    Some(match word {
        "overloaded_error" => 529,
        "invalid_request_error"
        | "INVALID_ARGUMENT"
        | "FAILED_PRECONDITION"
        | "invalid_prompt"
        | "ValidationException"
        | "validationException" => 400,
        "not_found_error" | "NOT_FOUND" => 404,
        "conflict_error" | "ABORTED" | "ALREADY_EXISTS" => 409,
        "RESOURCE_EXHAUSTED" => 429,
        "api_error"
        | "server_error"
        | "internal_server_error"
        | "INTERNAL"
        | "InternalServerException"
        | "internalServerException" => 500,
        "AccessDeniedException" => 403,
        "UNIMPLEMENTED" => 501,
        "UNAVAILABLE" => 503,
        word => kind_of(word)?.status(),
    })
}

/// What a status means by itself.
pub(super) const fn by_status(status: u16) -> ProblemKind {
    match status {
        401 => ProblemKind::Authentication,
        402 => ProblemKind::QuotaExceeded,
        403 => ProblemKind::Permission,
        404 | 405 | 410 => ProblemKind::NotFound,
        408 | 504 => ProblemKind::Timeout,
        413 => ProblemKind::TooLarge,
        429 => ProblemKind::RateLimited,
        503 | 529 => ProblemKind::Overloaded,
        400..=499 => ProblemKind::InvalidRequest,
        _ => ProblemKind::Upstream,
    }
}
