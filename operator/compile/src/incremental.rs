//! The same as [`crate::compile()`], doing only what a change requires.
//!
//! A change of ApiTokens compiles those tokens, and others that list the same keys or ServiceAccounts. A change of AIRoutes
//! compiles those, others that want the same model IDs, and the tokens of which something else is to be said. A change of
//! AIProviders, or of what they refer to, compiles those that differ and the routes that use them; one of labels of namespaces
//! everything. Results are serialized when they change; states share what they have in common.

mod results;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use routeapi_channel::{Catalog, Key, Kind, ObjectId, shared_map::SharedMap};
use routeapi_crds::v1alpha1::{AIRoute, ApiToken};

pub use self::results::Outcome;
use self::results::{Finish, Results};
use crate::{
    objects::{self, Data, Objects},
    options::Options,
    owners::Owners,
    providers::{self, KnownProviders, Providers},
    reference_grant::ReferenceGrants,
    route_table::{Changed, Due, RouteTable},
    selectors::Namespaces,
    token_notes::{NoteWriter, Notes, Served},
    tokens,
    verdict::Verdict,
};

/// What changed since the last call of [`Compiler::update`].
#[derive(Debug, Default)]
pub struct Changes {
    /// All objects but AIRoutes and ApiTokens, if any of them changed.
    pub others: Option<Objects>,
    /// AIRoutes that changed; none for one that was deleted.
    pub routes: Vec<(ObjectId, Option<Arc<AIRoute>>)>,
    /// ApiTokens that changed; none for one that was deleted.
    pub tokens: Vec<(ObjectId, Option<Arc<ApiToken>>)>,
}

/// A state that follows changes.
pub struct Compiler {
    options: Options,
    others: Others,
    routes: RouteTable,
    served: Served,
    tokens: BTreeMap<ObjectId, Arc<ApiToken>>,
    owners: Owners,
    notes: Notes,
    /// Number of accepted tokens by namespace.
    callers: BTreeMap<String, usize>,
    results: Results,
    work: usize,
}

/// Everything but routes and tokens, as it was compiled last.
#[derive(Default)]
struct Others {
    labels: BTreeMap<String, BTreeMap<String, String>>,
    secrets: BTreeMap<ObjectId, Arc<Data>>,
    config_maps: BTreeMap<ObjectId, Arc<Data>>,
    unread: BTreeSet<ObjectId>,
    refused: BTreeSet<(String, ObjectId)>,
    providers: KnownProviders,
}

/// What a change of everything but routes and tokens makes necessary.
#[derive(Default)]
struct Consequences {
    /// Whether namespaces have other labels.
    relabelled: bool,
    /// Whether all routes are to be looked at.
    all_routes: bool,
    /// Whether anything changed, so that all providers are to be told what there is to say.
    all_providers: bool,
    /// Providers that mean something else to routes than before.
    differing: BTreeSet<ObjectId>,
}

// === impl Compiler ===

