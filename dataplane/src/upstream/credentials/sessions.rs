//! What is kept for each ApiToken, where an identity has a session for each: made when a token first calls, and let go when
//! it has not called for a while. Whoever holds one that was let go can still use it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use routeapi_channel::ObjectId;

/// How long after the last use it is kept, and so kept fresh. Far shorter than a session lasts.
const IDLE: Duration = Duration::from_secs(900);
/// Most of one provider. The one that was used least recently makes room.
const MAX_SESSIONS: usize = 1_024;

/// One `T` for each token.
#[derive(Debug)]
pub(super) struct Sessions<T> {
    by_token: Mutex<HashMap<ObjectId, Session<T>>>,
}

#[derive(Debug)]
struct Session<T> {
    held: T,
    used: Instant,
}

impl<T> Default for Sessions<T> {
    fn default() -> Self {
        Self { by_token: Mutex::default() }
    }
}

impl<T: Clone> Sessions<T> {
    /// The one of this token.
    pub(super) fn get_or_make(&self, token: &ObjectId, now: Instant, make: impl FnOnce() -> T) -> T {
        let mut by_token = self.by_token();
        if let Some(session) = by_token.get_mut(token) {
            session.used = now;
            return session.held.clone();
        }
        if by_token.len() >= MAX_SESSIONS {
            let oldest = by_token.iter().min_by_key(|(_, session)| session.used).map(|(token, _)| token.clone());
            oldest.and_then(|oldest| by_token.remove(&oldest));
        }
        let held = make();
        by_token.insert(token.clone(), Session { held: held.clone(), used: now });
        held
    }

    /// All that are in use. The others are let go.
    pub(super) fn in_use(&self, now: Instant) -> Vec<T> {
        let mut by_token = self.by_token();
        by_token.retain(|_, session| now.saturating_duration_since(session.used) < IDLE);
        by_token.values().map(|session| session.held.clone()).collect()
    }

    /// Lets all go.
    pub(super) fn clear(&self) {
        self.by_token().clear();
    }

    fn by_token(&self) -> MutexGuard<'_, HashMap<ObjectId, Session<T>>> {
        self.by_token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str) -> ObjectId {
        ObjectId::new("team", name)
    }

    #[test]
    fn each_token_has_its_own_until_it_is_idle() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        assert_eq!(sessions.get_or_make(&token("a"), start, || 1), 1);
        assert_eq!(sessions.get_or_make(&token("b"), start, || 2), 2);
        let later = start + IDLE / 2;
        assert_eq!(sessions.get_or_make(&token("a"), later, || 3), 1, "made once");
        let mut used = sessions.in_use(start + IDLE);
        used.sort_unstable();
        assert_eq!(used, [1], "b was not used for a while");
        assert_eq!(sessions.get_or_make(&token("b"), start + IDLE, || 4), 4);
        sessions.clear();
        assert!(sessions.in_use(start + IDLE).is_empty());
    }

    #[test]
    fn there_are_no_more_than_the_bound_and_the_least_used_makes_room() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let at = |number: usize| start + Duration::from_millis(number as u64);
        for number in 0..MAX_SESSIONS {
            sessions.get_or_make(&token(&number.to_string()), at(number), || number);
        }
        assert_eq!(sessions.get_or_make(&token("0"), at(MAX_SESSIONS), || usize::MAX), 0);
        sessions.get_or_make(&token("one-more"), at(MAX_SESSIONS), || MAX_SESSIONS);
        let held = sessions.in_use(at(MAX_SESSIONS));
        assert_eq!(held.len(), MAX_SESSIONS);
        assert!(held.contains(&0) && !held.contains(&1), "the second was used before all others");
    }
}
