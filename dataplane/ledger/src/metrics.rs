//! What the ledger says of itself.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::entry::GapReason;

/// Series of one ledger.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(crate) written: Counter,
    dropped: Family<DroppedLabels, Counter>,
    gaps: Family<DroppedLabels, Counter>,
    pub(crate) committed: Counter,
    pub(crate) sink_failures: Counter,
    pub(crate) waiting: Gauge,
    pub(crate) spool_bytes: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DroppedLabels {
    reason: GapReason,
}

impl Metrics {
    /// Names the series in a registry.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Usage records written to the ledger's spool";
        registry.register("routeapi_ledger_written_records", help, self.written.clone());
        let help = "Usage records that the ledger dropped; alert on any";
        registry.register("routeapi_ledger_dropped_records", help, self.dropped.clone());
        let help = "Gaps in the ledger: usage records were dropped, or may be missing after a crash";
        registry.register("routeapi_ledger_gaps", help, self.gaps.clone());
        let help = "Usage records committed to the ledger's database, repeated ones included";
        registry.register("routeapi_ledger_committed_records", help, self.committed.clone());
        let help = "Commits to the ledger's database that failed; they are repeated";
        registry.register("routeapi_ledger_sink_failures", help, self.sink_failures.clone());
        let help = "Usage records in the spool that the database does not have yet";
        registry.register("routeapi_ledger_waiting_records", help, self.waiting.clone());
        let help = "Bytes of the ledger's spool";
        registry.register("routeapi_ledger_spool_bytes", help, self.spool_bytes.clone());
    }

    /// Usage records that the ledger dropped.
    pub(crate) fn dropped(&self, reason: GapReason) -> Counter {
        self.dropped.get_or_create(&DroppedLabels { reason }).clone()
    }

    /// Gaps that were found or made.
    pub(crate) fn gaps(&self, reason: GapReason) -> Counter {
        self.gaps.get_or_create(&DroppedLabels { reason }).clone()
    }
}

impl EncodeLabelValue for GapReason {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.as_str().encode(encoder)
    }
}
