//! Answers of the Echo upstream.

use bytes::Bytes;
use serde_json::Value;

/// An answer of the Echo upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EchoAnswer {
    /// HTTP status.
    pub status: u16,
    /// Content type.
    pub content_type: &'static str,
    /// The body, one piece per event where it is a stream.
    pub chunks: Vec<Bytes>,
}

/// When every answer was made: seconds since 1970 of the first moment of 2026.
pub(super) const CREATED: i64 = 1_767_225_600;

/// The content type of whole answers.
pub(super) const JSON: &str = "application/json";

/// A document.
#[expect(clippy::needless_pass_by_value, reason = "the value ends here")]
pub(super) fn whole(body: Value) -> EchoAnswer {
    EchoAnswer { status: 200, content_type: JSON, chunks: vec![body.to_string().into()] }
}
