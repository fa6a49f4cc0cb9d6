//! From a socket to a request: accepting, TLS, one hyper connection per socket, and ending well.
//!
//! Knows nothing about models, tokens or dialects: it hands each request to the [`Handle`] it was given and sends back
//! what that returns. Serves the admin listener too, so both have the same limits.

pub mod abort;
pub mod accept;
pub mod capacity;
pub mod connection;
pub mod cors;
pub mod drain;
pub mod limits;
pub mod metrics;
pub mod tls;
pub mod trusted_proxies;

mod activity;
mod error_response;
mod framing;
mod guarded;
mod handshake;
mod host;
mod linger;
mod opening;
mod proxy_protocol;
mod share;
mod takeover;
mod write_timeout;

use std::{future::Future, net::SocketAddr};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio_util::task::TaskTracker;

pub use capacity::Capacity;
pub use drain::Drain;
pub use limits::Limits;
pub use metrics::Metrics;
pub use takeover::Takeover;
pub use trusted_proxies::TrustedProxies;

use crate::{descriptors::Descriptors, spawn::Spawner};

/// Answers requests.
pub trait Handle: Clone + Send + Sync + 'static {
    /// The answer's body. An error of it aborts the connection (HTTP/2: the stream).
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + Unpin + 'static;

    /// Answers one request. Never fails; a panic is answered with status 500.
    fn handle(&self, peer: SocketAddr, request: Request<Incoming>)
    -> impl Future<Output = Response<Self::Body>> + Send;
}

/// What every connection of a listener shares.
pub struct Server<H> {
    /// Answers its requests.
    pub handler: H,
    /// What a client may do.
    pub limits: Limits,
    /// When to end.
    pub drain: Drain,
    /// What is counted.
    pub metrics: Metrics,
    /// Counts and says that there are none left.
    pub descriptors: Descriptors,
    /// Runs its tasks.
    pub spawner: Spawner,
    /// Follows its connections, so that the process can wait for them.
    pub connections: TaskTracker,
}
