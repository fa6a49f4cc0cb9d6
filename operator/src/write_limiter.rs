//! Limits how often statuses are written, so that many changes do not become a burst of writes. Time comes in from outside.
//!
//! The rate of all writes is either fixed by a setting or follows the API server: it grows while writes wait and succeed, and
//! is halved when the server asks for less (429), which is what its priority and fairness does with too many requests.

use std::{collections::BTreeMap, time::Duration};

use routeapi_channel::Key;
use tokio::time::Instant;

use crate::token_bucket::{Rate, TokenBucket};

/// Writes of one object. A rollout changes a status a few times in a row; an object whose status changes all the time gets
/// one write per five seconds.
const OBJECT_RATE: Rate = Rate { burst: 4, interval: Duration::from_secs(5) };

/// Writes with low priority, whatever the rate of all writes: what nobody waits for is never a storm.
const LOW_RATE: Rate = Rate { burst: 40, interval: Duration::from_millis(50) };

/// Bounds of a rate that follows the API server, and where it starts.
const MIN_PER_SECOND: u32 = 5;
const FIRST_PER_SECOND: u32 = 100;
const MAX_PER_SECOND: u32 = 500;

/// How often a rate that follows the API server changes at most.
const STEP: Duration = Duration::from_secs(1);

/// How long nothing is written after a 429 without a `Retry-After`.
const PAUSE: Duration = Duration::from_secs(1);

/// The limiter of all status writes.
#[derive(Debug)]
pub struct WriteLimiter {
    per_second: u32,
    /// Whether the rate follows the API server.
    adapts: bool,
    /// Whether writes waited since the last change of the rate.
    scarce: bool,
    changed: Instant,
    paused_until: Option<Instant>,
    total: TokenBucket,
    low: TokenBucket,
    objects: BTreeMap<Key, TokenBucket>,
}

/// The priority of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// A condition changed.
    High,
    /// Only numbers of pods changed, too many objects of one namespace get the same condition, or the next condition is about
    /// to follow.
    Low,
}

impl WriteLimiter {
    /// Nothing was written yet. `per_second`: the rate of all writes; none to follow the API server.
    pub fn new(per_second: Option<u32>, now: Instant) -> Self {
        let adapts = per_second.is_none();
        let per_second = per_second.unwrap_or(FIRST_PER_SECOND).max(1);
        Self {
            per_second,
            adapts,
            scarce: false,
            changed: now,
            paused_until: None,
            total: TokenBucket::full(rate(per_second), now),
            low: TokenBucket::full(LOW_RATE, now),
            objects: BTreeMap::new(),
        }
    }

    /// Admits a write of an object now.
    ///
    /// # Errors
    /// The time until it may be written.
    pub fn admit(&mut self, key: &Key, priority: Priority, now: Instant) -> Result<(), Duration> {
        if let Some(until) = self.paused_until.filter(|until| *until > now) {
            return Err(until.duration_since(now));
        }
        let mut object = self.objects.get(key).copied().unwrap_or(TokenBucket::full(OBJECT_RATE, now));
        object.take(OBJECT_RATE, 0, now)?;
        let (rate, mut low) = (rate(self.per_second), self.low);
        let reserved = if priority == Priority::High {
            0
        } else {
            low.take(LOW_RATE, 0, now)?;
            rate.burst / 2
        };
        self.total.take(rate, reserved, now).inspect_err(|_| self.scarce = true)?;
        self.low = low;
        self.objects.insert(key.clone(), object);
        Ok(())
    }

    /// A write succeeded: if others had to wait, the rate may grow.
    pub fn succeeded(&mut self, now: Instant) {
        if self.adapts && self.scarce && now.duration_since(self.changed) >= STEP {
            (self.scarce, self.changed) = (false, now);
            self.per_second = (self.per_second + self.per_second / 4 + 1).min(MAX_PER_SECOND);
        }
    }

    /// The API server asked for fewer requests, perhaps after a time.
    pub fn throttled(&mut self, retry_after: Option<Duration>, now: Instant) {
        self.paused_until = Some(now + retry_after.unwrap_or(PAUSE));
        if self.adapts && now.duration_since(self.changed) >= STEP {
            (self.scarce, self.changed) = (false, now);
            self.per_second = (self.per_second / 2).max(MIN_PER_SECOND);
        }
    }

