//! Keeps the log short where something fails repeatedly: one line per subject and cause, repeated after a while, and all of
//! them together at a limited rate. Time comes in from outside.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::token_bucket::{Rate, TokenBucket};

/// After this time the same cause is logged again, so that it is found in a recent part of the log.
const REPEAT_AFTER: Duration = Duration::from_secs(600);

/// The rate of all lines together: as many as fit on a screen, then few enough to read along.
const RATE: Rate = Rate { burst: 20, interval: Duration::from_secs(1) };

/// The limiter of one kind of log lines; `K` is their subject.
#[derive(Debug)]
pub struct LogLimiter<K> {
    /// The cause that was logged last for each subject, and when.
    logged: BTreeMap<K, (String, Instant)>,
    rate: TokenBucket,
    omitted: u64,
}

// === impl LogLimiter ===

impl<K: Ord + Clone> LogLimiter<K> {
    /// Nothing was logged yet.
    pub const fn new(now: Instant) -> Self {
        Self { logged: BTreeMap::new(), rate: TokenBucket::full(RATE, now), omitted: 0 }
    }

    /// Whether to log a failure now; if so, how many lines the rate has suppressed since the last one.
    pub fn admit(&mut self, subject: &K, cause: &str, now: Instant) -> Option<u64> {
        let logged = self.logged.get(subject);
        if logged.is_some_and(|(logged, at)| logged == cause && now.duration_since(*at) < REPEAT_AFTER) {
            return None;
        }
        if self.rate.take(RATE, 0, now).is_err() {
            self.omitted += 1;
            return None; // it is logged when it fails again
        }
        self.logged.insert(subject.clone(), (cause.to_owned(), now));
        Some(std::mem::take(&mut self.omitted))
    }

    /// The subject works again, or was deleted.
    pub fn forget(&mut self, subject: &K) {
        self.logged.remove(subject);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cause_is_logged_once_per_subject_and_again_after_a_while() {
        let start = Instant::now();
        let mut limiter = LogLimiter::new(start);
        assert_eq!(limiter.admit(&"a", "quota", start), Some(0));
        assert_eq!(limiter.admit(&"a", "quota", start), None);
        assert_eq!(limiter.admit(&"b", "quota", start), Some(0));
        assert_eq!(limiter.admit(&"a", "policy", start), Some(0));
        assert_eq!(limiter.admit(&"a", "policy", start + REPEAT_AFTER), Some(0));
        limiter.forget(&"a");
        assert_eq!(limiter.admit(&"a", "policy", start + REPEAT_AFTER), Some(0));
    }

    #[tokio::test]
    async fn a_thousand_subjects_are_logged_at_a_rate_and_the_rest_is_counted() {
        let start = Instant::now();
        let mut limiter = LogLimiter::new(start);
        let mut lines = |now| (0..1000).filter_map(|at| limiter.admit(&at, "quota", now)).collect::<Vec<_>>();
        assert_eq!(lines(start).len(), 20);
        assert_eq!(lines(start + 3 * RATE.interval), [980, 0, 0], "the first line says how many were suppressed");
    }
}
