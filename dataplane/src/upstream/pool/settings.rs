//! What a pool is given: how connections are opened, how long they are kept, and what counts and drives them.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::Connection;

use crate::{
    spawn::Spawner,
    upstream::{connect::BoxError, metrics::Metrics},
};

/// A byte stream to an upstream that knows what was agreed on it.
pub trait Io: Read + Write + Connection + Send + Unpin {}

impl<T: Read + Write + Connection + Send + Unpin> Io for T {}

/// Any of them: direct, through TLS, through a proxy.
pub type BoxedIo = Box<dyn Io>;

/// Opens a connection to a URL's host.
pub type Dial = Arc<dyn Fn(Uri) -> BoxFuture<'static, Result<BoxedIo, BoxError>> + Send + Sync>;

/// How long connections to upstreams are kept.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLifetimes {
    /// Without a request. Shorter than what most servers and load balancers allow (60 to 75 s), so that a connection is
    /// rarely closed in the moment it is used.
    pub idle: Duration,
    /// In all, after which a connection takes no new requests: name lookups and the upstream's own load balancing get a
    /// say again. None for no bound. Each connection's own is up to a tenth shorter, so that they do not all end together.
    pub max_age: Option<Duration>,
}

/// HTTP/2 flow-control windows in bytes: they bound what a slow reader makes this process hold.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// Of a stream.
    pub stream: u32,
    /// Of a connection, for all of its streams together.
    pub connection: u32,
}

/// What all hosts of a pool share.
#[derive(Clone, Debug)]
pub(in crate::upstream) struct Shared {
    /// How long connections are kept.
    pub lifetimes: ConnectionLifetimes,
    /// How long a request waits for an HTTP/2 stream.
    pub wait: Duration,
    /// Of HTTP/2 connections.
    pub windows: Windows,
    /// What is counted.
    pub metrics: Metrics,
    /// Runs the tasks that open and drive connections.
    pub spawner: Spawner,
}

impl Default for ConnectionLifetimes {
    fn default() -> Self {
        Self { idle: Duration::from_secs(50), max_age: Some(Duration::from_secs(600)) }
    }
}

impl Default for Windows {
    fn default() -> Self {
        Self { stream: 256 << 10, connection: 4 << 20 }
    }
}
