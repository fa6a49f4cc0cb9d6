//! The only place that reads a clock.
//!
//! A request reads it once per step that needs a time and hands the reading on, so that one decision never sees two
//! times. Uses tokio's clock, which tests can pause; the wall clock is for timestamps, expiry and calendar windows only,
//! never for measuring.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic: for durations and deadlines.
    pub mono: Instant,
    /// Milliseconds since 1970, UTC.
    pub unix_ms: i64,
}

impl Now {
    /// Whole seconds since 1970, UTC.
    pub fn unix_seconds(self) -> i64 {
        self.unix_ms.div_euclid(1000)
    }
}

/// Reads both clocks.
pub fn now() -> Now {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { mono: mono(), unix_ms: i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX) }
}

/// Reads the monotonic clock alone.
pub fn mono() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Whole milliseconds from one moment to a later one; 0 if it is not later.
pub fn millis(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(u64::MAX)
}
