//! What upstreams did for one request: a record of each attempt that has ended, and what is seen of the one that runs.
//!
//! **What is charged.** A token pays for the usage of every attempt, as the gateway's owner does; see [`super::usage`].

use std::{borrow::Cow, sync::Arc, time::Instant};

use routeapi_metering::{Actual, AttemptRecord, Price, Usage, UsageSource};
use routeapi_protocol::{report::Warning, response_stats::ResponseStats};

use super::usage::{AttemptStats, InputShare, PartsUsage, UsageBounds};
use crate::{clock, config::runtime::Upstream, request::printable::clip_model, telemetry::semconv, upstream::SentMark};

/// The attempts of one request.
#[derive(Default)]
pub(in crate::request) struct AttemptLog {
    past: Vec<AttemptRecord>,
    /// `gen_ai.provider.name` of each attempt.
    providers: Vec<&'static str>,
    current: Option<OpenAttempt>,
    warnings: Vec<Warning>,
    bounds: UsageBounds,
    first_content: Option<Instant>,
}

/// An attempt that has not ended.
struct OpenAttempt {
    upstream: Arc<Upstream>,
    model: Box<str>,
    began: Instant,
    status: Option<u16>,
    sent: SentMark,
    stats: AttemptStats,
    /// Of a request that is sent in several calls: status, mark and stats are those of the call that runs. Rare.
    parts: Option<Box<PartsUsage>>,
    /// How many of the answer's losses are among the warnings: by name, and beyond the bound.
    noted_losses: (usize, u64),
}

impl AttemptLog {
    pub(super) fn set_bounds(&mut self, bounds: UsageBounds) {
        self.bounds = bounds;
    }

    /// A request goes out to an upstream. The mark says when the upstream may have it.
    pub(in crate::request) fn begin(
        &mut self,
        upstream: &Arc<Upstream>,
        model: &str,
        warnings: Vec<Warning>,
        now: Instant,
    ) -> SentMark {
        let sent = SentMark::default();
        self.fail("superseded", now);
        self.warnings = warnings;
        self.providers.push(semconv::provider_name(upstream.provider.type_));
        self.current = Some(OpenAttempt {
            upstream: Arc::clone(upstream),
            model: clip_model(model).into(),
            began: now,
            status: None,
            sent: sent.clone(),
            stats: AttemptStats::default(),
            parts: None,
            noted_losses: (0, 0),
        });
        sent
    }

    /// The attempt sends its request in several calls, and the next one goes out; the one before was answered, if there was
    /// one.
    pub(in crate::request) fn begin_part(&mut self, share: InputShare) -> SentMark {
        let (sent, bounds) = (SentMark::default(), self.bounds);
        if let Some(attempt) = &mut self.current {
            match &mut attempt.parts {
                Some(parts) => parts.next(&attempt.stats, bounds, share),
                None => attempt.parts = Some(Box::new(PartsUsage::new(share))),
            }
            (attempt.status, attempt.stats, attempt.sent) = (None, AttemptStats::default(), sent.clone());
        }
        sent
    }

    /// All calls were answered: this was seen in all of them together.
    pub(in crate::request) fn join_parts(&mut self, stats: &ResponseStats) {
        if let Some(attempt) = &mut self.current {
            attempt.parts = None;
        }
        // Nothing was there for the client before.
        self.first_content = None;
        self.observe(stats);
        self.mark_whole_answer();
    }

    /// No upstream's answer is handed over, but one of the gateway's own that needs this said.
    pub(in crate::request) fn warn_only(&mut self, warning: Warning) {
        self.warnings = vec![warning];
    }

    /// How many there have been.
    pub(in crate::request) fn count(&self) -> usize {
        self.providers.len()
    }

    /// The upstream sent its status.
    pub(in crate::request) fn set_status(&mut self, status: u16) {
        if let Some(attempt) = &mut self.current {
            attempt.status = Some(status);
        }
    }

    /// More of the upstream's answer was read. Returns whether content has come.
    pub(in crate::request) fn observe(&mut self, stats: &ResponseStats) -> bool {
        let Some(attempt) = &mut self.current else { return false };
        attempt.stats.update(stats);
        // What an answer loses on its way is reported like what a request lost: in the header while that has not gone
        // out, in the record in any case. Losses only ever grow, so each event costs what is new in it.
        let (names, more) = std::mem::replace(&mut attempt.noted_losses, (stats.lost.len(), stats.lost_more));
        self.warnings.extend(stats.warnings(names));
        let more = stats.lost_more.saturating_sub(more);
        if more > 0 {
            match self.warnings.last_mut() {
                Some(Warning::More { count }) => *count = count.saturating_add(more),
                _ => self.warnings.push(Warning::More { count: more }),
            }
        }
        if attempt.stats.content && self.first_content.is_none() {
            self.first_content = Some(clock::mono());
        }
        attempt.stats.content
    }

