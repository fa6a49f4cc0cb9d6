//! Recently published states, by the revisions that data planes and other replicas refer to.
//!
//! States share what they have in common. Limited by the number of resources in which they differ: a namespace that changes an
//! object in a loop would otherwise fill the operator's memory with its versions.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use routeapi_channel::{Catalog, Revision};

/// Maximum number of states. A data plane that is further behind lists its state instead; most reconnect within seconds,
/// and so are only a few states behind.
const MAX_STATES: usize = 64;

/// Maximum number of resources in the newest state and in the differences between the others.
const MAX_RESOURCES: usize = 100_000;

/// Recently published states. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct History(Arc<Mutex<VecDeque<PublishedState>>>);

#[derive(Debug)]
struct PublishedState {
    revision: Revision,
    catalog: Arc<Catalog>,
    selectorless: Arc<OnceLock<Revision>>,
    /// In how many resources it differs from the state after it; of the newest, how many it has.
    costs: usize,
}

impl History {
    /// Adds a published state. `selectorless` is its revision for data planes without selectors, once one was sent to any.
    pub fn push(&self, revision: Revision, catalog: Arc<Catalog>, selectorless: Arc<OnceLock<Revision>>) {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = states.front_mut() {
            let mut differences = 0;
            before.catalog.differences(&catalog, |_| differences += 1);
            before.costs = differences;
        }
        let costs = catalog.len();
        states.push_front(PublishedState { revision, catalog, selectorless, costs });
        let mut resources = 0;
        let fits = |state: &&PublishedState| {
            let before = resources;
            resources += state.costs;
            before == 0 || resources <= MAX_RESOURCES
        };
        let kept = states.iter().take_while(fits).count().clamp(1, MAX_STATES);
        states.truncate(kept);
    }

    /// The state with this revision.
    pub fn state(&self, revision: &Revision) -> Option<Arc<Catalog>> {
        self.find(|state| state.revision == *revision)
    }

    /// The state that a data plane has in force if it acknowledges this revision, with or without selectors.
    pub fn resolve(&self, revision: &Revision) -> Option<Arc<Catalog>> {
        self.find(|state| state.revision == *revision || state.selectorless.get() == Some(revision))
    }

    fn find(&self, matches: impl Fn(&PublishedState) -> bool) -> Option<Arc<Catalog>> {
        let states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        states.iter().find(|state| matches(state)).map(|state| Arc::clone(&state.catalog))
    }
}

#[cfg(test)]
mod tests {
    use routeapi_channel::{Entry, Key, Kind, ObjectId};

    use super::*;

    fn catalog(resources: usize, number: usize) -> Arc<Catalog> {
        let mut catalog = Catalog::default();
        for at in 0..resources {
            let body = serde_json::value::to_raw_value(&number).unwrap();
            catalog.insert(Key { kind: Kind::Token, id: ObjectId::new("a", at.to_string()) }, Entry::new(body.into()));
        }
        Arc::new(catalog)
    }

    #[test]
    fn large_states_are_forgotten_sooner() {
        let history = History::default();
        let push = |resources, number| {
            let catalog = catalog(resources, number);
            history.push(catalog.revision(), Arc::clone(&catalog), Arc::default());
            catalog.revision()
        };
        let small: Vec<_> = (0..MAX_STATES + 1).map(|number| push(1, number)).collect();
        assert!(history.state(&small[0]).is_none() && history.state(&small[1]).is_some());
        let large: Vec<_> = (0..3).map(|number| push(MAX_RESOURCES / 2, number)).collect();
        assert_eq!(large.iter().filter(|revision| history.state(revision).is_some()).count(), 2);
        let huge = push(MAX_RESOURCES + 1, 7);
        assert!(history.state(&huge).is_some(), "the newest is always there");
    }

    #[test]
    fn the_revision_without_selectors_resolves_to_the_state() {
        let (history, catalog, selectorless) = (History::default(), catalog(1, 1), Arc::new(OnceLock::new()));
        history.push(catalog.revision(), Arc::clone(&catalog), Arc::clone(&selectorless));
        let other = super::tests::catalog(1, 2).revision();
        assert!(history.resolve(&other).is_none());
        selectorless.set(other.clone()).unwrap();
        assert_eq!(history.resolve(&other).unwrap().revision(), catalog.revision());
        assert!(history.state(&other).is_none(), "its resources are others");
    }
}
