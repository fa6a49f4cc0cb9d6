//! The results of all objects: what data planes get, and the verdicts.

use std::{collections::BTreeMap, sync::Arc};

use routeapi_channel::{Catalog, Entry, Key, Kind, ObjectId, shared_map::SharedMap, snapshot::Namespace};
use serde::Serialize;

use crate::verdict::Verdict;

/// One object's new result, before it is stored.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// The object.
    pub key: &'a Key,
    /// The resource for data planes, if it compiles to one.
    pub entry: &'a mut Option<Entry>,
    /// The verdict.
    pub verdict: &'a mut Verdict,
}

/// Alters a result.
pub type Finish<'a> = &'a mut dyn FnMut(Outcome<'_>);

/// The results of all objects.
#[derive(Default)]
pub struct Results {
    pub catalog: Catalog,
    pub verdicts: SharedMap<Key, Arc<Verdict>>,
    /// Verdicts of AIProviders as they were compiled, before they were altered.
    unaltered: BTreeMap<Key, Verdict>,
}

impl Results {
    /// Stores a result.
    pub fn store<T: Serialize>(
        &mut self,
        key: Key,
        resource: Option<&T>,
        mut verdict: Verdict,
        finish: Finish<'_>,
    ) -> Result<(), serde_json::Error> {
        let mut entry = resource.map(entry).transpose()?;
        finish(Outcome { key: &key, entry: &mut entry, verdict: &mut verdict });
        match entry {
            Some(entry) => self.put(key.clone(), entry),
            None => drop(self.catalog.remove(&key)),
        }
        if self.verdicts.get(&key).is_none_or(|held| **held != verdict) {
            self.verdicts.insert(key, Arc::new(verdict));
        }
        Ok(())
    }

    /// Stores a result unless resource and verdict are those of the last call. `same`: the resource is.
    pub fn store_unless_same<T: Serialize>(
        &mut self,
        key: Key,
        resource: Option<&T>,
        verdict: Verdict,
        same: bool,
        finish: Finish<'_>,
    ) -> Result<(), serde_json::Error> {
        if same && self.unaltered.get(&key) == Some(&verdict) {
            return Ok(());
        }
        self.unaltered.insert(key.clone(), verdict.clone());
        self.store(key, resource, verdict, finish)
    }

    /// Stores the labels of a namespace, if data planes need to know them.
    pub fn put_namespace(&mut self, name: &str, labels: Option<&Namespace>) -> Result<(), serde_json::Error> {
        let key = Key { kind: Kind::Namespace, id: ObjectId::new(name, name) };
        match labels {
            Some(labels) => self.put(key, entry(labels)?),
            None => drop(self.catalog.remove(&key)),
        }
        Ok(())
    }

    /// Forgets a deleted object.
    pub fn forget(&mut self, kind: Kind, id: &ObjectId) {
        let key = Key { kind, id: id.clone() };
        self.catalog.remove(&key);
        self.verdicts.remove(&key);
        self.unaltered.remove(&key);
    }

    fn put(&mut self, key: Key, entry: Entry) {
        if self.catalog.get(&key) != Some(&entry) {
            self.catalog.insert(key, entry);
        }
    }
}

fn entry<T: Serialize>(resource: &T) -> Result<Entry, serde_json::Error> {
    Ok(Entry::new(serde_json::value::to_raw_value(resource)?.into()))
}
