//! Limits how often statuses are written, so that many changes do not become a burst of writes. Time comes in from outside.

use std::{collections::BTreeMap, time::Duration};

use routeapi_channel::Key;
use tokio::time::Instant;

use crate::token_bucket::{Rate, TokenBucket};

/// Writes of one object. A rollout changes a status a few times in a row; an object whose status changes all the time gets
/// one write per five seconds.
const OBJECT_RATE: Rate = Rate { burst: 4, interval: Duration::from_secs(5) };

/// All writes: 20 per second, well below what the API server's priority and fairness grants a controller.
const TOTAL_RATE: Rate = Rate { burst: 40, interval: Duration::from_millis(50) };

/// The part of the total burst that is reserved for writes with high priority.
const RESERVED: u32 = TOTAL_RATE.burst / 2;

/// The limiter of all status writes.
#[derive(Debug)]
pub struct WriteLimiter {
    total: TokenBucket,
    objects: BTreeMap<Key, TokenBucket>,
}

/// The priority of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// A condition changed.
    High,
    /// Only numbers of pods changed, or too many objects of one namespace get the same condition.
    Low,
}

impl WriteLimiter {
    /// Nothing was written yet.
    pub const fn new(now: Instant) -> Self {
        Self { total: TokenBucket::full(TOTAL_RATE, now), objects: BTreeMap::new() }
    }

    /// Admits a write of an object now.
    ///
    /// # Errors
    /// The time until it may be written.
    pub fn admit(&mut self, key: &Key, priority: Priority, now: Instant) -> Result<(), Duration> {
        let mut object = *self.objects.entry(key.clone()).or_insert(TokenBucket::full(OBJECT_RATE, now));
        object.take(OBJECT_RATE, 0, now)?;
        let reserved = if priority == Priority::High { 0 } else { RESERVED };
        self.total.take(TOTAL_RATE, reserved, now)?;
        self.objects.insert(key.clone(), object);
        Ok(())
    }

    /// Forgets deleted objects.
    pub fn retain(&mut self, keep: impl Fn(&Key) -> bool) {
        self.objects.retain(|key, _| keep(key));
    }
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
        let mut limiter = WriteLimiter::new(start);
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
        let mut limiter = WriteLimiter::new(start);
        let written = |limiter: &mut WriteLimiter, now| {
            (0..1000).filter(|number| limiter.admit(&key(&number.to_string()), High, now).is_ok()).count()
        };
        assert_eq!(written(&mut limiter, start), 40);
        assert_eq!(written(&mut limiter, start + Duration::from_secs(1)), 20);
    }

    #[tokio::test]
    async fn writes_with_low_priority_leave_half_of_the_burst_to_others() {
        let start = Instant::now();
        let mut limiter = WriteLimiter::new(start);
        let mut written = |ids: std::ops::Range<u32>, priority, now| {
            ids.filter(|number| limiter.admit(&key(&number.to_string()), priority, now).is_ok()).count()
        };
        assert_eq!(written(0..1000, Low, start), 20);
        assert_eq!(written(1000..1010, High, start), 10, "at once");
        let later = start + Duration::from_secs(1);
        assert_eq!(written(0..1000, Low, later), 10, "the reserve is refilled first");
        let later = later + Duration::from_secs(1);
        assert_eq!(written(0..1000, Low, later), 20);
        assert_eq!(limiter.admit(&key("last"), Low, later), Err(TOTAL_RATE.interval));
    }
}
