//! What a limit store is asked and answers.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use routeapi_channel::ObjectId;
use routeapi_metering::{Actual, Estimate, Exceeded, Limit, UnixMillis};

use super::headroom::Headroom;

/// A store in which several processes count together. It is reached over a network, so that it can be away.
///
/// A store is told the limits with each request and keeps nothing of the configuration. What it has granted and nobody
/// ever settles, because the answer was lost on its way or the process was killed, it has to count as used after a while.
pub trait LimitStore: fmt::Debug + Send + Sync {
    /// Grants or refuses a request of a token under all these limits at once. Cancelled, or given up after a second, it
    /// may still have granted it.
    fn reserve<'a>(
        &'a self,
        token: &'a ObjectId,
        limits: &'a [Limit],
        now: UnixMillis,
        estimate: Estimate,
    ) -> BoxFuture<'a, Result<Granted, Refused>>;

    /// Replaces a reservation by what was used. May be called again for the same lease, if it is not known whether the
    /// first call was heard: it counts once.
    fn settle<'a>(
        &'a self,
        token: &'a ObjectId,
        settlement: &'a Settlement,
    ) -> BoxFuture<'a, Result<(), StoreUnavailable>>;
}

/// What a store has granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Names the reservation in the store.
    pub lease: u128,
    /// What was left when it was granted, itself taken off.
    pub headroom: Headroom,
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
#[error("the limit store cannot be asked: {0}")]
pub struct StoreUnavailable(pub String);
