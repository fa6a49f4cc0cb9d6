//! A snapshot as a set of named, versioned resources: the form in which it is compared and sent.

mod entry;
mod unknown;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use entry::short_hex;
pub use entry::{Entry, Key, Kind, Version};
pub use unknown::UnknownKind;

use crate::{
    shared_map::{Difference, SharedMap},
    snapshot::{ObjectId, Snapshot},
};

/// Bytes that are hashed at once.
const HASHED_AT_ONCE: usize = 4 << 10;

/// The identity of a whole state: a hash of its sorted (kind, ID, version) set, 16 hexadecimal digits. Replicas with the same
/// state compute the same revision, also after a restart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(Arc<str>);

/// All resources of one state. Clones share what no later change touches.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    resources: SharedMap<Key, Entry>,
    /// The revision, once it was asked for.
    revision: OnceLock<Revision>,
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

// === impl Unreadable ===

impl Unreadable {
    /// What is said of a resource of an unknown kind.
    pub const UNKNOWN_KIND: &str = "this version of the data plane does not support this kind of resource";
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
        for (key, entry) in self.iter() {
            let id = key.id.clone();
            let result = match key.kind {
                Kind::Provider => entry.read().map(|provider| drop(snapshot.providers.insert(id, provider))),
                Kind::Route => entry.read().map(|route| drop(snapshot.routes.insert(id, route))),
                Kind::Token => entry.read().map(|token| drop(snapshot.tokens.insert(id, token))),
                Kind::Namespace => {
                    entry.read().map(|namespace| drop(snapshot.namespaces.insert(id.namespace().to_owned(), namespace)))
                }
                Kind::Unknown(_) => Err(<serde_json::Error as serde::de::Error>::custom(Unreadable::UNKNOWN_KIND)),
            };
            if let Err(error) = result {
                unreadable.push(Unreadable { key: key.clone(), message: error.to_string() });
            }
        }
        (snapshot, unreadable)
    }

    /// The revision of this state. Computed once: it takes about a millisecond for fifteen thousand resources.
    pub fn revision(&self) -> Revision {
        self.revision.get_or_init(|| self.compute_revision()).clone()
    }

    fn compute_revision(&self) -> Revision {
        let mut hash = Sha256::new();
        let mut text = Vec::with_capacity(HASHED_AT_ONCE);
        for (key, entry) in self.iter() {
            for part in [key.kind.name(), " ", key.id.as_str(), " ", entry.version.as_str(), "\n"] {
                text.extend_from_slice(part.as_bytes());
            }
            if text.len() >= HASHED_AT_ONCE {
                hash.update(&text);
                text.clear();
            }
        }
        hash.update(&text);
        Revision(short_hex(hash))
    }

    /// Adds or replaces a resource.
    pub fn insert(&mut self, key: Key, entry: Entry) {
        self.revision.take();
        self.resources.insert(key, entry);
    }

    /// Removes a resource.
    pub fn remove(&mut self, key: &Key) -> Option<Entry> {
        self.revision.take();
        self.resources.remove(key)
    }

    /// The resource with this key.
    pub fn get(&self, key: &Key) -> Option<&Entry> {
        self.resources.get(key)
    }

    /// All resources in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.resources.iter()
    }

    /// What became of each resource from this state to another, in the order of their keys. Costs what has changed, if one
    /// state was made from a clone of the other.
    pub fn differences<'a>(&'a self, to: &'a Self, each: impl FnMut(Difference<'a, Key, Entry>)) {
        self.resources.differences(&to.resources, each);
    }

    /// The number of resources.
    pub fn len(&self) -> usize {
        self.resources.len()
    }

    /// Whether there are no resources.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Revision {
    /// That of a state without resources.
    fn default() -> Self {
        Catalog::default().revision()
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

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
        assert_eq!(unreadable[0].to_string(), format!("quota ai/q: {}", Unreadable::UNKNOWN_KIND));
    }
}
