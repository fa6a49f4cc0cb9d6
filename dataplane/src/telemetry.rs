//! What leaves the process about requests: one record each, as a line in the access log and as metrics.

pub mod access_log;
mod buckets;
pub mod metrics;
pub mod record;
pub mod semconv;
pub mod traffic;

pub use access_log::AccessLog;
pub use metrics::Metrics;
pub use record::{RecordSink, RequestRecord};
pub use traffic::Traffic;
