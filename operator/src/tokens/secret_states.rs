//! The states of all tokens' Secrets, for their statuses, and which of them changed.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use routeapi_channel::ObjectId;
use tokio::sync::watch;

use super::plan::SecretState;

/// The states of Secrets by token. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct SecretStates(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    states: Mutex<States>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct States {
    by_token: HashMap<ObjectId, SecretState>,
    changed: BTreeSet<ObjectId>,
}

// === impl SecretStates ===

impl SecretStates {
    /// The state of a token's Secret; none if it was not checked yet.
    pub fn get(&self, id: &ObjectId) -> Option<SecretState> {
        self.lock().by_token.get(id).cloned()
    }

    /// Sets a state. A failure that differs only in numbers is not a change.
    pub fn set(&self, id: &ObjectId, state: SecretState) {
        let mut states = self.lock();
        let same = match (states.by_token.get(id), &state) {
            (Some(SecretState::WriteFailed(current)), SecretState::WriteFailed(next)) => next.repeats(current),
            (current, next) => current == Some(next),
        };
        if !same {
            states.by_token.insert(id.clone(), state);
            self.changed(states, id);
        }
    }

    /// Sets a state unless there is one.
    pub fn set_first(&self, id: &ObjectId, state: SecretState) {
        let mut states = self.lock();
        if !states.by_token.contains_key(id) {
            states.by_token.insert(id.clone(), state);
            self.changed(states, id);
        }
    }

    /// Forgets a deleted token.
    pub fn forget(&self, id: &ObjectId) {
        let mut states = self.lock();
        if states.by_token.remove(id).is_some() {
            self.changed(states, id);
        }
    }

    /// Forgets all tokens.
    pub fn clear(&self) {
        let mut states = self.lock();
        states.changed = states.by_token.drain().map(|(id, _)| id).collect();
        drop(states);
        self.0.changed.send_modify(|count| *count += 1);
    }

    /// Changes with every state.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// The tokens whose states changed since the last call.
    pub fn take_changed(&self) -> BTreeSet<ObjectId> {
        std::mem::take(&mut self.lock().changed)
    }

    fn changed(&self, mut states: MutexGuard<'_, States>, id: &ObjectId) {
        states.changed.insert(id.clone());
        drop(states);
        self.0.changed.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, States> {
        self.0.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_a_change_once() {
        let (states, id) = (SecretStates::default(), ObjectId::new("shop", "a"));
        states.set_first(&id, SecretState::Issuing);
        states.set_first(&id, SecretState::Ready);
        assert_eq!((states.get(&id), states.take_changed().len()), (Some(SecretState::Issuing), 1));
        states.set(&id, SecretState::Issuing);
        assert!(states.take_changed().is_empty());
        states.set(&id, SecretState::Ready);
        states.forget(&id);
        assert_eq!((states.get(&id), states.take_changed().len()), (None, 1));
    }
}
