//! CPU time of one operation.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What one run came to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Refused,
}

/// The least CPU of some runs on an input of `size` bytes, in microseconds per KiB.
pub fn measure(mut run: impl FnMut() -> Outcome, size: usize) -> (f64, Outcome) {
    let (mut least, mut spent, mut outcome) = (Duration::MAX, Duration::ZERO, Outcome::Done);
    for round in 0..20 {
        let before = cpu();
        outcome = run();
        let took = cpu().saturating_sub(before);
        least = least.min(took);
        spent += took;
        if round >= 2 && spent > Duration::from_millis(20) || spent > Duration::from_millis(500) {
            break;
        }
    }
    (least.as_secs_f64() * 1e6 / kibibytes(size), outcome)
}

/// Bytes as KiB.
pub fn kibibytes(bytes: usize) -> f64 {
    f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / 1024.0
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
