//! Changes of a snapshot → the tables a request reads, and what they change in the state that outlives them. What cannot be
//! compiled is reported and left out; the rest stands.
//!
//! Only what changes touch is compiled: a provider's change also touches the routes that use it, a namespace's labels those
//! that choose by them. The rest is shared with the tables before.
//!
//! Pure: the state is looked at and nothing in it is changed, so that a configuration can be judged without being put in
//! force.

mod providers;
mod routes;
mod tokens;
mod values;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use routeapi_channel::{
    Kind, ObjectId, Revision, Snapshot,
    catalog::Unreadable,
    changes::Changes,
    snapshot::{self, AllowedNamespaces, Namespace},
};
use routeapi_metering::Share;
use routeapi_protocol::{dialect::Operation, direct::Direct};

use self::values::unreadable;
use super::{runtime::Runtime, tables::NamedRoute};
use crate::state::{Draft, StateChanges, View};

/// Tables with what the next ones are made from. Clones share everything.
#[derive(Clone, Default)]
pub struct Compiled {
    /// The tables.
    pub runtime: Arc<Runtime>,
    providers: Arc<HashMap<ObjectId, Arc<providers::Compiled>>>,
    namespaces: Arc<BTreeMap<String, Namespace>>,
}

/// What a compilation results in. To put the tables in force, apply the changes first.
pub struct Update {
    /// The tables.
    pub compiled: Compiled,
    /// What they change in the state.
    pub changes: StateChanges,
    /// What cannot be used.
    pub refused: Vec<Unreadable>,
    /// Whether there are other routes, or routes with other upstreams, than before.
    pub routes_differ: bool,
}

/// Compiles a whole configuration beside this state. `share` is this process's part of every token's limits. To put the tables
/// in force, apply the changes first.
pub fn compile(
    snapshot: &Snapshot,
    revision: &Revision,
    state: View<'_>,
    share: Share,
) -> (Runtime, StateChanges, Vec<Unreadable>) {
    let nothing = |_: &ObjectId| None;
    let update = update(&Compiled::default(), snapshot.clone().into(), &nothing, revision, state, share);
    (Arc::unwrap_or_clone(update.compiled.runtime), update.changes, update.refused)
}

/// Compiles changes of a configuration that is in force beside this state. `told` finds a route that does not change.
pub fn update(
    before: &Compiled,
    changes: Changes,
    told: &dyn Fn(&ObjectId) -> Option<snapshot::Route>,
    revision: &Revision,
    state: View<'_>,
    share: Share,
) -> Update {
    // Taken apart, so that a kind that is forgotten here does not compile.
    let Changes { providers, mut routes, tokens, namespaces } = changes;
    let mut next = Next::after(before, state.draft());
    add_touched(before, &mut routes, &providers, !namespaces.is_empty(), told);
    next.namespaces(namespaces);
    next.providers(providers);
    next.routes(routes);
    for (id, token) in tokens {
        let compiled = token.map(|token| tokens::compile(&id, &token, &mut next.draft, share)).transpose();
        let tokens::Compiled { keys, service_accounts } = next.accepted(Kind::Token, &id, compiled).unwrap_or_default();
        next.runtime.tokens.replace(&id, keys);
        next.runtime.service_accounts.replace(&id, service_accounts);
    }
    next.runtime.revision = Some(revision.clone());
    next.finish()
}

/// Adds the routes that changes of providers and namespaces touch.
fn add_touched(
    before: &Compiled,
    routes: &mut BTreeMap<ObjectId, Option<snapshot::Route>>,
    providers: &BTreeMap<ObjectId, Option<snapshot::Provider>>,
    relabelled: bool,
    told: &dyn Fn(&ObjectId) -> Option<snapshot::Route>,
) {
    if providers.is_empty() && !relabelled {
        return;
    }
    for (id, NamedRoute { route, .. }) in before.runtime.routes.iter() {
        let uses = route.upstreams.iter().any(|upstream| providers.contains_key(&upstream.provider.id));
        let chooses = relabelled && matches!(route.allowed, AllowedNamespaces::Selector(_));
        if (uses || chooses) && !routes.contains_key(id) {
            routes.insert(id.clone(), told(id));
        }
    }
}

