//! What a configuration changes in the state that outlives it: written down while it is compiled, applied when it is put
//! in force. One that is refused, or never put in force, leaves no trace.
//!
//! While it is compiled, what there is already is looked up and what is missing is made, but known to the new
//! configuration alone. Applied, the new entries are known to the next one too, and all of them take on its settings.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use routeapi_channel::ObjectId;

use super::{
    ConcurrencyLimit, CredentialsKey, Eviction, Health, HealthKey, Learned, Load, OfferedModels, Registry,
    RejectedKeys, RetryBudget, SharedState,
};
use crate::{
    limits::{Account, TokenLimits},
    upstream::{AddressRules, BaseUrl, Credentials, Host, NewConnections, Source, Trust, UnusableConnection},
};

/// A look at the state, by which nothing can be changed.
#[derive(Clone, Copy, Debug)]
pub struct View<'a>(&'a SharedState);

/// The state as a configuration that is being compiled will find it.
#[derive(Debug)]
pub struct Draft<'a> {
    state: &'a SharedState,
    changes: StateChanges,
}

/// What a configuration changes in the state, and all of the state that it refers to.
#[derive(Debug, Default)]
#[must_use = "a configuration is not to be put in force without them"]
pub struct StateChanges {
    accounts: Entries<ObjectId, Account, TokenLimits>,
    health: Entries<HealthKey, Health, Eviction>,
    loads: Entries<HealthKey, Load, ()>,
    learned: Entries<HealthKey, Learned, u64>,
    concurrency: Entries<ObjectId, ConcurrencyLimit, Option<u32>>,
    budgets: Entries<ObjectId, RetryBudget, ()>,
    credentials: Entries<CredentialsKey, Credentials, Source>,
    offered_models: Entries<CredentialsKey, OfferedModels, ()>,
    keys: BTreeMap<ObjectId, u64>,
    connections: NewConnections,
}

/// Entries that a configuration refers to, with its settings for each.
#[derive(Debug)]
struct Entries<K, V, S>(HashMap<K, (Arc<V>, S)>);

impl SharedState {
    /// For a configuration that is to be compiled.
    pub fn view(&self) -> View<'_> {
        View(self)
    }
}

impl<'a> View<'a> {
    /// Begins a configuration.
    pub fn draft(self) -> Draft<'a> {
        Draft { state: self.0, changes: StateChanges::default() }
    }
}

// === impl Draft ===

impl Draft<'_> {
    /// What there is to be changed.
    pub fn finish(self) -> StateChanges {
        self.changes
    }

    /// Where upstreams may be.
    pub fn addresses(&self) -> &AddressRules {
        self.state.clients.addresses()
    }

    /// What the requests of a token share.
    pub fn account(&mut self, token: &ObjectId, limits: TokenLimits) -> Arc<Account> {
        let Self { state, changes } = self;
        changes.accounts.get_or_make(&state.accounts, token, limits, |_| state.limit_backend.account(token))
    }

    /// The health of an upstream model.
    pub fn health(&mut self, key: &HealthKey, eviction: Eviction) -> Arc<Health> {
        self.changes.health.get_or_make(&self.state.health, key, eviction, |_| Health::default())
    }

    /// What an upstream model has to do.
    pub fn load(&mut self, key: &HealthKey) -> Arc<Load> {
        self.changes.loads.get_or_make(&self.state.loads, key, (), |()| Load::default())
    }

    /// What was learned of an upstream model. `spec` is a hash of what is said of its provider.
    pub fn learned(&mut self, key: &HealthKey, spec: u64) -> Arc<Learned> {
        self.changes.learned.get_or_make(&self.state.learned, key, spec, |_| Learned::default())
    }

    /// The concurrency concurrency of a provider; none for any number.
    pub fn concurrency(&mut self, provider: &ObjectId, cap: Option<u32>) -> Arc<ConcurrencyLimit> {
        self.changes.concurrency.get_or_make(&self.state.concurrency, provider, cap, |_| ConcurrencyLimit::default())
    }

    /// The retry budget of a route.
    pub fn budget(&mut self, route: &ObjectId) -> Arc<RetryBudget> {
        self.changes.budgets.get_or_make(&self.state.budgets, route, (), |()| RetryBudget::default())
    }

    /// What proves to a provider that we may call it. `spec` is a hash of all that is said of the provider but its
    /// credential.
    pub fn credentials(&mut self, provider: &ObjectId, spec: u64, source: Source) -> Arc<Credentials> {
        let (state, key) = (&self.state.credentials, (provider.clone(), spec));
        self.changes.credentials.get_or_make(state, &key, source, Credentials::new)
    }

    /// The models that a provider says it offers. `spec` as for [`Self::credentials`].
    pub fn offered_models(&mut self, provider: &ObjectId, spec: u64) -> Arc<OfferedModels> {
        let (state, key) = (&self.state.offered_models, (provider.clone(), spec));
        self.changes.offered_models.get_or_make(state, &key, (), |()| OfferedModels::default())
    }

    /// The connections to a provider.
    ///
    /// # Errors
    /// When its certificates or server name cannot be used.
    pub fn host(&mut self, trust: &Trust, connect: Duration, base: &BaseUrl) -> Result<Arc<Host>, UnusableConnection> {
        self.changes.connections.host(&self.state.clients, (trust, connect), base)
    }

    /// The egress proxy for a provider; none if connections are made straight.
    pub fn proxy_for(&self, trust: &Trust, base: &BaseUrl) -> Option<String> {
        self.state.clients.proxy_for(trust, &base.uri())
    }

    /// Where rejected keys are noted.
    pub fn rejected_keys(&self) -> Arc<RejectedKeys> {
        Arc::clone(&self.state.rejected_keys)
    }

    /// The keys of all providers, by their hashes.
    pub fn set_keys(&mut self, keys: BTreeMap<ObjectId, u64>) {
        self.changes.keys = keys;
    }
}

