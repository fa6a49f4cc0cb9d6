//! What a data plane holds, as far as the operator knows, and what it must be sent to hold something else.
//!
//! Kept as a shared catalog plus exceptions, so that five hundred pods with the same ten thousand tokens cost one
//! catalog. A resource that the pod refused is not sent again in the same version on the same stream: the answer would
//! be the same. After a reconnect it is, so that a restarted operator learns of the refusal. Pure.

use std::{collections::BTreeMap, sync::Arc};

use routeapi_channel::{
    Catalog, Key, Revision, Version,
    diff::Diff,
    frame::{Held as HeldLine, Hello},
};

/// What one pod holds.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// The name of the state, as the pod knows it.
    pub revision: Option<Revision>,
    catalog: Arc<Catalog>,
    /// What differs from the catalog; none is not held.
    exceptions: BTreeMap<Key, Option<Version>>,
    refused: BTreeMap<Key, Version>,
}

impl Held {
    /// From a pod's own words. Without a revision it holds nothing, whatever it lists.
    pub fn of(hello: &Hello) -> Self {
        if hello.revision.is_none() {
            return Self::default();
        }
        let exceptions = hello.held.iter().map(|HeldLine { key, v }| (key.clone(), Some(v.clone()))).collect();
        Self { revision: hello.revision.clone(), exceptions, ..Self::default() }
    }

    /// What lies between this and a target.
    pub fn to(&self, target: &Catalog) -> Diff {
        let wanted =
            |key: &Key, version: &Version| self.version(key) != Some(version) && self.refused.get(key) != Some(version);
        let put =
            target.iter().filter(|(key, entry)| wanted(key, &entry.version)).map(|(key, _)| key.clone()).collect();
        let listed = self.exceptions.iter().filter(|(_, version)| version.is_some()).map(|(key, _)| key);
        let shared = self.catalog.iter().map(|(key, _)| key).filter(|key| !self.exceptions.contains_key(key));
        let mut del: Vec<_> = listed.chain(shared).filter(|key| target.get(key).is_none()).cloned().collect();
        del.sort();
        Diff { put, del }
    }

    /// The pod has applied a target, but for what it refused.
    #[must_use]
    pub fn after(&self, revision: &Revision, target: &Arc<Catalog>, refused: &[Key]) -> Self {
        let mut next = Self { revision: Some(revision.clone()), catalog: Arc::clone(target), ..Self::default() };
        let still =
            self.refused.iter().filter(|(key, version)| target.get(key).is_some_and(|it| it.version == **version));
        let keys = still.map(|(key, _)| key).chain(refused);
        for key in keys {
            if let Some(entry) = target.get(key) {
                next.exceptions.insert(key.clone(), self.version(key).cloned());
                next.refused.insert(key.clone(), entry.version.clone());
            }
        }
        next
    }

    /// What the pod refused and still lacks.
    pub fn refused(&self) -> &BTreeMap<Key, Version> {
        &self.refused
    }

    fn version(&self, key: &Key) -> Option<&Version> {
        match self.exceptions.get(key) {
            Some(exception) => exception.as_ref(),
            None => self.catalog.get(key).map(|entry| &entry.version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use routeapi_channel::{Entry, Kind, ObjectId};

    fn key(name: &str) -> Key {
        Key { kind: Kind::Token, id: ObjectId::new("shop", name) }
    }

    fn catalog(resources: &[(&str, u32)]) -> Arc<Catalog> {
        let mut catalog = Catalog::default();
        for (name, body) in resources {
            let body = serde_json::value::to_raw_value(body).unwrap();
            catalog.insert(key(name), Entry::new(body.into()));
        }
        Arc::new(catalog)
    }

    fn names(keys: &[Key]) -> Vec<&str> {
        keys.iter().map(|key| key.id.name()).collect()
    }

    #[test]
    fn a_pod_that_lists_what_it_holds_gets_the_difference_only() {
        let (old, new) = (catalog(&[("a", 1), ("b", 1), ("c", 1)]), catalog(&[("a", 1), ("b", 2), ("d", 1)]));
        let held = old.iter().map(|(key, entry)| HeldLine { key: key.clone(), v: entry.version.clone() }).collect();
        let hello = Hello {
            v: 1,
            pod: "p".into(),
            instance: "i".into(),
            revision: Some(old.revision()),
            held,
            floor: BTreeMap::new(),
        };
        let diff = Held::of(&hello).to(&new);
        assert_eq!((names(&diff.put), names(&diff.del)), (vec!["b", "d"], vec!["c"]));
        let same = Held::of(&hello).to(&old);
        assert!(same.is_empty());
        let forgetful = Hello { revision: None, ..hello };
        assert_eq!(Held::of(&forgetful).to(&old).put.len(), 3, "without a revision the list does not count");
    }

    #[test]
    fn a_refused_resource_is_sent_again_only_in_another_version() {
        let first = catalog(&[("a", 1), ("b", 1)]);
        let held = Held::default().after(&first.revision(), &first, &[]);
        assert!(held.to(&first).is_empty());

        let second = catalog(&[("a", 2), ("b", 1)]);
        let held = held.after(&second.revision(), &second, &[key("a")]);
        assert!(held.to(&second).is_empty(), "the answer would be the same");
        assert_eq!(held.refused().len(), 1);

        let third = catalog(&[("a", 2), ("b", 3)]);
        let diff = held.to(&third);
        assert_eq!(names(&diff.put), ["b"]);
        let held = held.after(&third.revision(), &third, &[]);
        assert_eq!(held.refused().len(), 1, "the pod still lacks it, though its answer did not repeat that");

        assert!(held.to(&catalog(&[("a", 1), ("b", 3)])).is_empty(), "back to the version that the pod kept");
        assert_eq!(names(&held.to(&catalog(&[("a", 3), ("b", 3)])).put), ["a"]);
        assert_eq!(names(&held.to(&catalog(&[("b", 3)])).del), ["a"], "it keeps an older version, which must go");
    }

    #[test]
    fn a_refused_resource_that_was_never_held_need_not_be_deleted() {
        let first = catalog(&[("a", 1)]);
        let held = Held::default().after(&first.revision(), &first, &[key("a")]);
        assert!(held.to(&catalog(&[])).is_empty());
    }
}
