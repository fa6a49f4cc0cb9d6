//! The operator against a real API server: what it accepts, says, mints and pushes, and what it survives. Figures are
//! printed (`--nocapture`).
//!
//! Each test has an operator of its own that watches the test's namespace alone, and data planes that speak the channel
//! with tokens that the API server bound to their Pods. Operators run with the chart's rights and no others.
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
