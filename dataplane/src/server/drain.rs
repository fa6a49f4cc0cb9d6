//! Ending well: three signals, raised in this order and never taken back.
//!
//! 1. *draining*: not ready any more; new requests are still answered, since load balancers take a while to notice.
//! 2. *closing*: no new connections; idle ones are closed, HTTP/2 peers get GOAWAY, answers say `Connection: close`.
//! 3. *expired*: the deadline; a stream that still runs ends now with its dialect's terminal error and a record.
//!
//! Only carries the signals. Whoever raises them decides how long each stage lasts.

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture, WaitForCancellationFutureOwned};

/// How far the end of this process has come. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    draining: CancellationToken,
    closing: CancellationToken,
    expired: CancellationToken,
}

impl Drain {
    /// A process that is not ending.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stage 1.
    pub fn start(&self) {
        self.draining.cancel();
    }

    /// Stage 2, with stage 1 if it was left out.
    pub fn close(&self) {
        self.draining.cancel();
        self.closing.cancel();
    }

    /// Stage 3, with those before it if they were left out.
    pub fn expire(&self) {
        self.close();
        self.expired.cancel();
    }

    /// Whether the end has begun: then this process is not ready.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Whether connections shall not be used again: then answers carry `Connection: close`.
    pub fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Whether the deadline has passed.
    pub fn is_expired(&self) -> bool {
        self.expired.is_cancelled()
    }

    /// Resolves when the end begins.
    pub fn draining(&self) -> WaitForCancellationFuture<'_> {
        self.draining.cancelled()
    }

    /// Resolves when connections shall be given up.
    pub fn closing(&self) -> WaitForCancellationFuture<'_> {
        self.closing.cancelled()
    }

    /// Resolves at the deadline.
    pub fn expired(&self) -> WaitForCancellationFuture<'_> {
        self.expired.cancelled()
    }

    /// Resolves at the deadline; for response bodies, which keep it.
    pub fn expired_owned(&self) -> WaitForCancellationFutureOwned {
        self.expired.clone().cancelled_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn drain_stages_include_earlier_ones_and_clones_share_them() {
        let drain = Drain::new();
        let seen = drain.clone();
        assert!(!seen.is_draining());
        drain.start();
        assert!(seen.is_draining() && !seen.is_closing());
        drain.expire();
        assert!(seen.is_closing() && seen.is_expired());
        seen.expired_owned().await;
    }
}
