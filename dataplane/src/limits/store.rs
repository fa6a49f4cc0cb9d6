//! What a limit store is asked and answers.

use std::{fmt, future::pending, sync::Arc};

use futures_util::future::BoxFuture;
use prometheus_client::registry::Registry;
use routeapi_channel::ObjectId;
use routeapi_metering::{Actual, Estimate, Exceeded, Limit, UnixMillis};

use super::headroom::Headroom;

/// A store in which several processes count together. It is reached over a network, so that it can be away.
///
/// A store is told the limits with each request and keeps nothing of the configuration. What it has granted and nobody
/// ever settles, because the process was killed, it gives back after a while.
pub trait LimitStore: fmt::Debug + Send + Sync {
    /// Grants or refuses a request of a token under all these limits at once; says what is left, itself taken off. The
    /// caller chooses the lease, which names the reservation from then on. Cancelled, or given up, it may still grant it.
    fn reserve<'a>(
        &'a self,
        token: &'a ObjectId,
        lease: u128,
        limits: &'a [Limit],
        now: UnixMillis,
        estimate: Estimate,
    ) -> BoxFuture<'a, Result<Headroom, Refused>>;

    /// Replaces a reservation by what was used. May be called again for the same lease, if it is not known whether the
    /// first call was heard: it counts once. Of a lease that the store does not know, what was used counts. One that is
    /// settled before its reservation arrives is not granted any more.
    fn settle<'a>(
        &'a self,
        token: &'a ObjectId,
        settlement: &'a Settlement,
    ) -> BoxFuture<'a, Result<(), StoreUnavailable>>;

    /// Keeps the store reachable, and leases alive, for as long as it is polled. Stopped, it can be run again, in another
    /// runtime too.
    fn run(&self) -> BoxFuture<'_, ()> {
        Box::pin(pending())
    }

    /// Names its own series.
    fn register(&self, _registry: &mut Registry) {}
}

/// The end of a reservation in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The reservation's name.
    pub lease: u128,
    /// The limits under which it was granted.
    pub limits: Arc<[Limit]>,
    /// What was reserved.
    pub estimate: Estimate,
    /// When it ended and what it did use; none if nothing was sent, so that all of it is given back.
    pub used: Option<(UnixMillis, Actual)>,
}

/// A request may not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A limit leaves no room.
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
    /// It cannot be told whether there is room.
    #[error(transparent)]
    StoreUnavailable(#[from] StoreUnavailable),
}

/// A limit store is away. Why is for whoever runs the gateway, not for its clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limit store cannot be asked: {why}")]
pub struct StoreUnavailable {
    why: String,
    /// Whether it may have done what it was asked for.
    pub is_maybe_heard: bool,
}

impl StoreUnavailable {
    /// It was not asked.
    pub fn unasked(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_maybe_heard: false }
    }

    /// It was asked, and did not answer.
    pub fn unanswered(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_maybe_heard: true }
    }
}
