//! A token bucket: so many at once, then one per interval. Time comes in from outside.

use std::time::Duration;

use tokio::time::Instant;

/// The rate of a bucket.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Size of the bucket: how many are allowed at once.
    pub burst: u32,
    /// One more becomes available per interval. Not zero.
    pub interval: Duration,
}

/// What is available now.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    available: u32,
    /// Since when the next one has been accumulating.
    since: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub const fn full(rate: Rate, now: Instant) -> Self {
        Self { available: rate.burst, since: now }
    }

    /// Takes one, if more than `reserve` are available.
    ///
    /// # Errors
    /// The time until one is available.
    pub fn take(&mut self, rate: Rate, reserve: u32, now: Instant) -> Result<(), Duration> {
        self.refill(rate, now);
        if self.available > reserve {
            self.available -= 1;
            return Ok(());
        }
        let lacking = reserve.saturating_add(1) - self.available;
        Err(rate.interval.saturating_mul(lacking).saturating_sub(now.duration_since(self.since)))
    }

    /// Gives one back.
    pub fn put_back(&mut self, rate: Rate) {
        self.available = self.available.saturating_add(1).min(rate.burst);
    }

    /// Whether the bucket is full, and so as good as a new one.
    pub fn is_full(&mut self, rate: Rate, now: Instant) -> bool {
        self.refill(rate, now);
        self.available == rate.burst
    }

    fn refill(&mut self, rate: Rate, now: Instant) {
        let gained = now.duration_since(self.since).as_micros() / rate.interval.as_micros().max(1);
        let gained = u32::try_from(gained).unwrap_or(u32::MAX);
        if self.available.saturating_add(gained) >= rate.burst {
            (self.available, self.since) = (rate.burst, now);
        } else {
            self.available += gained;
            self.since += rate.interval * gained;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, interval: Duration::from_secs(10) };

    #[tokio::test]
    async fn a_bucket_allows_its_burst_and_then_one_per_interval() {
        let start = Instant::now();
        let mut bucket = TokenBucket::full(RATE, start);
        let mut taken = |seconds| {
            let now = start + Duration::from_secs(seconds);
            std::iter::from_fn(|| bucket.take(RATE, 0, now).ok()).count()
        };
        assert_eq!([taken(0), taken(9), taken(10), taken(25), taken(30)], [3, 0, 1, 1, 1]);
        assert_eq!(taken(1_000), 3, "no more than the burst is saved up");
    }

    #[tokio::test]
    async fn an_empty_bucket_returns_the_time_until_the_next() {
        let start = Instant::now();
        let mut bucket = TokenBucket::full(RATE, start);
        assert_eq!(bucket.take(RATE, 2, start), Ok(()));
        assert_eq!(bucket.take(RATE, 2, start), Err(RATE.interval), "two are reserved");
        let later = start + Duration::from_secs(4);
        assert_eq!(bucket.take(RATE, 2, later), Err(Duration::from_secs(6)));
        bucket.put_back(RATE);
        assert!(bucket.is_full(RATE, later));
        bucket.put_back(RATE);
        assert_eq!(std::iter::from_fn(|| bucket.take(RATE, 0, later).ok()).count(), 3, "not more than its size");
    }
}
