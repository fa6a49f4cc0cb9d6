//! The connections to one host: what a request gets, what is opened for those who wait, and what is told to them.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use http::{Uri, uri::Scheme};
use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, sleep_until, timeout},
};

use super::{
    connection::{self, Driver, Established},
    settings::{Dial, Shared},
    state::{Acquired, CheckedOut, Offer, State},
};
use crate::upstream::send_error::SendError;

/// The connections to one host.
pub struct Host {
    pub(super) uri: Uri,
    dial: Dial,
    pub(super) dial_http1: Dial,
    pub(super) shared: Shared,
    state: Mutex<State<PooledConnection>>,
}

/// A connection, or an HTTP/2 stream of one, that is this request's alone. Goes back when it is dropped.
pub struct PooledConnection {
    pub(super) host: Arc<Host>,
    pub(super) checked_out: Option<CheckedOut>,
}

/// A request that waits for a connection. Dropping it gives up its turn.
struct Waiting<'a> {
    host: &'a Arc<Host>,
    ticket: u64,
    offer: oneshot::Receiver<Result<PooledConnection, SendError>>,
    since: Instant,
}

// === impl Host ===

impl Host {
    pub(super) fn new(uri: Uri, dial: Dial, dial_http1: Dial, shared: Shared) -> Self {
        let state = Mutex::new(State::new(uri.scheme() == Some(&Scheme::HTTPS), shared.lifetimes));
        Self { uri, dial, dial_http1, shared, state }
    }

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
    /// As [`Host::acquire`].
    pub async fn acquire_again(self: &Arc<Self>) -> Result<PooledConnection, SendError> {
        self.shared.metrics.repeated.inc();
        if self.state().is_multiplexed() {
            return self.acquire().await;
        }
        match Box::pin(self.establish()).await? {
            Established::Http1(connection) => Ok(PooledConnection::new(self, CheckedOut::Http1(connection))),
            Established::Http2(connection, driver) => {
                let id = self.update(|state| state.add(connection));
                self.shared.spawner.spawn("upstream connection", drive(Arc::downgrade(self), id, driver));
                self.acquire().await
            }
        }
    }

    /// Changes the state, serves who waits from what that has made free, and opens what is still missing.
    pub(super) fn update<T>(self: &Arc<Self>, change: impl FnOnce(&mut State<PooledConnection>) -> T) -> T {
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

    /// Closes the connections that are too old or were not used for too long.
    pub fn expire(self: &Arc<Self>) {
        self.update(|state| state.expire(Instant::now()));
    }

    async fn establish(&self) -> Result<Established, SendError> {
        connection::open(&self.dial, self.uri.clone(), &self.shared).await
    }

    async fn open(self: Arc<Self>) {
        match Box::pin(self.establish()).await {
            Ok(Established::Http1(connection)) => {
                let lost = self.update(|state| state.opened_http1(connection, Instant::now()));
                fail_all(lost, &closed_at_once());
            }
            Ok(Established::Http2(connection, driver)) => {
                let id = self.update(|state| state.opened_http2(connection));
                self.shared.spawner.spawn("upstream connection", drive(Arc::downgrade(&self), id, driver));
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

    pub(super) fn state(&self) -> MutexGuard<'_, State<PooledConnection>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drives an HTTP/2 connection to its end. Tells its host of the limit of streams, and of the end.
async fn drive(host: Weak<Host>, id: u64, driver: Box<Driver>) {
    let on_limit = |limit| {
        if let Some(host) = host.upgrade() {
            host.update(|state| state.limited(id, limit, Instant::now()));
        }
    };
    driver.run(on_limit).await;
    if let Some(host) = host.upgrade() {
        let lost = host.update(|state| state.ended(id));
        fail_all(lost, &closed_at_once());
    }
}

fn closed_at_once() -> SendError {
    SendError::Connect("the server closed the connection at once".to_owned())
}

/// Tells those who wait that nothing comes.
fn fail_all(waiting: Vec<Offer<PooledConnection>>, error: &SendError) {
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
    pub(super) fn new(host: &Arc<Host>, checked_out: CheckedOut) -> Self {
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

// === impl Waiting ===

impl<'a> Waiting<'a> {
    fn new(host: &'a Arc<Host>, ticket: u64, offer: oneshot::Receiver<Result<PooledConnection, SendError>>) -> Self {
        host.shared.metrics.waiting.inc();
        Self { host, ticket, offer, since: Instant::now() }
    }

    /// The connection. A host that does not connect says so itself; what is bounded here is the wait for a stream, which
    /// is extended once while connections are still being opened.
    async fn await_offer(mut self) -> Result<PooledConnection, SendError> {
        let wait = self.host.shared.wait;
        for may_extend in [true, false] {
            match timeout(wait, &mut self.offer).await {
                Ok(Ok(offer)) => return offer,
                // Nothing drops an offer without a word while its host lives.
                Ok(Err(_)) => return Err(SendError::Connect("the connection was given up".to_owned())),
                Err(_) if may_extend && !self.host.state().is_saturated() => {}
                Err(_) => break,
            }
        }
        Err(SendError::Saturated(wait))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.host.update(|state| state.leave(self.ticket));
        let metrics = &self.host.shared.metrics;
        metrics.waiting.dec();
        metrics.wait.observe(self.since.elapsed().as_secs_f64());
    }
}
