//! Calls to the API server, and their errors.

use std::time::Duration;

use tokio::time;

/// How long the API server may take for one call, admission webhooks included, which may take 10 s by default.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a token could not be reconciled. It is retried.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The API server refused a call or could not be reached; what was called.
    #[error("{0}: {1}")]
    Api(&'static str, Box<kube::Error>),
    /// A call took longer than its timeout; what was called.
    #[error("{0}: timed out waiting for the API server")]
    TimedOut(&'static str),
    /// The operating system provides no randomness.
    #[error("the operating system provides no randomness: {0}")]
    NoRandomness(getrandom::Error),
}

// === impl TokenError ===

impl TokenError {
    /// Whether somebody else wrote first.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Api(_, error) if matches!(&**error, kube::Error::Api(status) if status.is_conflict()))
    }
}

/// Calls the API server, with a timeout. `what` names the purpose, as in "creating the Secret".
///
/// # Errors
/// When the call fails or times out.
pub async fn call<T>(what: &'static str, call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, TokenError> {
    match time::timeout(REQUEST_TIMEOUT, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(TokenError::Api(what, Box::new(error))),
        Err(_) => Err(TokenError::TimedOut(what)),
    }
}
