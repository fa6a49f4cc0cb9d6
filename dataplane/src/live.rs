//! State that outlives a configuration: counters, health and connections are kept by name, so that a new snapshot
//! forgives no limit, forgets no failure and closes no pooled connection.

mod account;
mod health;
mod learned;
mod load;
mod rejections;
mod retry_budget;
mod slots;

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use routeapi_channel::ObjectId;

pub use account::{Account, Headroom, Remaining, Reservation, Room};
pub use health::{Availability, Eviction, Health};
pub use learned::Learned;
pub use load::{InFlight, Load};
pub use rejections::{Rejection, Rejections};
pub use retry_budget::RetryBudget;
pub use slots::{Slot, Slots};

use crate::spawn::Spawner;
use crate::telemetry::Traffic;
use crate::upstream::{self, AddressRules, Clients, Egress, Keeping};

/// One upstream model as health sees it: two routes that use the same model of the same account share its fate.
pub type HealthKey = (ObjectId, Option<String>);

/// Everything that is shared by one configuration and the next.
#[derive(Debug)]
pub struct Live {
    accounts: Kept<ObjectId, Account>,
    health: Kept<HealthKey, Health>,
    loads: Kept<HealthKey, Load>,
    learned: Kept<HealthKey, Learned>,
    slots: Kept<ObjectId, Slots>,
    budgets: Kept<ObjectId, RetryBudget>,
    rejections: Arc<Rejections>,
    clients: Clients,
    traffic: Arc<Traffic>,
}

impl Live {
    /// Nothing used, nothing failed, nothing connected.
    pub fn new(addresses: impl Into<AddressRules>) -> Self {
        Self {
            accounts: Kept::default(),
            health: Kept::default(),
            loads: Kept::default(),
            learned: Kept::default(),
            slots: Kept::default(),
            budgets: Kept::default(),
            rejections: Arc::default(),
            clients: Clients::new(addresses),
            traffic: Arc::default(),
        }
    }

    /// Counts by route and upstream here.
    #[must_use]
    pub fn with_traffic(mut self, traffic: Arc<Traffic>) -> Self {
        self.traffic = traffic;
        self
    }

    /// Leaves the network in these ways.
    #[must_use]
    pub fn with_egress(mut self, egress: Egress) -> Self {
        self.clients = self.clients.with_egress(egress);
        self
    }

    /// Keeps connections to upstreams for so long; counts and runs them here.
    #[must_use]
    pub fn with_connections(mut self, keeping: Keeping, metrics: upstream::Metrics, spawner: Spawner) -> Self {
        self.clients = self.clients.with_connections(keeping, metrics, spawner);
        self
    }

    /// What each route and upstream in force has counted.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// The account of a token.
    pub fn account(&self, token: &ObjectId) -> Arc<Account> {
        self.accounts.get(token)
    }

    /// The health of an upstream model.
    pub fn health(&self, key: &HealthKey) -> Arc<Health> {
        self.health.get(key)
    }

    /// What an upstream model has to do.
    pub fn load(&self, key: &HealthKey) -> Arc<Load> {
        self.loads.get(key)
    }

    /// What was learned of an upstream model.
    pub fn learned(&self, key: &HealthKey) -> Arc<Learned> {
        self.learned.get(key)
    }

    /// Which providers' keys are rejected.
    pub fn rejections(&self) -> &Arc<Rejections> {
        &self.rejections
    }

    /// The concurrency slots of a provider.
    pub fn slots(&self, provider: &ObjectId) -> Arc<Slots> {
        self.slots.get(provider)
    }

    /// The retry budget of a route.
    pub fn budget(&self, route: &ObjectId) -> Arc<RetryBudget> {
        self.budgets.get(route)
    }

    /// Connections to upstreams.
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// Drops what no configuration refers to any more.
    pub fn prune(&self) {
        self.accounts.prune();
        self.health.prune();
        self.loads.prune();
        self.learned.prune();
        self.slots.prune();
        self.budgets.prune();
        self.clients.prune();
    }
}

/// Values by name, made on first use. A lock is taken while a configuration is compiled, never by a request.
#[derive(Debug)]
struct Kept<K, V>(Mutex<HashMap<K, Arc<V>>>);

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq + Clone, V: Default> Kept<K, V> {
    fn get(&self, key: &K) -> Arc<V> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.entry(key.clone()).or_default().clone()
    }

    fn prune(&self) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.retain(|_, value| Arc::strong_count(value) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::AddressPolicy;

    #[test]
    fn what_is_in_use_keeps_its_state_and_what_is_not_goes() {
        let live = Live::new(AddressPolicy::Workstation);
        let key = (ObjectId::new("a", "b"), None);
        let held = live.health(&key);
        live.prune();
        assert!(Arc::ptr_eq(&held, &live.health(&key)));
        let weak = Arc::downgrade(&held);
        drop(held);
        live.prune();
        assert!(weak.upgrade().is_none());
    }
}
