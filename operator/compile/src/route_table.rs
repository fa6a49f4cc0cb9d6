//! Every AIRoute, compiled, as they change: which are to be compiled after a change, and what they mean for AIProviders.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use routeapi_channel::ObjectId;
use routeapi_crds::v1alpha1::AIRoute;

use crate::{
    conflicts::Claims,
    objects,
    publishers::Publishers,
    reference_grant::ReferenceGrants,
    routes::{Candidate, CompiledRoute},
};

/// Every route, compiled.
#[derive(Default)]
pub(crate) struct RouteTable {
    routes: HashMap<ObjectId, Known>,
    claims: Claims,
    /// The routes that refer to a provider, whether or not there is one.
    users: HashMap<ObjectId, BTreeSet<ObjectId>>,
    /// What routes mean for each provider that admits some.
    uses: HashMap<ObjectId, ProviderUse>,
    /// Routes that were looked at, and routes that were built, since the start.
    pub work: usize,
}

/// One route.
struct Known {
    candidate: Candidate,
    /// None until it was compiled once.
    compiled: Option<Arc<CompiledRoute>>,
}

/// What routes mean for one provider.
#[derive(Default)]
struct ProviderUse {
    /// How many refer to it and are admitted, whether or not it is ready and they are accepted.
    attached: i32,
    /// How many accepted ones use each model that has no price.
    unpriced: BTreeMap<String, usize>,
}

/// Which routes are to be looked at.
#[derive(Default)]
pub(crate) struct Due {
    /// New and changed ones; none for one that was deleted.
    pub routes: Vec<(ObjectId, Option<Arc<AIRoute>>)>,
    /// Those that refer to one of these providers.
    pub users_of: BTreeSet<ObjectId>,
    /// Whether all are.
    pub all: bool,
}

/// What has become of routes.
#[derive(Default)]
pub(crate) struct Changed {
    pub routes: Vec<RouteChange>,
    /// Providers that may be used otherwise than before.
    pub providers: BTreeSet<ObjectId>,
}

/// What has become of one route.
pub(crate) struct RouteChange {
    pub id: ObjectId,
    pub before: Option<Arc<CompiledRoute>>,
    pub after: Option<Arc<CompiledRoute>>,
}

impl RouteTable {
    /// Compiles what is due, and those whose claims that concerns.
    pub fn update(&mut self, due: Due, grants: ReferenceGrants<'_>, publishers: &Publishers) -> Changed {
        let mut providers = BTreeSet::new();
        let (mut before, mut claimants) = (BTreeMap::new(), Vec::new());
        for (id, object) in self.objects_of(due) {
            before.insert(id.clone(), self.forget(&id, &mut providers));
            let candidate = object.map(|object| Candidate::new(id.clone(), &object, grants));
            let claimant = candidate.as_ref().and_then(|it| it.claimant(grants.namespaces, publishers));
            claimants.push((id.clone(), claimant));
            if let Some(candidate) = candidate {
                self.work += 1;
                self.add(id, candidate);
            }
        }
        let also = self.claims.update(claimants);
        for id in also.into_iter().filter(|id| !before.contains_key(id)).collect::<Vec<_>>() {
            let compiled = self.routes.get(&id).and_then(|known| known.compiled.clone());
            self.count(&id, -1, &mut providers);
            before.insert(id, compiled);
        }
        let mut routes = Vec::new();
        for (id, before) in before {
            let after = self.compile(&id);
            self.count(&id, 1, &mut providers);
            routes.push(RouteChange { id, before, after });
        }
        Changed { routes, providers }
    }

    /// All routes, compiled.
    pub fn compiled(&self) -> impl Iterator<Item = &Arc<CompiledRoute>> {
        self.routes.values().filter_map(|known| known.compiled.as_ref())
    }

    /// How many routes are attached to a provider, and the models they use that have no price.
    pub fn uses(&self, provider: &ObjectId) -> (i32, impl Iterator<Item = &String>) {
        let uses = self.uses.get(provider);
        (uses.map_or(0, |uses| uses.attached), uses.into_iter().flat_map(|uses| uses.unpriced.keys()))
    }

