//! Connections to one host, kept between requests and shared by them: who gets which, and when another is opened.
//!
//! - HTTP/1: a connection carries one request at a time. A request checks it out and gives it back when its answer has been
//!   read to the end.
//! - HTTP/2: a connection carries as many requests as the server's `SETTINGS_MAX_CONCURRENT_STREAMS` says. Requests beyond
//!   that open another one, up to [`MAX_MULTIPLEXED`], and then wait here. A stream is never queued unseen inside a
//!   connection, so that whoever waits knows when its request is really on the way. (RFC 9113, 9.1 says that a client
//!   should not open a second connection. It means a browser; what this process sends comes from many clients.)
//! - What the upstream never saw may be sent once more: see [`Host::again`].
//!
//! How many connections are opened at once follows the requests that wait: one each for HTTP/1, one per `limit` requests
//! for HTTP/2, and a single one as long as it is not known which of the two the server speaks, or what its limit is. They
//! are opened by tasks of their own, so that a client that goes away in the meantime does not waste a handshake.
//!
//! Why not `hyper_util`'s client: it keeps one HTTP/2 connection to a host and lets the h2 crate queue what is beyond the
//! limit of streams, so that nobody can tell a request that waits from an upstream that is silent.

mod connection;
mod send;
mod state;
mod upgrade;
mod waiting;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{Request, Response, Uri, uri::Authority, uri::Scheme};
use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, sleep_until},
};

pub use self::{
    connection::BoxedIo,
    send::PooledBody,
    upgrade::{Switched, UpgradedIo},
};
use self::{
    connection::Established,
    state::{Acquired, CheckedOut, State},
    waiting::Waiting,
};
use super::{client::SendError, connect::BoxError, metrics::Metrics, sent::MarkedBody};
use crate::spawn::Spawner;

/// HTTP/2 connections to one host at once. With the usual limit of 100 streams, more than a process serves in all.
pub const MAX_MULTIPLEXED: usize = 128;

/// Opens a connection to a URL's host.
pub type Dial = Arc<dyn Fn(Uri) -> futures_util::future::BoxFuture<'static, Result<BoxedIo, BoxError>> + Send + Sync>;

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

/// The connections of one kind (of trust and time to connect), by host.
pub struct Pool {
    dial: Dial,
    /// The same for HTTP/1 alone, where a connection is to leave HTTP.
    dial_http1: Dial,
    shared: Shared,
    hosts: Mutex<HashMap<(Scheme, Authority), Arc<Host>>>,
}

/// What all hosts of a pool share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    /// How long connections are kept.
    pub lifetimes: ConnectionLifetimes,
    /// How long a request waits for an HTTP/2 stream.
    pub wait: Duration,
    /// What is counted.
    pub metrics: Metrics,
    /// Runs the tasks that open and drive connections.
    pub spawner: Spawner,
}

/// The connections to one host.
pub struct Host {
    uri: Uri,
    dial: Dial,
    dial_http1: Dial,
    shared: Shared,
    state: Mutex<State>,
}

/// A connection, or an HTTP/2 stream of one, that is this request's alone. Goes back when it is dropped.
pub struct PooledConnection {
    host: Arc<Host>,
    checked_out: Option<CheckedOut>,
}

impl Default for ConnectionLifetimes {
    fn default() -> Self {
        Self { idle: Duration::from_secs(50), max_age: Some(Duration::from_secs(600)) }
    }
}

// === impl Pool ===

impl Pool {
    pub(super) fn new(dial: Dial, shared: Shared) -> Self {
        Self { dial_http1: Arc::clone(&dial), dial, shared, hosts: Mutex::default() }
    }

    /// With another way to open connections on which HTTP/1 is spoken.
    #[must_use]
    pub(super) fn with_http1(self, dial_http1: Dial) -> Self {
        Self { dial_http1, ..self }
    }

    /// The connections to one host, which nobody else knows.
    ///
    /// # Errors
    /// When scheme and authority make no URL.
    pub fn new_host(&self, scheme: &Scheme, authority: &Authority) -> Result<Arc<Host>, http::Error> {
        let uri = Uri::builder().scheme(scheme.clone()).authority(authority.clone()).path_and_query("/").build()?;
        let state = Mutex::new(State::new(scheme == &Scheme::HTTPS, self.shared.lifetimes));
        let (dial, dial_http1) = (Arc::clone(&self.dial), Arc::clone(&self.dial_http1));
        Ok(Arc::new(Host { uri, dial, dial_http1, shared: self.shared.clone(), state }))
    }

    /// The connections to one host that are kept. The lock is taken while a configuration is compiled, never by a request.
    pub(super) fn find(&self, scheme: &Scheme, authority: &Authority) -> Option<Arc<Host>> {
        self.hosts().get(&(scheme.clone(), authority.clone())).cloned()
    }

    /// Keeps connections for the configurations that follow.
    pub(super) fn keep(&self, new: HashMap<(Scheme, Authority), Arc<Host>>) {
        self.hosts().extend(new);
    }

    /// Closes what no configuration refers to any more. Whether anything is left.
    pub(super) fn prune(&self) -> bool {
        let mut hosts = self.hosts();
        hosts.retain(|_, host| Arc::strong_count(host) > 1);
        !hosts.is_empty()
    }

