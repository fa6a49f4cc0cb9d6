//! Reservations that this process holds in the store, which are renewed until they are settled.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use routeapi_channel::ObjectId;
use routeapi_metering::Estimate;

use super::script;
use crate::clock;

/// So many are renewed by one call, so that none takes long.
pub(super) const BATCH: usize = 256;

/// What is open. Most requests end before anything of them is due.
pub(super) struct Leases {
    lease: Duration,
    open: Mutex<HashMap<u128, Lease>>,
}

struct Lease {
    token: ObjectId,
    estimate: Estimate,
    renew_at: Instant,
}

/// Leases of one token, in the scripts' words.
pub(super) struct Due {
    pub token: ObjectId,
    pub members: Vec<String>,
}

// === impl Leases ===

impl Leases {
    /// Of leases that end after so long.
    pub(super) fn new(lease: Duration) -> Self {
        Self { lease, open: Mutex::default() }
    }

    /// A reservation was granted.
    pub(super) fn opened(&self, lease: u128, token: &ObjectId, estimate: Estimate) {
        let renew_at = clock::mono() + self.lease / 3;
        self.lock().insert(lease, Lease { token: token.clone(), estimate, renew_at });
    }

    /// The store has settled it.
    pub(super) fn ended(&self, lease: u128) {
        self.lock().remove(&lease);
    }

    /// Between two looks at what is due.
    pub(super) fn pause(&self) -> Duration {
        self.lease / 12
    }

    /// What has to be renewed now, and again after a third of a lease's life.
    pub(super) fn due(&self, now: Instant) -> Vec<Due> {
        let mut by_token: HashMap<ObjectId, Vec<String>> = HashMap::new();
        for (id, lease) in self.lock().iter_mut().filter(|(_, lease)| lease.renew_at <= now) {
            lease.renew_at = now + self.lease / 3;
            by_token.entry(lease.token.clone()).or_default().push(script::member(*id, lease.estimate));
        }
        by_token.into_iter().map(|(token, members)| Due { token, members }).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u128, Lease>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
