//! Limits of a token that are counted in a store, and what holds while that is lost.
//!
//! A lost store decides nothing: the limits' kinds do ([`OnStoreFailure`]). Requests that go on are counted here meanwhile,
//! from nothing, under this process's share of each limit, and are settled in the store as soon as it is back.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::registry::Registry;
use routeapi_channel::ObjectId;
use routeapi_metering::{Actual, Bounds, Estimate, Limit, Share, Ticket, UnixMillis};
use tokio::time::timeout;

use super::{
    headroom::Headroom,
    local::Counters,
    lost::OnStoreFailure,
    settler::{QueueSlot, Settler},
    store::{LimitStore, Refused, Settlement, StoreUnavailable},
};
use crate::clock;

/// How long a store may take to grant or refuse a request, unless something else is said. A store has its own, shorter
/// bounds; this one holds in any case.
const RESERVE_TIMEOUT: Duration = Duration::from_secs(1);

/// A store, and how it is used.
#[derive(Clone, Debug)]
pub struct SharedLimits {
    /// The store.
    pub store: Arc<dyn LimitStore>,
    /// How long a request waits for it at most.
    pub timeout: Duration,
    /// What holds while it is lost.
    pub on_failure: OnStoreFailure,
    /// Sends it what requests have used.
    pub settler: Settler,
    leases: Arc<LeaseIds>,
}

/// Names of reservations that no other process gives.
#[derive(Debug)]
struct LeaseIds {
    process: u64,
    next: AtomicU64,
}

/// One token's.
#[derive(Debug)]
pub(super) struct SharedAccount {
    backend: SharedLimits,
    token: Arc<ObjectId>,
    limits: Mutex<Arc<[Limit]>>,
    /// Counted while the store is lost.
    meanwhile: Counters,
}

/// A granted request.
#[derive(Debug)]
pub(super) struct Leased {
    /// None if the settler's queue was full while the store was lost: then nothing is settled there.
    slot: Option<QueueSlot>,
    lease: u128,
    limits: Arc<[Limit]>,
    estimate: Estimate,
    bounds: Bounds,
    /// If it was granted here, while the store was lost.
    meanwhile: Option<Ticket>,
}

/// A reservation that the store has not answered.
struct Asking<'a> {
    account: &'a SharedAccount,
    leased: Leased,
}

// === impl SharedLimits ===

impl SharedLimits {
    /// With the usual bounds and policy.
    pub fn new(store: Arc<dyn LimitStore>) -> Self {
        Self {
            store,
            timeout: RESERVE_TIMEOUT,
            on_failure: OnStoreFailure::default(),
            settler: Settler::default(),
            leases: Arc::new(LeaseIds { process: fastrand::u64(..), next: AtomicU64::new(0) }),
        }
    }

    /// Requests wait for it so long at most.
    #[must_use]
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// While it is lost, this holds.
    #[must_use]
    pub fn on_failure(mut self, policy: OnStoreFailure) -> Self {
        self.on_failure = policy;
        self
    }

    /// Names every series.
    pub fn register(&self, registry: &mut Registry) {
        self.settler.metrics().register(registry);
        self.store.register(registry);
    }

    pub(super) fn account(&self, token: &ObjectId) -> SharedAccount {
        SharedAccount {
            backend: self.clone(),
            token: Arc::new(token.clone()),
            limits: Mutex::new(Arc::from([])),
            meanwhile: Counters::default(),
        }
    }
}

// === impl LeaseIds ===

impl LeaseIds {
    fn next(&self) -> u128 {
        let sequence = self.next.fetch_add(1, Ordering::Relaxed);
        (u128::from(self.process) << 64) | u128::from(sequence)
    }
}

// === impl SharedAccount ===

impl SharedAccount {
    pub(super) fn configure(&self, limits: Vec<Limit>, share: Share) {
        let policy = self.backend.on_failure;
        let meanwhile = limits.iter().filter(|limit| !policy.rejects(limit)).cloned().collect();
        self.meanwhile.configure(meanwhile, None, share);
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits.into();
    }

