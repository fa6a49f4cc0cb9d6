//! What a data plane is told, complete: nothing here refers to anything outside the snapshot.

mod provider;
mod route;
mod secret;
mod token;

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use provider::{Aws, Credential, Eviction, Provider, Tls};
pub use route::{AllowedNamespaces, Fallback, Price, Route, Timeouts, Upstream};
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
    /// A copy with every secret replaced by a marker, for dumps, golden files and `routeapi render`.
    pub fn redacted(&self) -> Self {
        let mut copy = self.clone();
        for provider in copy.providers.values_mut() {
            provider.redact();
        }
        copy
    }
}