    /// The answer came in one piece: it is complete, whatever was seen in it.
    pub(in crate::request) fn mark_whole_answer(&mut self) {
        if let Some(attempt) = &mut self.current {
            attempt.stats.whole();
            self.first_content.get_or_insert_with(clock::mono);
        }
    }

    /// All that the session which was opened by the attempt that runs has used until now.
    pub(super) fn set_session_usage(&mut self, used: (Usage, UsageSource), has_content: bool) {
        if let Some(attempt) = &mut self.current {
            attempt.stats.session(used);
            if has_content {
                self.first_content.get_or_insert_with(clock::mono);
            }
        }
    }

    /// What this usage of the attempt that runs counts against limits.
    pub(super) fn actual(&self, usage: &Usage) -> Option<Actual> {
        let attempt = self.current.as_ref()?;
        Some(Actual { tokens: usage.total(), spend: attempt.cost(usage) })
    }

    /// The attempt that runs did not serve.
    pub(in crate::request) fn fail(&mut self, error: &'static str, now: Instant) {
        if self.current.is_some() {
            self.first_content = None;
        }
        self.close(Some(error), now);
    }

    /// The attempt that runs has ended, with an error if it did not serve.
    pub(super) fn close(&mut self, error: Option<&'static str>, now: Instant) {
        if let Some(attempt) = self.current.take() {
            self.past.push(attempt.record(self.bounds, error, now));
        }
    }

    /// The upstream of the attempt that runs, and what was seen of its answer.
    pub(super) fn open(&self) -> Option<(&Upstream, &AttemptStats)> {
        self.current.as_ref().map(|attempt| (&*attempt.upstream, &attempt.stats))
    }

    /// What all attempts together have used so far; none while none runs.
    pub(super) fn used(&self) -> Option<Actual> {
        let attempt = self.current.as_ref()?;
        let (mut usage, _) = attempt.account(self.bounds);
        let mut spend = attempt.cost(&usage);
        for past in &self.past {
            usage.add(past.usage);
            spend = spend.saturating_add(past.cost_nano_usd);
        }
        Some(Actual { tokens: usage.total(), spend })
    }

    /// What the last attempt changed in the request, and lost of the answer.
    pub(in crate::request) fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// When the first content of the attempt that served came.
    pub(super) fn first_content(&self) -> Option<Instant> {
        self.first_content
    }

    /// `gen_ai.provider.name` of each attempt, in order.
    pub(super) fn providers(&self) -> &[&'static str] {
        &self.providers
    }

    /// The records of all attempts that have ended.
    pub(super) fn take_records(&mut self) -> Vec<AttemptRecord> {
        std::mem::take(&mut self.past)
    }
}

impl OpenAttempt {
    /// The upstream took the request and did not refuse it. No vendor bills an answer with an error status.
    fn was_received(&self) -> bool {
        self.sent.is_set() && self.status.is_none_or(|status| (200..300).contains(&status))
    }

    /// What it has used so far, and where that is known from.
    fn account(&self, bounds: UsageBounds) -> (Usage, UsageSource) {
        match &self.parts {
            Some(parts) => parts.account(&self.stats, bounds, self.was_received()),
            None => self.stats.account(bounds, self.was_received()),
        }
    }

    /// What this usage costs at the price of the model that was asked for, in billionths of a dollar.
    fn cost(&self, usage: &Usage) -> u64 {
        self.price().map_or(0, |price| price.cost(usage))
    }

    /// The price of the model that was asked for.
    fn price(&self) -> Option<Price> {
        self.upstream.terms(&self.model).and_then(|terms| terms.price)
    }

    fn record(self, bounds: UsageBounds, error: Option<&'static str>, now: Instant) -> AttemptRecord {
        let (usage, usage_source) = self.account(bounds);
        let price = self.price();
        AttemptRecord {
            cost_nano_usd: price.map_or(0, |price| price.cost(&usage)),
            price,
            upstream: self.upstream.name.clone(),
            provider: self.upstream.provider.id.to_string(),
            model: self.model.into(),
            status: self.status,
            error: error.map(Cow::Borrowed),
            duration_ms: clock::millis(self.began, now),
            usage,
            usage_source,
        }
    }
}
