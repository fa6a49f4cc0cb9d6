//! Sends to a limit store what requests have used, for those that cannot wait for it.
//!
//! **A full queue loses nothing**: a reservation takes its slot in the queue before the store is asked, so that settling
//! always finds room. When all slots are taken, because the store has accepted nothing for a long time, the next *request*
//! is refused as if the store were unavailable: a refusal costs nothing, a lost settlement costs money.
//!
//! What the store does not accept stays here and is sent again with a growing backoff; a store counts each lease once. At
//! shutdown, [`Settler::flush`] sends what is left, within its bound.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::join_all;
use routeapi_channel::ObjectId;
use tokio::{
    sync::{Mutex, mpsc},
    time::{sleep, timeout},
};

use super::{
    metrics::Metrics,
    store::{LimitStore, Settlement, StoreUnavailable},
};
use crate::clock;

/// Reservations that are not settled yet, of all tokens together: far more than a process serves at once. A slot takes
/// about 200 bytes once it is used.
const QUEUE_CAPACITY: usize = 1 << 17;

/// Settlements sent at once: enough for 60,000 requests a second to a store that answers within a millisecond.
const BATCH_SIZE: usize = 64;

/// How long a store may take to accept one; then it is sent again.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(2);

/// Before the first retry: short, because most failures are a broken connection that is opened anew.
const MIN_BACKOFF: Duration = Duration::from_millis(50);

/// Between retries at most: a store that comes back is noticed within a few seconds.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// The way to a limit store. Clones share it.
#[derive(Clone)]
pub struct Settler {
    queue: mpsc::Sender<Pending>,
    backlog: Arc<Mutex<Backlog>>,
    metrics: Metrics,
}

/// Room in the queue for the settlement of one reservation.
pub(super) struct QueueSlot(mpsc::OwnedPermit<Pending>);

/// Settlements that no store has accepted yet.
struct Backlog {
    queue: mpsc::Receiver<Pending>,
    /// Taken from the queue. It stays here while it is sent, so that nothing is lost if the sending task is stopped.
    batch: Vec<Pending>,
    /// Before the next retry.
    backoff: Duration,
    metrics: Metrics,
}

#[derive(Debug)]
struct Pending {
    store: Arc<dyn LimitStore>,
    token: Arc<ObjectId>,
    settlement: Settlement,
}

// === impl Settler ===

impl Default for Settler {
    fn default() -> Self {
        Self::with_capacity(QUEUE_CAPACITY)
    }
}

impl Settler {
    /// For this many reservations that are not settled yet, at least 1.
    pub fn with_capacity(capacity: usize) -> Self {
        let (queue, receiver) = mpsc::channel(capacity.max(1));
        let metrics = Metrics::default();
        let backlog = Backlog { queue: receiver, batch: Vec::new(), backoff: MIN_BACKOFF, metrics: metrics.clone() };
        Self { queue, backlog: Arc::new(Mutex::new(backlog)), metrics }
    }

    /// What is counted of the store.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// A slot for a reservation.
    pub(super) fn slot(&self) -> Result<QueueSlot, StoreUnavailable> {
        let full = || StoreUnavailable::unasked("too many requests wait to be settled");
        self.queue.clone().try_reserve_owned().map(QueueSlot).map_err(|_full| full())
    }

    /// Sends settlements for as long as it is polled. Stopped, it can be started again, or be followed by
    /// [`Self::flush`].
    pub async fn run(&self) {
        let mut backlog = self.backlog.lock().await;
        loop {
            backlog.next_batch().await;
            backlog.send().await;
        }
    }

    /// Sends what is left when nobody runs it any more and no reservation is held. Returns how many settlements could not
    /// be sent in that time.
    pub async fn flush(&self, within: Duration) -> usize {
        let sending = async {
            let mut backlog = self.backlog.lock().await;
            while backlog.fill_batch() {
                backlog.send().await;
            }
        };
        // Late or not: what is left says it.
        let _ = timeout(within, sending).await;
        self.backlog.try_lock().map_or(1, |backlog| backlog.len())
    }
}

impl fmt::Debug for Settler {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Settler").field("free_slots", &self.queue.capacity()).finish_non_exhaustive()
    }
}

// === impl QueueSlot ===

impl QueueSlot {
    /// Queues the settlement. Never waits and never fails.
    pub(super) fn send(self, store: Arc<dyn LimitStore>, token: Arc<ObjectId>, settlement: Settlement) {
        self.0.send(Pending { store, token, settlement });
    }
}

impl fmt::Debug for QueueSlot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("QueueSlot")
    }
}

// === impl Backlog ===

impl Backlog {
    /// Waits until there is something to send.
    async fn next_batch(&mut self) {
        if !self.fill_batch() {
            self.batch.extend(self.queue.recv().await);
            self.fill_batch();
        }
    }

    /// Returns whether there is something to send.
    fn fill_batch(&mut self) -> bool {
        while self.batch.len() < BATCH_SIZE
            && let Ok(pending) = self.queue.try_recv()
        {
            self.batch.push(pending);
        }
        !self.batch.is_empty()
    }

    /// Sends the batch. What the store does not accept stays in it, and after the backoff more joins it.
    async fn send(&mut self) {
        let results = join_all(self.batch.iter().map(|pending| pending.send(&self.metrics))).await;
        let mut failure = None;
        let mut results = results.into_iter();
        self.batch.retain(|_| match results.next() {
            Some(Err(error)) => {
                failure = Some(error);
                true
            }
            _ => false,
        });
        let Some(error) = failure else {
            self.backoff = MIN_BACKOFF;
            return;
        };
        let backoff = self.backoff;
        tracing::warn!(%error, unsettled = self.len(), ?backoff, "the limit store accepts no settlements; retrying");
        self.backoff = backoff.saturating_mul(2).min(MAX_BACKOFF);
        sleep(backoff).await;
    }

    fn len(&self) -> usize {
        self.batch.len().saturating_add(self.queue.len())
    }
}

// === impl Pending ===

impl Pending {
    async fn send(&self, metrics: &Metrics) -> Result<(), StoreUnavailable> {
        let begun = clock::mono();
        let late = || StoreUnavailable::unanswered(format!("no answer within {SETTLE_TIMEOUT:?}"));
        let sending = self.store.settle(&self.token, &self.settlement);
        let answer = timeout(SETTLE_TIMEOUT, sending).await.unwrap_or_else(|_elapsed| Err(late()));
        metrics.asked("settle", begun, answer.is_ok());
        answer
    }
}