    /// Forgets a deleted object.
    pub fn forget(&mut self, key: &Key) {
        self.objects.remove(key);
    }

    /// Forgets objects that were not written for a while.
    pub fn tidy(&mut self, now: Instant) {
        self.objects.retain(|_, object| !object.is_full(OBJECT_RATE, now));
    }
}

/// So many per second, and twice as many at once.
fn rate(per_second: u32) -> Rate {
    Rate { burst: per_second.saturating_mul(2), interval: Duration::from_secs(1) / per_second.max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Priority::{High, Low};
    use routeapi_channel::{Kind, ObjectId};

    fn key(name: &str) -> Key {
        Key { kind: Kind::Route, id: ObjectId::new("ai", name) }
    }

    #[tokio::test]
    async fn one_object_is_written_four_times_and_then_every_five_seconds() {
        let start = Instant::now();
        let mut limiter = WriteLimiter::new(Some(20), start);
        for _ in 0..OBJECT_RATE.burst {
            assert_eq!(limiter.admit(&key("a"), High, start), Ok(()));
        }
        assert_eq!(limiter.admit(&key("a"), High, start), Err(OBJECT_RATE.interval));
        assert_eq!(limiter.admit(&key("b"), High, start), Ok(()), "others are not delayed");
        let later = start + Duration::from_secs(3);
        assert_eq!(limiter.admit(&key("a"), High, later), Err(Duration::from_secs(2)));
        assert_eq!(limiter.admit(&key("a"), High, start + OBJECT_RATE.interval), Ok(()));
        assert!(limiter.admit(&key("a"), High, start + OBJECT_RATE.interval).is_err());
    }

    #[tokio::test]
    async fn a_thousand_objects_are_written_at_twenty_per_second() {
        let start = Instant::now();
        let mut limiter = WriteLimiter::new(Some(20), start);
        let written = |limiter: &mut WriteLimiter, now| {
            (0..1000).filter(|number| limiter.admit(&key(&number.to_string()), High, now).is_ok()).count()
        };
        assert_eq!(written(&mut limiter, start), 40);
        assert_eq!(written(&mut limiter, start + Duration::from_secs(1)), 20);
    }

    #[tokio::test]
    async fn writes_with_low_priority_leave_half_of_the_burst_to_others() {
        let start = Instant::now();
        let mut limiter = WriteLimiter::new(Some(20), start);
        let mut written = |ids: std::ops::Range<u32>, priority, now| {
            ids.filter(|number| limiter.admit(&key(&number.to_string()), priority, now).is_ok()).count()
        };
        assert_eq!(written(0..1000, Low, start), 20);
        assert_eq!(written(1000..1010, High, start), 10, "at once");
        let later = start + Duration::from_secs(1);
        assert_eq!(written(0..1000, Low, later), 10, "the reserve is refilled first");
        let later = later + Duration::from_secs(1);
        assert_eq!(written(0..1000, Low, later), 20);
        assert_eq!(limiter.admit(&key("last"), Low, later), Err(LOW_RATE.interval));
    }

    #[tokio::test]
    async fn a_rate_that_follows_the_api_server_grows_while_writes_wait_and_is_halved_by_a_429() {
        let start = Instant::now();
        let mut limiter = WriteLimiter::new(None, start);
        let second = |limiter: &mut WriteLimiter, number: u64| {
            let now = start + Duration::from_secs(number);
            let all = number * 10_000..(number + 1) * 10_000;
            let written = all.filter(|at| limiter.admit(&key(&at.to_string()), High, now).is_ok()).count();
            limiter.succeeded(now);
            written
        };
        assert_eq!(second(&mut limiter, 0), 200, "the burst");
        let grown: Vec<_> = (1..20).map(|number| second(&mut limiter, number)).collect();
        assert!(grown.is_sorted() && grown.first() == Some(&100) && grown.last() == Some(&500), "{grown:?}");
        let late = start + Duration::from_secs(20);
        limiter.throttled(Some(Duration::from_secs(3)), late);
        assert_eq!(limiter.admit(&key("any"), High, late), Err(Duration::from_secs(3)));
        limiter.throttled(None, late);
        let resumed = second(&mut limiter, 24);
        assert!((250..=500).contains(&resumed), "{resumed}: what was saved up, at half the rate");
        assert!(limiter.objects.len() > 1000);
        limiter.tidy(start + Duration::from_secs(60));
        assert!(limiter.objects.is_empty());
    }
}
