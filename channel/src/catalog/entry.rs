//! One resource: its kind, its key, and its content with the version of that.

use std::{cmp::Ordering, fmt, sync::Arc};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::unknown::UnknownKind;
use crate::snapshot::ObjectId;

/// The kind of a resource. A kind that this version does not know is kept by name, so that only its own resources are
/// rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// [`crate::snapshot::Provider`]
    Provider,
    /// [`crate::snapshot::Route`]
    Route,
    /// [`crate::snapshot::Token`]
    Token,
    /// [`crate::snapshot::Namespace`]. Its ID is its name twice. Sent only to data planes that support
    /// [`crate::frame::FEATURE_NAMESPACES`].
    Namespace,
    /// A kind that this version does not know.
    #[serde(untagged)]
    Unknown(UnknownKind),
}

/// The key of a resource on the wire.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Kind of the resource.
    #[serde(rename = "t")]
    pub kind: Kind,
    /// The Kubernetes object it was compiled from.
    pub id: ObjectId,
}

/// The version of a resource: the first 16 hexadecimal digits of the SHA-256 of its JSON. Equal content has an equal version
/// everywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(Arc<str>);

/// One resource, serialized once and shared by every stream that sends it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Hash of `body`.
    pub version: Version,
    /// The resource as one line of JSON.
    pub body: Arc<RawValue>,
}

// === impl Entry ===

impl Entry {
    /// A resource with the version of its content.
    pub fn new(body: Arc<RawValue>) -> Self {
        let mut hash = Sha256::new();
        hash.update(body.get());
        Self { version: Version(short_hex(hash)), body }
    }

    /// The resource, as the type of its kind.
    ///
    /// # Errors
    /// When this version cannot read it.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.body.get())
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.version.0, &other.version.0) || self.version == other.version
    }
}

/// The first 16 hexadecimal digits of a hash.
pub fn short_hex(hash: Sha256) -> Arc<str> {
    let mut text = hex::encode(hash.finalize());
    text.truncate(16);
    text.into()
}

// === impl Kind ===

impl Kind {
    /// The name on the wire, such as `provider`.
    pub fn name(&self) -> &str {
        match self {
            Self::Provider => "provider",
            Self::Route => "route",
            Self::Token => "token",
            Self::Namespace => "namespace",
            Self::Unknown(name) => name.as_str(),
        }
    }

    /// The sort key of a kind. The first four have a fixed order since version 1; later ones sort by name, so that versions
    /// that know a kind and those that do not compute the same revision.
    fn sort_key(&self) -> (u8, &str) {
        match self {
            Self::Provider => (0, ""),
            Self::Route => (1, ""),
            Self::Token => (2, ""),
            Self::Namespace => (3, ""),
            Self::Unknown(name) => (4, name.as_str()),
        }
    }
}

impl Ord for Kind {
    fn cmp(&self, other: &Self) -> Ordering {
        self.sort_key().cmp(&other.sort_key())
    }
}

impl PartialOrd for Kind {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

// === impl Version ===

impl Version {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str) -> Kind {
        serde_json::from_value(serde_json::Value::from(name)).unwrap()
    }

    #[test]
    fn names_and_order_of_kinds_are_stable() {
        let names = ["provider", "route", "token", "namespace", "apex", "quota"];
        let kinds = names.map(kind);
        assert!(kinds.is_sorted(), "{kinds:?}");
        assert!(matches!(kinds, [Kind::Provider, Kind::Route, Kind::Token, Kind::Namespace, Kind::Unknown(_), ..]));
        assert_eq!(serde_json::to_value(kinds).unwrap(), serde_json::json!(names));
    }

    #[test]
    fn invalid_kind_names_are_refused() {
        for name in ["", "Provider", "a b", "é", "a-name-longer-than-any-kind"] {
            assert!(serde_json::from_value::<Kind>(name.into()).is_err(), "{name}");
        }
    }
}
