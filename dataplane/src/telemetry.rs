//! What leaves the process about requests: one record each, as a line in the access log, as metrics and in the ledger.

pub mod access_log;
mod buckets;
pub mod ledger;
pub mod metrics;
pub mod record;
pub mod semconv;
pub mod traffic;

pub use access_log::AccessLog;
pub use ledger::UsageLedger;
pub use metrics::Metrics;
pub use record::{LEDGER_FULL, RecordSink, RequestRecord};
pub use traffic::Traffic;
