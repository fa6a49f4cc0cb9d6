//! The usage ledger: what was used, on disk, and ways to ask.
//!
//! ```text
//! request's task ──push──► queue ──► writer thread: spool (append, fsync) ──► sink thread: SQLite (commit) ──► acknowledge
//! ```
//!
//! [`entry`] is the schema, versioned and documented in `docs/usage-records.md`. [`spool`] keeps entries in files until the
//! sink has committed them. [`sqlite`] is the sink, which takes an entry once however often it comes. [`pipeline`] is the two
//! threads and the queue in front. [`query`] reads what the sink wrote.
//!
//! Knows nothing of requests: whoever has records turns them into entries ([`Recordable`]) on the writer's thread.

mod clock;
pub mod entry;
mod frame;
mod metrics;
pub mod pipeline;
pub mod query;
pub mod sink;
mod spawn;
pub mod spool;
pub mod sqlite;

pub use entry::{Attempt, Entry, Gap, GapReason, PriceUsed, Request, Served, Tokens};
pub use metrics::Metrics;
pub use pipeline::{Ledger, OnFull, OpenError, Recordable, Settings};
pub use sink::{Sink, SinkError, Sunk};
