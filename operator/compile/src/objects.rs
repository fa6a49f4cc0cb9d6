//! The input: every relevant object, shared with the watcher.
//!
//! The operator passes the `Arc`s of its stores, so building an [`Objects`] copies nothing. Local commands fill it from files
//! with [`crate::Manifests`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use routeapi_channel::ObjectId;
use routeapi_crds::v1alpha1::{AIProvider, AIRoute, ApiToken};

/// All objects of one state. Each appears once; the order does not matter.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// AIProviders.
    pub providers: Vec<Arc<AIProvider>>,
    /// AIProviders that exist but are not among the above, because they could not be read or were refused.
    pub unread_providers: BTreeSet<ObjectId>,
    /// AIRoutes.
    pub routes: Vec<Arc<AIRoute>>,
    /// ApiTokens; their keys are taken from `status.keys`.
    pub tokens: Vec<Arc<ApiToken>>,
    /// Secrets that AIProviders refer to. Others may be present and are ignored.
    pub secrets: BTreeMap<ObjectId, Arc<Data>>,
    /// ConfigMaps that AIProviders refer to. Others may be present and are ignored.
    pub config_maps: BTreeMap<ObjectId, Arc<Data>>,
    /// Labels of each namespace.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Objects (kind and name) that were refused before they got here, as an API server refuses what does not match its schema.
    /// A reference to one is reported as that, not as a missing object.
    pub refused: BTreeSet<(String, ObjectId)>,
}

/// The content of a Secret or ConfigMap. `Debug` shows its keys only.
///
/// Values that no reference could use are dropped: those longer than [`MAX_VALUE`] without certificates, and those longer
/// than [`MAX_CERTIFICATES`].
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Data {
    values: BTreeMap<String, Vec<u8>>,
    too_long: BTreeSet<String>,
}

/// Maximum size of an API key or header value in bytes: the largest request head that servers commonly accept.
pub const MAX_VALUE: usize = 16 << 10;

/// Maximum size of a certificate bundle in bytes; the public roots that browsers ship take about 250 KiB.
pub const MAX_CERTIFICATES: usize = 512 << 10;

const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

// === impl Data ===

impl Data {
    /// The bytes under a key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.values.get(key).map(Vec::as_slice)
    }

    /// Whether the value under a key was dropped because of its size.
    pub fn is_too_long(&self, key: &str) -> bool {
        self.too_long.contains(key)
    }
}

impl FromIterator<(String, Vec<u8>)> for Data {
    fn from_iter<T: IntoIterator<Item = (String, Vec<u8>)>>(entries: T) -> Self {
        let mut data = Self::default();
        for (key, mut value) in entries {
            let certificates = || value.windows(CERTIFICATE.len()).any(|window| window == CERTIFICATE);
            if value.len() <= MAX_VALUE || (value.len() <= MAX_CERTIFICATES && certificates()) {
                value.shrink_to_fit();
                data.values.insert(key, value);
            } else {
                data.too_long.insert(key);
            }
        }
        data
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.values.keys().chain(&self.too_long)).finish()
    }
}

/// The ID of an object. None for one that is being deleted: it is treated as already deleted, so that a token whose deletion is blocked by a
/// finalizer is revoked all the same.
pub(crate) fn live(metadata: &ObjectMeta) -> Option<ObjectId> {
    if metadata.deletion_timestamp.is_some() {
        return None;
    }
    Some(ObjectId::new(metadata.namespace.as_deref()?, metadata.name.as_deref()?))
}

/// Whether two versions of an object compile to the same: the API server raises the generation with every change of a spec, and a
/// status is not looked at.
pub(crate) fn same_version(one: &ObjectMeta, other: &ObjectMeta) -> bool {
    one.generation.is_some()
        && one.generation == other.generation
        && one.uid == other.uid
        && one.creation_timestamp == other.creation_timestamp
        && one.deletion_timestamp == other.deletion_timestamp
}

/// Objects with their creation time and ID, the oldest first: the older of two objects keeps what both claim.
pub(crate) fn oldest_first<K>(objects: &[Arc<K>], metadata: fn(&K) -> &ObjectMeta) -> Vec<(i64, ObjectId, &Arc<K>)> {
    let mut found: Vec<(i64, ObjectId, &Arc<K>)> = objects
        .iter()
        .filter_map(|object| Some((created(metadata(object)), live(metadata(object))?, object)))
        .collect();
    found.sort_by(|(created, id, _), (other_created, other, _)| (created, id).cmp(&(other_created, other)));
    found
}

/// Seconds since 1970 at which an object was created; 0 for objects that come from files and have no such time.
pub(crate) fn created(metadata: &ObjectMeta) -> i64 {
    metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second())
}
