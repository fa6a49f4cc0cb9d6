//! Moments until which something is waited for.

use std::time::{Duration, Instant};

/// How often it is looked up whether a request may still go on, while nothing of its body comes.
pub(super) const RECHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A deadline `timeout` from now.
pub(super) fn deadline_in(now: Instant, timeout: Duration) -> Instant {
    // Beyond the clock's range there is none; a day does.
    now.checked_add(timeout).or_else(|| now.checked_add(Duration::from_secs(86_400))).unwrap_or(now)
}
