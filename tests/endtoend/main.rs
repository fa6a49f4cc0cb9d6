//! The whole system, from manifests to answers, while parts of it fail. Each file tests one guarantee. Lines that start with
//! `figure:` are measurements.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::large_futures,
    reason = "a test stops at the first surprise, with the text of what went wrong"
)]

mod answer_end;
mod chaos;
mod cluster;
mod injection;
mod keyless;
mod outage;
mod propagation;
mod rotation;
mod status;
mod stored_responses;
mod storm;
