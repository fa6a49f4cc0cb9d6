//! What requests, the writer and the feeder share.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::{gaps::Dropped, wake::Wake};
use crate::{
    entry::{Entry, GapReason},
    metrics::Metrics,
    spool::Spool,
};

/// Something that the ledger can keep.
pub trait Recordable: Send + 'static {
    /// Bytes of memory, about.
    fn size(&self) -> usize;
    /// As it is kept. Called on the ledger's thread.
    fn entry(&self) -> Entry;
}

impl<T: Recordable + Sync> Recordable for Arc<T> {
    fn size(&self) -> usize {
        T::size(self)
    }

    fn entry(&self) -> Entry {
        T::entry(self)
    }
}

/// What happens to requests whose record cannot be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFull {
    /// They are served; their records are dropped, counted, and entered as a gap.
    #[default]
    DropAndCount,
    /// They are refused from the moment that the spool is nearly full or cannot be written.
    Reject,
}

/// What is in the queue.
pub(super) enum Message<R> {
    Record(R),
    /// Wakes the writer, which then sees that it is to end.
    Close,
}

/// What the threads and the requests share.
#[derive(Debug)]
pub(super) struct Shared {
    /// None once it is closed.
    pub(super) spool: Mutex<Option<Spool>>,
    pub(super) on_full: OnFull,
    /// Bytes in the queue.
    pub(super) queued: AtomicUsize,
    pub(super) closing: AtomicBool,
    pub(super) refusing: AtomicBool,
    pub(super) dropped: Dropped,
    pub(super) wake: Wake,
    pub(super) metrics: Metrics,
}

impl Shared {
    pub(super) fn spool(&self) -> MutexGuard<'_, Option<Spool>> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn drop_record(&self, reason: GapReason) {
        self.metrics.dropped(reason).inc();
        self.dropped.add(reason);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Says how full the spool is. `failed` is whether it could not be written just now.
    pub(super) fn observe(&self, spool: &Spool, failed: bool) {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.metrics.waiting.set(gauge(spool.waiting()));
        self.metrics.spool_bytes.set(gauge(spool.bytes()));
        let refuse = self.on_full == OnFull::Reject && (failed || spool.is_nearly_full());
        if refuse != self.refusing.swap(refuse, Ordering::Relaxed) {
            tracing::warn!(
                refuse,
                "the ledger's spool is full or cannot be written: whether requests are refused has changed"
            );
        }
    }
}
