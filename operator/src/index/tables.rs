//! The tables of the index, one per kind, and the rules for what is stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use routeapi_channel::{Key, Kind, ObjectId};
use routeapi_crds::v1alpha1::{AIProvider, AIRoute, ApiToken};

use super::usage::{NamespaceLimits, NamespaceUsage, Rebalanced};

/// Objects over the limit whose status reports it, per namespace: each costs a write, and the first ones show what to do. The
/// status of the others stays as it is.
pub const MAX_REPORTED: usize = 1000;

/// One table per kind.
#[derive(Debug, Default)]
pub struct Tables {
    /// AIProviders.
    pub providers: Table<Arc<AIProvider>>,
    /// AIRoutes.
    pub routes: Table<Arc<AIRoute>>,
    /// ApiTokens.
    pub tokens: Table<Arc<ApiToken>>,
    /// Secrets that AIProviders may refer to.
    pub secrets: Table<Arc<routeapi_compile::Data>>,
    /// ConfigMaps that AIProviders may refer to.
    pub config_maps: Table<Arc<routeapi_compile::Data>>,
    /// Labels by namespace; none if they are too many.
    pub namespaces: Table<Option<BTreeMap<String, String>>>,
    /// What each namespace uses of its limits.
    pub usage: NamespaceUsage,
    /// Objects that are not stored, because their namespace is over its limits.
    pub over_limit: BTreeMap<Key, OverLimit>,
    /// Objects that are within the limits again, and have to be read to be stored.
    pub rereads: BTreeSet<Key>,
    /// The highest resourceVersion seen, by plural name of the kind.
    pub min_resource_versions: BTreeMap<String, u64>,
    /// Watches that have not completed their first list.
    pub pending_lists: BTreeSet<Scope>,
    /// ApiTokens that were touched and not reconciled since.
    pub touched_tokens: BTreeMap<ObjectId, Touch>,
    /// What may compile to something else than at the last compilation.
    pub uncompiled: Uncompiled,
    /// AIProviders, AIRoutes and ApiTokens of which an event came since their statuses were looked at.
    pub touched: BTreeSet<Key>,
}

/// How an ApiToken was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touch {
    /// Only its `status.keys` changed, which is mostly the operator's own work.
    Keys,
    /// It is new, gone, or somebody changed it.
    Object,
}

/// What changed since the last compilation.
#[derive(Debug, Default)]
pub struct Uncompiled {
    /// AIRoutes.
    pub routes: BTreeSet<ObjectId>,
    /// ApiTokens.
    pub tokens: BTreeSet<ObjectId>,
    /// Whether any other object did.
    pub others: bool,
}

/// The objects of one kind.
#[derive(Debug)]
pub struct Table<T> {
    /// The last readable version of each object.
    pub objects: BTreeMap<ObjectId, T>,
    /// Objects whose newest version is not readable.
    pub excluded: BTreeMap<ObjectId, ExcludedObject>,
}

/// What one watch lists: a kind in one namespace, or in all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    /// Plural name of the kind.
    pub plural: &'static str,
    /// The namespace; none for all, or for a cluster-scoped kind.
    pub namespace: Option<String>,
}

/// An object that this version cannot read, or whose namespace is over its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExcludedObject {
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// `metadata.uid`, which distinguishes objects of the same name.
    pub uid: String,
    /// Why it is excluded, for its status.
    pub message: String,
    /// Whether its namespace is over its limits; otherwise it cannot be read.
    pub over_limit: bool,
}

/// What is stored of an object whose namespace is over its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverLimit {
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// `metadata.uid`.
    pub uid: String,
}

// === impl Tables ===

impl Tables {
    /// Records a resourceVersion. They are compared as integers, which Kubernetes guarantees since 1.35; it was true before.
    pub fn observe(&mut self, plural: &'static str, resource_version: Option<&str>) {
        if let Some(seen) = resource_version.and_then(|text| text.parse::<u64>().ok()) {
            let highest = self.min_resource_versions.entry(plural.to_owned()).or_default();
            *highest = (*highest).max(seen);
        }
    }

    /// Whether an object is within its namespace's limits and so to be stored. Evicts younger objects if it needs their room.
    pub fn admit(&mut self, key: &Key, created: i64, bytes: usize, over_limit: OverLimit) -> bool {
        let (admitted, change) = self.usage.put(key, created, bytes);
        if admitted {
            self.over_limit.remove(key);
            self.rereads.remove(key);
        } else {
            self.over_limit.insert(key.clone(), over_limit);
        }
        self.rebalance(change);
        admitted
    }

