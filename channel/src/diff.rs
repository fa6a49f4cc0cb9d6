//! The difference between two states, by key and version.

use std::collections::BTreeMap;

use crate::{
    catalog::{Catalog, Key, Version},
    shared_map::Difference,
};

/// The changes from one state to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// New or changed resources.
    pub put: Vec<Key>,
    /// Removed resources.
    pub del: Vec<Key>,
}

impl Diff {
    /// From what a peer has (key and version of each resource) to a new state.
    pub fn between(held: &BTreeMap<Key, Version>, target: &Catalog) -> Self {
        let put = target
            .iter()
            .filter(|(key, entry)| held.get(*key) != Some(&entry.version))
            .map(|(key, _)| key.clone())
            .collect();
        let del = held.keys().filter(|key| target.get(key).is_none()).cloned().collect();
        Self { put, del }
    }

    /// From one state to another. Costs what has changed, if one was made from a clone of the other.
    pub fn between_catalogs(held: &Catalog, target: &Catalog) -> Self {
        let mut diff = Self::default();
        held.differences(target, |difference| match difference {
            Difference::Put(key, _) => diff.put.push(key.clone()),
            Difference::Del(key) => diff.del.push(key.clone()),
        });
        diff
    }

    /// Whether both states are the same.
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.del.is_empty()
    }
}
