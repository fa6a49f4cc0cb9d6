//! The complete configuration of a data plane: nothing in it refers to anything outside.

mod namespace;
mod object_id;
mod provider;
mod route;
mod secret;
mod token;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use namespace::{AllowedNamespaces, LabelRequirement, NAME_LABEL, Namespace, NamespaceSelector};
pub use object_id::{InvalidObjectId, ObjectId};
pub use provider::{
    AssumeRole, Aws, AwsIdentity, Azure, AzureIdentity, BasicAuth, ClientCertificate, ConnectProxy, Credential,
    Eviction, Google, GoogleIdentity, Header, Provider, ProviderModel, Proxy, QueryParameter, RequestSettings, Text,
    Tls,
};
pub use route::{Affinity, Fallback, Heartbeat, Price, Published, Reach, Route, Timeouts, Upstream};
pub use secret::Secret;
pub use token::{Limit, Quantity, Token, TokenKey};

/// Everything a data plane serves from, by object id. Ordered maps, so equal states serialise to equal bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Snapshot {
    /// Upstream accounts and servers.
    #[serde(default)]
    pub providers: BTreeMap<ObjectId, Provider>,
    /// The meaning of each model ID.
    #[serde(default)]
    pub routes: BTreeMap<ObjectId, Route>,
    /// Permissions and limits of apps.
    #[serde(default)]
    pub tokens: BTreeMap<ObjectId, Token>,
    /// Labels of the namespaces that have tokens, by name; one without labels is left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub namespaces: BTreeMap<String, Namespace>,
}

// === impl Snapshot ===

impl Snapshot {
    /// This state for a data plane without [`crate::frame::FEATURE_NAMESPACES`]: with the names of matching namespaces in
    /// place of selectors. None if there is no difference.
    pub fn without_selectors(&self) -> Option<Self> {
        let selects = |route: &Route| matches!(route.allowed_namespaces, AllowedNamespaces::Selector(_));
        if self.namespaces.is_empty() && !self.routes.values().any(selects) {
            return None;
        }
        // Namespaces without tokens send no requests.
        let callers: BTreeSet<&str> = self.tokens.keys().map(ObjectId::namespace).collect();
        let mut copy = self.clone();
        for route in copy.routes.values_mut().filter(|route| selects(route)) {
            let open = callers.iter().filter(|name| route.allowed_namespaces.is_open_to(name, &self.namespaces));
            route.allowed_namespaces = AllowedNamespaces::Only(open.map(|name| (*name).to_owned()).collect());
        }
        copy.namespaces.clear();
        Some(copy)
    }

    /// A copy with every secret replaced by a marker, for dumps, golden files and `routeapi render`.
    pub fn redacted(&self) -> Self {
        let mut copy = self.clone();
        for provider in copy.providers.values_mut() {
            provider.redact();
        }
        copy
    }
}
