//! The real gateway in this process, with the scripted upstream behind it or none: one file per promise.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::large_futures,
    reason = "a test stops at the first surprise, with the text of what went wrong"
)]

mod gateway;
mod request;

mod affinity;
mod balancing;
mod client_credentials;
mod connections;
mod conversations;
mod cors;
mod counting;
mod direct;
mod doors;
mod drain;
mod early_answers;
mod egress;
mod embeddings;
mod errors;
mod fallback;
mod forms;
mod keyless;
mod keys;
mod limit_store;
mod limits;
mod meanwhile;
mod metering;
mod models;
mod passthrough;
mod raw;
mod realtime;
mod redis;
mod reload;
mod responses;
mod responses_upstream;
mod secrecy;
mod settings;
mod sidecar;
mod stalled;
mod stored_responses;
mod streaming;
mod streams;
mod subscribe;
mod tls;
mod unasked;
mod unsupported;
mod waiting;
mod who;
