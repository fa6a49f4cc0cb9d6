//! State that outlives a configuration: counters, health and connections are kept by name, so that a new snapshot
//! forgives no limit, forgets no failure and closes no pooled connection.

mod changes;
mod concurrency_limit;
mod health;
mod learned;
mod load;
mod offered_models;
mod rejected_keys;
mod retry_budget;
mod stored_ids;

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use routeapi_channel::ObjectId;
use tokio::sync::Notify;

pub use changes::{Draft, StateChanges, View};
pub use concurrency_limit::{ConcurrencyLimit, ConcurrencyPermit};
pub use health::{Availability, Eviction, Health};
pub use learned::Learned;
pub use load::{InFlight, Load};
pub use offered_models::OfferedModels;
pub use rejected_keys::{KeyRejection, RejectedKeys};
pub use retry_budget::RetryBudget;
pub use stored_ids::{PresentedId, StoredIds};

use crate::{
    limits::{Account, LimitBackend},
    service_accounts::ServiceAccounts,
    spawn::Spawner,
    telemetry::Traffic,
    upstream::{self, AddressRules, Clients, ConnectionLifetimes, Credentials, Egress},
};

/// One upstream model as health sees it: two routes that use the same model of the same account share its fate.
pub type HealthKey = (ObjectId, Option<String>);

/// A provider, and a hash of all that is said of it but its key.
type CredentialsKey = (ObjectId, u64);

/// Everything that is shared by one configuration and the next.
#[derive(Debug)]
pub struct SharedState {
    limit_backend: LimitBackend,
    accounts: Registry<ObjectId, Account>,
    health: Registry<HealthKey, Health>,
    loads: Registry<HealthKey, Load>,
    learned: Registry<HealthKey, Learned>,
    concurrency: Registry<ObjectId, ConcurrencyLimit>,
    budgets: Registry<ObjectId, RetryBudget>,
    credentials: Registry<CredentialsKey, Credentials>,
    credentials_changed: Arc<Notify>,
    offered_models: Registry<CredentialsKey, OfferedModels>,
    rejected_keys: Arc<RejectedKeys>,
    stored_ids: Arc<StoredIds>,
    service_accounts: Arc<ServiceAccounts>,
    clients: Clients,
    traffic: Arc<Traffic>,
}

impl SharedState {
    /// Nothing used, nothing failed, nothing connected.
    pub fn new(addresses: impl Into<AddressRules>) -> Self {
        Self {
            limit_backend: LimitBackend::default(),
            accounts: Registry::default(),
            health: Registry::default(),
            loads: Registry::default(),
            learned: Registry::default(),
            concurrency: Registry::default(),
            budgets: Registry::default(),
            credentials: Registry::default(),
            credentials_changed: Arc::default(),
            offered_models: Registry::default(),
            rejected_keys: Arc::default(),
            stored_ids: Arc::default(),
            service_accounts: Arc::default(),
            clients: Clients::new(addresses),
            traffic: Arc::default(),
        }
    }

    /// Counts the limits of tokens there.
    #[must_use]
    pub fn with_limit_backend(mut self, limit_backend: LimitBackend) -> Self {
        self.limit_backend = limit_backend;
        self
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

    /// Which providers' keys are rejected.
    pub fn rejected_keys(&self) -> &Arc<RejectedKeys> {
        &self.rejected_keys
    }

    /// Ids of stored responses and conversations.
    pub fn stored_ids(&self) -> &Arc<StoredIds> {
        &self.stored_ids
    }

    /// Who calls with ServiceAccount tokens.
    pub fn service_accounts(&self) -> &Arc<ServiceAccounts> {
        &self.service_accounts
    }

    /// What proves to each provider that we may call it, as its configuration in force says.
    pub fn credentials(&self) -> Vec<(ObjectId, Arc<Credentials>)> {
        let places = self.credentials.lock();
        places.iter().map(|((provider, _), credentials)| (provider.clone(), Arc::clone(credentials))).collect()
    }

    /// Wakes whoever renews credentials when a configuration was put in force.
    pub fn credentials_changed(&self) -> &Arc<Notify> {
        &self.credentials_changed
    }

    /// Connections to upstreams.
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// Drops what no configuration refers to any more.
    fn prune(&self) {
        self.accounts.prune();
        self.health.prune();
        self.loads.prune();
        self.learned.prune();
        self.concurrency.prune();
        self.budgets.prune();
        self.credentials.prune();
        self.offered_models.prune();
        self.clients.prune();
    }
}

/// Values by name. A lock is taken while a configuration is compiled or put in force, never by a request.
#[derive(Debug)]
struct Registry<K, V>(Mutex<HashMap<K, Arc<V>>>);

impl<K, V> Default for Registry<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq, V> Registry<K, V> {
    fn get(&self, key: &K) -> Option<Arc<V>> {
        self.lock().get(key).cloned()
    }

    fn insert(&self, key: K, value: Arc<V>) {
        self.lock().insert(key, value);
    }

    fn prune(&self) {
        self.lock().retain(|_, value| Arc::strong_count(value) > 1);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Arc<V>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
