//! The operator against a real API server: validation, status, tokens, configuration streams and failures. Measurements
//! are printed (`--nocapture`).
//!
//! Each test has an operator of its own that watches only the test's namespace, and data planes that connect with tokens
//! that the API server bound to their Pods. Operators have exactly the chart's permissions.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests stop at the first surprise and print figures"
)]

mod bounds;
mod cluster;
mod credentials;
mod dataplane;
mod isolation;
mod messages;
mod models;
mod policy;
mod providers;
mod refusals;
mod releases;
mod replicas;
mod rights;
mod routes;
mod secret_check;
mod speed;
mod tenants;
mod tokens;
mod urls;
