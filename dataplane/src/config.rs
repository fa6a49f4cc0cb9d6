//! Configuration: where snapshots come from (files, the operator's stream, the last good state on disk), how they become
//! the tables a request reads, and where those are kept.

pub mod compile;
pub mod install;
pub mod last_good;
pub mod local;
pub mod names;
pub mod offers;
pub mod patterns;
pub mod runtime;
pub mod store;
pub mod subscribe;
pub mod tables;
pub mod terms;
mod token_table;
