//! Every watched object by key, and what to wake when one changes.
//!
//! Watches write through [`Index::apply`], [`Index::delete`] and [`Index::listed`]; the compile task, the token task and
//! the status task read. An object that cannot be decoded keeps its last readable version in force and is remembered as
//! [`Broken`], so that its status can say why. Changes that no data plane could notice (a status) do not wake the
//! compile task. No I/O, no clock.
//!
//! What nobody reads is dropped where an object enters: annotations, labels, finalizers, managed fields, values that no
//! reference could use. What a namespace holds is bounded ([`usage`]): of objects that are over, only the name is kept,
//! and they are read again when there is room ([`Index::wanted`]).

mod kinds;
pub mod usage;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::error_boundary::InvalidObject;
use routeapi_channel::{Key, Kind, ObjectId};
use routeapi_compile::Objects;
use routeapi_crds::v1alpha1::{AIProvider, AIRoute, ApiToken};
use tokio::sync::{Notify, watch};

pub use kinds::Indexed;
use usage::{Bounds, Shift, Usage};

/// Objects of one namespace that are over and are told so; the status of others is left as it is.
const TOLD: usize = 1000;

/// The store. One per operator.
#[derive(Debug)]
pub struct Index {
    tables: Mutex<Tables>,
    changed: watch::Sender<u64>,
    touched: watch::Sender<u64>,
    tokens_touched: Notify,
    wanted: Notify,
    ready: watch::Sender<bool>,
}

/// One table per kind.
#[derive(Debug, Default)]
pub struct Tables {
    providers: Table<Arc<AIProvider>>,
    routes: Table<Arc<AIRoute>>,
    tokens: Table<Arc<ApiToken>>,
    secrets: Table<Arc<routeapi_compile::Data>>,
    config_maps: Table<Arc<routeapi_compile::Data>>,
    namespaces: Table<Option<BTreeMap<String, String>>>,
    usage: Usage,
    over: BTreeMap<Key, Over>,
    wanted: BTreeSet<Key>,
    floor: BTreeMap<String, u64>,
    awaited: BTreeSet<Scope>,
    touched_tokens: BTreeSet<ObjectId>,
}

/// The objects of one kind.
#[derive(Debug)]
struct Table<T> {
    held: BTreeMap<ObjectId, T>,
    broken: BTreeMap<ObjectId, Broken>,
}

/// One watch: a kind in one namespace, or in all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    /// Plural name of the kind.
    pub plural: &'static str,
    /// None: all namespaces, or a kind that has none.
    pub namespace: Option<String>,
}

/// An object that this version cannot read, or whose namespace holds too much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its generation.
    pub generation: Option<i64>,
    /// Tells objects of the same name apart.
    pub uid: String,
    /// What is wrong.
    pub message: String,
    /// Whether it is its namespace that holds too much.
    pub over: bool,
}

/// What is kept of an object that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Over {
    generation: Option<i64>,
    uid: String,
}

/// What one compilation needs.
#[derive(Debug)]
pub struct View {
    /// Everything readable.
    pub objects: Objects,
    /// AIProviders, AIRoutes and ApiTokens whose newest version is not.
    pub broken: BTreeMap<routeapi_compile::ObjectRef, Broken>,
    /// The highest resourceVersion seen per kind.
    pub floor: BTreeMap<String, u64>,
}

// === impl Index ===

impl Index {
    /// An empty store that is ready once each of these scopes was listed.
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Arc<Self> {
        Self::bounded(scopes, None)
    }

    /// The same, with bounds for what a namespace holds.
    pub fn bounded(scopes: impl IntoIterator<Item = Scope>, bounds: Option<Bounds>) -> Arc<Self> {
        let awaited: BTreeSet<_> = scopes.into_iter().collect();
        Arc::new(Self {
            ready: watch::Sender::new(awaited.is_empty()),
            tables: Mutex::new(Tables { awaited, usage: Usage::new(bounds), ..Tables::default() }),
            changed: watch::Sender::new(0),
            touched: watch::Sender::new(0),
            tokens_touched: Notify::new(),
            wanted: Notify::new(),
        })
    }

