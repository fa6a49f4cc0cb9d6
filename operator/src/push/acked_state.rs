//! The state that a data plane has, and the difference to another one.
//!
//! Differences are computed from what was sent on this connection, rejected resources included: both sides compute the same
//! revision from it. A new connection starts from what the pod lists as in force, so that rejected resources are sent again
//! and a restarted operator learns of the rejection.
//!
//! Stored as one shared catalog, so that five hundred pods with the same ten thousand tokens share it. Pure.

use std::{collections::BTreeMap, sync::Arc};

use routeapi_channel::{
    Catalog, Key, Revision, Version,
    diff::Diff,
    frame::{Held, Hello},
};

/// The state that one pod has.
#[derive(Clone, Debug, Default)]
pub struct AckedState {
    /// The revision by which the pod knows it; none if it has nothing.
    pub revision: Option<Revision>,
    state: State,
    rejected: BTreeMap<Key, Version>,
}

#[derive(Clone, Debug)]
enum State {
    /// Versions as listed by the pod.
    Listed(BTreeMap<Key, Version>),
    /// Catalog that was sent and acknowledged.
    Sent(Arc<Catalog>),
}

impl AckedState {
    /// The state in a hello. Without a revision the pod has nothing, whatever it lists.
    pub fn of(hello: &Hello) -> Self {
        if hello.revision.is_none() {
            return Self::default();
        }
        let listed = hello.held.iter().map(|Held { key, v }| (key.clone(), v.clone())).collect();
        Self { revision: hello.revision.clone(), state: State::Listed(listed), rejected: BTreeMap::new() }
    }

    /// The state in a requested list.
    pub fn listed(revision: &Revision, listed: BTreeMap<Key, Version>) -> Self {
        Self { revision: Some(revision.clone()), state: State::Listed(listed), rejected: BTreeMap::new() }
    }

    /// The difference to a target.
    pub fn diff_to(&self, target: &Catalog) -> Diff {
        match &self.state {
            State::Listed(listed) => Diff::between(listed, target),
            State::Sent(sent) => Diff::between_catalogs(sent, target),
        }
    }

    /// The state of a pod that has acknowledged a target, except for what it rejected. A pod checks the whole state each time,
    /// unchanged resources included, so its response names everything that it lacks.
    #[must_use]
    pub fn after(revision: &Revision, target: &Arc<Catalog>, rejected: &[Key]) -> Self {
        let rejected = rejected.iter().filter_map(|key| Some((key.clone(), target.get(key)?.version.clone())));
        Self { revision: Some(revision.clone()), state: State::Sent(Arc::clone(target)), rejected: rejected.collect() }
    }

    /// The resources that the pod has rejected.
    pub fn rejected(&self) -> &BTreeMap<Key, Version> {
        &self.rejected
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
    fn a_pod_that_lists_its_state_gets_the_difference_only() {
        let (old, new) = (catalog(&[("a", 1), ("b", 1), ("c", 1)]), catalog(&[("a", 1), ("b", 2), ("d", 1)]));
        let held = old.iter().map(|(key, entry)| Held { key: key.clone(), v: entry.version.clone() }).collect();
        let hello = Hello {
            v: 1,
            pod: "p".into(),
            instance: "i".into(),
            revision: Some(old.revision()),
            held,
            features: Vec::new(),
            floor: BTreeMap::new(),
        };
        let diff = AckedState::of(&hello).diff_to(&new);
        assert_eq!((names(&diff.put), names(&diff.del)), (vec!["b", "d"], vec!["c"]));
        let same = AckedState::of(&hello).diff_to(&old);
        assert!(same.is_empty());
        let forgetful = Hello { revision: None, ..hello };
        assert_eq!(AckedState::of(&forgetful).diff_to(&old).put.len(), 3, "without a revision the list does not count");
    }

    #[test]
    fn a_rejected_resource_counts_as_sent_until_the_pod_reconnects() {
        let first = catalog(&[("a", 1), ("b", 1)]);
        let held = AckedState::after(&first.revision(), &first, &[]);
        assert!(held.diff_to(&first).is_empty());

        let second = catalog(&[("a", 2), ("b", 1)]);
        let held = AckedState::after(&second.revision(), &second, &[key("a")]);
        assert!(held.diff_to(&second).is_empty(), "the answer would be the same");
        let third = catalog(&[("a", 2), ("b", 3)]);
        assert_eq!(names(&held.diff_to(&third).put), ["b"]);
        let held = AckedState::after(&third.revision(), &third, &[key("a")]);
        assert_eq!(held.rejected().len(), 1);

        let back = catalog(&[("a", 1), ("b", 3)]);
        assert_eq!(names(&held.diff_to(&back).put), ["a"], "it was sent version 2, whatever it keeps");
        assert!(AckedState::after(&back.revision(), &back, &[]).rejected().is_empty());
        assert_eq!(names(&held.diff_to(&catalog(&[("b", 3)])).del), ["a"]);
    }
}