    /// Every route that is due, once; none for one that is not there any more.
    fn objects_of(&self, due: Due) -> BTreeMap<ObjectId, Option<Arc<AIRoute>>> {
        let Due { routes, users_of, all } = due;
        let mut objects = BTreeMap::new();
        let users = users_of.iter().filter_map(|provider| self.users.get(provider)).flatten();
        let every = self.routes.keys().filter(|_| all);
        for id in users.chain(every) {
            objects.insert(id.clone(), self.routes.get(id).map(|known| Arc::clone(&known.candidate.object)));
        }
        // Of several versions of one the last counts.
        for (id, object) in routes.into_iter().collect::<BTreeMap<_, _>>() {
            let object = object.filter(|object| objects::live(&object.metadata).is_some());
            let known = self.routes.get(&id).map(|known| &known.candidate.object.metadata);
            let same = match (known, &object) {
                (Some(known), Some(object)) => objects::same_version(known, &object.metadata),
                (known, object) => known.is_none() && object.is_none(),
            };
            if !same {
                objects.insert(id, object);
            }
        }
        objects
    }

    fn add(&mut self, id: ObjectId, candidate: Candidate) {
        for provider in candidate.references() {
            self.users.entry(provider).or_default().insert(id.clone());
        }
        self.routes.insert(id, Known { candidate, compiled: None });
    }

    /// Forgets a route, except for its claims. Returns what it was compiled to.
    fn forget(&mut self, id: &ObjectId, providers: &mut BTreeSet<ObjectId>) -> Option<Arc<CompiledRoute>> {
        self.count(id, -1, providers);
        let known = self.routes.remove(id)?;
        for provider in known.candidate.references() {
            if let Some(users) = self.users.get_mut(&provider) {
                users.remove(id);
                if users.is_empty() {
                    self.users.remove(&provider);
                }
            }
        }
        known.compiled
    }

    /// Compiles a route whose claims are decided.
    fn compile(&mut self, id: &ObjectId) -> Option<Arc<CompiledRoute>> {
        let known = self.routes.get_mut(id)?;
        let claim = match (&known.candidate.valid, self.claims.of(id)) {
            (Err(error), _) | (Ok(()), Some(Err(error))) => Err(error),
            (Ok(()), Some(Ok(claimed))) => Ok(claimed),
            (Ok(()), None) => return None, // everything that is valid claims something
        };
        self.work += 1;
        let compiled = Arc::new(CompiledRoute::of(&known.candidate, claim));
        known.compiled = Some(Arc::clone(&compiled));
        Some(compiled)
    }

    /// Counts a compiled route with the providers that it refers to, or no more.
    fn count(&mut self, id: &ObjectId, by: i32, providers: &mut BTreeSet<ObjectId>) {
        let Some(Known { candidate, compiled: Some(compiled) }) = self.routes.get(id) else { return };
        let upstreams = &candidate.upstreams;
        for provider in &upstreams.attached {
            self.uses.entry(provider.clone()).or_default().attached += by;
            providers.insert(provider.clone());
        }
        for (provider, models) in upstreams.unpriced.iter().filter(|_| compiled.route.is_some()) {
            let uses = self.uses.entry(provider.clone()).or_default();
            for model in models {
                let count = uses.unpriced.entry(model.clone()).or_default();
                *count = if by > 0 { *count + 1 } else { count.saturating_sub(1) };
                if *count == 0 {
                    uses.unpriced.remove(model);
                }
            }
            providers.insert(provider.clone());
        }
        let unused = |uses: &ProviderUse| uses.attached == 0 && uses.unpriced.is_empty();
        for provider in upstreams.attached.iter().chain(upstreams.unpriced.iter().map(|(provider, _)| provider)) {
            if self.uses.get(provider).is_some_and(unused) {
                self.uses.remove(provider);
            }
        }
    }
}

impl RouteChange {
    /// Whether tokens may see something else.
    pub fn serves_other(&self) -> bool {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => !before.serves_as(after),
            (before, after) => before.is_some() || after.is_some(),
        }
    }
}
