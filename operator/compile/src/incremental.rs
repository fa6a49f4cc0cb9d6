//! The same as [`crate::compile()`], doing only what a change requires.
//!
//! A change of ApiTokens compiles those tokens, and others that list the same keys or ServiceAccounts. A change of anything else decides the claims
//! of all AIRoutes again, which is cheap; it compiles the AIRoutes and AIProviders that differ, and tokens only if AIRoutes
//! serve other models than before. Results are serialized when they change; states share what they have in common.

mod results;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use routeapi_channel::{Catalog, Key, Kind, ObjectId, shared_map::SharedMap};
use routeapi_crds::{
    v1alpha1::{ApiToken, ApiTokenSpec},
    value::ModelPattern,
};

pub use self::results::Outcome;
use self::results::{Finish, Results};
use crate::{
    objects::{self, Data, Objects},
    options::Options,
    owners::Owners,
    providers::{KnownProviders, Providers},
    routes::{self, CompiledRoute, KnownRoutes, Routes},
    selectors::Namespaces,
    tokens::{self, NoteWriter, TokenNotes},
    verdict::Verdict,
};

/// What changed since the last call of [`Compiler::update`].
#[derive(Debug, Default)]
pub struct Changes {
    /// All objects but ApiTokens, if any of them changed.
    pub others: Option<Objects>,
    /// ApiTokens that changed; none for one that was deleted.
    pub tokens: Vec<(ObjectId, Option<Arc<ApiToken>>)>,
}

/// A state that follows changes.
pub struct Compiler {
    options: Options,
    others: Others,
    tokens: BTreeMap<ObjectId, Arc<ApiToken>>,
    owners: Owners,
    notes: Notes,
    /// Number of accepted tokens by namespace.
    callers: BTreeMap<String, usize>,
    results: Results,
    work: usize,
}

/// Everything but tokens, as it was compiled last.
#[derive(Default)]
struct Others {
    labels: BTreeMap<String, BTreeMap<String, String>>,
    secrets: BTreeMap<ObjectId, Arc<Data>>,
    config_maps: BTreeMap<ObjectId, Arc<Data>>,
    unread: BTreeSet<ObjectId>,
    refused: BTreeSet<(String, ObjectId)>,
    providers: KnownProviders,
    known: KnownRoutes,
    /// The oldest first.
    routes: Vec<Arc<CompiledRoute>>,
}

/// What is said of tokens, by namespace and by what it depends on: the tokens of a namespace mostly name the same models.
#[derive(Default)]
struct Notes(HashMap<String, HashMap<(Vec<ModelPattern>, bool), TokenNotes>>);

// === impl Compiler ===

