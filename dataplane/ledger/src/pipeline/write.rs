//! The thread that writes the spool.

use std::{
    sync::{
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use super::shared::{Message, Recordable, Shared};
use crate::{clock, entry::GapReason, spool::AppendError};

/// Longest time from an append until it is synced, beside the time that syncing takes. Half of what is promised.
pub const SYNC_INTERVAL: Duration = Duration::from_millis(50);

/// Records that are taken from the queue before the spool is looked at again.
const BATCH: usize = 256;

/// How soon a spool that could not be written is tried again when no record comes.
const RETRY: Duration = Duration::from_secs(1);

/// Writes until the ledger is closed.
pub(super) fn run<R: Recordable>(records: &Receiver<Message<R>>, shared: &Shared) {
    let mut unsynced = None;
    loop {
        let is_closing = shared.is_closing();
        let batch = next_batch(records, shared, wait(unsynced, shared, is_closing));
        let has_records = !batch.is_empty();
        if has_records || !shared.dropped.is_empty() {
            append(&batch, shared);
            unsynced.get_or_insert_with(clock::mono);
        }
        let is_due = |since: Instant| is_closing || clock::mono().saturating_duration_since(since) >= SYNC_INTERVAL;
        if unsynced.is_some_and(is_due) {
            sync(shared);
            unsynced = None;
        }
        // Everything that was queued before the end was asked for is written by now.
        if is_closing && !has_records {
            return;
        }
    }
}

/// How long to wait for a record; none for as long as it takes.
fn wait(unsynced: Option<Instant>, shared: &Shared, is_closing: bool) -> Option<Duration> {
    if is_closing {
        return Some(Duration::ZERO);
    }
    let until_sync = |since: Instant| SYNC_INTERVAL.saturating_sub(clock::mono().saturating_duration_since(since));
    unsynced.map(until_sync).or_else(|| (!shared.dropped.is_empty()).then_some(RETRY))
}

/// The records that are queued, as they are kept.
fn next_batch<R: Recordable>(records: &Receiver<Message<R>>, shared: &Shared, wait: Option<Duration>) -> Vec<Vec<u8>> {
    let first = match wait {
        Some(wait) => records.recv_timeout(wait),
        None => records.recv().map_err(|_| RecvTimeoutError::Disconnected),
    };
    let mut batch = Vec::new();
    let mut next = first.ok();
    while let Some(Message::Record(record)) = next {
        match record.entry().to_json() {
            Ok(entry) => batch.push(entry),
            Err(error) => {
                tracing::error!(%error, "a usage record cannot be written");
                shared.drop_record(GapReason::WriteFailed);
            }
        }
        shared.queued.fetch_sub(record.size(), Ordering::Relaxed);
        next = if batch.len() < BATCH { records.try_recv().ok() } else { None };
    }
    batch
}

fn append(batch: &[Vec<u8>], shared: &Shared) {
    let mut guard = shared.spool();
    let Some(spool) = guard.as_mut() else { return };
    shared.dropped.enter(spool, &shared.metrics);
    let mut failed = false;
    for entry in batch {
        match spool.append(entry) {
            Ok(_) => {
                shared.metrics.written.inc();
            }
            Err(AppendError::Full) => shared.drop_record(GapReason::SpoolFull),
            Err(error) => {
                if !std::mem::replace(&mut failed, true) {
                    tracing::error!(%error, "usage records are dropped");
                }
                shared.drop_record(GapReason::WriteFailed);
            }
        }
    }
    shared.observe(spool, !shared.dropped.is_empty());
}

fn sync(shared: &Shared) {
    if let Some(spool) = shared.spool().as_mut()
        && let Err(error) = spool.sync()
    {
        tracing::error!(%error, "the ledger's spool cannot be synced; a crash of the machine could lose records");
    }
    shared.wake.work();
}
