//! Waiting for a connection.

use std::sync::Arc;

use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use super::{Host, PooledConnection};
use crate::upstream::SendError;

/// A request that waits for a connection. Dropping it gives up its turn.
pub(super) struct Waiting<'a> {
    host: &'a Arc<Host>,
    ticket: u64,
    offer: oneshot::Receiver<Result<PooledConnection, SendError>>,
    since: Instant,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(
        host: &'a Arc<Host>,
        ticket: u64,
        offer: oneshot::Receiver<Result<PooledConnection, SendError>>,
    ) -> Self {
        host.shared.metrics.waiting.inc();
        Self { host, ticket, offer, since: Instant::now() }
    }

    /// The connection. A host that does not connect says so itself; what is bounded here is the wait for a stream, which
    /// is extended once while connections are still being opened.
    pub(super) async fn await_offer(mut self) -> Result<PooledConnection, SendError> {
        let wait = self.host.shared.wait;
        for may_extend in [true, false] {
            match timeout(wait, &mut self.offer).await {
                Ok(Ok(offer)) => return offer,
                // Nothing drops an offer without a word while its host lives.
                Ok(Err(_)) => return Err(SendError::Connect("the connection was given up".to_owned())),
                Err(_) if may_extend && !self.host.state().is_saturated() => {}
                Err(_) => break,
            }
        }
        Err(SendError::Saturated(wait))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.host.update(|state| state.leave(self.ticket));
        let metrics = &self.host.shared.metrics;
        metrics.waiting.dec();
        metrics.wait.observe(self.since.elapsed().as_secs_f64());
    }
}
