//! How long to wait before the next attempt: doubling from 10 ms to 15 s, each wait between half and all of that, so that
//! a fleet does not come back in step.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(15);

/// The wait before the next attempt.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// The next attempt is a first one again.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }

    /// The wait now; `random` between 0 and 1.
    pub fn wait(&mut self, random: f64) -> Duration {
        let longest = self.next;
        self.next = (longest * 2).min(LONGEST);
        longest.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_to_its_limit_and_starts_over() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..13).map(|_| backoff.wait(1.0).as_millis()).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240, 15000, 15000]);
        assert_eq!(backoff.wait(0.0), LONGEST / 2);
        backoff.reset();
        assert_eq!(backoff.wait(1.0), FIRST);
    }
}
