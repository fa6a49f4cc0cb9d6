//! The only place of this crate that reads a clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use routeapi_metering::UnixMillis;

/// Milliseconds since 1970, UTC: for timestamps and retention, never for measuring.
pub(crate) fn unix_ms() -> UnixMillis {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// For intervals.
pub(crate) fn mono() -> Instant {
    Instant::now()
}
