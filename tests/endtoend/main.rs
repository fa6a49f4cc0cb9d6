//! Everything together: manifests in, answers out, while parts fail. Each file is one promise; lines that begin with
//! `figure:` are what was measured.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::large_futures,
    reason = "a test stops at the first surprise, with the text of what went wrong"
)]

mod chaos;
mod cluster;
mod outage;
mod propagation;
mod rotation;
mod status;
mod storm;
mod verdict;