    /// Takes in a new or changed object, or notes that it cannot be read.
    pub fn apply<K: Indexed>(&self, object: Result<K, InvalidObject>) {
        let tables = self.lock();
        self.apply_to(tables, object);
    }

    /// Takes in an object that was wanted, unless it is gone or made anew meanwhile.
    pub fn apply_wanted<K: Indexed>(&self, object: Result<K, InvalidObject>) {
        let tables = self.lock();
        let metadata = object.as_ref().map_or_else(|broken| &broken.metadata, |object| object.meta());
        let held = K::KIND.and_then(|kind| tables.over.get(&Key { kind, id: id_of(metadata) }));
        if held.is_some_and(|over| metadata.uid.as_deref() == Some(&*over.uid)) {
            self.apply_to(tables, object);
        }
    }

    fn apply_to<K: Indexed>(&self, mut tables: MutexGuard<'_, Tables>, object: Result<K, InvalidObject>) {
        let changed = match object {
            Ok(object) => {
                let id = id_of(object.meta());
                tables.raise(K::PLURAL, object.meta().resource_version.as_deref());
                let (next, bytes) = object.hold();
                if let (Some(kind), Some(metadata)) = (K::KIND, K::metadata(&next)) {
                    let (key, over) = (Key { kind, id: id.clone() }, Over::of(metadata));
                    let news = tables.over.get(&key) != Some(&over);
                    let created = metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
                    if !tables.weigh(&key, created, bytes, over) {
                        // One that was never held changes nothing for data planes, but has to be told.
                        let changed = K::table(&mut tables).take(&id) || news;
                        tables.note(K::PLURAL, &id);
                        drop(tables);
                        self.wanted.notify_one();
                        return self.wake(changed);
                    }
                }
                let table = K::table(&mut tables);
                let was_broken = table.broken.remove(&id).is_some();
                let held = table.held.get(&id);
                let same = held.is_some_and(|held| K::same(held, &next));
                let touched = held.is_some_and(|held| K::touched(held, &next));
                table.held.insert(id.clone(), next);
                if !same || touched {
                    tables.note(K::PLURAL, &id);
                }
                was_broken || !same
            }
            Err(InvalidObject { error, metadata }) => {
                tables.raise(K::PLURAL, metadata.resource_version.as_deref());
                let id = id_of(&metadata);
                let uid = metadata.uid.unwrap_or_default();
                let next = Broken { generation: metadata.generation, uid, message: error, over: false };
                K::table(&mut tables).broken.insert(id, next.clone()) != Some(next)
            }
        };
        drop(tables);
        self.wanted.notify_one();
        self.wake(changed);
    }

    /// Takes an object out.
    pub fn delete<K: Indexed>(&self, metadata: &ObjectMeta) {
        let id = id_of(metadata);
        let mut tables = self.lock();
        tables.raise(K::PLURAL, metadata.resource_version.as_deref());
        tables.note(K::PLURAL, &id);
        let known = K::KIND.is_some_and(|kind| tables.forget(&Key { kind, id: id.clone() }));
        let changed = known | K::table(&mut tables).take(&id);
        drop(tables);
        self.wanted.notify_one();
        self.wake(changed);
    }

    /// A list is complete: what it did not hold is gone.
    pub fn listed<K: Indexed>(&self, scope: &Scope, seen: &BTreeSet<ObjectId>) {
        let mut tables = self.lock();
        let inside = |id: &ObjectId| scope.namespace.as_ref().is_none_or(|it| it == id.namespace());
        let table = K::table(&mut tables);
        let keep = |id: &ObjectId| !inside(id) || seen.contains(id);
        let gone: Vec<_> = table.held.keys().filter(|id| !keep(id)).cloned().collect();
        table.held.retain(|id, _| keep(id));
        table.broken.retain(|id, _| keep(id));
        gone.iter().for_each(|id| tables.note(K::PLURAL, id));
        if let Some(kind) = K::KIND {
            let over = tables.over.keys().filter(|key| key.kind == kind && !keep(&key.id)).cloned();
            let over: Vec<_> = over.collect();
            let held = gone.iter().map(|id| Key { kind, id: id.clone() });
            for key in held.chain(over).collect::<Vec<_>>() {
                tables.forget(&key);
            }
        }
        tables.awaited.remove(scope);
        let ready = tables.awaited.is_empty();
        drop(tables);
        self.wanted.notify_one();
        self.wake(!gone.is_empty());
        self.ready.send_if_modified(|held| !std::mem::replace(held, ready) && ready);
    }

