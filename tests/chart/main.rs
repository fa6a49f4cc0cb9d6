//! The chart: what helm says of it, what it renders, and what a real API server and our own programs say of that.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at the first surprise, with the text of what went wrong"
)]

mod arguments;
mod crds;
mod critic;
mod dashboard;
mod promql;
mod readme;
mod server;
mod sidecar;
mod values;
