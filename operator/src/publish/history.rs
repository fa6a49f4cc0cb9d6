//! States that were published lately, so that what data planes and other replicas name can be told apart.
//!
//! Bounded by the number of resources in all of them together: a namespace that changes an object in a loop would
//! otherwise fill the operator with copies of everybody's states.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use routeapi_channel::{Catalog, Revision};

/// States at most.
const STATES: usize = 64;

/// Resources at most in all states but the newest: with names and versions about 20 MiB.
const RESOURCES: usize = 100_000;

/// Shared by whoever publishes and whoever asks.
#[derive(Clone, Debug, Default)]
pub struct History(Arc<Mutex<VecDeque<Past>>>);

#[derive(Debug)]
struct Past {
    revision: Revision,
    catalog: Arc<Catalog>,
    plain: Arc<OnceLock<Revision>>,
}

impl History {
    /// A state is published. `plain` is what it is called by data planes that do not know selectors, once one was told.
    pub fn push(&self, revision: Revision, catalog: Arc<Catalog>, plain: Arc<OnceLock<Revision>>) {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        states.push_front(Past { revision, catalog, plain });
        let mut resources = 0;
        let within = |past: &&Past| {
            let before = resources;
            resources += past.catalog.len();
            before == 0 || resources <= RESOURCES
        };
        let kept = states.iter().take_while(within).count().clamp(1, STATES);
        states.truncate(kept);
    }

    /// The state of this name.
    pub fn state(&self, revision: &Revision) -> Option<Arc<Catalog>> {
        self.find(|past| past.revision == *revision)
    }

    /// The state that a data plane has in force if it names this revision, whichever form of it it was told.
    pub fn meant(&self, revision: &Revision) -> Option<Arc<Catalog>> {
        self.find(|past| past.revision == *revision || past.plain.get() == Some(revision))
    }

    fn find(&self, is_it: impl Fn(&Past) -> bool) -> Option<Arc<Catalog>> {
        let states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        states.iter().find(|past| is_it(past)).map(|past| Arc::clone(&past.catalog))
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
    fn large_states_are_kept_for_a_shorter_time() {
        let history = History::default();
        let push = |resources, number| {
            let catalog = catalog(resources, number);
            history.push(catalog.revision(), Arc::clone(&catalog), Arc::default());
            catalog.revision()
        };
        let small: Vec<_> = (0..STATES + 1).map(|number| push(1, number)).collect();
        assert!(history.state(&small[0]).is_none() && history.state(&small[1]).is_some());
        let large: Vec<_> = (0..3).map(|number| push(RESOURCES / 2, number)).collect();
        assert_eq!(large.iter().filter(|it| history.state(it).is_some()).count(), 2);
        let huge = push(RESOURCES + 1, 7);
        assert!(history.state(&huge).is_some(), "the newest is always there");
    }

    #[test]
    fn the_plain_form_of_a_state_means_the_state() {
        let (history, catalog, plain) = (History::default(), catalog(1, 1), Arc::new(OnceLock::new()));
        history.push(catalog.revision(), Arc::clone(&catalog), Arc::clone(&plain));
        let other = super::tests::catalog(1, 2).revision();
        assert!(history.meant(&other).is_none());
        plain.set(other.clone()).unwrap();
        assert_eq!(history.meant(&other).unwrap().revision(), catalog.revision());
        assert!(history.state(&other).is_none(), "its resources are others");
    }
}
