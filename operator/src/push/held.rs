//! What a data plane was told, and what it must be sent to be told something else.
//!
//! Differences count from what was told on this connection, refused resources included: both sides compute the same
//! revision from it. A new connection starts from what the pod lists as in force, so that what it refused is sent again
//! and a restarted operator learns of the refusal.
//!
//! Kept as one shared catalog, so that five hundred pods with the same ten thousand tokens cost one. Pure.

use std::{collections::BTreeMap, sync::Arc};

use routeapi_channel::{
    Catalog, Key, Revision, Version,
    diff::Diff,
    frame::{Held as HeldLine, Hello},
};

/// What one pod was told.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// The name of the state, as the pod knows it.
    pub revision: Option<Revision>,
    state: State,
    refused: BTreeMap<Key, Version>,
}

#[derive(Clone, Debug)]
enum State {
    /// In the pod's own words.
    Listed(BTreeMap<Key, Version>),
    /// In ours.
    Told(Arc<Catalog>),
}

impl Held {
    /// From a pod's own words. Without a revision it holds nothing, whatever it lists.
    pub fn of(hello: &Hello) -> Self {
        if hello.revision.is_none() {
            return Self::default();
        }
        let listed = hello.held.iter().map(|HeldLine { key, v }| (key.clone(), v.clone())).collect();
        Self { revision: hello.revision.clone(), state: State::Listed(listed), refused: BTreeMap::new() }
    }

    /// From a list that the pod was asked for.
    pub fn listed(revision: &Revision, listed: BTreeMap<Key, Version>) -> Self {
        Self { revision: Some(revision.clone()), state: State::Listed(listed), refused: BTreeMap::new() }
    }

    /// What lies between this and a target.
    pub fn to(&self, target: &Catalog) -> Diff {
        match &self.state {
            State::Listed(listed) => Diff::between(listed, target),
            State::Told(told) => Diff::between_catalogs(told, target),
        }
    }

    /// The pod was told a target and has applied it, but for what it refused. A pod judges the whole state each time, what
    /// it was not sent again included, so its answer names everything that it lacks.
    #[must_use]
    pub fn after(revision: &Revision, target: &Arc<Catalog>, refused: &[Key]) -> Self {
        let refused = refused.iter().filter_map(|key| Some((key.clone(), target.get(key)?.version.clone())));
        Self { revision: Some(revision.clone()), state: State::Told(Arc::clone(target)), refused: refused.collect() }
    }

    /// What the pod refused and still lacks.
    pub fn refused(&self) -> &BTreeMap<Key, Version> {
        &self.refused
    }
}

impl Default for State {
    fn default() -> Self {
        Self::Listed(BTreeMap::new())
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
            features: Vec::new(),
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
    fn a_refused_resource_counts_as_told_until_the_pod_comes_back() {
        let first = catalog(&[("a", 1), ("b", 1)]);
        let held = Held::after(&first.revision(), &first, &[]);
        assert!(held.to(&first).is_empty());

        let second = catalog(&[("a", 2), ("b", 1)]);
        let held = Held::after(&second.revision(), &second, &[key("a")]);
        assert!(held.to(&second).is_empty(), "the answer would be the same");
        let third = catalog(&[("a", 2), ("b", 3)]);
        assert_eq!(names(&held.to(&third).put), ["b"]);
        let held = Held::after(&third.revision(), &third, &[key("a")]);
        assert_eq!(held.refused().len(), 1);

        let back = catalog(&[("a", 1), ("b", 3)]);
        assert_eq!(names(&held.to(&back).put), ["a"], "it was told version 2, whatever it keeps");
        assert!(Held::after(&back.revision(), &back, &[]).refused().is_empty());
        assert_eq!(names(&held.to(&catalog(&[("b", 3)])).del), ["a"]);
    }
}
