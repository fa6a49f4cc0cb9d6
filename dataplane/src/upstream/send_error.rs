//! Why no answer came from an upstream, and what that says of the request.

use std::{error::Error, time::Duration};

use super::{connect::ConnectTimeout, metrics::Metrics, payload::Stale};

/// No answer came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No connection: nothing was sent, so another upstream may be tried freely.
    #[error("could not connect: {0}")]
    Connect(String),
    /// No connection in time: nothing was sent.
    #[error("{0}")]
    ConnectTimeout(ConnectTimeout),
    /// All HTTP/2 streams that the server allows were in use for so long: nothing was sent.
    #[error("no free HTTP/2 stream within {} ms: the server limits how many it serves at once", .0.as_millis())]
    Saturated(Duration),
    /// The server refused the stream unprocessed.
    #[error("the server refused the HTTP/2 stream (REFUSED_STREAM)")]
    Refused,
    /// The request was not sent, or the server ended the connection and said that it had not processed it (GOAWAY).
    #[error("connection closed before the request was processed: {0}")]
    Unprocessed(String),
    /// A kept connection was closed under the request, which the upstream most likely never saw.
    #[error("connection closed before the request was processed: {0}")]
    Stale(String),
    /// This process has no file descriptor for a connection: nothing was sent.
    #[error("the gateway has no file descriptors left for a connection")]
    Descriptors,
    /// The connection broke before the answer's head: the upstream may have begun to work.
    #[error("connection closed before an answer: {0}")]
    Closed(String),
    /// Nothing proves to the upstream that we may call it: nothing was sent.
    #[error(transparent)]
    Unauthorized(#[from] Stale),
    /// The request could not be formed, such as a model id that no URL can carry.
    #[error("request could not be formed: {0}")]
    Invalid(String),
}

/// How the h2 crate words its `UserError::HeaderTooBig`, which it does not export.
const H2_HEADERS_TOO_BIG: &str = "header too big";

// === impl SendError ===

impl SendError {
    /// Whether the upstream never saw the request, as far as can be told, so that it can be sent once more.
    pub fn is_unseen(&self) -> bool {
        matches!(self, Self::Stale(_)) || self.is_unprocessed()
    }

    /// Whether that is certain: it was not sent, or the server says so.
    pub fn is_unprocessed(&self) -> bool {
        matches!(self, Self::Refused | Self::Unprocessed(_))
    }
}

/// Why there is no connection.
pub(super) fn connect_error(error: &(dyn Error + 'static), metrics: &Metrics) -> SendError {
    let mut cause = Some(error);
    let mut deepest = error.to_string();
    while let Some(current) = cause {
        if let Some(timeout) = current.downcast_ref::<ConnectTimeout>() {
            return SendError::ConnectTimeout(timeout.clone());
        }
        deepest = current.to_string();
        cause = current.source();
    }
    // Asked of the system instead of the error: a name lookup that cannot open its socket may say that there is no such
    // name.
    if metrics.descriptors.are_exhausted("connect") { SendError::Descriptors } else { SendError::Connect(deepest) }
}

/// Why no answer came on a connection.
pub(super) fn answer_error(error: &hyper::Error) -> SendError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    let mut deepest = error.to_string();
    while let Some(current) = cause {
        deepest = current.to_string();
        cause = current.source();
    }
    // Larger than an HTTP/2 peer allows, so that h2 did not send them.
    if deepest.ends_with(H2_HEADERS_TOO_BIG) { SendError::Invalid(deepest) } else { SendError::Closed(deepest) }
}
