//! Why a session ended.

use super::super::lines::{ReadError, SendError};

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionEnd {
    /// The pod closed the stream.
    #[error("the pod closed the stream")]
    Closed,
    /// The operator is shutting down.
    #[error("the operator is shutting down")]
    Shutdown,
    /// The API server no longer confirms the pod's token.
    #[error("the pod's token has expired or was revoked")]
    TokenRevoked,
    /// A newer stream of the same pod opened.
    #[error("the pod opened a newer stream")]
    Superseded,
    /// The pod sent nothing for too long.
    #[error("timed out waiting for the pod")]
    TimedOut,
    /// The pod violated the protocol; how.
    #[error("protocol violation: {0}")]
    Protocol(String),
    /// A line could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A line could not be sent.
    #[error(transparent)]
    Send(#[from] SendError),
}
