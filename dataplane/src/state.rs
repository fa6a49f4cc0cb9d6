//! State that outlives a configuration: counters, health and connections are kept by name, so that a new snapshot
//! forgives no limit, forgets no failure and closes no pooled connection.

mod account;
mod concurrency_limit;
mod health;
mod learned;
mod load;
mod rejected_keys;
mod retry_budget;

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use routeapi_channel::ObjectId;

pub use account::{Account, Headroom, Remaining, Reservation, Room};
pub use concurrency_limit::{ConcurrencyLimit, ConcurrencyPermit};
pub use health::{Availability, Eviction, Health};
pub use learned::Learned;
pub use load::{InFlight, Load};
pub use rejected_keys::{KeyRejection, RejectedKeys};
pub use retry_budget::RetryBudget;

use crate::spawn::Spawner;
use crate::telemetry::Traffic;
use crate::upstream::{self, AddressRules, Clients, ConnectionLifetimes, Egress};

/// One upstream model as health sees it: two routes that use the same model of the same account share its fate.
pub type HealthKey = (ObjectId, Option<String>);

/// Everything that is shared by one configuration and the next.
#[derive(Debug)]
pub struct SharedState {
    accounts: Registry<ObjectId, Account>,
    health: Registry<HealthKey, Health>,
    loads: Registry<HealthKey, Load>,
    learned: Registry<HealthKey, Learned>,
    concurrency: Registry<ObjectId, ConcurrencyLimit>,
    budgets: Registry<ObjectId, RetryBudget>,
    rejected_keys: Arc<RejectedKeys>,
    clients: Clients,
    traffic: Arc<Traffic>,
}

impl SharedState {
    /// Nothing used, nothing failed, nothing connected.
    pub fn new(addresses: impl Into<AddressRules>) -> Self {
        Self {
            accounts: Registry::default(),
            health: Registry::default(),
            loads: Registry::default(),
            learned: Registry::default(),
            concurrency: Registry::default(),
            budgets: Registry::default(),
            rejected_keys: Arc::default(),
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
    pub fn with_connections(
        mut self,
        lifetimes: ConnectionLifetimes,
        metrics: upstream::Metrics,
        spawner: Spawner,
    ) -> Self {
        self.clients = self.clients.with_connections(lifetimes, metrics, spawner);
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
    pub fn rejected_keys(&self) -> &Arc<RejectedKeys> {
        &self.rejected_keys
    }

    /// The concurrency limit of a provider.
    pub fn concurrency(&self, provider: &ObjectId) -> Arc<ConcurrencyLimit> {
        self.concurrency.get(provider)
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
        self.concurrency.prune();
        self.budgets.prune();
        self.clients.prune();
    }
}

/// Values by name, made on first use. A lock is taken while a configuration is compiled, never by a request.
#[derive(Debug)]
struct Registry<K, V>(Mutex<HashMap<K, Arc<V>>>);

impl<K, V> Default for Registry<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq + Clone, V: Default> Registry<K, V> {
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
    fn state_in_use_is_kept_and_unused_state_is_pruned() {
        let state = SharedState::new(AddressPolicy::Workstation);
        let key = (ObjectId::new("a", "b"), None);
        let held = state.health(&key);
        state.prune();
        assert!(Arc::ptr_eq(&held, &state.health(&key)));
        let weak = Arc::downgrade(&held);
        drop(held);
        state.prune();
        assert!(weak.upgrade().is_none());
    }
}
