//! The thread that feeds the sink.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{gaps, shared::Shared};
use crate::{
    clock,
    entry::Entry,
    sink::{Sink, Sunk},
    spool::{Slots, Spool, SpoolLimits, Spooled},
};

/// Bytes of entries that are committed together at most.
const BATCH_BYTES: usize = 512 * 1024;

/// Waits between attempts at a sink that fails: doubled from the first to the last.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// How long batches are still committed after the end was asked for; the rest waits for the next start.
const LAST_BATCHES: Duration = Duration::from_millis(300);

/// Between two calls of [`Sink::maintain`].
const MAINTENANCE: Duration = Duration::from_secs(600);

/// Feeds the sink until the ledger is closed: first with what other processes have left behind.
pub(super) fn run(mut sink: Box<dyn Sink>, shared: &Shared, slots: &Slots, limits: SpoolLimits) {
    for (mut spool, damages) in slots.abandoned(limits) {
        gaps::report(&mut spool, &damages, &shared.metrics);
        if let Err(error) = spool.sync() {
            tracing::warn!(%error, "a spool that another process has left behind cannot be synced");
        }
        let left = Mutex::new(Some(spool));
        feed(sink.as_mut(), &left, shared);
        close(&left);
    }
    let mut maintained = None;
    loop {
        // Looked at before the spool, so that nothing is missed that came before the end.
        let ends = shared.wake.wait_for_end(Duration::ZERO);
        let interrupted = feed(sink.as_mut(), &shared.spool, shared);
        if ends || interrupted {
            break;
        }
        let now = clock::mono();
        if maintained.is_none_or(|last| now.saturating_duration_since(last) >= MAINTENANCE) {
            maintained = Some(now);
            if let Err(error) = sink.maintain() {
                tracing::warn!(%error, "the ledger's database cannot be cleaned up now");
            }
        }
        shared.wake.wait_for_work(MAINTENANCE);
    }
    close(&shared.spool);
}

/// Gives the sink everything that is synced, as often as it takes. Returns whether the ledger was closed before the sink had
/// it all.
fn feed(sink: &mut dyn Sink, spool: &Mutex<Option<Spool>>, shared: &Shared) -> bool {
    let mut retry = FIRST_RETRY;
    let mut ended = None;
    loop {
        let batch = next_batch(spool, shared);
        if batch.is_empty() {
            return false;
        }
        match sink.commit(&batch) {
            Ok(()) => {
                shared.metrics.committed.inc_by(batch.len() as u64);
                retry = FIRST_RETRY;
                acknowledge(spool, shared);
            }
            Err(error) => {
                shared.metrics.sink_failures.inc();
                tracing::warn!(%error, retry_ms = retry.as_millis(), "the ledger's database does not take records; they wait in the spool");
                if shared.wake.wait_for_end(retry) {
                    return true;
                }
                retry = (retry * 2).min(LAST_RETRY);
            }
        }
        if shared.wake.wait_for_end(Duration::ZERO) {
            let now = clock::mono();
            if now.saturating_duration_since(*ended.get_or_insert(now)) >= LAST_BATCHES {
                return true;
            }
        }
    }
}

fn next_batch(spool: &Mutex<Option<Spool>>, shared: &Shared) -> Vec<Sunk> {
    let mut guard = spool.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(spool) = guard.as_mut() else { return Vec::new() };
    let read = spool.read(BATCH_BYTES);
    let damages = spool.take_damages();
    gaps::report(spool, &damages, &shared.metrics);
    read.unwrap_or_else(|error| {
        tracing::error!(%error, "the ledger's spool cannot be read");
        Vec::new()
    })
    .into_iter()
    .map(|Spooled { entry, sequence }| match Entry::from_json(&entry) {
        Ok(entry) => Sunk::Entry(entry),
        Err(error) => {
            tracing::error!(%error, sequence, "an entry of the spool is set aside unread");
            Sunk::Unread { bytes: entry, why: error.to_string() }
        }
    })
    .collect()
}

fn acknowledge(spool: &Mutex<Option<Spool>>, shared: &Shared) {
    // Spools that others have left behind are not in the gauges.
    let is_own = std::ptr::eq(spool, &raw const shared.spool);
    let mut guard = spool.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(spool) = guard.as_mut() else { return };
    if let Err(error) = spool.acknowledge() {
        tracing::warn!(%error, "an acknowledgement cannot be written; the database may be given these records again");
    }
    if is_own {
        shared.observe(spool, !shared.dropped.is_empty());
    }
}

fn close(spool: &Mutex<Option<Spool>>) {
    let taken = spool.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(Err(error)) = taken.map(Spool::close) {
        tracing::warn!(%error, "the ledger's spool cannot be closed");
    }
}
