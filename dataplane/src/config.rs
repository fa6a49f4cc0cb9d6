//! Configuration: where snapshots come from (files, the operator's stream, the last good state on disk), how they become
//! the tables a request reads, and where those are kept.

pub mod store;
