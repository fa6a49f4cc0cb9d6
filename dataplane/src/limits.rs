//! What a token may still use: reserved before anything is sent, settled when the request has ended.
//!
//! Limits are counted in this process ([`local`]), each pod enforcing its share of every cap, or in a [`LimitStore`] in
//! which several processes count together. A request waits for a store once, in [`Account::reserve`]; a store that cannot
//! be asked is a refusal of its own, since nobody knows then whether there is room. Settling happens in destructors, so it
//! never waits. In this process it is arithmetic under a lock and done at once: a client's next request must find what its
//! last one has given back. For a store it is queued at the [`settler`], where every reservation that is granted has a slot
//! already. What holds while the store is lost is in [`shared`].
//!
//! How many requests of a token are in flight is a limit of each pod, and counted here in either case.

mod headroom;
mod local;
mod lost;
mod metrics;
pub mod redis;
mod settler;
mod shared;
mod store;

use std::sync::Arc;

use prometheus_client::metrics::gauge::Gauge;
use routeapi_channel::ObjectId;
use routeapi_metering::{Actual, Bounds, Estimate, Exceeded, Limit, Share, Ticket, UnixMillis};
use tokio::sync::Semaphore;

pub use self::{
    headroom::{Headroom, Room},
    local::Remaining,
    lost::{LostAction, OnStoreFailure},
    settler::Settler,
    shared::SharedLimits,
    store::{LimitStore, Refused, Settlement, StoreUnavailable},
};
use self::{
    local::Counters,
    shared::{Leased, SharedAccount},
};

/// The limits of one token, as a configuration says them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenLimits {
    /// All apply at once.
    pub limits: Vec<Limit>,
    /// Requests in flight in this process at most; none for any number.
    pub max_concurrent: Option<u32>,
    /// This process's part of every cap that is counted in it.
    pub share: Share,
}

/// Where the limits of all tokens are counted.
#[derive(Clone, Debug, Default)]
pub enum LimitBackend {
    /// In this process.
    #[default]
    InProcess,
    /// In a store that others share.
    Shared(SharedLimits),
}

/// What the requests of one token share in this process.
#[derive(Debug)]
pub struct Account {
    /// All limits, or concurrency alone if there is a store for the others.
    counters: Counters,
    shared: Option<SharedAccount>,
    /// One large body at a time is decoded or translated for a token.
    turn: Arc<Semaphore>,
    /// Bytes of its requests and answers that are held now.
    buffered: Gauge,
}

/// A granted request. Settle it with what was used; dropped unsettled it gives everything back, which is right only
/// while nothing has been sent to an upstream.
#[derive(Debug)]
#[must_use = "dropping it gives the reservation back"]
pub struct Reservation {
    account: Arc<Account>,
    ticket: Option<Ticket>,
    leased: Option<Leased>,
    headroom: Headroom,
}

// === impl LimitBackend ===

impl LimitBackend {
    /// A token that has used nothing yet.
    pub fn account(&self, token: &ObjectId) -> Account {
        Account { shared: self.shared().map(|shared| shared.account(token)), ..Account::default() }
    }

    /// The store, if there is one.
    pub fn shared(&self) -> Option<&SharedLimits> {
        match self {
            Self::InProcess => None,
            Self::Shared(shared) => Some(shared),
        }
    }
}

// === impl Account ===

impl Default for Account {
    /// Counted in this process, without a limit.
    fn default() -> Self {
        Self {
            counters: Counters::default(),
            shared: None,
            turn: Arc::new(Semaphore::new(1)),
            buffered: Gauge::default(),
        }
    }
}

impl Account {
    /// Takes on the limits of a new configuration, keeping counts.
    pub fn configure(&self, limits: TokenLimits) {
        let TokenLimits { limits, max_concurrent, share } = limits;
        match &self.shared {
            None => self.counters.configure(limits, max_concurrent, share),
            Some(shared) => {
                shared.configure(limits, share);
                self.counters.configure(Vec::new(), max_concurrent, share);
            }
        }
    }

    /// Grants or refuses a request. Waits only where limits are counted in a store, and there within its bound.
    ///
    /// # Errors
    /// The limit that leaves no room, or a store that cannot be asked.
    pub async fn reserve(self: &Arc<Self>, now: UnixMillis, estimate: Estimate) -> Result<Reservation, Refused> {
        let (ticket, headroom) = self.counters.reserve(now, estimate)?;
        let mut reservation = Reservation { account: Arc::clone(self), ticket: Some(ticket), leased: None, headroom };
        // If that fails, dropping the reservation gives back what was counted here.
        if let Some(shared) = &self.shared
            && let Some((leased, headroom)) = shared.reserve(now, estimate).await?
        {
            (reservation.leased, reservation.headroom) = (Some(leased), headroom);
        }
        Ok(reservation)
    }

    /// What is left of each limit that is counted in this process.
    pub fn remaining(&self, now: UnixMillis) -> Vec<Remaining> {
        self.counters.remaining(now)
    }

    /// Whose turn it is among the token's large requests.
    pub fn turn(&self) -> &Arc<Semaphore> {
        &self.turn
    }

    /// Bytes of the token's requests and answers that are held now. Whoever holds some adds and takes them off.
    pub fn buffered(&self) -> Gauge {
        self.buffered.clone()
    }
}

// === impl Reservation ===

impl Reservation {
    /// What was left when it was granted, itself taken off.
    pub fn headroom(&self) -> Headroom {
        self.headroom
    }

    /// Whether a strict limit bounds the answer.
    pub fn is_bounded(&self) -> bool {
        self.bounds().is_some_and(|bounds| !bounds.is_empty())
    }

    /// Whether what was used so far is within what was reserved of every strict limit.
    ///
    /// # Errors
    /// The limit that is exceeded.
    pub fn check(&self, used: Actual) -> Result<(), Exceeded> {
        self.bounds().map_or(Ok(()), |bounds| bounds.check(used))
    }

    /// Counts at once what was used so far by a request that goes on, and that counts with the rest in the end. Returns
    /// whether it did: a store counts everything in the end.
    ///
    /// # Errors
    /// The limit that has no room for more.
    pub fn count(&self, now: UnixMillis, actual: Actual) -> (bool, Result<(), Exceeded>) {
        match self.leased {
            Some(_) => (false, Ok(())),
            None => (true, self.account.counters.count(now, actual)),
        }
    }

    /// Replaces the reservation by what was really used.
    pub fn settle(mut self, now: UnixMillis, actual: Actual) {
        self.end(Some((now, actual)));
    }

    fn bounds(&self) -> Option<&Bounds> {
        let leased = self.leased.as_ref().map(Leased::bounds);
        leased.or_else(|| self.ticket.as_ref().map(Ticket::bounds))
    }

    /// Once: afterwards there is nothing left to give back.
    fn end(&mut self, used: Option<(UnixMillis, Actual)>) {
        if let Some(ticket) = self.ticket.take() {
            self.account.counters.end(ticket, used);
        }
        if let Some((shared, leased)) = self.account.shared.as_ref().zip(self.leased.take()) {
            shared.end(leased, used);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.end(None);
    }
}

#[cfg(test)]
mod tests;
