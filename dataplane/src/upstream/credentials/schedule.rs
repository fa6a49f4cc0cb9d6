//! When the tokens of an identity are fetched: ahead of need, never twice at once, and after a failure later and later.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{identity::Identity, token::FetchError};
use crate::clock::Now;

/// How long before its end a token is replaced at the latest, if it lives long enough: ten minutes, so that several attempts
/// fit in. Google's metadata server gives the old one again until five minutes before its end.
const AHEAD: Duration = Duration::from_secs(600);
/// After the first failure. Doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The shortest pause after a token that ends at once.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
/// A token without an end is asked for once an hour all the same.
const WITHOUT_END: Duration = Duration::from_secs(3_600);

/// The next fetch.
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) identity: Arc<Identity>,
    due: Due,
    failures: u32,
    /// When the last token came.
    fetched: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Due {
    Now,
    At(Instant),
    UnderWay { since: Instant },
}

/// After which a fetch is taken for lost, as when its task has panicked: each call of it has a limit far below.
const LOST: Duration = Duration::from_secs(120);

impl Schedule {
    /// At once.
    pub(super) const fn new(identity: Arc<Identity>) -> Self {
        Self { identity, due: Due::Now, failures: 0, fetched: None }
    }

    /// The identity, if a token is to be fetched for it now.
    pub(super) fn begin(&mut self, now: Instant) -> Option<Arc<Identity>> {
        let is_due = match self.due {
            Due::Now => true,
            Due::At(due) => due <= now,
            Due::UnderWay { since } => now.saturating_duration_since(since) > LOST,
        };
        is_due.then(|| {
            self.due = Due::UnderWay { since: now };
            Arc::clone(&self.identity)
        })
    }

    /// Fetches a token at once, if the last one came at least `interval` ago. Whether one is being fetched.
    pub(super) fn replace(&mut self, now: Instant, interval: Duration) -> bool {
        if matches!(self.due, Due::Now | Due::UnderWay { .. }) {
            return true;
        }
        let is_old = self.fetched.is_some_and(|fetched| now.saturating_duration_since(fetched) >= interval);
        if is_old {
            self.due = Due::Now;
        }
        is_old
    }

    /// A token came that holds until then.
    pub(super) fn succeeded(&mut self, expires: Option<i64>, now: Now) {
        (self.failures, self.fetched) = (0, Some(now.mono));
        let life = expires.map_or(WITHOUT_END, |end| {
            Duration::from_millis(u64::try_from(end.saturating_sub(now.unix_ms)).unwrap_or(0))
        });
        self.due = Due::At(after(now.mono, pause_after_success(life, fastrand::f64())));
    }

    /// None came.
    pub(super) fn failed(&mut self, error: &FetchError, now: Instant) {
        let pause = pause_after_failure(self.failures, error.retry_after, fastrand::f64());
        self.failures = self.failures.saturating_add(1);
        self.due = Due::At(after(now, pause));
    }
}

fn after(now: Instant, pause: Duration) -> Instant {
    now.checked_add(pause).unwrap_or(now)
}

/// Until a token of this life is replaced. `random` is from 0 to 1: all pods get their tokens when they start, and are not
/// to come back all at once.
fn pause_after_success(life: Duration, random: f64) -> Duration {
    let ahead = AHEAD.min(life / 2).mul_f64(1.0 + random / 2.0);
    life.saturating_sub(ahead).max(SHORTEST_PAUSE)
}

/// Until it is tried again after so many failures before this one.
fn pause_after_failure(failures: u32, retry_after: Option<Duration>, random: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(failures.min(16)).unwrap_or(u32::MAX));
    let pause = doubled.min(LONGEST_PAUSE).mul_f64(1.0 + random / 4.0);
    // What the server asks for counts, but not for ever.
    retry_after.map_or(pause, |asked| pause.max(asked.min(AHEAD / 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn tokens_are_replaced_well_before_their_end_and_not_all_at_once() {
        for (life, earliest, latest) in [(3_600, 2_700, 3_000), (86_400, 85_500, 85_800), (100, 25, 50), (2, 0, 1)] {
            let pause = |random| pause_after_success(seconds(life), random);
            assert!(pause(1.0) >= seconds(earliest) && pause(0.0) <= seconds(latest), "{life}: {:?}", pause(0.5));
            assert!(pause(1.0) < pause(0.0) || life == 2, "{life}");
        }
        assert_eq!(pause_after_success(Duration::ZERO, 0.0), SHORTEST_PAUSE, "no busy loop");
    }

    #[test]
    fn pauses_grow_with_failures_and_follow_the_server() {
        let pause = |failures, asked| pause_after_failure(failures, asked, 0.0);
        assert_eq!([0, 1, 2, 5].map(|failures| pause(failures, None).as_secs()), [1, 2, 4, 32]);
        assert_eq!(pause(60, None), LONGEST_PAUSE);
        assert_eq!(pause(0, Some(seconds(20))), seconds(20));
        assert_eq!(pause(0, Some(seconds(90_000))), seconds(300), "before a token ends, it is tried again");
    }
}
