//! A snapshot taken apart into named, versioned resources: the form in which it is compared and sent.

mod unknown;

use std::{cmp::Ordering, collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

pub use unknown::UnknownKind;

use crate::snapshot::{ObjectId, Snapshot};

/// The kind of a resource. What a newer program calls a kind of its own is kept by its name, so that it costs that
/// resource alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// [`crate::snapshot::Provider`]
    Provider,
    /// [`crate::snapshot::Route`]
    Route,
    /// [`crate::snapshot::Token`]
    Token,
    /// [`crate::snapshot::Namespace`]. Its id is its name twice. Sent only to data planes that know
    /// [`crate::frame::FEATURE_NAMESPACES`].
    Namespace,
    /// One that this version does not know.
    #[serde(untagged)]
    Unknown(UnknownKind),
}

/// Why a resource of an unknown kind is not used.
const UNKNOWN_KIND: &str = "this version of the data plane does not know this kind of resource";

/// What a resource is called on the wire.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Its kind.
    #[serde(rename = "t")]
    pub kind: Kind,
    /// Its object.
    pub id: ObjectId,
}

/// The first 16 hexadecimal digits of the SHA-256 of a resource's JSON: equal content has an equal version everywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(String);

/// The name of a whole state: the hash of its sorted (kind, id, version) set, 16 hexadecimal digits. Equal on every
/// replica and after every restart that holds the same state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(String);

/// One resource, serialised once and shared by every stream that sends it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Hash of the body.
    pub version: Version,
    /// The resource as JSON.
    pub body: Arc<RawValue>,
}

/// Every resource of one state.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    entries: BTreeMap<Key, Entry>,
}

/// A resource that this program cannot read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{t} {id}: {message}", t = .key.kind, id = .key.id)]
pub struct Unreadable {
    /// Which resource.
    #[serde(flatten)]
    pub key: Key,
    /// Why, with the field if one is to blame.
    pub message: String,
}

// === impl Catalog ===

impl Catalog {
    /// Takes a snapshot apart.
    ///
    /// # Errors
    /// When a resource does not serialise, which no value of these types does.
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

    /// Puts the parts together again. A resource that does not decode is left out and reported; the rest stands.
    pub fn decode(&self) -> (Snapshot, Vec<Unreadable>) {
        let mut snapshot = Snapshot::default();
        let mut unreadable = Vec::new();
        for (key, entry) in &self.entries {
            let id = key.id.clone();
            let result = match key.kind {
                Kind::Provider => entry.read().map(|it| drop(snapshot.providers.insert(id, it))),
                Kind::Route => entry.read().map(|it| drop(snapshot.routes.insert(id, it))),
                Kind::Token => entry.read().map(|it| drop(snapshot.tokens.insert(id, it))),
                Kind::Namespace => {
                    entry.read().map(|it| drop(snapshot.namespaces.insert(id.namespace().to_owned(), it)))
                }
                Kind::Unknown(_) => Err(<serde_json::Error as serde::de::Error>::custom(UNKNOWN_KIND)),
            };
            if let Err(error) = result {
                unreadable.push(Unreadable { key: key.clone(), message: error.to_string() });
            }
        }
        (snapshot, unreadable)
    }

    /// The name of this state.
    pub fn revision(&self) -> Revision {
        let mut hash = Sha256::new();
        for (key, entry) in &self.entries {
            hash.update(format!("{} {} {}\n", key.kind, key.id, entry.version));
        }
        Revision(short(hash))
    }

    /// Adds or replaces a resource.
    pub fn insert(&mut self, key: Key, entry: Entry) {
        self.entries.insert(key, entry);
    }

    /// Takes a resource out.
    pub fn remove(&mut self, key: &Key) -> Option<Entry> {
        self.entries.remove(key)
    }

    /// One resource.
    pub fn get(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Every resource in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries.iter()
    }

    /// How many resources there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

// === impl Entry ===

impl Entry {
    /// Names a body by its content.
    pub fn new(body: Arc<RawValue>) -> Self {
        let mut hash = Sha256::new();
        hash.update(body.get());
        Self { version: Version(short(hash)), body }
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

fn short(hash: Sha256) -> String {
    let mut text = hex::encode(hash.finalize());
    text.truncate(16);
    text
}

// === impl Kind ===

impl Kind {
    /// Its name on the wire.
    pub fn name(&self) -> &str {
        match self {
            Self::Provider => "provider",
            Self::Route => "route",
            Self::Token => "token",
            Self::Namespace => "namespace",
            Self::Unknown(name) => name.as_str(),
        }
    }

    /// The place of a kind in a revision. The first four have theirs since version 1; every later one goes by its name,
    /// so that programs that know it and programs that do not agree.
    fn place(&self) -> (u8, &str) {
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
        self.place().cmp(&other.place())
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
    fn a_kind_that_is_not_known_costs_its_resource_alone() {
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
    fn kinds_keep_their_names_and_their_places() {
        let names = ["provider", "route", "token", "namespace", "apex", "quota"];
        let kinds = names.map(kind);
        assert!(kinds.is_sorted(), "{kinds:?}");
        assert!(matches!(kinds, [Kind::Provider, Kind::Route, Kind::Token, Kind::Namespace, Kind::Unknown(_), ..]));
        assert_eq!(serde_json::to_value(kinds).unwrap(), serde_json::json!(names));
    }

    #[test]
    fn what_cannot_be_a_kind_is_refused() {
        for name in ["", "Provider", "a b", "é", "a-name-longer-than-any-kind"] {
            assert!(serde_json::from_value::<Kind>(name.into()).is_err(), "{name}");
        }
    }
}