impl Compiler {
    /// A state without objects.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            others: Others::default(),
            routes: RouteTable::default(),
            served: Served::default(),
            tokens: BTreeMap::new(),
            owners: Owners::default(),
            notes: Notes::default(),
            callers: BTreeMap::new(),
            results: Results::default(),
            work: 0,
        }
    }

    /// The resources for data planes.
    pub fn catalog(&self) -> &Catalog {
        &self.results.catalog
    }

    /// One verdict for each AIProvider, AIRoute and ApiToken that is not being deleted.
    pub fn verdicts(&self) -> &SharedMap<Key, Arc<Verdict>> {
        &self.results.verdicts
    }

    /// The number of objects that were compiled so far, which measures what changes cost.
    pub fn work(&self) -> usize {
        self.work + self.routes.work
    }

    /// Follows changes. `finish` may alter each result that is new before it is stored.
    ///
    /// # Errors
    /// When a resource does not serialize, which does not happen with these types.
    pub fn update(&mut self, changes: Changes, finish: Finish<'_>) -> Result<(), serde_json::Error> {
        let (mut due, mut namespaces) = (BTreeSet::new(), BTreeSet::new());
        let mut consequences = Consequences::default();
        if let Some(objects) = changes.others {
            let differs = |name: &&String| objects.namespaces.get(*name) != self.others.labels.get(*name);
            namespaces.extend(self.callers.keys().filter(differs).cloned());
            consequences = self.update_others(objects);
        }
        due.extend(self.update_routes(changes.routes, consequences, finish)?);
        for (id, token) in changes.tokens {
            due.extend(self.replace_token(&id, token));
            due.insert(id);
        }
        self.compile_tokens(due, &mut namespaces, finish)?;
        for name in namespaces {
            let known = Namespaces::labelled(&self.others.labels);
            let labels = self.callers.contains_key(&name).then(|| known.labels_of(&name)).flatten();
            self.results.put_namespace(&name, labels.as_ref())?;
        }
        Ok(())
    }

    /// Compiles providers.
    fn update_others(&mut self, objects: Objects) -> Consequences {
        let others = &mut self.others;
        let relabelled = objects.namespaces != others.labels;
        let all_routes = relabelled || objects.unread_providers != others.unread || objects.refused != others.refused;
        let before = std::mem::take(&mut others.providers);
        let same_references =
            same_data(&objects.secrets, &others.secrets) && same_data(&objects.config_maps, &others.config_maps);
        let mut known = if same_references { before.clone() } else { KnownProviders::new() };
        providers::compile(&objects, &self.options, &mut known);
        let (compiled, differing) = differences(&before, &known);
        self.work += compiled;
        before.keys().filter(|id| !known.contains_key(*id)).for_each(|id| self.results.forget(Kind::Provider, id));
        others.providers = known;
        let Objects { secrets, config_maps, namespaces, unread_providers, refused, .. } = objects;
        (others.secrets, others.config_maps, others.labels) = (secrets, config_maps, namespaces);
        (others.unread, others.refused) = (unread_providers, refused);
        Consequences { relabelled, all_routes, all_providers: true, differing }
    }

    /// Compiles routes, and says what there is to say to providers. Returns the tokens of which something else is to be said.
    fn update_routes(
        &mut self,
        routes: Vec<(ObjectId, Option<Arc<AIRoute>>)>,
        consequences: Consequences,
        finish: Finish<'_>,
    ) -> Result<Vec<ObjectId>, serde_json::Error> {
        let Consequences { relabelled, all_routes, all_providers, differing } = consequences;
        let Others { labels, unread, refused, providers, .. } = &self.others;
        let namespaces = Namespaces::labelled(labels);
        let compiled = Providers { compiled: providers, refused, unread };
        let partial = self.options.partial;
        let grants = ReferenceGrants { providers: compiled, namespaces: &namespaces, partial };
        let due = Due { routes, users_of: differing.clone(), all: all_routes };
        let changed = self.routes.update(due, grants, &self.options.publishers);
        let touched: Vec<_> =
            if all_providers { providers.keys().collect() } else { changed.providers.iter().collect() };
        for id in touched {
            let Some(provider) = compiled.get(id) else { continue };
            let (attached, unpriced) = self.routes.uses(id);
            let verdict = provider.verdict(attached, unpriced);
            let (same, key) = (!differing.contains(id), Key { kind: Kind::Provider, id: id.clone() });
            self.results.store_unless_same(key, provider.provider.as_ref(), verdict, same, finish)?;
        }
        store_routes(&mut self.results, &changed, finish)?;
        if relabelled {
            self.served = Served::of(self.routes.compiled(), &namespaces);
            return Ok(self.notes.renew_all(&mut NoteWriter::new(&self.served, &namespaces)));
        }
        changed.routes.iter().for_each(|change| self.served.follow(change, &namespaces));
        Ok(self.notes.renew(&changed.routes, &mut NoteWriter::new(&self.served, &namespaces)))
    }

    /// Stores another version of a token. Returns the other tokens whose keys that affects.
    fn replace_token(&mut self, id: &ObjectId, token: Option<Arc<ApiToken>>) -> Vec<ObjectId> {
        let place = |token: &ApiToken| (objects::created(&token.metadata), id.clone());
        let token = token.filter(|token| objects::live(&token.metadata).is_some());
        let mut affected = match self.tokens.remove(id) {
            Some(before) => {
                self.notes.forget(id, &before.spec);
                self.owners.remove(tokens::claims(&before, id), &place(&before))
            }
            None => Vec::new(),
        };
        if let Some(token) = token {
            affected.extend(self.owners.add(tokens::claims(&token, id), &place(&token)));
            self.tokens.insert(id.clone(), token);
        }
        affected
    }

    /// Compiles tokens, and forgets those that were deleted. Adds the namespaces that got their first or lost their last one.
    fn compile_tokens(
        &mut self,
        due: BTreeSet<ObjectId>,
        namespaces: &mut BTreeSet<String>,
        finish: Finish<'_>,
    ) -> Result<(), serde_json::Error> {
        let known = Namespaces::labelled(&self.others.labels);
        let mut writer = NoteWriter::new(&self.served, &known);
        for id in due {
            let key = Key { kind: Kind::Token, id };
            let was = self.results.catalog.get(&key).is_some();
            if let Some(object) = self.tokens.get(&key.id) {
                self.work += 1;
                let notes = self.notes.of(&key.id, &object.spec, &mut writer);
                let (token, verdict) = tokens::compile_one(object, &key.id, &self.owners, notes);
                self.results.store(key.clone(), token.as_ref(), verdict, finish)?;
            } else {
                self.results.forget(Kind::Token, &key.id);
            }
            let is = self.results.catalog.get(&key).is_some();
            if count_caller(&mut self.callers, key.id.namespace(), was, is) {
                namespaces.insert(key.id.namespace().to_owned());
            }
        }
        Ok(())
    }
}

