//! Error responses in each dialect: what a request that breaks the rules gets, and what a failing script sends.

use super::ask::Dialect;
use serde_json::{Value, json};

/// A request that is refused, with the dialect's status and words.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: u16,
    pub message: String,
    /// The member at fault (OpenAI's `param`).
    pub param: Option<String>,
}

impl Refusal {
    /// 400.
    pub fn invalid(param: impl Into<String>, message: impl std::fmt::Display) -> Self {
        let param = param.into();
        let message = if param.is_empty() { message.to_string() } else { format!("{param}: {message}") };
        Self { status: 400, message, param: Some(param) }
    }

    pub fn of(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None }
    }

    /// The error document.
    pub fn body(&self, dialect: Dialect, request_id: &str) -> Value {
        let message = &self.message;
        match dialect {
            Dialect::Chat | Dialect::Responses => {
                let (kind, code) = openai(self.status);
                json!({"error": {"message": message, "type": kind, "param": self.param, "code": code}})
            }
            Dialect::Anthropic => {
                let error = json!({"type": anthropic(self.status), "message": message});
                json!({"type": "error", "error": error, "request_id": request_id})
            }
            Dialect::Gemini => {
                json!({"error": {"code": self.status, "message": message, "status": gemini(self.status)}})
            }
        }
    }
}

/// The words of a scripted failure.
pub(super) fn scripted(status: u16) -> Refusal {
    let message = match status {
        401 => "Incorrect API key provided.",
        403 => "You are not allowed to use this.",
        404 => "The model does not exist or you do not have access to it.",
        429 => "Rate limit reached. Please try again later.",
        503 | 529 => "Overloaded",
        500.. => "The server had an error while processing your request.",
        _ => "The request was refused by the script.",
    };
    Refusal::of(status, message)
}

fn openai(status: u16) -> (&'static str, Option<&'static str>) {
    match status {
        401 => ("authentication_error", Some("invalid_api_key")),
        403 => ("permission_error", None),
        404 => ("not_found_error", Some("model_not_found")),
        429 => ("rate_limit_error", Some("rate_limit_exceeded")),
        503 | 529 => ("server_error", Some("overloaded")),
        500.. => ("server_error", None),
        _ => ("invalid_request_error", None),
    }
}

fn anthropic(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

fn gemini(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        501 => "UNIMPLEMENTED",
        503 | 529 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    }
}