    /// Nothing if the token has no limits. Cancelled, it gives back what the store may grant.
    pub(super) async fn reserve(
        &self,
        now: UnixMillis,
        estimate: Estimate,
    ) -> Result<Option<(Leased, Headroom)>, Refused> {
        let limits = Arc::clone(&self.limits.lock().unwrap_or_else(PoisonError::into_inner));
        if limits.is_empty() {
            return Ok(None);
        }
        let lease = self.backend.leases.next();
        let bounds = Bounds::new(limits.iter(), estimate);
        let leased = Leased { slot: None, lease, limits, estimate, bounds, meanwhile: None };
        // Before the store is asked: what it grants can be settled in any case.
        let (leased, asked) = match self.backend.settler.slot() {
            Ok(slot) => {
                let mut asking = Asking { account: self, leased: Leased { slot: Some(slot), ..leased } };
                let asked = self.ask(now, &asking.leased).await;
                (asking.answered(), asked)
            }
            Err(full) => (leased, Err(full.into())),
        };
        match asked {
            Ok(headroom) => Ok(Some((leased, headroom))),
            Err(Refused::StoreUnavailable(why)) => self.decide_alone(now, leased, why).map(Some),
            Err(exceeded) => Err(exceeded),
        }
    }

    async fn ask(&self, now: UnixMillis, leased: &Leased) -> Result<Headroom, Refused> {
        let SharedLimits { store, timeout: within, settler, .. } = &self.backend;
        let begun = clock::mono();
        let asking = store.reserve(&self.token, leased.lease, &leased.limits, now, leased.estimate);
        let late = || StoreUnavailable::unanswered(format!("no answer within {within:?}"));
        let answer = timeout(*within, asking).await.unwrap_or_else(|_elapsed| Err(late().into()));
        settler.metrics().asked("reserve", begun, !matches!(answer, Err(Refused::StoreUnavailable(_))));
        answer
    }

    fn decide_alone(
        &self,
        now: UnixMillis,
        mut leased: Leased,
        why: StoreUnavailable,
    ) -> Result<(Leased, Headroom), Refused> {
        let policy = self.backend.on_failure;
        let is_maybe_heard = why.is_maybe_heard;
        let decided = if leased.limits.iter().any(|limit| policy.rejects(limit)) {
            self.backend.settler.metrics().decided_alone("rejected");
            Err(why.into())
        } else {
            self.backend.settler.metrics().decided_alone("allowed");
            self.meanwhile.reserve(now, leased.estimate).map_err(Refused::from)
        };
        match decided {
            Ok((ticket, headroom)) => {
                leased.meanwhile = Some(ticket);
                Ok((leased, headroom))
            }
            Err(refused) => {
                // It may hold a reservation that nobody will use.
                if is_maybe_heard {
                    self.end(leased, None);
                }
                Err(refused)
            }
        }
    }

    /// Replaces what was reserved by what was used, if anything was. Never waits.
    pub(super) fn end(&self, leased: Leased, used: Option<(UnixMillis, Actual)>) {
        let Leased { slot, lease, limits, estimate, bounds: _, meanwhile } = leased;
        if let Some(ticket) = meanwhile {
            self.meanwhile.end(ticket, used);
        }
        if let Some(slot) = slot {
            let settlement = Settlement { lease, limits, estimate, used };
            slot.send(Arc::clone(&self.backend.store), Arc::clone(&self.token), settlement);
        }
    }
}

// === impl Asking ===

impl Asking<'_> {
    fn answered(&mut self) -> Leased {
        let Leased { slot, lease, limits, estimate, bounds, meanwhile } = &mut self.leased;
        Leased {
            slot: slot.take(),
            lease: *lease,
            limits: Arc::clone(limits),
            estimate: *estimate,
            bounds: std::mem::take(bounds),
            meanwhile: meanwhile.take(),
        }
    }
}

impl Drop for Asking<'_> {
    /// Nothing if it was answered.
    fn drop(&mut self) {
        let leased = self.answered();
        self.account.end(leased, None);
    }
}

// === impl Leased ===

impl Leased {
    /// What the request may use of each strict limit.
    pub(super) fn bounds(&self) -> &Bounds {
        &self.bounds
    }
}
