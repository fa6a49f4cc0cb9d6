//! Passive health of one upstream model.
//!
//! Two reasons leave it out for a while: it failed several times in a row (*evicted*), or it asked for a pause with
//! `Retry-After` or a rate-limit header (*cooling down*). After either has passed it takes part again at once; until a
//! success resets the count, one more failure evicts it anew. Left out is not forbidden: when nothing else is left, an
//! upstream that is left out is still tried.
//!
//! Failures are counted per tenant, which is the namespace of the token. A request can be such that an upstream fails on
//! it each time (a prompt that crashes the server, an answer too long for `firstContent`), and one tenant shall not be
//! able to take an upstream from the others that way: what fails for one tenant alone is evicted for that tenant alone.
//! Failures in a row of two tenants or more evict it for everybody.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// When an upstream is left out for failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// Number of consecutive failures.
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
    /// Failures in a row, of all tenants.
    streak: FailureStreak,
    /// For everybody.
    evicted_until: Option<Instant>,
    /// Those whose last request failed. Bounded by the namespaces that have tokens.
    tenants: HashMap<String, Tenant>,
    cooling_until: Option<Instant>,
}

/// Failures since the last success of any tenant.
#[derive(Debug, Default)]
struct FailureStreak {
    failures: u32,
    /// Who failed first.
    tenant: Option<String>,
    /// Whether another tenant failed too.
    is_shared: bool,
}

/// Failures of one tenant since its own last success.
#[derive(Debug, Default)]
struct Tenant {
    failures: u32,
    evicted_until: Option<Instant>,
    cooling_until: Option<Instant>,
}

impl Default for State {
    fn default() -> Self {
        let eviction = Eviction { consecutive_failures: 5, duration: Duration::from_secs(30) };
        Self {
            eviction,
            streak: FailureStreak::default(),
            evicted_until: None,
            tenants: HashMap::new(),
            cooling_until: None,
        }
    }
}

impl Health {
    /// Takes on the settings of a new configuration.
    pub(super) fn configure(&self, eviction: Eviction) {
        self.state().eviction = eviction;
    }

    /// Whether it takes part now in a request of this tenant.
    pub fn availability(&self, now: Instant, tenant: &str) -> Availability {
        let state = self.state();
        let alone = state.tenants.get(tenant);
        let evicted = state.evicted_until.max(alone.and_then(|alone| alone.evicted_until));
        let cooling = state.cooling_until.max(alone.and_then(|alone| alone.cooling_until));
        availability(now, evicted, cooling)
    }

    /// Whether it takes part now in requests of anybody, and in those of tenants for whom it does not, beside that.
    pub fn overview(&self, now: Instant) -> (Availability, BTreeMap<String, Availability>) {
        let state = self.state();
        let alone = state.tenants.iter().filter_map(|(name, alone)| {
            let availability = availability(now, alone.evicted_until, alone.cooling_until);
            (availability != Availability::Ready).then(|| (name.clone(), availability))
        });
        (availability(now, state.evicted_until, state.cooling_until), alone.collect())
    }

    /// It answered a request of this tenant as it should.
    pub fn succeeded(&self, tenant: &str) {
        let mut state = self.state();
        state.streak = FailureStreak::default();
        state.evicted_until = None;
        state.tenants.remove(tenant);
    }

    /// It failed on a request of this tenant.
    pub fn failed(&self, now: Instant, tenant: &str) {
        let mut state = self.state();
        let Eviction { consecutive_failures, duration } = state.eviction;
        let until = now.checked_add(duration);
        let alone = state.tenants.entry(tenant.to_owned()).or_default();
        alone.failures = alone.failures.saturating_add(1);
        if alone.failures >= consecutive_failures {
            alone.evicted_until = until;
        }
        let streak = &mut state.streak;
        streak.failures = streak.failures.saturating_add(1);
        streak.is_shared |= streak.tenant.get_or_insert_with(|| tenant.to_owned()) != tenant;
        if streak.is_shared && streak.failures >= consecutive_failures {
            state.evicted_until = until;
        }
    }

    /// It limits the account's rate and asked for a pause, which holds for everybody. The longest pause counts.
    pub fn cool_down(&self, now: Instant, pause: Duration) {
        let mut state = self.state();
        state.cooling_until = state.cooling_until.max(now.checked_add(pause));
    }

    /// It failed on a request of this tenant and asked for a pause, which holds for this tenant: the request may be why.
    pub fn cool_down_for(&self, now: Instant, pause: Duration, tenant: &str) {
        let mut state = self.state();
        let alone = state.tenants.entry(tenant.to_owned()).or_default();
        alone.cooling_until = alone.cooling_until.max(now.checked_add(pause));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn availability(now: Instant, evicted: Option<Instant>, cooling: Option<Instant>) -> Availability {
    match (evicted, cooling) {
        (Some(until), _) if until > now => Availability::Evicted(until),
        (_, Some(until)) if until > now => Availability::CoolingDown(until),
        _ => Availability::Ready,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn evicts_after_consecutive_failures_and_again_at_the_next() {
        let health = Health::default();
        health.configure(Eviction { consecutive_failures: 2, duration: SECOND });
        let start = Instant::now();
        health.failed(start, "a");
        health.succeeded("a");
        health.failed(start, "a");
        assert_eq!(health.availability(start, "a"), Availability::Ready);
        health.failed(start, "a");
        assert_eq!(health.availability(start, "a"), Availability::Evicted(start + SECOND));
        let later = start + SECOND;
        assert_eq!(health.availability(later, "a"), Availability::Ready);
        health.failed(later, "a");
        assert_eq!(
            health.availability(later, "a"),
            Availability::Evicted(later + SECOND),
            "one failure is enough until it has succeeded once"
        );
        health.succeeded("a");
        assert_eq!(health.availability(later, "a"), Availability::Ready);
    }

    #[test]
    fn failures_of_one_tenant_do_not_evict_for_another() {
        let health = Health::default();
        health.configure(Eviction { consecutive_failures: 3, duration: SECOND });
        let start = Instant::now();
        (0..1_000).for_each(|_| health.failed(start, "attacker"));
        assert_eq!(health.availability(start, "attacker"), Availability::Evicted(start + SECOND));
        assert_eq!(health.availability(start, "innocent"), Availability::Ready);
        health.succeeded("innocent");
        assert_eq!(
            health.availability(start, "attacker"),
            Availability::Evicted(start + SECOND),
            "what works for one says nothing about what fails for another"
        );
    }

    #[test]
    fn failures_of_two_tenants_evict_for_all() {
        let health = Health::default();
        health.configure(Eviction { consecutive_failures: 3, duration: SECOND });
        let start = Instant::now();
        health.failed(start, "a");
        health.failed(start, "a");
        health.failed(start, "b");
        assert_eq!(health.availability(start, "c"), Availability::Evicted(start + SECOND));
        health.succeeded("c");
        assert_eq!(health.availability(start, "c"), Availability::Ready);
        health.failed(start, "a");
        assert_eq!(health.availability(start, "c"), Availability::Ready, "a success begins a new row");
    }

    #[test]
    fn longest_cool_down_wins() {
        let health = Health::default();
        let now = Instant::now();
        health.cool_down(now, 5 * SECOND);
        health.cool_down(now, SECOND);
        assert_eq!(health.availability(now, "a"), Availability::CoolingDown(now + 5 * SECOND));
        assert_eq!(health.availability(now + 5 * SECOND, "b"), Availability::Ready);
    }
}
