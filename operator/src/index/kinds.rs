//! What the index keeps of each kind, and when two versions are the same to a data plane.

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

use super::{Table, Tables};

/// A kind that is watched.
#[expect(private_interfaces, reason = "tables are reached through the index alone")]
pub trait Indexed: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {
    /// Plural name, which also names its floor.
    const PLURAL: &'static str;
    /// What is kept of an object.
    type Held: Send;
    /// The kind, if it counts against what its namespace may hold.
    const KIND: Option<Kind> = None;
    /// Keeps it, and says how many bytes of content it has, if they count.
    fn hold(self) -> (Self::Held, usize);
    /// Its metadata, of a kind that counts.
    fn metadata(_: &Self::Held) -> Option<&ObjectMeta> {
        None
    }
    /// Whether both compile to the same.
    fn same(one: &Self::Held, other: &Self::Held) -> bool;
    /// Whether somebody touched the object and left what it says alone: an annotation, for instance.
    fn touched(_: &Self::Held, _: &Self::Held) -> bool {
        false
    }
    /// Where it is kept.
    fn table(tables: &mut Tables) -> &mut Table<Self::Held>;
}

/// The most bytes of labels of one namespace. One with more is treated as one whose labels are not known: no selector
/// matches it.
const LABELS: usize = 32 << 10;

/// The three kinds keep spec and status, and the metadata that somebody reads. The API server raises the generation with
/// every change of a spec, and with no other.
macro_rules! our_kind {
    ($kind:ty, $variant:expr, $plural:literal, $table:ident, $also:expr) => {
        #[expect(private_interfaces, reason = "tables are reached through the index alone")]
        impl Indexed for $kind {
            const PLURAL: &'static str = $plural;
            type Held = Arc<Self>;
            const KIND: Option<Kind> = Some($variant);

            fn hold(mut self) -> (Arc<Self>, usize) {
                self.metadata = slim(self.metadata);
                let mut bytes = Bytes(0);
                // Writing to a counter does not fail, and a spec that was read can be written.
                let _ = serde_json::to_writer(&mut bytes, &self.spec);
                (Arc::new(self), bytes.0)
            }

            fn metadata(held: &Arc<Self>) -> Option<&ObjectMeta> {
                Some(&held.metadata)
            }

            fn same(one: &Arc<Self>, other: &Arc<Self>) -> bool {
                let also: fn(&Self, &Self) -> bool = $also;
                one.metadata.uid == other.metadata.uid
                    && one.metadata.generation == other.metadata.generation
                    && one.metadata.deletion_timestamp == other.metadata.deletion_timestamp
                    && also(one, other)
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
    one.status.as_ref().map(|it| &it.keys) == other.status.as_ref().map(|it| &it.keys)
});

#[expect(private_interfaces, reason = "tables are reached through the index alone")]
impl Indexed for Secret {
    const PLURAL: &'static str = "secrets";
    type Held = Arc<Data>;

    fn hold(self) -> (Arc<Data>, usize) {
        (Arc::new(self.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect()), 0)
    }

    fn same(one: &Arc<Data>, other: &Arc<Data>) -> bool {
        one == other
    }

    fn table(tables: &mut Tables) -> &mut Table<Arc<Data>> {
        &mut tables.secrets
    }
}

#[expect(private_interfaces, reason = "tables are reached through the index alone")]
impl Indexed for ConfigMap {
    const PLURAL: &'static str = "configmaps";
    type Held = Arc<Data>;

    fn hold(self) -> (Arc<Data>, usize) {
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

#[expect(private_interfaces, reason = "tables are reached through the index alone")]
impl Indexed for Namespace {
    const PLURAL: &'static str = "namespaces";
    /// None: they are too many.
    type Held = Option<BTreeMap<String, String>>;

    fn hold(self) -> (Option<BTreeMap<String, String>>, usize) {
        let labels = self.metadata.labels.unwrap_or_default();
        let bytes: usize = labels.iter().map(|(key, value)| key.len() + value.len()).sum();
        ((bytes <= LABELS).then_some(labels), 0)
    }

    fn same(one: &Self::Held, other: &Self::Held) -> bool {
        one == other
    }

    fn table(tables: &mut Tables) -> &mut Table<Self::Held> {
        &mut tables.namespaces
    }
}

/// Without what nobody reads and anybody may fill: annotations, labels, finalizers, owners, managed fields.
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

/// Counts what is written.
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
