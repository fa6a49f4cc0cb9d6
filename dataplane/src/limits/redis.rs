//! Limits in Redis or Valkey: one script per step, atomic for all limits of a request.
//!
//! The server's clock decides, so that a pod whose clock is wrong neither gets a fresh budget nor takes one away. A pod's
//! reservations are leases that end by themselves unless they are renewed; a pod that is killed gives them back that way.
//!
//! **No request waits for a lost server.** Calls have a deadline, and after a few that passed it, or one that failed
//! otherwise, the connection is given up: until a new one has proven itself ([`link`]), calls fail at once.

mod address;
mod keys;
mod leases;
mod link;
mod script;

use std::{
    fmt,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use futures_util::future::BoxFuture;
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};
use redis::ScriptInvocation;
use routeapi_channel::ObjectId;
use routeapi_metering::{Estimate, Limit, UnixMillis};
use tokio::time::timeout;

pub use self::address::{Address, InvalidAddress, Password};
use self::{
    keys::Keys,
    leases::Leases,
    link::Link,
    script::{Head, Scripts},
};
use super::{
    headroom::Headroom,
    store::{LimitStore, Refused, Settlement, StoreUnavailable},
};
use crate::clock;

/// How a server is used.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// Where it is, and who we are to it.
    pub address: Address,
    /// Begins every key. Installations with the same one count together.
    pub prefix: String,
    /// How long one call may take.
    pub timeout: Duration,
    /// When a reservation ends that nobody renews, because its pod is gone. Also how long it is remembered that one was
    /// settled, in case that is said twice.
    pub lease: Duration,
    /// Whose clock decides.
    pub clock: StoreClock,
}

/// Whose clock decides what is in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreClock {
    /// The server's, which all pods share.
    Server,
    /// The caller's: for tests, which choose the time.
    Caller,
}

/// A server in which limits are counted.
pub struct RedisStore {
    settings: RedisSettings,
    scripts: Scripts,
    link: Link,
    leases: Leases,
    connected: Gauge,
    /// Of the last reservation or settlement that had a time.
    caller_clock: AtomicI64,
}

// === impl RedisStore ===

impl RedisStore {
    /// Connects when it is run.
    pub fn new(settings: RedisSettings) -> Self {
        let leases = Leases::new(settings.lease);
        Self {
            settings,
            scripts: Scripts::new(),
            link: Link::default(),
            leases,
            connected: Gauge::default(),
            caller_clock: AtomicI64::new(0),
        }
    }

    fn head(&self, token: &ObjectId, now: Option<UnixMillis>) -> Head {
        let clock = match self.settings.clock {
            StoreClock::Server => None,
            StoreClock::Caller => {
                if let Some(now) = now {
                    self.caller_clock.store(now, Ordering::Relaxed);
                }
                Some(self.caller_clock.load(Ordering::Relaxed))
            }
        };
        Head { keys: Keys::of(&self.settings.prefix, token), clock, lease: self.settings.lease }
    }

    /// One call, within its time.
    async fn call(&self, invocation: &ScriptInvocation<'_>) -> Result<Vec<String>, StoreUnavailable> {
        let within = self.settings.timeout;
        let begun = clock::mono();
        let mut live = timeout(within, self.link.live())
            .await
            .unwrap_or_else(|_elapsed| Err(StoreUnavailable::unasked("not connected yet")))?;
        let left = within.saturating_sub(clock::mono().saturating_duration_since(begun));
        match timeout(left, invocation.invoke_async(&mut live.connection)).await {
            Ok(Ok(reply)) => {
                live.answered();
                Ok(reply)
            }
            Ok(Err(error)) => {
                self.link.failed(&live, &error.to_string());
                Err(StoreUnavailable::unanswered(error.to_string()))
            }
            Err(_elapsed) => {
                let why = format!("no answer within {within:?}");
                self.link.late(&live, &why);
                Err(StoreUnavailable::unanswered(why))
            }
        }
    }

    async fn ask(
        &self,
        token: &ObjectId,
        lease: u128,
        limits: &[Limit],
        now: UnixMillis,
        estimate: Estimate,
    ) -> Result<Headroom, Refused> {
        let head = self.head(token, Some(now));
        let reply = self.call(&self.scripts.reserve(&head, lease, limits, estimate)).await?;
        let headroom = script::granted(&reply, limits, estimate)?;
        self.leases.opened(lease, token, estimate);
        Ok(headroom)
    }

    async fn end(&self, token: &ObjectId, settlement: &Settlement) -> Result<(), StoreUnavailable> {
        let head = self.head(token, settlement.used.map(|(now, _)| now));
        self.call(&self.scripts.settle(&head, settlement)).await?;
        self.leases.ended(settlement.lease);
        Ok(())
    }

    /// Renews what is due, for as long as it is polled.
    async fn renew(&self) {
        loop {
            tokio::time::sleep(self.leases.pause()).await;
            for due in self.leases.due(clock::mono()) {
                let head = self.head(&due.token, None);
                for members in due.members.chunks(leases::BATCH) {
                    // One that fails is renewed by the next round: there are three in the life of a lease.
                    let _ = self.call(&self.scripts.renew(&head, members)).await;
                }
            }
        }
    }

    /// Connects, serves and connects again.
    async fn follow(&self) {
        self.link.restart();
        let mut backoff = link::MIN_BACKOFF;
        loop {
            match link::open(&self.settings.address, &self.scripts, &self.settings.prefix).await {
                Ok((connection, driver)) => {
                    backoff = link::MIN_BACKOFF;
                    let live = self.link.connected(connection);
                    self.connected.set(1);
                    tokio::select! {
                        () = driver => self.link.failed(&live, "the connection was closed"),
                        () = live.given_up() => {}
                        () = self.renew() => {}
                    }
                    self.connected.set(0);
                }
                Err(why) => self.link.unreachable(&why),
            }
            tokio::time::sleep(backoff).await;
            backoff = backoff.saturating_mul(2).min(link::MAX_BACKOFF);
        }
    }
}

impl LimitStore for RedisStore {
    fn reserve<'a>(
        &'a self,
        token: &'a ObjectId,
        lease: u128,
        limits: &'a [Limit],
        now: UnixMillis,
        estimate: Estimate,
    ) -> BoxFuture<'a, Result<Headroom, Refused>> {
        Box::pin(self.ask(token, lease, limits, now, estimate))
    }

    fn settle<'a>(
        &'a self,
        token: &'a ObjectId,
        settlement: &'a Settlement,
    ) -> BoxFuture<'a, Result<(), StoreUnavailable>> {
        Box::pin(self.end(token, settlement))
    }

    fn run(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.follow())
    }

    fn register(&self, registry: &mut Registry) {
        let help = "1 while the limit store is connected and answers";
        registry.register("routeapi_limit_store_connected", help, self.connected.clone());
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RedisStore").field("settings", &self.settings).finish_non_exhaustive()
    }
}
