//! What is missing becomes an entry of its own, a line in the log and a count.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    clock,
    entry::{Entry, Gap, GapReason},
    metrics::Metrics,
    spool::{AppendError, Damage, Spool},
};

/// Records that were dropped and are not entered as a gap yet.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    queue_full: AtomicU64,
    spool_full: AtomicU64,
    write_failed: AtomicU64,
}

/// Numbers the gaps of this process.
static COUNT: AtomicU64 = AtomicU64::new(0);

impl Dropped {
    pub(super) fn add(&self, reason: GapReason) {
        if let Some(count) = self.count(reason) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.counts().iter().all(|(_, count)| count.load(Ordering::Relaxed) == 0)
    }

    /// Enters what was dropped. What cannot be entered now stays for later.
    pub(super) fn enter(&self, spool: &mut Spool, metrics: &Metrics) {
        for (reason, count) in self.counts() {
            let lost = count.swap(0, Ordering::Relaxed);
            if lost == 0 {
                continue;
            }
            let gap = gap(reason);
            if append(spool, Gap { lost: Some(lost), ..gap }).is_err() {
                count.fetch_add(lost, Ordering::Relaxed);
                return;
            }
            metrics.gaps(reason).inc();
            tracing::error!(reason = reason.as_str(), lost, "usage records were dropped from the ledger");
        }
    }

    fn counts(&self) -> [(GapReason, &AtomicU64); 3] {
        [
            (GapReason::QueueFull, &self.queue_full),
            (GapReason::SpoolFull, &self.spool_full),
            (GapReason::WriteFailed, &self.write_failed),
        ]
    }

    fn count(&self, reason: GapReason) -> Option<&AtomicU64> {
        self.counts().into_iter().find(|(of, _)| *of == reason).map(|(_, count)| count)
    }
}

/// Says what was found missing in a spool, in that spool itself.
pub(super) fn report(spool: &mut Spool, damages: &[Damage], metrics: &Metrics) {
    for &Damage { reason, from, to, bytes } in damages {
        metrics.gaps(reason).inc();
        let lost = to.map(|to| to.saturating_sub(from).saturating_add(1));
        tracing::warn!(
            reason = reason.as_str(),
            from_sequence = from,
            to_sequence = to,
            lost,
            bytes,
            "usage records are missing from the ledger, or may be"
        );
        let found = Gap { lost, from_sequence: Some(from), to_sequence: to, bytes, ..gap(reason) };
        if let Err(error) = append(spool, found) {
            tracing::error!(%error, "a gap in the ledger cannot be entered");
        }
    }
}

fn gap(reason: GapReason) -> Gap {
    let now = clock::unix_ms();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Gap {
        id: format!("gap-{now:x}-{:x}-{count:x}", std::process::id()),
        time_unix_ms: now,
        reason,
        lost: None,
        from_sequence: None,
        to_sequence: None,
        bytes: 0,
    }
}

fn append(spool: &mut Spool, gap: Gap) -> Result<(), AppendError> {
    let entry = Entry::Gap(gap).to_json().map_err(std::io::Error::other)?;
    spool.append(&entry).map(drop)
}
