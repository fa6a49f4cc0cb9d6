//! A snapshot as a set of named, versioned resources: the form in which it is compared and sent.

mod unknown;

use std::{cmp::Ordering, collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

pub use unknown::UnknownKind;

use crate::snapshot::{ObjectId, Snapshot};

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

const UNKNOWN_KIND: &str = "this version of the data plane does not support this kind of resource";

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
pub struct Version(String);

/// The identity of a whole state: a hash of its sorted (kind, ID, version) set, 16 hexadecimal digits. Replicas with the same
/// state compute the same revision, also after a restart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(String);

/// One resource, serialized once and shared by every stream that sends it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Hash of `body`.
    pub version: Version,
    /// The resource as one line of JSON.
    pub body: Arc<RawValue>,
}

/// All resources of one state.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    entries: BTreeMap<Key, Entry>,
}

/// A resource that this version cannot decode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{t} {id}: {message}", t = .key.kind, id = .key.id)]
pub struct Unreadable {
    /// The resource.
    #[serde(flatten)]
    pub key: Key,
    /// The decoding error, which names the field if there is one.
    pub message: String,
}

// === impl Catalog ===

impl Catalog {
    /// The resources of a snapshot.
    ///
    /// # Errors
    /// When a resource does not serialize, which does not happen with these types.
    pub fn of(snapshot: &Snapshot) -> Result<Self, serde_json::Error> {
        let mut catalog = Self::default();
        catalog.add(Kind::Provider, &snapshot.providers)?;
        catalog.add(Kind::Route, &snapshot.routes)?;
        catalog.add(Kind::Token, &snapshot.tokens)?;
        for (name, namespace) in &snapshot.namespaces {
            let body = serde_json::value::to_raw_value(namespace)?;
            catalog.insert(Key { kind: Kind::Namespace, id: ObjectId::new(name, name) }, Entry::new(body.into()));
        }
        Ok(catalog)
    }

    fn add<T: Serialize>(&mut self, kind: Kind, resources: &BTreeMap<ObjectId, T>) -> Result<(), serde_json::Error> {
        for (id, resource) in resources {
            let body = serde_json::value::to_raw_value(resource)?;
            self.insert(Key { kind, id: id.clone() }, Entry::new(body.into()));
        }
        Ok(())
    }

    /// The snapshot that these resources make up. A resource that does not decode is left out and reported.
    pub fn decode(&self) -> (Snapshot, Vec<Unreadable>) {
        let mut snapshot = Snapshot::default();
        let mut unreadable = Vec::new();
        for (key, entry) in &self.entries {
            let id = key.id.clone();
            let result = match key.kind {
                Kind::Provider => entry.read().map(|provider| drop(snapshot.providers.insert(id, provider))),
                Kind::Route => entry.read().map(|route| drop(snapshot.routes.insert(id, route))),
                Kind::Token => entry.read().map(|token| drop(snapshot.tokens.insert(id, token))),
                Kind::Namespace => {
                    entry.read().map(|namespace| drop(snapshot.namespaces.insert(id.namespace().to_owned(), namespace)))
                }
                Kind::Unknown(_) => Err(<serde_json::Error as serde::de::Error>::custom(UNKNOWN_KIND)),
            };
            if let Err(error) = result {
                unreadable.push(Unreadable { key: key.clone(), message: error.to_string() });
            }
        }
        (snapshot, unreadable)
    }

    /// The revision of this state.
    pub fn revision(&self) -> Revision {
        let mut hash = Sha256::new();
        for (key, entry) in &self.entries {
            hash.update(format!("{} {} {}\n", key.kind, key.id, entry.version));
        }
        Revision(short_hex(hash))
    }

    /// Adds or replaces a resource.
    pub fn insert(&mut self, key: Key, entry: Entry) {
        self.entries.insert(key, entry);
    }

    /// Removes a resource.
    pub fn remove(&mut self, key: &Key) -> Option<Entry> {
        self.entries.remove(key)
    }

    /// The resource with this key.
    pub fn get(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// All resources in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries.iter()
    }

    /// The number of resources.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no resources.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

// === impl Entry ===

impl Entry {
    /// A resource with the version of its content.
    pub fn new(body: Arc<RawValue>) -> Self {
        let mut hash = Sha256::new();
        hash.update(body.get());
        Self { version: Version(short_hex(hash)), body }
    }

    fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.body.get())
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version
    }
}

fn short_hex(hash: Sha256) -> String {
    let mut text = hex::encode(hash.finalize());
    text.truncate(16);
    text
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

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(json: &str) -> Entry {
        Entry::new(RawValue::from_string(json.to_owned()).unwrap().into())
    }

    fn kind(name: &str) -> Kind {
        serde_json::from_value(serde_json::Value::from(name)).unwrap()
    }

    #[test]
    fn an_unknown_kind_rejects_only_its_own_resources() {
        let namespace = Key { kind: Kind::Namespace, id: ObjectId::new("team", "team") };
        let quota = Key { kind: kind("quota"), id: ObjectId::new("ai", "q") };
        let mut catalog = Catalog::default();
        catalog.insert(namespace, body(r#"{"labels":{"a":"b"}}"#));
        catalog.insert(quota.clone(), body("{}"));
        let (snapshot, unreadable) = catalog.decode();
        assert_eq!(snapshot.namespaces.len(), 1);
        assert!(matches!(&*unreadable, [refused] if refused.key == quota), "{unreadable:?}");
        assert_eq!(unreadable[0].to_string(), format!("quota ai/q: {UNKNOWN_KIND}"));
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
