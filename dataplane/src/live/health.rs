//! Passive health of one upstream model.
//!
//! Two reasons leave it out for a while: it failed several times in a row (*evicted*), or it asked for a pause with
//! `Retry-After` or a rate-limit header (*cooling down*). After either has passed it takes part again at once; until a
//! success resets the count, one more failure evicts it anew. Left out is not forbidden: when nothing else is left, an
//! upstream that is left out is still tried.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// When an upstream is left out for failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// For how long.
    pub duration: Duration,
}

/// Whether an upstream takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// It does.
    Ready,
    /// It asked for a pause until then.
    CoolingDown(Instant),
    /// It failed too often and is left out until then.
    Evicted(Instant),
}

/// What is known of one upstream model.
#[derive(Debug, Default)]
pub struct Health(Mutex<State>);

#[derive(Debug)]
struct State {
    eviction: Eviction,
    failures: u32,
    evicted_until: Option<Instant>,
    cooling_until: Option<Instant>,
}

impl Default for State {
    fn default() -> Self {
        let eviction = Eviction { consecutive_failures: 5, duration: Duration::from_secs(30) };
        Self { eviction, failures: 0, evicted_until: None, cooling_until: None }
    }
}

impl Health {
    /// Takes on the settings of a new configuration.
    pub fn configure(&self, eviction: Eviction) {
        self.state().eviction = eviction;
    }

    /// Whether it takes part now.
    pub fn availability(&self, now: Instant) -> Availability {
        let state = self.state();
        match (state.evicted_until, state.cooling_until) {
            (Some(until), _) if until > now => Availability::Evicted(until),
            (_, Some(until)) if until > now => Availability::CoolingDown(until),
            _ => Availability::Ready,
        }
    }

    /// It answered as it should.
    pub fn succeeded(&self) {
        let mut state = self.state();
        state.failures = 0;
        state.evicted_until = None;
    }

    /// It failed. Returns whether that evicted it.
    pub fn failed(&self, now: Instant) -> bool {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        let evicted = state.failures >= state.eviction.consecutive_failures;
        if evicted {
            state.evicted_until = now.checked_add(state.eviction.duration);
        }
        evicted
    }

    /// It asked for a pause. The longest pause asked for counts.
    pub fn cool_down(&self, now: Instant, pause: Duration) {
        let mut state = self.state();
        state.cooling_until = state.cooling_until.max(now.checked_add(pause));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn evicts_after_failures_in_a_row_and_again_at_the_next_one() {
        let health = Health::default();
        health.configure(Eviction { consecutive_failures: 2, duration: SECOND });
        let start = Instant::now();
        health.failed(start);
        health.succeeded();
        health.failed(start);
        assert_eq!(health.availability(start), Availability::Ready);
        assert!(health.failed(start));
        assert_eq!(health.availability(start), Availability::Evicted(start + SECOND));
        let later = start + SECOND;
        assert_eq!(health.availability(later), Availability::Ready);
        assert!(health.failed(later), "one failure is enough until it has succeeded once");
        health.succeeded();
        assert_eq!(health.availability(later), Availability::Ready);
    }

    #[test]
    fn the_longest_pause_counts() {
        let health = Health::default();
        let now = Instant::now();
        health.cool_down(now, 5 * SECOND);
        health.cool_down(now, SECOND);
        assert_eq!(health.availability(now), Availability::CoolingDown(now + 5 * SECOND));
        assert_eq!(health.availability(now + 5 * SECOND), Availability::Ready);
    }
}