// === impl StateChanges ===

impl StateChanges {
    /// Changes the state, just before the configuration is put in force: nothing of it may be seen without its settings.
    /// Drops what no configuration refers to any more.
    ///
    /// `state` is the state that it was compiled beside, and no other configuration was put in force since.
    pub fn apply(self, state: &SharedState) {
        // Taken apart, so that a field that is forgotten here does not compile.
        let Self {
            accounts,
            health,
            loads,
            learned,
            concurrency,
            budgets,
            credentials,
            offered_models,
            keys,
            connections,
        } = self;
        accounts.apply(&state.accounts, Account::configure);
        health.apply(&state.health, Health::configure);
        loads.apply(&state.loads, |_, ()| ());
        learned.apply(&state.learned, Learned::configure);
        concurrency.apply(&state.concurrency, ConcurrencyLimit::configure);
        budgets.apply(&state.budgets, |_, ()| ());
        credentials.apply(&state.credentials, Credentials::configure);
        offered_models.apply(&state.offered_models, |_, ()| ());
        state.rejected_keys.configure(keys);
        connections.apply(&state.clients);
        state.prune();
        state.credentials_changed.notify_one();
    }
}

impl<K, V, S> Default for Entries<K, V, S> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Clone, V, S> Entries<K, V, S> {
    /// The entry of this name: the one that there is, or a new one.
    fn get_or_make(&mut self, registry: &Registry<K, V>, key: &K, settings: S, make: impl FnOnce(&S) -> V) -> Arc<V> {
        let entry = self.0.entry(key.clone());
        let (value, _) = entry.or_insert_with(|| {
            let value = registry.get(key).unwrap_or_else(|| Arc::new(make(&settings)));
            (value, settings)
        });
        Arc::clone(value)
    }

    fn apply(self, registry: &Registry<K, V>, configure: impl Fn(&V, S)) {
        for (key, (value, settings)) in self.0 {
            configure(&value, settings);
            registry.insert(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::AddressPolicy;

    fn health(state: &SharedState) -> (Arc<Health>, StateChanges) {
        let eviction = Eviction { consecutive_failures: 1, duration: Duration::from_secs(1) };
        let mut draft = state.view().draft();
        (draft.health(&(ObjectId::new("a", "b"), None), eviction), draft.finish())
    }

    #[test]
    fn state_in_use_is_kept_and_unused_state_is_pruned() {
        let state = SharedState::new(AddressPolicy::Workstation);
        let (held, changes) = health(&state);
        changes.apply(&state);
        StateChanges::default().apply(&state);
        assert!(Arc::ptr_eq(&held, &health(&state).0));
        let weak = Arc::downgrade(&held);
        drop(held);
        StateChanges::default().apply(&state);
        assert!(weak.upgrade().is_none());
    }

    #[test]
    fn draft_that_is_not_applied_leaves_no_trace() {
        let state = SharedState::new(AddressPolicy::Workstation);
        let (first, changes) = health(&state);
        drop(changes);
        assert!(!Arc::ptr_eq(&first, &health(&state).0));
    }
}
