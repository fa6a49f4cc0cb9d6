//! How a request ended, as its record says it.

use routeapi_metering::Outcome;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestOutcome {
    /// Seen from the client.
    pub outcome: Outcome,
    /// Why, where it did not end well.
    pub error: Option<&'static str>,
}

impl RequestOutcome {
    pub(super) const COMPLETED: Self = Self { outcome: Outcome::Completed, error: None };

    pub(super) const fn new(outcome: Outcome, error: &'static str) -> Self {
        Self { outcome, error: Some(error) }
    }
}
