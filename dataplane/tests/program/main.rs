//! The program `routeapi` as people and the kubelet run it: its command line, its outputs, its limits. What needs no process
//! of its own is in the repository's `tests/inprocess`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test, its helpers included, stops at the first surprise"
)]

// Two files of the harness that need the standard library alone. The harness itself depends on this crate.
#[path = "../../../tests/harness/bytes.rs"]
#[allow(dead_code, reason = "the in-process tests use the rest")]
mod bytes;
#[path = "../../../tests/harness/files.rs"]
#[allow(dead_code, reason = "the in-process tests use the rest")]
mod files;

mod command_line;
mod descriptors;
mod full_pipe;
mod ledger;
mod sidecar;
