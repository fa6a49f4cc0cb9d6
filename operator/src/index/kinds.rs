//! What the index stores of each kind, and which changes matter to data planes.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    io::{self, Write},
    sync::Arc,
};

use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;
use routeapi_channel::Kind;
use routeapi_compile::Data;
use routeapi_crds::v1alpha1::{AIProvider, AIRoute, ApiToken};
use serde::de::DeserializeOwned;

use super::tables::{Table, Tables};

/// A kind that is watched.
pub trait Indexed: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {
    /// Plural name of the kind in the API.
    const PLURAL: &'static str;
    /// What is stored of an object.
    type Stored: Send;
    /// The kind, if it counts against its namespace's limits.
    const KIND: Option<Kind> = None;
    /// What to store, and the size of the spec in bytes if it counts against the limits.
    fn into_stored(self) -> (Self::Stored, usize);
    /// The metadata, for kinds that count against the limits.
    fn metadata(_: &Self::Stored) -> Option<&ObjectMeta> {
        None
    }
    /// Whether both versions compile to the same.
    fn same(one: &Self::Stored, other: &Self::Stored) -> bool;
    /// Whether another client than the operator updated the object without changing its spec: an annotation, for instance.
    fn touched(_: &Self::Stored, _: &Self::Stored) -> bool {
        false
    }
    /// Whether both are the same object with the same spec, as far as that matters to data planes.
    fn same_spec(one: &Self::Stored, other: &Self::Stored) -> bool {
        Self::same(one, other)
    }
    /// The table of the kind.
    fn table(tables: &mut Tables) -> &mut Table<Self::Stored>;
}

/// Maximum size of the labels of a namespace in bytes, several hundred of the longest. One with more is treated as one whose
/// labels are unknown: no selector matches it.
const MAX_LABELS: usize = 32 << 10;

/// Of the three kinds spec and status are stored, and the metadata that is used. The API server raises the generation
/// with every change of a spec, and only then.
macro_rules! our_kind {
    ($kind:ty, $variant:expr, $plural:literal, $table:ident, $also:expr) => {
        impl Indexed for $kind {
            const PLURAL: &'static str = $plural;
            type Stored = Arc<Self>;
            const KIND: Option<Kind> = Some($variant);

            fn into_stored(mut self) -> (Arc<Self>, usize) {
                self.metadata = slim(self.metadata);
                let mut bytes = Bytes(0);
                // Writing to a counter does not fail, and a spec that was read can be written.
                let _ = serde_json::to_writer(&mut bytes, &self.spec);
                (Arc::new(self), bytes.0)
            }

            fn metadata(stored: &Arc<Self>) -> Option<&ObjectMeta> {
                Some(&stored.metadata)
            }

            fn same(one: &Arc<Self>, other: &Arc<Self>) -> bool {
                let also: fn(&Self, &Self) -> bool = $also;
                Self::same_spec(one, other) && also(one, other)
            }

            fn same_spec(one: &Arc<Self>, other: &Arc<Self>) -> bool {
                one.metadata.uid == other.metadata.uid
                    && one.metadata.generation == other.metadata.generation
                    && one.metadata.deletion_timestamp == other.metadata.deletion_timestamp
            }

            fn touched(one: &Arc<Self>, other: &Arc<Self>) -> bool {
                one.metadata.resource_version != other.metadata.resource_version && one.status == other.status
            }

            fn table(tables: &mut Tables) -> &mut Table<Arc<Self>> {
                &mut tables.$table
            }
        }
    };
}

our_kind!(AIProvider, Kind::Provider, "aiproviders", providers, |_, _| true);
our_kind!(AIRoute, Kind::Route, "airoutes", routes, |_, _| true);
our_kind!(ApiToken, Kind::Token, "apitokens", tokens, |one, other| {
    one.status.as_ref().map(|status| &status.keys) == other.status.as_ref().map(|status| &status.keys)
});

impl Indexed for Secret {
    const PLURAL: &'static str = "secrets";
    type Stored = Arc<Data>;

    fn into_stored(self) -> (Arc<Data>, usize) {
        (Arc::new(self.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect()), 0)
    }

    fn same(one: &Arc<Data>, other: &Arc<Data>) -> bool {
        one == other
    }

    fn table(tables: &mut Tables) -> &mut Table<Arc<Data>> {
        &mut tables.secrets
    }
}

impl Indexed for ConfigMap {
    const PLURAL: &'static str = "configmaps";
    type Stored = Arc<Data>;

    fn into_stored(self) -> (Arc<Data>, usize) {
        let text = self.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes()));
        let binary = self.binary_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
        (Arc::new(text.chain(binary).collect()), 0)
    }

    fn same(one: &Arc<Data>, other: &Arc<Data>) -> bool {
        one == other
    }

    fn table(tables: &mut Tables) -> &mut Table<Arc<Data>> {
        &mut tables.config_maps
    }
}

impl Indexed for Namespace {
    const PLURAL: &'static str = "namespaces";
    /// Labels; none if they take more than [`MAX_LABELS`].
    type Stored = Option<BTreeMap<String, String>>;

    fn into_stored(self) -> (Option<BTreeMap<String, String>>, usize) {
        let labels = self.metadata.labels.unwrap_or_default();
        let bytes: usize = labels.iter().map(|(key, value)| key.len() + value.len()).sum();
        ((bytes <= MAX_LABELS).then_some(labels), 0)
    }

    fn same(one: &Self::Stored, other: &Self::Stored) -> bool {
        one == other
    }

    fn table(tables: &mut Tables) -> &mut Table<Self::Stored> {
        &mut tables.namespaces
    }
}

/// The fields that are used. Drops what users can fill without limit: annotations, labels, finalizers, managed fields.
fn slim(metadata: ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        generation: metadata.generation,
        resource_version: metadata.resource_version,
        creation_timestamp: metadata.creation_timestamp,
        deletion_timestamp: metadata.deletion_timestamp,
        ..ObjectMeta::default()
    }
}

/// Counts the bytes that are written.
struct Bytes(usize);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
