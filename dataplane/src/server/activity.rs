//! What goes on in one connection, as its parts tell each other.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// What goes on in one connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Requests that have begun.
    pub requests: AtomicU64,
    /// Requests that have not ended.
    pub in_flight: AtomicUsize,
    /// Whether HTTP/2 is spoken, as far as requests have shown.
    pub is_http2: AtomicBool,
}

impl Activity {
    /// Whether a request is in flight.
    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }
}
