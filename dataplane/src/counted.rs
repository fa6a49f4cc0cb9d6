//! Something that is counted in a gauge for as long as it is there, however it ends.

use prometheus_client::metrics::gauge::Gauge;

/// Counts one more, and one less when it is dropped.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    /// From now on.
    pub fn in_gauge(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
