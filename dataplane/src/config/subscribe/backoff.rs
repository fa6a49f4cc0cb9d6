//! How long to wait before the next attempt: doubling from 10 ms to 15 s, each wait between half and all of that, so that
//! a fleet does not come back in step.
//!
//! Only a stream that was of use starts the waits over: one that an operator closes as soon as it is open, however orderly,
//! is a failed attempt.

use std::time::Duration;

const INITIAL_DELAY: Duration = Duration::from_millis(10);
const MAX_DELAY: Duration = Duration::from_secs(15);

/// How long a stream has to live.
const MIN_USEFUL_STREAM: Duration = Duration::from_secs(10);

/// The wait before the next attempt.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: INITIAL_DELAY }
    }
}

impl Backoff {
    /// A stream ended that had lived this long. `committed`: a state came with it.
    pub fn ended(&mut self, lived: Duration, committed: bool) {
        if committed && lived >= MIN_USEFUL_STREAM {
            self.next = INITIAL_DELAY;
        }
    }

    /// The wait now; `random` between 0 and 1.
    pub fn wait(&mut self, random: f64) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(MAX_DELAY);
        delay.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_to_its_limit_and_resets() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..13).map(|_| backoff.wait(1.0).as_millis()).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240, 15000, 15000]);
        assert_eq!(backoff.wait(0.0), MAX_DELAY / 2);
        backoff.ended(MIN_USEFUL_STREAM, true);
        assert_eq!(backoff.wait(1.0), INITIAL_DELAY);
    }

    #[test]
    fn short_lived_streams_do_not_reset_the_backoff() {
        let mut backoff = Backoff::default();
        let mut an_hour = Duration::ZERO;
        let mut attempts = 0;
        while an_hour < Duration::from_secs(3600) {
            an_hour += backoff.wait(0.0);
            attempts += 1;
            backoff.ended(Duration::from_millis(28), true);
            backoff.ended(MIN_USEFUL_STREAM * 2, false);
        }
        assert!(attempts < 500, "{attempts} connections in an hour");
    }
}
