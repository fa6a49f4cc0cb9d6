//! Connections to one host, kept between requests and shared by them: who gets which, and when another is opened.
//!
//! - HTTP/1: a connection carries one request at a time. A request checks it out and gives it back when its answer has been
//!   read to the end.
//! - HTTP/2: a connection carries as many requests as the server's `SETTINGS_MAX_CONCURRENT_STREAMS` says. Requests beyond
//!   that open another one, up to [`state::MAX_MULTIPLEXED`], and then wait here. A stream is never queued unseen inside a
//!   connection, so that whoever waits knows when its request is really on the way. (RFC 9113, 9.1 says that a client
//!   should not open a second connection. It means a browser; what this process sends comes from many clients.)
//! - What the upstream never saw may be sent once more: see [`Host::acquire_again`].
//!
//! How many connections are opened at once follows the requests that wait: one each for HTTP/1, one per `limit` requests
//! for HTTP/2, and a single one as long as it is not known which of the two the server speaks, or what its limit is. They
//! are opened by tasks of their own, so that a client that goes away in the meantime does not waste a handshake.
//!
//! Why not `hyper_util`'s client: it keeps one HTTP/2 connection to a host and lets the h2 crate queue what is beyond the
//! limit of streams, so that nobody can tell a request that waits from an upstream that is silent.

mod connection;
mod host;
mod send;
mod settings;
mod state;
mod upgrade;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{Uri, uri::Authority, uri::Scheme};

pub(super) use self::settings::{Dial, Shared};
pub use self::{
    host::{Host, PooledConnection},
    send::PooledBody,
    settings::{BoxedIo, ConnectionLifetimes, Windows},
    upgrade::{Switched, UpgradedIo},
};

/// The connections of one kind (of trust and time to connect), by host.
pub struct Pool {
    dial: Dial,
    /// The same for HTTP/1 alone, where a connection is to leave HTTP.
    dial_http1: Dial,
    shared: Shared,
    hosts: Mutex<HashMap<(Scheme, Authority), Arc<Host>>>,
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
        let (dial, dial_http1) = (Arc::clone(&self.dial), Arc::clone(&self.dial_http1));
        Ok(Arc::new(Host::new(uri, dial, dial_http1, self.shared.clone())))
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
            host.expire();
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

#[cfg(test)]
mod tests;
