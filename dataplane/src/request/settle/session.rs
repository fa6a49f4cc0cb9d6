//! The guard of a session: many answers, one request. What each has used counts at once, since a session lasts an hour.

use routeapi_metering::{Actual, Exceeded, Usage, UsageSource};

use super::Guard;
use crate::clock;

impl Guard {
    /// The session is open. Until it has used something it has used nothing.
    pub(in crate::request) fn session_opened(&mut self, status: u16) {
        self.facts.set_status(status);
        self.facts.set_stream();
        self.attempts.set_session_usage((Usage::default(), UsageSource::None), false);
        if let Some((upstream, _)) = self.attempts.open() {
            upstream.health.succeeded(self.facts.tenant());
        }
    }

    /// All that the session has used until now.
    pub(in crate::request) fn session_used(&mut self, used: (Usage, UsageSource), has_content: bool) {
        self.attempts.set_session_usage(used, has_content);
    }

    /// Counts what is final of that against the token's limits.
    ///
    /// # Errors
    /// The limit that has no room for another answer.
    pub(in crate::request) fn count_session(&mut self, settled: &Usage) -> Result<(), Exceeded> {
        let (Some(all), Some(reservation)) = (self.attempts.actual(settled), &self.reservation) else { return Ok(()) };
        let more = Actual {
            tokens: all.tokens.saturating_sub(self.counted.tokens),
            spend: all.spend.saturating_sub(self.counted.spend),
        };
        let (is_counted, room) = reservation.count(clock::now().unix_ms, more);
        if is_counted {
            self.counted = all;
        }
        room
    }
}
