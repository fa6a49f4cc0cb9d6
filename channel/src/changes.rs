//! What changed from one state to another, decoded: an effort that does not grow with what stayed the same.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::{
    catalog::{Catalog, Entry, Key, Kind, Unreadable},
    shared_map::Difference,
    snapshot::{Namespace, ObjectId, Provider, Route, Snapshot, Token},
};

/// New and changed resources; none for those that are gone.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Upstream accounts and servers.
    pub providers: BTreeMap<ObjectId, Option<Provider>>,
    /// The meaning of each model ID.
    pub routes: BTreeMap<ObjectId, Option<Route>>,
    /// Permissions and limits of apps.
    pub tokens: BTreeMap<ObjectId, Option<Token>>,
    /// Labels of namespaces, by name.
    pub namespaces: BTreeMap<String, Option<Namespace>>,
}

// === impl Changes ===

impl Changes {
    /// From one state to another. A resource that does not decode is left out and reported.
    pub fn between(from: &Catalog, to: &Catalog) -> (Self, Vec<Unreadable>) {
        let (mut changes, mut unreadable) = (Self::default(), Vec::new());
        from.differences(to, |difference| {
            let (key, entry) = match difference {
                Difference::Put(key, entry) => (key, Some(entry)),
                Difference::Del(key) => (key, None),
            };
            if let Err(message) = changes.add(key, entry) {
                unreadable.push(Unreadable { key: key.clone(), message });
            }
        });
        (changes, unreadable)
    }

    fn add(&mut self, key: &Key, entry: Option<&Entry>) -> Result<(), String> {
        let id = key.id.clone();
        match key.kind {
            Kind::Provider => drop(self.providers.insert(id, read(entry)?)),
            Kind::Route => drop(self.routes.insert(id, read(entry)?)),
            Kind::Token => drop(self.tokens.insert(id, read(entry)?)),
            Kind::Namespace => drop(self.namespaces.insert(id.namespace().to_owned(), read(entry)?)),
            Kind::Unknown(_) if entry.is_some() => return Err(Unreadable::UNKNOWN_KIND.to_owned()),
            Kind::Unknown(_) => {}
        }
        Ok(())
    }
}

impl From<Snapshot> for Changes {
    /// From nothing to a whole state.
    fn from(Snapshot { providers, routes, tokens, namespaces }: Snapshot) -> Self {
        Self { providers: all(providers), routes: all(routes), tokens: all(tokens), namespaces: all(namespaces) }
    }
}

fn all<K: Ord, V>(resources: BTreeMap<K, V>) -> BTreeMap<K, Option<V>> {
    resources.into_iter().map(|(key, value)| (key, Some(value))).collect()
}

fn read<T: DeserializeOwned>(entry: Option<&Entry>) -> Result<Option<T>, String> {
    entry.map(Entry::read).transpose().map_err(|error| error.to_string())
}
