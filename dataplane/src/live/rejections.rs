//! Providers whose vendor rejects the key, so that whoever owns them hears of it and not the tenant whose request failed.
//!
//! A provider stands here from the first answer that rejects its key to the first that accepts it, and no longer than it
//! has that key: an answer to a request that was sent with an older one says nothing.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use routeapi_channel::ObjectId;
use tokio::sync::watch;

/// A key that was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The status of the last answer that rejected it: 401 or 403.
    pub status: u16,
    /// Since when, in seconds since 1970.
    pub since: i64,
}

/// The keys of all providers.
#[derive(Debug, Default)]
pub struct Rejections {
    state: Mutex<State>,
    /// How many are rejected, so that an answer that accepts a key takes no lock.
    count: AtomicUsize,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// The key of each provider in force, by its hash.
    keys: BTreeMap<ObjectId, u64>,
    rejected: BTreeMap<ObjectId, Rejection>,
}

impl Rejections {
    /// These are the keys in force.
    pub fn configure(&self, keys: BTreeMap<ObjectId, u64>) {
        let mut state = self.lock();
        let State { keys: known, rejected } = &mut *state;
        let before = rejected.len();
        rejected.retain(|id, _| keys.get(id).is_some_and(|key| known.get(id) == Some(key)));
        let differs = rejected.len() != before;
        *known = keys;
        self.finish(&state, differs);
    }

    /// An answer rejected this key of a provider. Returns whether that is new.
    pub fn rejected(&self, provider: &ObjectId, key: u64, status: u16, now: i64) -> bool {
        let mut state = self.lock();
        if state.keys.get(provider) != Some(&key) {
            return false;
        }
        let is_new = !state.rejected.contains_key(provider);
        if is_new {
            state.rejected.insert(provider.clone(), Rejection { status, since: now });
        }
        self.finish(&state, is_new);
        is_new
    }

    /// An answer accepted this key of a provider. Returns whether it was rejected before.
    pub fn accepted(&self, provider: &ObjectId, key: u64) -> bool {
        if self.count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut state = self.lock();
        let was_rejected = state.keys.get(provider) == Some(&key) && state.rejected.remove(provider).is_some();
        self.finish(&state, was_rejected);
        was_rejected
    }

    /// The providers whose key is rejected.
    pub fn list(&self) -> BTreeMap<ObjectId, Rejection> {
        self.lock().rejected.clone()
    }

    /// Moves when [`Self::list`] changes.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn finish(&self, state: &State, differs: bool) {
        if differs {
            self.count.store(state.rejected.len(), Ordering::Relaxed);
            self.changed.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_rejected_until_it_is_accepted_or_replaced() {
        let (rejections, id) = (Rejections::default(), ObjectId::new("ai", "vendor"));
        let configure = |key| rejections.configure([(id.clone(), key)].into());
        let changed = rejections.changed();
        assert!(!rejections.rejected(&id, 1, 401, 10), "not a provider in force");
        configure(1);
        assert!(rejections.rejected(&id, 1, 401, 10));
        assert!(!rejections.rejected(&id, 1, 403, 11), "it is news once");
        assert_eq!(rejections.list()[&id], Rejection { status: 401, since: 10 });
        configure(1);
        assert!(!rejections.list().is_empty(), "the same key in a new configuration");
        assert!(rejections.accepted(&id, 1) && !rejections.accepted(&id, 1));
        assert!(rejections.list().is_empty());
        rejections.rejected(&id, 1, 401, 20);
        configure(2);
        assert!(rejections.list().is_empty(), "another key");
        assert!(!rejections.rejected(&id, 1, 401, 30), "an answer to the older key");
        rejections.rejected(&id, 2, 401, 40);
        assert!(!rejections.accepted(&id, 1), "an answer to the older key");
        rejections.configure(BTreeMap::new());
        assert!(rejections.list().is_empty(), "no such provider any more");
        assert!(changed.has_changed().unwrap());
    }
}
