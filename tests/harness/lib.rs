//! The harness of the tests that cross crates.
//!
//! - [`apiserver`]: a real etcd and kube-apiserver with an admin client, `kubectl`, and Pods that exist as objects only.
//! - [`upstream`]: the scripted upstream, which speaks the vendors' dialects and fails on demand; the judge of what the
//!   gateway sends, so it shares no code with the gateway.
//! - [`process`]: child processes that cannot outlive the test, with the signals that fault tests send.
//! - [`bytes`], [`files`]: a blocking client that writes bytes by hand, and manifests in a file; the tests of the program
//!   `routeapi` have these too.
//! - [`client`]: a plain HTTP client that tells how answers ended.
//! - [`gateway`]: the real gateway in this process.
//! - [`limit_store`]: limits that several gateways count together.
//! - [`redis`]: a real Redis, stopped and frozen at will.
//! - [`operator`]: a release of the chart with the real operator, and gateways in the place of its pods.
//! - [`fake_operator`]: the other side of the configuration stream, by hand.
//! - [`helm`]: helm, run for real on this repository's chart.
//! - [`token_issuer`]: ServiceAccount tokens without a cluster, right and wrong ones.
//! - [`tools`]: where the compiled programs are (`tests/tools/build`).
//! - [`wait`]: waiting for a condition instead of sleeping.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a harness stops the test at the first surprise, with the text of what went wrong"
)]

pub mod apiserver;
pub mod bytes;
pub mod client;
pub mod fake_operator;
pub mod files;
pub mod gateway;
pub mod helm;
pub mod limit_store;
pub mod operator;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod token_issuer;
pub mod tools;
pub mod upstream;
pub mod wait;
