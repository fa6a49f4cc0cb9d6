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

/// A key or an identity that was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRejection {
    /// The status of the answer that rejected it. Of an upstream: 401 or 403. Of whoever issues tokens: any, and 0 if it was
    /// not asked.
    pub status: u16,
    /// Since when, in seconds since 1970.
    pub since: i64,
    /// What whoever issues tokens said; none for keys, of which vendors' answers may hold parts.
    pub message: Option<String>,
}

/// The keys of all providers.
#[derive(Debug, Default)]
pub struct RejectedKeys {
    state: Mutex<State>,
    /// How many are rejected, so that an answer that accepts a key takes no lock.
    count: AtomicUsize,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// The key of each provider in force, by its hash.
    keys: BTreeMap<ObjectId, u64>,
    rejected: BTreeMap<ObjectId, KeyRejection>,
    /// Providers whose identity gets no tokens. What it got before may still be accepted.
    refused: BTreeMap<ObjectId, KeyRejection>,
}

impl RejectedKeys {
    /// These are the keys in force.
    pub(super) fn configure(&self, keys: BTreeMap<ObjectId, u64>) {
        let mut state = self.lock();
        let State { keys: known, rejected, refused } = &mut *state;
        let before = rejected.len().saturating_add(refused.len());
        let is_kept = |id: &ObjectId| keys.get(id).is_some_and(|key| known.get(id) == Some(key));
        rejected.retain(|id, _| is_kept(id));
        refused.retain(|id, _| is_kept(id));
        let differs = rejected.len().saturating_add(refused.len()) != before;
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
            state.rejected.insert(provider.clone(), KeyRejection { status, since: now, message: None });
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

    /// Whoever issues tokens refuses a provider's identity, in these words. Returns whether that is new.
    pub fn identity_refused(&self, provider: &ObjectId, status: u16, message: &str, now: i64) -> bool {
        let mut state = self.lock();
        if !state.keys.contains_key(provider) {
            return false;
        }
        let before = state.refused.get(provider);
        let is_new = before.is_none_or(|before| before.message.as_deref() != Some(message));
        if is_new {
            let since = before.map_or(now, |before| before.since);
            let refusal = KeyRejection { status, since, message: Some(message.to_owned()) };
            state.refused.insert(provider.clone(), refusal);
        }
        self.finish(&state, is_new);
        is_new
    }

    /// A provider's identity got a token. Returns whether it was refused before.
    pub fn identity_accepted(&self, provider: &ObjectId) -> bool {
        let mut state = self.lock();
        let was_refused = state.refused.remove(provider).is_some();
        self.finish(&state, was_refused);
        was_refused
    }

    /// The providers whose key or identity is rejected.
    pub fn list(&self) -> BTreeMap<ObjectId, KeyRejection> {
        let state = self.lock();
        let mut all = state.rejected.clone();
        all.extend(state.refused.clone());
        all
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
    fn key_stays_rejected_until_accepted_or_replaced() {
        let (rejected_keys, id) = (RejectedKeys::default(), ObjectId::new("ai", "vendor"));
        let configure = |key| rejected_keys.configure([(id.clone(), key)].into());
        let changed = rejected_keys.changed();
        assert!(!rejected_keys.rejected(&id, 1, 401, 10), "not a provider in force");
        configure(1);
        assert!(rejected_keys.rejected(&id, 1, 401, 10));
        assert!(!rejected_keys.rejected(&id, 1, 403, 11), "it is news once");
        assert_eq!(rejected_keys.list()[&id], KeyRejection { status: 401, since: 10, message: None });
        configure(1);
        assert!(!rejected_keys.list().is_empty(), "the same key in a new configuration");
        assert!(rejected_keys.accepted(&id, 1) && !rejected_keys.accepted(&id, 1));
        assert!(rejected_keys.list().is_empty());
        rejected_keys.rejected(&id, 1, 401, 20);
        configure(2);
        assert!(rejected_keys.list().is_empty(), "another key");
        assert!(!rejected_keys.rejected(&id, 1, 401, 30), "an answer to the older key");
        rejected_keys.rejected(&id, 2, 401, 40);
        assert!(!rejected_keys.accepted(&id, 1), "an answer to the older key");
        rejected_keys.configure(BTreeMap::new());
        assert!(rejected_keys.list().is_empty(), "no such provider any more");
        assert!(changed.has_changed().unwrap());
    }

    #[test]
    fn identity_stays_refused_until_it_gets_a_token_or_is_replaced() {
        let (rejected_keys, id) = (RejectedKeys::default(), ObjectId::new("ai", "cloud"));
        let configure = |key| rejected_keys.configure([(id.clone(), key)].into());
        assert!(!rejected_keys.identity_refused(&id, 400, "no", 10), "not a provider in force");
        configure(1);
        assert!(rejected_keys.identity_refused(&id, 400, "no", 10));
        assert!(!rejected_keys.identity_refused(&id, 400, "no", 11), "it is news once");
        assert!(rejected_keys.identity_refused(&id, 401, "never", 12), "other words");
        let refused = KeyRejection { status: 401, since: 10, message: Some("never".to_owned()) };
        assert_eq!(rejected_keys.list()[&id], refused);
        assert!(!rejected_keys.accepted(&id, 1), "the upstream still accepts the token before");
        assert_eq!(rejected_keys.list()[&id], refused);
        assert!(rejected_keys.identity_accepted(&id) && !rejected_keys.identity_accepted(&id));
        rejected_keys.identity_refused(&id, 400, "no", 20);
        configure(2);
        assert!(rejected_keys.list().is_empty(), "another identity");
    }
}