    /// Forgets a deleted object. Whether it was over the limits.
    pub fn forget(&mut self, key: &Key) -> bool {
        let change = self.usage.remove(key);
        self.rebalance(change);
        self.rereads.remove(key);
        self.over_limit.remove(key).is_some()
    }

    fn rebalance(&mut self, change: Rebalanced) {
        for key in change.evicted {
            let evicted = match key.kind {
                Kind::Provider => self.providers.objects.remove(&key.id).map(|object| OverLimit::of(&object.metadata)),
                Kind::Route => self.routes.objects.remove(&key.id).map(|object| OverLimit::of(&object.metadata)),
                Kind::Token => self.tokens.objects.remove(&key.id).map(|object| OverLimit::of(&object.metadata)),
                Kind::Namespace | Kind::Unknown(_) => None,
            };
            self.touch(Some(key.kind), &key.id, Touch::Object);
            self.changed(Some(key.kind), &key.id);
            if let Some(over_limit) = evicted {
                self.over_limit.insert(key, over_limit);
            }
        }
        self.rereads.extend(change.admitted.into_iter().filter(|key| self.over_limit.contains_key(key)));
    }

    /// AIProviders, AIRoutes and ApiTokens whose newest version is not readable or over the limits.
    pub fn all_excluded(&self) -> BTreeMap<Key, ExcludedObject> {
        let of_kind = |kind, excluded: &BTreeMap<ObjectId, ExcludedObject>| {
            let each = |(id, object): (&ObjectId, &ExcludedObject)| (Key { kind, id: id.clone() }, object.clone());
            excluded.iter().map(each).collect::<Vec<_>>()
        };
        let unreadable = [
            of_kind(Kind::Provider, &self.providers.excluded),
            of_kind(Kind::Route, &self.routes.excluded),
            of_kind(Kind::Token, &self.tokens.excluded),
        ];
        unreadable.into_iter().flatten().chain(self.reported_over_limit()).collect()
    }

    /// Objects over the limits with the message for their status: the first [`MAX_REPORTED`] of each namespace.
    pub fn reported_over_limit(&self) -> impl Iterator<Item = (Key, ExcludedObject)> {
        let mut reported: BTreeMap<&str, usize> = BTreeMap::new();
        let limits = self.usage.limits();
        self.over_limit.iter().filter_map(move |(key, OverLimit { generation, uid })| {
            let count = reported.entry(key.id.namespace()).or_default();
            *count += 1;
            let NamespaceLimits { objects, bytes, .. } = limits.filter(|_| *count <= MAX_REPORTED)?;
            let message = format!(
                "namespace {} is full: its older AIProviders, AIRoutes and ApiTokens use up its limits of {objects} objects and \
                 {bytes} bytes of spec; delete some of them, or ask a cluster administrator to raise the Helm values \
                 namespaceLimits.objects and namespaceLimits.bytes",
                key.id.namespace()
            );
            Some((key.clone(), ExcludedObject { generation: *generation, uid: uid.clone(), message, over_limit: true }))
        })
    }

    /// Notes that an object may compile to something else.
    pub fn changed(&mut self, kind: Option<Kind>, id: &ObjectId) {
        match kind {
            Some(Kind::Route) => drop(self.uncompiled.routes.insert(id.clone())),
            Some(Kind::Token) => drop(self.uncompiled.tokens.insert(id.clone())),
            _ => self.uncompiled.others = true,
        }
    }

    /// Notes that an event of an object came, if the kind is one that has a status.
    pub fn event(&mut self, kind: Option<Kind>, id: &ObjectId) {
        if let Some(kind) = kind {
            self.touched.insert(Key { kind, id: id.clone() });
        }
    }

    /// Notes that an object was touched, if the kind is one that is reconciled.
    pub fn touch(&mut self, kind: Option<Kind>, id: &ObjectId, touch: Touch) {
        if kind == Some(Kind::Token) {
            let known = self.touched_tokens.entry(id.clone()).or_insert(touch);
            *known = touch.max(*known);
        }
    }
}

impl<T> Table<T> {
    /// Removes an object. Whether there was one.
    pub fn remove(&mut self, id: &ObjectId) -> bool {
        self.objects.remove(id).is_some() | self.excluded.remove(id).is_some()
    }
}

impl OverLimit {
    /// What is stored of an object with this metadata.
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self { generation: metadata.generation, uid: metadata.uid.clone().unwrap_or_default() }
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), excluded: BTreeMap::new() }
    }
}
