//! From finished requests to the sink: a bounded queue, a thread that writes the spool, a thread that feeds the sink.
//!
//! A request's task only pushes to the queue, which never waits. The writer appends at once what is queued, so that a crash
//! of the process loses only what was still in the queue, and syncs at most [`SYNC_INTERVAL`] later. The sink is given what
//! is synced, as often as it takes until it has committed; meanwhile the spool grows up to its bound.
//!
//! What cannot be written is dropped, counted, and entered as a gap as soon as something can be written again. With
//! [`OnFull::Reject`] the gateway is told to refuse requests before that happens.

mod feed;
mod gaps;
mod shared;
mod wake;
mod write;

use std::{
    fmt, io,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    time::Duration,
};

use self::{
    gaps::Dropped,
    shared::{Message, Shared},
    wake::Wake,
};
pub use self::{
    shared::{OnFull, Recordable},
    write::SYNC_INTERVAL,
};
use crate::{
    entry::GapReason,
    metrics::Metrics,
    sink::Sink,
    spawn::Thread,
    spool::{Slots, SpoolError, SpoolLimits},
};

/// Records that wait for the writer at most.
const QUEUE_RECORDS: usize = 16 * 1024;
/// Bytes of them.
const QUEUE_BYTES: usize = 32 << 20;

/// How long the end waits for the spool to be written: everything queued, without the sink.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long it then waits for the sink. What the sink does not take by then it gets after the next start.
const SINK_TIMEOUT: Duration = Duration::from_millis(500);

/// Where a ledger is and what it does.
pub struct Settings {
    /// Directory of the spools.
    pub spool: PathBuf,
    /// Bounds of the spool.
    pub limits: SpoolLimits,
    /// What happens when it is full.
    pub on_full: OnFull,
    /// Where entries end.
    pub sink: Box<dyn Sink>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Settings").field("spool", &self.spool).field("on_full", &self.on_full).finish_non_exhaustive()
    }
}

/// Why there is no ledger.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The spool.
    #[error("the ledger's spool: {0}")]
    Spool(#[from] SpoolError),
    /// Threads.
    #[error("cannot start the ledger's threads: {0}")]
    Threads(#[from] io::Error),
}

/// A ledger that is open. Dropping it writes what is queued and closes it.
#[derive(Debug)]
pub struct Ledger<R> {
    queue: SyncSender<Message<R>>,
    shared: Arc<Shared>,
    writer: Thread,
    feeder: Thread,
}

impl<R: Recordable> Ledger<R> {
    /// Opens a ledger and starts its threads.
    ///
    /// # Errors
    /// If the spool cannot be opened or the system has no more threads.
    pub fn open(settings: Settings) -> Result<Self, OpenError> {
        let Settings { spool, limits, on_full, sink } = settings;
        let slots = Slots::new(spool);
        let (mut spool, damages) = slots.open(limits)?;
        let metrics = Metrics::default();
        gaps::report(&mut spool, &damages, &metrics);
        // Given to the sink without waiting for a record.
        spool.sync()?;
        let shared = Arc::new(Shared {
            spool: Mutex::new(Some(spool)),
            on_full,
            queued: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            dropped: Dropped::default(),
            wake: Wake::default(),
            metrics,
        });
        let (queue, records) = sync_channel(QUEUE_RECORDS);
        let writing = Arc::clone(&shared);
        let writer = Thread::start("ledger-spool", move || write::run(&records, &writing))?;
        let feeding = Arc::clone(&shared);
        let feeder = Thread::start("ledger-sink", move || feed::run(sink, &feeding, &slots, limits))?;
        Ok(Self { queue, shared, writer, feeder })
    }

    /// Hands a record over. Never waits: without room it is dropped, counted, and entered as a gap.
    pub fn push(&self, record: R) {
        let size = record.size();
        let queued = self.shared.queued.fetch_add(size, Ordering::Relaxed);
        // An empty queue takes a record that is larger than the bound.
        let fits = queued == 0 || queued.saturating_add(size) <= QUEUE_BYTES;
        if !fits || self.queue.try_send(Message::Record(record)).is_err() {
            self.shared.queued.fetch_sub(size, Ordering::Relaxed);
            self.shared.drop_record(GapReason::QueueFull);
        }
    }

    /// Whether requests have to be refused, because their records could not be kept.
    pub fn is_refusing(&self) -> bool {
        self.shared.refusing.load(Ordering::Relaxed)
    }

    /// The ledger's series.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }
}

impl<R> Drop for Ledger<R> {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
        // If the queue is full, the writer is busy and sees it between two batches.
        drop(self.queue.try_send(Message::Close));
        if !self.writer.wait(WRITE_TIMEOUT) {
            tracing::error!("the ledger's spool cannot be written; its last records are lost");
            return;
        }
        self.shared.wake.end();
        if !self.feeder.wait(SINK_TIMEOUT) {
            tracing::warn!("the ledger's database is slow; it gets the last records after the next start");
        }
    }
}

#[cfg(test)]
mod tests;
