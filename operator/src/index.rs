//! Every watched object by key, and notifications when one changes.
//!
//! Watches write through [`Index::apply`], [`Index::delete`] and [`Index::listed`]; the tasks that compile, issue tokens and
//! write statuses read. If an object cannot be decoded, its last readable version stays in force, and an [`ExcludedObject`]
//! has the reason, for its status. Changes that do not affect data planes (a status) do not trigger a compilation. No I/O, no
//! clock.
//!
//! Parts that are not used are dropped on entry: annotations, labels, finalizers, managed fields, values that no reference could
//! use. What a namespace may store is limited ([`usage`]): of objects over the limit only the name is stored, and they are
//! read again when there is room ([`Index::rereads`]).

mod kinds;
mod tables;
pub mod usage;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::error_boundary::InvalidObject;
use routeapi_channel::{Key, Kind, ObjectId};
use routeapi_compile::{Changes, Objects};
use routeapi_crds::v1alpha1::{AIProvider, AIRoute, ApiToken};
use tokio::sync::{Notify, watch};

pub use kinds::Indexed;
pub use tables::{ExcludedObject, Scope, Touch};
use tables::{OverLimit, Tables, Uncompiled};
use usage::{NamespaceLimits, NamespaceUsage};

/// The store. One per operator.
#[derive(Debug)]
pub struct Index {
    tables: Mutex<Tables>,
    changed: watch::Sender<u64>,
    touched: watch::Sender<u64>,
    tokens_touched: Notify,
    reread_queued: Notify,
    ready: watch::Sender<bool>,
}

/// The input of one compilation: all objects, or those that changed since the one before ([`Changes`]).
#[derive(Debug)]
pub struct View<T = Objects> {
    /// The last readable versions of objects.
    pub objects: T,
    /// AIProviders, AIRoutes and ApiTokens whose newest version is not readable or over the limits.
    pub excluded: BTreeMap<routeapi_compile::ObjectRef, ExcludedObject>,
    /// The highest resourceVersion seen, by plural name of the kind.
    pub min_resource_versions: BTreeMap<String, u64>,
}

// === impl Index ===

impl Index {
    /// An empty store that is ready once each of these scopes was listed.
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Arc<Self> {
        Self::with_limits(scopes, None)
    }

    /// The same, with limits for each namespace.
    pub fn with_limits(scopes: impl IntoIterator<Item = Scope>, limits: Option<NamespaceLimits>) -> Arc<Self> {
        let pending_lists: BTreeSet<_> = scopes.into_iter().collect();
        Arc::new(Self {
            ready: watch::Sender::new(pending_lists.is_empty()),
            tables: Mutex::new(Tables { pending_lists, usage: NamespaceUsage::new(limits), ..Tables::default() }),
            changed: watch::Sender::new(0),
            touched: watch::Sender::new(0),
            tokens_touched: Notify::new(),
            reread_queued: Notify::new(),
        })
    }

    /// Stores a new or changed object, or notes that it cannot be read.
    pub fn apply<K: Indexed>(&self, object: Result<K, InvalidObject>) {
        let tables = self.lock();
        self.apply_to(tables, object);
    }

    /// Stores an object that was read again, unless it was deleted or recreated in the meantime.
    pub fn apply_reread<K: Indexed>(&self, object: Result<K, InvalidObject>) {
        let tables = self.lock();
        let metadata = object.as_ref().map_or_else(|invalid| &invalid.metadata, |object| object.meta());
        let known = K::KIND.and_then(|kind| tables.over_limit.get(&Key { kind, id: id_of(metadata) }));
        if known.is_some_and(|known| metadata.uid.as_deref() == Some(&*known.uid)) {
            self.apply_to(tables, object);
        }
    }