    /// A state of at least this resourceVersion is about to be listed.
    pub fn raise(&self, plural: &'static str, resource_version: Option<&str>) {
        self.lock().raise(plural, resource_version);
    }

    /// What is there now, for one compilation.
    pub fn view(&self) -> View {
        let tables = self.lock();
        let key = |kind, id: &ObjectId| Key { kind, id: id.clone() };
        let broken: BTreeMap<_, _> = std::iter::empty()
            .chain(tables.providers.broken.iter().map(|(id, it)| (key(Kind::Provider, id), it.clone())))
            .chain(tables.routes.broken.iter().map(|(id, it)| (key(Kind::Route, id), it.clone())))
            .chain(tables.tokens.broken.iter().map(|(id, it)| (key(Kind::Token, id), it.clone())))
            .chain(tables.told_over())
            .collect();
        let unread = broken.keys().filter(|key| key.kind == Kind::Provider).map(|key| key.id.clone());
        let objects = Objects {
            providers: tables.providers.held.values().cloned().collect(),
            unread_providers: unread.collect(),
            routes: tables.routes.held.values().cloned().collect(),
            tokens: tables.tokens.held.values().cloned().collect(),
            secrets: tables.secrets.held.clone(),
            config_maps: tables.config_maps.held.clone(),
            namespaces: tables
                .namespaces
                .held
                .iter()
                .filter_map(|(id, labels)| Some((id.name().to_owned(), labels.clone()?)))
                .collect(),
            refused: BTreeSet::new(),
        };
        View { objects, broken, floor: tables.floor.clone() }
    }

    /// One AIProvider as last read.
    pub fn provider(&self, id: &ObjectId) -> Option<Arc<AIProvider>> {
        self.lock().providers.held.get(id).cloned()
    }

    /// One AIRoute as last read.
    pub fn route(&self, id: &ObjectId) -> Option<Arc<AIRoute>> {
        self.lock().routes.held.get(id).cloned()
    }

    /// One ApiToken as last read.
    pub fn token(&self, id: &ObjectId) -> Option<Arc<ApiToken>> {
        self.lock().tokens.held.get(id).cloned()
    }

    /// The ids of every ApiToken.
    pub fn token_ids(&self) -> Vec<ObjectId> {
        self.lock().tokens.held.keys().cloned().collect()
    }

    /// Waits for ApiTokens that were touched since the last call, and takes them.
    pub async fn touched_tokens(&self) -> BTreeSet<ObjectId> {
        loop {
            let touched = std::mem::take(&mut self.lock().touched_tokens);
            if !touched.is_empty() {
                return touched;
            }
            self.tokens_touched.notified().await;
        }
    }

    /// Waits for objects that have come within their namespace's bounds and have to be read again, and takes them.
    pub async fn wanted(&self) -> BTreeSet<Key> {
        loop {
            let wanted = std::mem::take(&mut self.lock().wanted);
            if !wanted.is_empty() {
                return wanted;
            }
            self.wanted.notified().await;
        }
    }

    /// They could not be read now.
    pub fn want_again(&self, keys: impl IntoIterator<Item = Key>) {
        let mut tables = self.lock();
        for key in keys {
            if tables.over.contains_key(&key) {
                tables.wanted.insert(key);
            }
        }
        drop(tables);
        self.wanted.notify_one();
    }

    /// Moves when something changed that compiles to something else.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Moves with every event, statuses included.
    pub fn touched(&self) -> watch::Receiver<u64> {
        self.touched.subscribe()
    }

