//! The connection that all calls share, and when it is given up.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use super::{address::Address, script::Scripts};
use crate::{clock, limits::store::StoreUnavailable};

/// From one attempt to connect to the next, at least.
pub(super) const MIN_BACKOFF: Duration = Duration::from_millis(100);

/// At most: a server that is back is noticed soon.
pub(super) const MAX_BACKOFF: Duration = Duration::from_secs(2);

/// For name lookup, TCP, TLS, authentication and the first commands together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// So many late answers in a row, and the server is taken to be lost. One alone may be a pause of the server or of this
/// process.
const LATE_IN_A_ROW: u32 = 3;

/// Calls that wait for their turn to be written; more wait with their requests.
const PIPELINE: usize = 1024;

/// What answers are read for, as long as it is polled.
pub(super) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The state of the connection.
pub(super) struct Link(watch::Sender<State>);

#[derive(Clone)]
enum State {
    /// Not connected yet: calls wait, within their time.
    Starting,
    Up(Live),
    /// Calls fail at once.
    Lost {
        why: Arc<str>,
        since: Instant,
    },
}

/// A connection that has proven itself.
#[derive(Clone)]
pub(super) struct Live {
    pub connection: MultiplexedConnection,
    health: Arc<Health>,
}

#[derive(Default)]
struct Health {
    late: AtomicU32,
    given_up: Notify,
}

// === impl Link ===

impl Default for Link {
    fn default() -> Self {
        Self(watch::Sender::new(State::Starting))
    }
}

impl Link {
    /// The connection, once there is one or it is lost.
    pub(super) async fn live(&self) -> Result<Live, StoreUnavailable> {
        let mut state = self.0.subscribe();
        loop {
            match &*state.borrow_and_update() {
                State::Up(live) => return Ok(live.clone()),
                State::Lost { why, .. } => return Err(StoreUnavailable::unasked(why.as_ref())),
                State::Starting => {}
            }
            if state.changed().await.is_err() {
                return Err(StoreUnavailable::unasked("not connected"));
            }
        }
    }

    /// Forgets a connection that has ended with its runtime.
    pub(super) fn restart(&self) {
        self.0.send_replace(State::Starting);
    }

    pub(super) fn connected(&self, connection: MultiplexedConnection) -> Live {
        let live = Live { connection, health: Arc::default() };
        let before = self.0.send_replace(State::Up(live.clone()));
        match before {
            State::Lost { since, .. } => {
                let lost_for = clock::mono().saturating_duration_since(since);
                tracing::info!(?lost_for, "the limit store is back");
            }
            State::Starting | State::Up(_) => tracing::info!("connected to the limit store"),
        }
        live
    }

    /// An attempt to connect failed.
    pub(super) fn unreachable(&self, why: &str) {
        let is_new = match &*self.0.borrow() {
            State::Lost { why: known, .. } => known.as_ref() != why,
            State::Starting | State::Up(_) => true,
        };
        if is_new {
            tracing::warn!(error = why, "the limit store cannot be reached; limits are decided without it");
        }
        self.lose(why, |_| true);
    }

    /// An answer came too late; the last of several gives the connection up.
    pub(super) fn late(&self, live: &Live, why: &str) {
        if live.health.late.fetch_add(1, Ordering::Relaxed).saturating_add(1) >= LATE_IN_A_ROW {
            self.failed(live, why);
        }
    }

    /// This connection is no longer used.
    pub(super) fn failed(&self, live: &Live, why: &str) {
        let is_lost = self.lose(why, |current| Arc::ptr_eq(&current.health, &live.health));
        if is_lost {
            tracing::warn!(error = why, "the limit store is lost; limits are decided without it");
            live.health.given_up.notify_one();
        }
    }

    /// Unless the connection in use is another one. Returns whether that is news.
    fn lose(&self, why: &str, is_meant: impl Fn(&Live) -> bool) -> bool {
        self.0.send_if_modified(|state| {
            let (since, is_news) = match state {
                State::Up(current) if !is_meant(current) => return false,
                State::Lost { since, .. } => (*since, false),
                State::Up(_) | State::Starting => (clock::mono(), true),
            };
            *state = State::Lost { why: why.into(), since };
            is_news
        })
    }
}

// === impl Live ===

impl Live {
    pub(super) fn answered(&self) {
        // Mostly it is 0 already, and a write would be shared by all cores.
        if self.health.late.load(Ordering::Relaxed) != 0 {
            self.health.late.store(0, Ordering::Relaxed);
        }
    }

    /// Resolves when the connection is no longer used.
    pub(super) async fn given_up(&self) {
        self.health.given_up.notified().await;
    }
}

/// Opens a connection and proves that it may do what it is for: load the scripts, and write.
pub(super) async fn open(
    address: &Address,
    scripts: &Scripts,
    prefix: &str,
) -> Result<(MultiplexedConnection, Driver), String> {
    let opening = async {
        let stream = address.connect().await?;
        // Deadlines are those of the calls.
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(PIPELINE);
        let login = address.login()?;
        let opened = MultiplexedConnection::new_with_config(&login, stream, config).await;
        let (mut connection, driver) = opened.map_err(|error| error.to_string())?;
        let mut driver: Driver = Box::pin(driver);
        let proven = tokio::select! {
            proven = prove(&mut connection, scripts, prefix) => proven,
            () = &mut driver => Err("the connection was closed".to_owned()),
        };
        proven.map(|()| (connection, driver))
    };
    let late = || format!("not connected within {CONNECT_TIMEOUT:?}");
    timeout(CONNECT_TIMEOUT, opening).await.unwrap_or_else(|_elapsed| Err(late()))
}

async fn prove(connection: &mut MultiplexedConnection, scripts: &Scripts, prefix: &str) -> Result<(), String> {
    for script in scripts.all() {
        script.load_async(connection).await.map_err(|error| error.to_string())?;
    }
    // A replica, a full server and missing permissions say so here, before requests depend on it.
    let mut write = redis::cmd("SET");
    write.arg(format!("{prefix}:connected")).arg(1).arg("PX").arg(10_000);
    write.exec_async(connection).await.map_err(|error| error.to_string())
}
