//! Puts a catalog in force: decode and compile what differs from the one before, apply what that changes in the state, swap. What
//! cannot be used keeps its previous version, or is left out if there is none, and is reported; everything else of the new
//! state applies.
//!
//! What was only tried changes nothing: the state changes once, with the configuration that is put in force.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use routeapi_channel::{Catalog, Key, Kind, ObjectId, Revision, catalog::Unreadable, changes::Changes};
use routeapi_metering::Share;

use super::{
    compile::{self, Compiled, Update},
    runtime::{Route, Runtime},
    store::{Applied, Origin, Store},
};
use crate::{
    clock,
    service_accounts::ServiceAccounts,
    state::{RejectedKeys, SharedState, StoredIds},
};

/// Puts configurations in force, one after the other.
pub struct Installer {
    store: Arc<Store>,
    state: Arc<SharedState>,
    in_force: Mutex<InForce>,
}

#[derive(Default)]
struct InForce {
    catalog: Arc<Catalog>,
    compiled: Compiled,
    share: Share,
}

impl Installer {
    /// Into this store, with the state that outlives configurations.
    pub fn new(store: Arc<Store>, state: Arc<SharedState>) -> Self {
        Self { store, state, in_force: Mutex::default() }
    }

    /// Where it puts them.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Which providers' keys are rejected.
    pub fn rejected_keys(&self) -> &RejectedKeys {
        self.state.rejected_keys()
    }

    /// Ids of stored responses and conversations.
    pub fn stored_ids(&self) -> &StoredIds {
        self.state.stored_ids()
    }

    /// What verifies ServiceAccount tokens.
    pub fn service_accounts(&self) -> &ServiceAccounts {
        self.state.service_accounts()
    }

    /// Every resource in force.
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.lock().catalog)
    }

    /// Puts a state in force. `revision` is what its source calls it. Returns what was refused.
    pub fn install(&self, target: &Catalog, revision: &Revision, origin: Origin) -> Vec<Unreadable> {
        let mut in_force = self.lock();
        let (update, catalog, rejected) = self.compile(target, &in_force, revision);
        in_force.catalog = Arc::new(catalog);
        let applied = Applied {
            revision: revision.clone(),
            catalog: Arc::clone(&in_force.catalog),
            rejected: rejected.clone(),
            origin,
            at: clock::now(),
        };
        let runtime = self.take_over(&mut in_force, update);
        self.store.apply(runtime, applied);
        rejected
    }

    /// Changes this process's part of every token's limits.
    pub fn share(&self, share: Share) {
        let mut in_force = self.lock();
        if in_force.share == share {
            return;
        }
        in_force.share = share;
        let revision = self.store.applied().map_or_else(|| in_force.catalog.revision(), |it| it.revision.clone());
        let (snapshot, _) = in_force.catalog.decode();
        let Changes { tokens, .. } = snapshot.into();
        let tokens = Changes { tokens, ..Changes::default() };
        // What is in force has been compiled before, so that nothing of it is refused.
        let update = compile::update(&in_force.compiled, tokens, &|_| None, &revision, self.state.view(), share);
        let runtime = self.take_over(&mut in_force, update);
        self.store.replace(runtime);
    }

    /// Changes the state as the tables need it, just before they are put in force.
    fn take_over(&self, in_force: &mut InForce, update: Update) -> Arc<Runtime> {
        let Update { compiled, changes, routes_differ, .. } = update;
        changes.apply(&self.state);
        if routes_differ {
            self.configure_traffic(&compiled.runtime);
        }
        in_force.compiled = compiled;
        Arc::clone(&in_force.compiled.runtime)
    }

    /// What is in force is counted by route and upstream, and nothing else.
    fn configure_traffic(&self, runtime: &Runtime) {
        let upstreams = |route: &'_ Route| route.upstreams.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
        self.state.traffic().configure(runtime.routes().map(|route| (route.id.to_string(), upstreams(route))));
    }

    fn compile(&self, target: &Catalog, in_force: &InForce, revision: &Revision) -> (Update, Catalog, Vec<Unreadable>) {
        let mut candidate = target.clone();
        let mut refused = Vec::new();
        let mut restored = BTreeSet::new();
        loop {
            let unusable = match self.try_compile(&candidate, in_force, revision) {
                Ok(update) => return (update, candidate, refused),
                Err(unusable) => unusable,
            };
            // A route fails with its provider; it is judged again beside the provider's previous version.
            let by_provider = unusable.iter().any(|it| it.key.kind == Kind::Provider);
            for problem in unusable.into_iter().filter(|it| !by_provider || it.key.kind == Kind::Provider) {
                restore_previous(&mut candidate, &in_force.catalog, &problem.key, &mut restored);
                if !refused.iter().any(|it: &Unreadable| it.key == problem.key) {
                    refused.push(problem);
                }
            }
        }
    }

    fn try_compile(
        &self,
        candidate: &Catalog,
        in_force: &InForce,
        revision: &Revision,
    ) -> Result<Update, Vec<Unreadable>> {
        let (changes, unreadable) = Changes::between(&in_force.catalog, candidate);
        if !unreadable.is_empty() {
            return Err(unreadable);
        }
        let told = |id: &ObjectId| candidate.get(&Key { kind: Kind::Route, id: id.clone() })?.read().ok();
        let (state, share) = (self.state.view(), in_force.share);
        let update = compile::update(&in_force.compiled, changes, &told, revision, state, share);
        if update.refused.is_empty() { Ok(update) } else { Err(update.refused) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, InForce> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first time the previous version; if that is not usable either, or there is none, nothing. So each resource is
/// looked at three times at most, and the loop ends.
fn restore_previous(candidate: &mut Catalog, previous: &Catalog, key: &Key, restored: &mut BTreeSet<Key>) {
    let before = previous.get(key).filter(|_| restored.insert(key.clone()));
    match before {
        Some(entry) => candidate.insert(key.clone(), entry.clone()),
        None => drop(candidate.remove(key)),
    }
}

#[cfg(test)]
mod tests;
