//! What the index keeps of each kind, and when two versions are the same to a data plane.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::Resource;
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
    /// Keeps it.
    fn hold(self) -> Self::Held;
    /// Whether both compile to the same.
    fn same(one: &Self::Held, other: &Self::Held) -> bool;
    /// Where it is kept.
    fn table(tables: &mut Tables) -> &mut Table<Self::Held>;
}

/// The three kinds are kept whole, but for the bulk that nobody reads. The API server raises the generation with every
/// change of a spec, and with no other.
macro_rules! our_kind {
    ($kind:ty, $plural:literal, $table:ident, $also:expr) => {
        #[expect(private_interfaces, reason = "tables are reached through the index alone")]
        impl Indexed for $kind {
            const PLURAL: &'static str = $plural;
            type Held = Arc<Self>;

            fn hold(mut self) -> Arc<Self> {
                self.metadata.managed_fields = None;
                Arc::new(self)
            }

            fn same(one: &Arc<Self>, other: &Arc<Self>) -> bool {
                let also: fn(&Self, &Self) -> bool = $also;
                one.metadata.uid == other.metadata.uid
                    && one.metadata.generation == other.metadata.generation
                    && one.metadata.deletion_timestamp == other.metadata.deletion_timestamp
                    && also(one, other)
            }

            fn table(tables: &mut Tables) -> &mut Table<Arc<Self>> {
                &mut tables.$table
            }
        }
    };
}

our_kind!(AIProvider, "aiproviders", providers, |_, _| true);
our_kind!(AIRoute, "airoutes", routes, |_, _| true);
our_kind!(ApiToken, "apitokens", tokens, |one, other| {
    one.status.as_ref().map(|it| &it.keys) == other.status.as_ref().map(|it| &it.keys)
});

#[expect(private_interfaces, reason = "tables are reached through the index alone")]
impl Indexed for Secret {
    const PLURAL: &'static str = "secrets";
    type Held = Arc<Data>;

    fn hold(self) -> Arc<Data> {
        Arc::new(self.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect())
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

    fn hold(self) -> Arc<Data> {
        let text = self.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes()));
        let binary = self.binary_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
        Arc::new(text.chain(binary).collect())
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
    type Held = BTreeMap<String, String>;

    fn hold(self) -> BTreeMap<String, String> {
        self.metadata.labels.unwrap_or_default()
    }

    fn same(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> bool {
        one == other
    }

    fn table(tables: &mut Tables) -> &mut Table<BTreeMap<String, String>> {
        &mut tables.namespaces
    }
}
