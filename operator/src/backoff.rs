//! Exponential back-off with jitter. Pure.

use std::time::Duration;

/// The jitter of an exact delay.
pub const NO_JITTER: f64 = 0.5;

/// How retries are spaced.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// Delay after the first failure; it doubles with each further one.
    pub first: Duration,
    /// The maximum delay, before jitter.
    pub max: Duration,
}

impl Backoff {
    /// The delay after this many earlier failures in a row. `jitter` from 0 to 1 spreads it from 75 to 125 %, so that what
    /// failed together is not retried together.
    pub fn delay(self, earlier_failures: u32, jitter: f64) -> Duration {
        let doubled = 1_u32.checked_shl(earlier_failures).unwrap_or(u32::MAX);
        spread(self.first.saturating_mul(doubled).min(self.max), jitter)
    }
}

/// A delay of 75 to 125 %, by a number from 0 to 1.
pub fn spread(delay: Duration, jitter: f64) -> Duration {
    delay.mul_f64(0.75 + jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_millis(500), max: Duration::from_secs(4) };

    #[test]
    fn delays_double_up_to_the_maximum() {
        let delays = [0, 1, 2, 3, 4, 31, 32, u32::MAX].map(|failures| BACKOFF.delay(failures, 0.5).as_millis());
        assert_eq!(delays, [500, 1000, 2000, 4000, 4000, 4000, 4000, 4000]);
    }

    #[test]
    fn jitter_is_a_quarter_in_both_directions() {
        let delays = [-1.0, 0.0, 0.5, 1.0, 2.0].map(|jitter| BACKOFF.delay(0, jitter).as_millis());
        assert_eq!(delays, [375, 375, 500, 625, 625]);
    }
}