    fn apply_to<K: Indexed>(&self, mut tables: MutexGuard<'_, Tables>, object: Result<K, InvalidObject>) {
        let changed = match object {
            Ok(object) => {
                let id = id_of(object.meta());
                tables.observe(K::PLURAL, object.meta().resource_version.as_deref());
                let (next, bytes) = object.into_stored();
                if let (Some(kind), Some(metadata)) = (K::KIND, K::metadata(&next)) {
                    let (key, over_limit) = (Key { kind, id: id.clone() }, OverLimit::of(metadata));
                    let newly_over = tables.over_limit.get(&key) != Some(&over_limit);
                    let created = metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
                    if !tables.admit(&key, created, bytes, over_limit) {
                        // An object that was never stored does not affect data planes, but its status must report the exclusion.
                        let changed = K::table(&mut tables).remove(&id) || newly_over;
                        tables.touch(K::KIND, &id, Touch::Object);
                        tables.event(K::KIND, &id);
                        tables.changed(K::KIND, &id);
                        drop(tables);
                        self.reread_queued.notify_one();
                        return self.wake(changed);
                    }
                }
                let table = K::table(&mut tables);
                let was_excluded = table.excluded.remove(&id).is_some();
                let previous = table.objects.get(&id);
                let same = previous.is_some_and(|previous| K::same(previous, &next));
                let touched = previous.is_some_and(|previous| K::touched(previous, &next));
                let same_spec = previous.is_some_and(|previous| K::same_spec(previous, &next));
                table.objects.insert(id.clone(), next);
                if !same || touched {
                    tables.touch(K::KIND, &id, if same_spec && !touched { Touch::Keys } else { Touch::Object });
                }
                tables.event(K::KIND, &id);
                if was_excluded || !same {
                    tables.changed(K::KIND, &id);
                }
                was_excluded || !same
            }
            Err(InvalidObject { error, metadata }) => {
                tables.observe(K::PLURAL, metadata.resource_version.as_deref());
                let id = id_of(&metadata);
                let uid = metadata.uid.unwrap_or_default();
                let next = ExcludedObject { generation: metadata.generation, uid, message: error, over_limit: false };
                tables.event(K::KIND, &id);
                tables.changed(K::KIND, &id);
                K::table(&mut tables).excluded.insert(id, next.clone()) != Some(next)
            }
        };
        drop(tables);
        self.reread_queued.notify_one();
        self.wake(changed);
    }

    /// Removes an object.
    pub fn delete<K: Indexed>(&self, metadata: &ObjectMeta) {
        let id = id_of(metadata);
        let mut tables = self.lock();
        tables.observe(K::PLURAL, metadata.resource_version.as_deref());
        tables.touch(K::KIND, &id, Touch::Object);
        tables.event(K::KIND, &id);
        tables.changed(K::KIND, &id);
        let known = K::KIND.is_some_and(|kind| tables.forget(&Key { kind, id: id.clone() }));
        let changed = known | K::table(&mut tables).remove(&id);
        drop(tables);
        self.reread_queued.notify_one();
        self.wake(changed);
    }

    /// A list is complete: objects of its scope that it did not contain were deleted.
    pub fn listed<K: Indexed>(&self, scope: &Scope, ids: &BTreeSet<ObjectId>) {
        let mut tables = self.lock();
        let inside = |id: &ObjectId| scope.namespace.as_ref().is_none_or(|namespace| namespace == id.namespace());
        let table = K::table(&mut tables);
        let keep = |id: &ObjectId| !inside(id) || ids.contains(id);
        let deleted: Vec<_> = table.objects.keys().filter(|id| !keep(id)).cloned().collect();
        table.objects.retain(|id, _| keep(id));
        table.excluded.retain(|id, _| keep(id));
        for id in &deleted {
            tables.touch(K::KIND, id, Touch::Object);
            tables.event(K::KIND, id);
            tables.changed(K::KIND, id);
        }
        if let Some(kind) = K::KIND {
            let over_limit = tables.over_limit.keys().filter(|key| key.kind == kind && !keep(&key.id)).cloned();
            let stored = deleted.iter().map(|id| Key { kind, id: id.clone() });
            for key in stored.chain(over_limit).collect::<Vec<_>>() {
                tables.forget(&key);
            }
        }
        tables.pending_lists.remove(scope);
        let ready = tables.pending_lists.is_empty();
        drop(tables);
        self.reread_queued.notify_one();
        self.wake(!deleted.is_empty());
        self.ready.send_if_modified(|current| !std::mem::replace(current, ready) && ready);
    }

    /// Records that a list of at least this resourceVersion is about to follow.
    pub fn observe(&self, plural: &'static str, resource_version: Option<&str>) {
        self.lock().observe(plural, resource_version);
    }

    /// All objects.
    pub fn view(&self) -> View {
        let tables = self.lock();
        let excluded = tables.all_excluded();
        let objects = Objects {
            routes: tables.routes.objects.values().cloned().collect(),
            tokens: tables.tokens.objects.values().cloned().collect(),
            ..others(&tables, &excluded)
        };
        View { objects, excluded, min_resource_versions: tables.min_resource_versions.clone() }
    }