/// Tables in the making.
struct Next<'a> {
    runtime: Runtime,
    providers: Arc<HashMap<ObjectId, Arc<providers::Compiled>>>,
    namespaces: Arc<BTreeMap<String, Namespace>>,
    draft: Draft<'a>,
    refused: Vec<Unreadable>,
    routes_differ: bool,
}

// === impl Next ===

impl<'a> Next<'a> {
    fn after(before: &Compiled, draft: Draft<'a>) -> Self {
        let Compiled { runtime, providers, namespaces } = before.clone();
        Self {
            runtime: Runtime::clone(&runtime),
            providers,
            namespaces,
            draft,
            refused: Vec::new(),
            routes_differ: false,
        }
    }

    fn namespaces(&mut self, changed: BTreeMap<String, Option<Namespace>>) {
        if changed.is_empty() {
            return;
        }
        let all = Arc::make_mut(&mut self.namespaces);
        for (name, labels) in changed {
            match labels {
                Some(labels) => drop(all.insert(name, labels)),
                None => drop(all.remove(&name)),
            }
        }
    }

    fn providers(&mut self, changed: BTreeMap<ObjectId, Option<snapshot::Provider>>) {
        for (id, provider) in changed {
            let compiled = provider.map(|provider| providers::compile(&id, &provider, &mut self.draft)).transpose();
            let compiled = self.accepted(Kind::Provider, &id, compiled);
            let all = Arc::make_mut(&mut self.providers);
            match compiled {
                Some(compiled) => drop(all.insert(id, Arc::new(compiled))),
                None => drop(all.remove(&id)),
            }
        }
        let keys = self.providers.iter().filter_map(|(id, compiled)| Some((id.clone(), compiled.provider.key?)));
        self.draft.set_keys(keys.collect());
        let other = Operation::Direct(Direct::Unlisted);
        self.runtime.has_other_paths =
            self.providers.values().any(|compiled| compiled.provider.operations.contains(&other));
    }

    fn routes(&mut self, changed: BTreeMap<ObjectId, Option<snapshot::Route>>) {
        let (mut own, mut published) = (BTreeSet::new(), false);
        for (id, told) in changed {
            let compiled = told.map(|told| {
                let route = routes::compile(&id, &told, &self.providers, &self.namespaces, &mut self.draft)?;
                Ok(NamedRoute { route: Arc::new(route), published: told.published.into() })
            });
            let route = self.accepted(Kind::Route, &id, compiled.transpose());
            let before = self.runtime.routes.get(&id);
            published |= before.into_iter().chain(&route).any(|route| !route.published.is_empty());
            self.routes_differ |= !before.zip(route.as_ref()).is_some_and(|(before, now)| same_upstreams(before, now));
            own.insert(id.namespace().to_owned());
            match route {
                Some(route) => self.runtime.routes.insert(id, route),
                None => drop(self.runtime.routes.remove(&id)),
            }
        }
        let Runtime { routes, names, .. } = &mut self.runtime;
        for namespace in own {
            let of_namespace = routes.iter().filter(|(id, _)| id.namespace() == namespace);
            names.set_own(&namespace, of_namespace.map(|(_, named)| &named.route));
        }
        if published {
            names.set_published(routes.iter().map(|(_, named)| (&named.route, &*named.published)));
        }
    }

    /// What was compiled; nothing if it is gone or refused.
    fn accepted<T>(&mut self, kind: Kind, id: &ObjectId, compiled: Result<Option<T>, String>) -> Option<T> {
        compiled.unwrap_or_else(|message| {
            self.refused.push(unreadable(kind, id, message));
            None
        })
    }

    fn finish(self) -> Update {
        let Self { runtime, providers, namespaces, draft, refused, routes_differ } = self;
        let compiled = Compiled { runtime: Arc::new(runtime), providers, namespaces };
        Update { compiled, changes: draft.finish(), refused, routes_differ }
    }
}

fn same_upstreams(one: &NamedRoute, other: &NamedRoute) -> bool {
    let names = |named: &'_ NamedRoute| named.route.upstreams.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
    names(one) == names(other)
}

#[cfg(test)]
mod tests;
