//! A failure in words that every dialect can say.

mod context_length;
pub mod render;
mod retry;
pub mod understand;

use std::borrow::Cow;

pub use render::{error_headers, render};
pub use retry::RetryHints;

/// What went wrong, independent of who says it and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The kind, which decides type words and, with `status`, the HTTP status.
    pub kind: ProblemKind,
    /// The HTTP status to show. For an upstream's failure: the one it sent.
    pub status: u16,
    /// For people. Never holds a secret or a prompt.
    pub message: Cow<'static, str>,
    /// The request field to blame, in the client's spelling.
    pub param: Option<Cow<'static, str>>,
    /// A vendor's machine-readable code, if it gave one.
    pub code: Option<String>,
    /// Milliseconds after which a retry makes sense.
    pub retry_after_ms: Option<u64>,
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    /// The request is not legal.
    InvalidRequest,
    /// No or wrong credentials.
    Authentication,
    /// Known, but not allowed.
    Permission,
    /// No such path or object.
    NotFound,
    /// No such model.
    ModelNotFound,
    /// The body is too large.
    TooLarge,
    /// The prompt does not fit the context window.
    ContextLength,
    /// Refused for safety reasons.
    ContentFiltered,
    /// Too many requests or tokens for now.
    RateLimited,
    /// The budget is used up.
    QuotaExceeded,
    /// Too busy.
    Overloaded,
    /// Took too long.
    Timeout,
    /// The upstream failed, or could not be reached.
    Upstream,
    /// The gateway failed.
    Internal,
}

impl Problem {
    /// A problem with its kind's usual status.
    pub fn new(kind: ProblemKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, status: kind.status(), message: message.into(), param: None, code: None, retry_after_ms: None }
    }

    /// With the field to blame.
    #[must_use]
    pub fn at(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.param = Some(param.into());
        self
    }
}

impl ProblemKind {
    /// The HTTP status that usually goes with it.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidRequest | Self::ContextLength | Self::ContentFiltered => 400,
            Self::Authentication => 401,
            Self::Permission => 403,
            Self::NotFound | Self::ModelNotFound => 404,
            Self::TooLarge => 413,
            Self::RateLimited | Self::QuotaExceeded => 429,
            Self::Internal => 500,
            Self::Upstream => 502,
            Self::Overloaded => 503,
            Self::Timeout => 504,
        }
    }
}