    /// Whether every kind was listed once.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// The watches that have not listed yet.
    pub fn awaited(&self) -> Vec<Scope> {
        self.lock().awaited.iter().cloned().collect()
    }

    fn wake(&self, changed: bool) {
        if changed {
            self.changed.send_modify(|count| *count += 1);
        }
        self.touched.send_modify(|count| *count += 1);
        self.tokens_touched.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Tables ===

impl Tables {
    /// resourceVersions are compared as integers, which Kubernetes promises since 1.35 and held before.
    fn raise(&mut self, plural: &'static str, resource_version: Option<&str>) {
        if let Some(seen) = resource_version.and_then(|text| text.parse::<u64>().ok()) {
            let floor = self.floor.entry(plural.to_owned()).or_default();
            *floor = (*floor).max(seen);
        }
    }

    /// Whether an object's content is to be held; makes room for it if so.
    fn weigh(&mut self, key: &Key, created: i64, bytes: usize, over: Over) -> bool {
        let (within, shift) = self.usage.put(key, created, bytes);
        if within {
            self.over.remove(key);
            self.wanted.remove(key);
        } else {
            self.over.insert(key.clone(), over);
        }
        self.shift(shift);
        within
    }

    /// An object is gone; whether it was over.
    fn forget(&mut self, key: &Key) -> bool {
        let shift = self.usage.remove(key);
        self.shift(shift);
        self.wanted.remove(key);
        self.over.remove(key).is_some()
    }

    fn shift(&mut self, shift: Shift) {
        for key in shift.over {
            let metadata = match key.kind {
                Kind::Provider => self.providers.held.remove(&key.id).map(|it| Over::of(&it.metadata)),
                Kind::Route => self.routes.held.remove(&key.id).map(|it| Over::of(&it.metadata)),
                Kind::Token => self.tokens.held.remove(&key.id).map(|it| Over::of(&it.metadata)),
                Kind::Namespace | Kind::Unknown(_) => None,
            };
            if key.kind == Kind::Token {
                self.touched_tokens.insert(key.id.clone());
            }
            if let Some(over) = metadata {
                self.over.insert(key, over);
            }
        }
        self.wanted.extend(shift.within.into_iter().filter(|key| self.over.contains_key(key)));
    }

    /// Objects that are over, with what they are told: the first of each namespace.
    fn told_over(&self) -> impl Iterator<Item = (Key, Broken)> {
        let mut told: BTreeMap<&str, usize> = BTreeMap::new();
        let bounds = self.usage.bounds();
        self.over.iter().filter_map(move |(key, Over { generation, uid })| {
            let count = told.entry(key.id.namespace()).or_default();
            *count += 1;
            let Bounds { objects, bytes, .. } = bounds.filter(|_| *count <= TOLD)?;
            let message = format!(
                "namespace {} is full: its older AIProviders, AIRoutes and ApiTokens take up what it may hold, {objects} \
                 objects with {bytes} bytes of spec; delete some of them, or raise the Helm values namespaceLimits.objects \
                 and namespaceLimits.bytes",
                key.id.namespace()
            );
            Some((key.clone(), Broken { generation: *generation, uid: uid.clone(), message, over: true }))
        })
    }

    fn note(&mut self, plural: &'static str, id: &ObjectId) {
        if plural == <ApiToken as Indexed>::PLURAL {
            self.touched_tokens.insert(id.clone());
        }
    }
}

impl<T> Table<T> {
    fn take(&mut self, id: &ObjectId) -> bool {
        self.held.remove(id).is_some() | self.broken.remove(id).is_some()
    }
}

impl Over {
    fn of(metadata: &ObjectMeta) -> Self {
        Self { generation: metadata.generation, uid: metadata.uid.clone().unwrap_or_default() }
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { held: BTreeMap::new(), broken: BTreeMap::new() }
    }
}

/// The key of an object; kinds without namespaces have an empty one.
pub fn id_of(metadata: &ObjectMeta) -> ObjectId {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    ObjectId::new(text(&metadata.namespace), text(&metadata.name))
}

#[cfg(test)]
mod tests;