impl Compiler {
    /// A state without objects.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            others: Others::default(),
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
        self.work + self.others.known.work
    }

    /// Follows changes. `finish` may alter each result that is new before it is stored.
    ///
    /// # Errors
    /// When a resource does not serialize, which does not happen with these types.
    pub fn update(&mut self, changes: Changes, finish: Finish<'_>) -> Result<(), serde_json::Error> {
        let (mut due, mut namespaces) = (BTreeSet::new(), BTreeSet::new());
        if let Some(objects) = changes.others {
            let differs = |name: &&String| objects.namespaces.get(*name) != self.others.labels.get(*name);
            namespaces.extend(self.callers.keys().filter(differs).cloned());
            if self.update_others(objects, finish)? {
                due = self.renew_notes();
            }
        }
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

    /// Compiles everything but tokens. Whether tokens may be served other models than before.
    fn update_others(&mut self, objects: Objects, finish: Finish<'_>) -> Result<bool, serde_json::Error> {
        let others = &mut self.others;
        let relabelled = objects.namespaces != others.labels;
        if relabelled || objects.unread_providers != others.unread || objects.refused != others.refused {
            others.known.clear();
        }
        let before = std::mem::take(&mut others.providers);
        let same_references =
            same_data(&objects.secrets, &others.secrets) && same_data(&objects.config_maps, &others.config_maps);
        let mut known = if same_references { before.clone() } else { KnownProviders::new() };
        let providers = Providers::compile(&objects, &self.options, &mut known);
        let (compiled, differing) = differences(&before, &known);
        self.work += compiled;
        others.known.forget_users_of(&differing);
        let namespaces = Namespaces::of(&objects);
        let routes = routes::compile(&objects, &providers, &namespaces, &self.options, &mut others.known);
        for (id, compiled, verdict) in providers.finish(&routes.attached, &routes.unpriced) {
            let (same, key) = (!differing.contains(&id), Key { kind: Kind::Provider, id });
            self.results.store_unless_same(key, compiled.provider.as_ref(), verdict, same, finish)?;
        }
        before.keys().filter(|id| !known.contains_key(*id)).for_each(|id| self.results.forget(Kind::Provider, id));
        others.providers = known;
        let Objects { secrets, config_maps, namespaces, unread_providers, refused, .. } = objects;
        (others.secrets, others.config_maps, others.labels) = (secrets, config_maps, namespaces);
        (others.unread, others.refused) = (unread_providers, refused);
        Ok(self.store_routes(routes, finish)? || relabelled)
    }

    /// Stores the routes that differ from those before. Whether they serve other models.
    fn store_routes(&mut self, routes: Routes, finish: Finish<'_>) -> Result<bool, serde_json::Error> {
        let before = std::mem::replace(&mut self.others.routes, routes.compiled);
        let mut gone: HashMap<&ObjectId, &Arc<CompiledRoute>> = before.iter().map(|route| (&route.id, route)).collect();
        let mut serves_other = false;
        for route in &self.others.routes {
            let known = gone.remove(&route.id);
            if known.is_some_and(|known| Arc::ptr_eq(known, route)) {
                continue;
            }
            serves_other |= known.is_none_or(|known| !known.serves_as(route));
            let key = Key { kind: Kind::Route, id: route.id.clone() };
            self.results.store(key, route.route.as_ref(), route.verdict.clone(), finish)?;
        }
        gone.keys().for_each(|id| self.results.forget(Kind::Route, id));
        Ok(serves_other || !gone.is_empty())
    }

    /// Stores another version of a token. Returns the other tokens whose keys that affects.
    fn replace_token(&mut self, id: &ObjectId, token: Option<Arc<ApiToken>>) -> Vec<ObjectId> {
        let place = |token: &ApiToken| (objects::created(&token.metadata), id.clone());
        let token = token.filter(|token| objects::live(&token.metadata).is_some());
        let mut affected = match self.tokens.remove(id) {
            Some(before) => self.owners.remove(tokens::claims(&before, id), &place(&before)),
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
        let Others { labels, routes, .. } = &self.others;
        let known = Namespaces::labelled(labels);
        let mut writer = None;
        for id in due {
            let key = Key { kind: Kind::Token, id };
            let was = self.results.catalog.get(&key).is_some();
            if let Some(object) = self.tokens.get(&key.id) {
                self.work += 1;
                let mut write =
                    || writer.get_or_insert_with(|| NoteWriter::new(routes, &known)).of(&key.id, &object.spec);
                let notes = self.notes.of(&key.id, &object.spec, &mut write);
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

    /// Finds out again what is to be said of tokens. Returns those of which something else is.
    fn renew_notes(&mut self) -> BTreeSet<ObjectId> {
        let known = Namespaces::labelled(&self.others.labels);
        let mut writer = NoteWriter::new(&self.others.routes, &known);
        let before = std::mem::take(&mut self.notes);
        let mut due = BTreeSet::new();
        for (id, token) in &self.tokens {
            let notes = self.notes.of(id, &token.spec, &mut || writer.of(id, &token.spec));
            if before.get(id, &token.spec) != Some(notes) {
                due.insert(id.clone());
            }
        }
        due
    }
}

// === impl Notes ===

impl Notes {
    /// What is to be said of a token; `write` finds it out if it is not known.
    fn of(&mut self, id: &ObjectId, spec: &ApiTokenSpec, write: &mut dyn FnMut() -> TokenNotes) -> &TokenNotes {
        let known = self.0.entry(id.namespace().to_owned()).or_default();
        known.entry(depends_on(spec)).or_insert_with(write)
    }

    fn get(&self, id: &ObjectId, spec: &ApiTokenSpec) -> Option<&TokenNotes> {
        self.0.get(id.namespace())?.get(&depends_on(spec))
    }
}

/// What of a token's spec the notes depend on.
fn depends_on(spec: &ApiTokenSpec) -> (Vec<ModelPattern>, bool) {
    (spec.models.clone(), spec.denies_unpriced())
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