    /// Closes the connections that are too old or were not used for too long.
    pub(super) fn sweep(&self) {
        let hosts: Vec<_> = self.hosts().values().cloned().collect();
        for host in hosts {
            host.update(|state| state.expire(Instant::now()));
        }
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<(Scheme, Authority), Arc<Host>>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("hosts", &self.hosts().len()).finish_non_exhaustive()
    }
}

// === impl Host ===

impl Host {
    /// A connection for a request: one that is there, or else the first that comes back or is opened.
    ///
    /// # Errors
    /// When none can be opened, or all streams of a server that limits them stay in use for about as long as a connection
    /// may take to open.
    pub async fn acquire(self: &Arc<Self>) -> Result<PooledConnection, SendError> {
        match self.update(State::take_or_wait) {
            Acquired::Now(checked_out) => Ok(PooledConnection::new(self, checked_out)),
            Acquired::Later(ticket, offer) => Waiting::new(self, ticket, offer).await_offer().await,
        }
    }

    /// A connection for a request that the upstream never saw on the one it had ([`SendError::is_unseen`]). With HTTP/1 a
    /// new one, since others that were kept may be as stale. With HTTP/2 one that is newer than those there were, which
    /// all lost requests share, or any other if only the stream was refused.
    ///
    /// # Errors
    /// As [`Host::ready`].
    pub async fn acquire_again(self: &Arc<Self>) -> Result<PooledConnection, SendError> {
        self.shared.metrics.repeated.inc();
        if self.state().is_multiplexed() {
            return self.acquire().await;
        }
        match Box::pin(connection::open(self)).await? {
            Established::Http1(connection) => Ok(PooledConnection::new(self, CheckedOut::Http1(connection))),
            Established::Http2(connection, driver) => {
                let id = self.update(|state| state.add(connection));
                self.shared.spawner.spawn("upstream connection", driver.run(Arc::downgrade(self), id));
                self.acquire().await
            }
        }
    }

    /// Sends a request and waits for the answer's head. `make` makes it, and makes it anew if the upstream never saw it.
    ///
    /// # Errors
    /// When no connection can be had, or no head came.
    pub async fn request(
        self: &Arc<Self>,
        make: impl Fn() -> Request<MarkedBody>,
    ) -> Result<Response<PooledBody>, SendError> {
        match self.acquire().await?.send(make()).await {
            Err(error) if error.is_unseen() => self.acquire_again().await?.send(make()).await,
            sent => sent,
        }
    }

    /// Changes the state, serves who waits from what that has made free, and opens what is still missing.
    fn update<T>(self: &Arc<Self>, change: impl FnOnce(&mut State) -> T) -> T {
        let mut offers = Vec::new();
        let (result, missing) = {
            let mut state = self.state();
            let result = change(&mut state);
            while let Some(offer) = state.next_offer(Instant::now()) {
                offers.push(offer);
            }
            (result, state.begin_opening(Instant::now()))
        };
        // Not under the lock: an offer that nobody takes any more goes back when it is dropped.
        for (waiting, checked_out) in offers {
            drop(waiting.send(Ok(PooledConnection::new(self, checked_out))));
        }
        // Outside of the runtime there is nobody left to open any for.
        if missing > 0 && Handle::try_current().is_ok() {
            for _ in 0..missing {
                self.shared.spawner.spawn("connect to an upstream", Arc::clone(self).open());
            }
        }
        result
    }

    async fn open(self: Arc<Self>) {
        match Box::pin(connection::open(&self)).await {
            Ok(Established::Http1(connection)) => {
                let lost = self.update(|state| state.opened_http1(connection, Instant::now()));
                fail_all(lost, &closed_at_once());
            }
            Ok(Established::Http2(connection, driver)) => {
                let id = self.update(|state| state.opened_http2(connection));
                self.shared.spawner.spawn("upstream connection", driver.run(Arc::downgrade(&self), id));
            }
            Err(error) => {
                let (lost, again_at) = self.update(|state| state.failed_to_open(Instant::now()));
                fail_all(lost, &error);
                if let Some(at) = again_at {
                    sleep_until(at).await;
                    self.update(|_| ());
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn closed_at_once() -> SendError {
    SendError::Connect("the server closed the connection at once".to_owned())
}

/// Tells those who wait that nothing comes.
fn fail_all(waiting: Vec<oneshot::Sender<Result<PooledConnection, SendError>>>, error: &SendError) {
    for waiting in waiting {
        drop(waiting.send(Err(error.clone())));
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("uri", &self.uri).finish_non_exhaustive()
    }
}

// === impl PooledConnection ===

impl PooledConnection {
    fn new(host: &Arc<Host>, checked_out: CheckedOut) -> Self {
        Self { host: Arc::clone(host), checked_out: Some(checked_out) }
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        match self.checked_out.take() {
            Some(CheckedOut::Http1(connection)) => self.host.update(|state| state.give_back(connection)),
            Some(CheckedOut::Http2 { id, .. }) => self.host.update(|state| state.release(id)),
            None => {}
        }
    }
}

impl fmt::Debug for PooledConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("host", &self.host.uri).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
