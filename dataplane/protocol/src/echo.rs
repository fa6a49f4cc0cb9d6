//! The Echo upstream.

use bytes::Bytes;

use crate::dialect::{Framing, Surface};

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

/// Answers a request. `path` is the one that [`crate::call::Prepared`] holds.
pub fn answer(_surface: Surface, _framing: Framing, _path: &str, _body: &[u8]) -> EchoAnswer {
    EchoAnswer {
        status: 200,
        content_type: "application/json",
        chunks: Vec::new(),
    }
}