/// Stores what has become of routes.
fn store_routes(results: &mut Results, changed: &Changed, finish: Finish<'_>) -> Result<(), serde_json::Error> {
    for change in &changed.routes {
        match &change.after {
            Some(after) => {
                let key = Key { kind: Kind::Route, id: change.id.clone() };
                results.store(key, after.route.as_ref(), after.verdict.clone(), finish)?;
            }
            None => results.forget(Kind::Route, &change.id),
        }
    }
    Ok(())
}

/// Counts a token that is or was accepted. Whether it is the first or was the last of its namespace.
fn count_caller(callers: &mut BTreeMap<String, usize>, namespace: &str, was: bool, is: bool) -> bool {
    if was == is {
        return false;
    }
    let count = callers.entry(namespace.to_owned()).or_default();
    *count = if is { *count + 1 } else { count.saturating_sub(1) };
    let now = *count;
    if now == 0 {
        callers.remove(namespace);
    }
    now == usize::from(is)
}

/// How many providers were compiled anew, and which of them mean something else to routes than before.
fn differences(before: &KnownProviders, now: &KnownProviders) -> (usize, BTreeSet<ObjectId>) {
    let mut compiled = 0;
    let mut differing: BTreeSet<_> = before.keys().filter(|id| !now.contains_key(*id)).cloned().collect();
    for (id, (_, provider)) in now {
        let known = before.get(id).map(|(_, known)| known);
        if known.is_some_and(|known| Arc::ptr_eq(known, provider)) {
            continue;
        }
        compiled += 1;
        if known.is_none_or(|known| !known.serves_as(provider)) {
            differing.insert(id.clone());
        }
    }
    (compiled, differing)
}

fn same_data(one: &BTreeMap<ObjectId, Arc<Data>>, other: &BTreeMap<ObjectId, Arc<Data>>) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|((one_id, one), (other_id, other))| one_id == other_id && Arc::ptr_eq(one, other))
}