    /// The objects that changed since the last call, for a compilation; all of them for the first one.
    pub fn take_changes(&self, all: bool) -> View<Changes> {
        let mut tables = self.lock();
        let Uncompiled { routes, tokens, others: others_changed } = std::mem::take(&mut tables.uncompiled);
        let excluded = tables.all_excluded();
        let routes = changed_objects(&tables.routes.objects, routes, all);
        let tokens = changed_objects(&tables.tokens.objects, tokens, all);
        let others = (all || others_changed).then(|| others(&tables, &excluded));
        let min_resource_versions = tables.min_resource_versions.clone();
        View { objects: Changes { others, routes, tokens }, excluded, min_resource_versions }
    }

    /// The AIProviders, AIRoutes and ApiTokens of which an event came since the last call.
    pub fn take_touched(&self) -> BTreeSet<Key> {
        std::mem::take(&mut self.lock().touched)
    }

    /// One AIProvider as last read.
    pub fn provider(&self, id: &ObjectId) -> Option<Arc<AIProvider>> {
        self.lock().providers.objects.get(id).cloned()
    }

    /// One AIRoute as last read.
    pub fn route(&self, id: &ObjectId) -> Option<Arc<AIRoute>> {
        self.lock().routes.objects.get(id).cloned()
    }

    /// One ApiToken as last read.
    pub fn token(&self, id: &ObjectId) -> Option<Arc<ApiToken>> {
        self.lock().tokens.objects.get(id).cloned()
    }

    /// All ApiTokens as last read.
    pub fn tokens(&self) -> Vec<(ObjectId, Arc<ApiToken>)> {
        self.lock().tokens.objects.iter().map(|(id, token)| (id.clone(), Arc::clone(token))).collect()
    }

    /// Waits for ApiTokens that were changed or touched since the last call, and returns them.
    pub async fn touched_tokens(&self) -> BTreeMap<ObjectId, Touch> {
        loop {
            let touched = self.take_touched_tokens();
            if !touched.is_empty() {
                return touched;
            }
            self.tokens_touched.notified().await;
        }
    }

    /// The same without waiting.
    pub fn take_touched_tokens(&self) -> BTreeMap<ObjectId, Touch> {
        std::mem::take(&mut self.lock().touched_tokens)
    }

    /// Waits for objects that are within their namespace's limits again and have to be read, and returns them.
    pub async fn rereads(&self) -> BTreeSet<Key> {
        loop {
            let rereads = std::mem::take(&mut self.lock().rereads);
            if !rereads.is_empty() {
                return rereads;
            }
            self.reread_queued.notified().await;
        }
    }

    /// Queues objects again that could not be read.
    pub fn requeue_rereads(&self, keys: impl IntoIterator<Item = Key>) {
        let mut tables = self.lock();
        for key in keys {
            if tables.over_limit.contains_key(&key) {
                tables.rereads.insert(key);
            }
        }
        drop(tables);
        self.reread_queued.notify_one();
    }

    /// Changes when the result of a compilation may change.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Changes with every event, including changes of statuses.
    pub fn touched(&self) -> watch::Receiver<u64> {
        self.touched.subscribe()
    }

    /// Whether every scope was listed once.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// The scopes that were not listed yet.
    pub fn pending_lists(&self) -> Vec<Scope> {
        self.lock().pending_lists.iter().cloned().collect()
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

/// The ID of an object; the namespace of a cluster-scoped one is empty.
pub fn id_of(metadata: &ObjectMeta) -> ObjectId {
    let (namespace, name) = (metadata.namespace.as_deref(), metadata.name.as_deref());
    ObjectId::new(namespace.unwrap_or_default(), name.unwrap_or_default())
}

/// The objects that changed, or all; none for one that is gone.
fn changed_objects<T: Clone>(
    current: &BTreeMap<ObjectId, T>,
    changed: BTreeSet<ObjectId>,
    all: bool,
) -> Vec<(ObjectId, Option<T>)> {
    if all {
        return current.iter().map(|(id, object)| (id.clone(), Some(object.clone()))).collect();
    }
    changed.into_iter().map(|id| (id.clone(), current.get(&id).cloned())).collect()
}

/// All objects but routes and tokens.
fn others(tables: &Tables, excluded: &BTreeMap<Key, ExcludedObject>) -> Objects {
    let unread = excluded.keys().filter(|key| key.kind == Kind::Provider).map(|key| key.id.clone());
    let labels = tables.namespaces.objects.iter();
    Objects {
        providers: tables.providers.objects.values().cloned().collect(),
        unread_providers: unread.collect(),
        routes: Vec::new(),
        tokens: Vec::new(),
        secrets: tables.secrets.objects.clone(),
        config_maps: tables.config_maps.objects.clone(),
        namespaces: labels.filter_map(|(id, labels)| Some((id.name().to_owned(), labels.clone()?))).collect(),
        refused: BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests;
