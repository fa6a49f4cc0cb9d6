//! What is counted of a limit store.

use std::time::{Duration, Instant};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::clock;

/// Seconds: a neighbour answers within a millisecond.
const LATENCIES: [f64; 9] = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 1.0];

type Histograms = Family<OperationLabels, Histogram, fn() -> Histogram>;

/// Series of the store. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    durations: Histograms,
    failures: Family<OperationLabels, Counter>,
    lost: Family<LostLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LostLabels {
    decision: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let durations: fn() -> Histogram = || Histogram::new(LATENCIES);
        Self {
            durations: Family::new_with_constructor(durations),
            failures: Family::default(),
            lost: Family::default(),
        }
    }
}

impl Metrics {
    /// Names every series.
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Time that the limit store took to answer, by operation";
        let durations = self.durations.clone();
        registry.register_with_unit("routeapi_limit_store_duration", help, Unit::Seconds, durations);
        let help = "Calls that the limit store did not answer, by operation";
        registry.register("routeapi_limit_store_failures", help, self.failures.clone());
        let help =
            "Requests decided without the limit store, by decision: rejected, or allowed under the pod's own share";
        registry.register("routeapi_limit_store_lost_requests", help, self.lost.clone());
    }

    /// A call that began then was answered or not.
    pub(super) fn asked(&self, operation: &'static str, begun: Instant, is_answered: bool) {
        let labels = OperationLabels { operation };
        if is_answered {
            let took: Duration = clock::mono().saturating_duration_since(begun);
            self.durations.get_or_create(&labels).observe(took.as_secs_f64());
        } else {
            self.failures.get_or_create(&labels).inc();
        }
    }

    /// A request was decided without the store.
    pub(super) fn decided_alone(&self, decision: &'static str) {
        self.lost.get_or_create(&LostLabels { decision }).inc();
    }
}
