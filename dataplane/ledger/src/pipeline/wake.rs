//! Wakes the thread that feeds the sink.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

/// Wakes the thread.
#[derive(Debug, Default)]
pub(super) struct Wake {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    has_work: bool,
    ends: bool,
}

impl Wake {
    /// There is something in the spool.
    pub(super) fn work(&self) {
        self.set(|state| state.has_work = true);
    }

    /// Nothing more will come.
    pub(super) fn end(&self) {
        self.set(|state| state.ends = true);
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits for work or the end, at most for so long. Returns whether it is the end.
    pub(super) fn wait_for_work(&self, limit: Duration) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(state, limit, |state| !state.has_work && !state.ends);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.has_work = false;
        state.ends
    }

    /// Waits for the end, at most for so long. Returns whether it is.
    pub(super) fn wait_for_end(&self, limit: Duration) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(state, limit, |state| !state.ends);
        waited.unwrap_or_else(PoisonError::into_inner).0.ends
    }
}
