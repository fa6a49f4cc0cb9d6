//! What a data plane is told, complete: nothing here refers to anything outside the snapshot.

mod namespace;
mod provider;
mod route;
mod secret;
mod token;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

pub use namespace::{AllowedNamespaces, LabelRequirement, NAME_LABEL, Namespace, NamespaceSelector};
pub use provider::{
    Aws, BasicAuth, ClientCertificate, ConnectProxy, Credential, Eviction, Header, Provider, ProviderModel, Proxy,
    QueryParameter, RequestSettings, Text, Tls,
};
pub use route::{Fallback, Heartbeat, Price, Published, Reach, Route, Timeouts, Upstream};
pub use secret::Secret;
pub use token::{Limit, Quantity, Token, TokenKey};

/// Everything a data plane serves from, by object id. Ordered maps, so equal states serialise to equal bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Snapshot {
    /// Upstream accounts and servers.
    #[serde(default)]
    pub providers: BTreeMap<ObjectId, Provider>,
    /// What each model id means.
    #[serde(default)]
    pub routes: BTreeMap<ObjectId, Route>,
    /// Who may call.
    #[serde(default)]
    pub tokens: BTreeMap<ObjectId, Token>,
    /// Labels of the namespaces that have tokens, by name; one without labels is left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub namespaces: BTreeMap<String, Namespace>,
}

/// `namespace/name` of the Kubernetes object a resource was compiled from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectId {
    namespace: String,
    name: String,
}

/// The text is not `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not namespace/name")]
pub struct InvalidObjectId(pub String);

// === impl ObjectId ===

impl ObjectId {
    /// From its two parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The object's namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The object's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for ObjectId {
    type Err = InvalidObjectId;

    fn from_str(text: &str) -> Result<Self, InvalidObjectId> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self::new(namespace, name))
            }
            _ => Err(InvalidObjectId(text.to_owned())),
        }
    }
}

impl TryFrom<String> for ObjectId {
    type Error = InvalidObjectId;

    fn try_from(text: String) -> Result<Self, InvalidObjectId> {
        text.parse()
    }
}

impl From<ObjectId> for String {
    fn from(id: ObjectId) -> Self {
        id.to_string()
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// This state for a data plane that does not know [`crate::frame::FEATURE_NAMESPACES`]: instead of selectors it is told
    /// the names of matching namespaces. None if nothing is different.
    pub fn without_selectors(&self) -> Option<Self> {
        let selects = |route: &Route| matches!(route.allowed_namespaces, AllowedNamespaces::Selector(_));
        if self.namespaces.is_empty() && !self.routes.values().any(selects) {
            return None;
        }
        // Others ask for nothing, so their names need not be told.
        let callers: BTreeSet<&str> = self.tokens.keys().map(ObjectId::namespace).collect();
        let mut copy = self.clone();
        for route in copy.routes.values_mut().filter(|route| selects(route)) {
            let open = callers.iter().filter(|it| route.allowed_namespaces.is_open_to(it, &self.namespaces));
            route.allowed_namespaces = AllowedNamespaces::Only(open.map(|it| (*it).to_owned()).collect());
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
