//! The guard of a request: whatever way the request ends, it settles exactly once. It owns what must be given back (the
//! reservation) and what the record is made of, so dropping it frees and reports everything.
//!
//! Made when the head arrives, it travels with the request through every phase and ends in the response body. Dropped
//! before anybody said how the request ended, it infers that: a panic, a passed shutdown deadline, an answer whose end
//! the client had already seen, or else a client that went away.
//!
//! [`Facts`] is what becomes known on the way, [`AttemptLog`] what each upstream did, [`record`] turns both into what
//! leaves the process. Decides nothing else: no retries, no statuses.

mod attempts;
mod facts;
mod record;
mod session;
mod usage;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use routeapi_metering::{Actual, Exceeded, Outcome};
use routeapi_protocol::request::ParsedRequest;

pub(super) use self::usage::InputShare;
use self::{attempts::AttemptLog, facts::Facts, usage::UsageBounds};
use super::{client::Client, context::Context, failure, gateway::Gateway, outcome::RequestOutcome};
use crate::{
    clock::{self, Now},
    config::runtime::Route,
    limits::{Headroom, Reservation},
};

/// One per request.
pub(super) struct Guard {
    gateway: Arc<Gateway>,
    context: Arc<Context>,
    /// What is known of the request.
    pub facts: Facts,
    /// What was done at upstreams.
    pub attempts: AttemptLog,
    reservation: Option<Reservation>,
    /// What counts against the token's limits already; of sessions alone.
    counted: Actual,
    /// The client let its answer wait, so that a break of the upstream may be its doing. Shared, because that is seen
    /// where the answer is handed over, which the guard may not have reached yet.
    held_back: Arc<AtomicBool>,
    finished: bool,
}

impl Guard {
    pub(super) fn new(gateway: &Arc<Gateway>, context: Context, client: Client) -> Self {
        gateway.metrics.began();
        Self {
            gateway: Arc::clone(gateway),
            context: Arc::new(context),
            facts: Facts::new(client),
            attempts: AttemptLog::default(),
            reservation: None,
            counted: Actual::default(),
            held_back: Arc::default(),
            finished: false,
        }
    }

    pub(super) fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    pub(super) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The body was read: this is what the client asks for.
    pub(super) fn set_request(&mut self, request: &ParsedRequest) {
        self.facts.set_request(request, self.gateway.settings.record_client);
        self.attempts.set_bounds(UsageBounds::of(request));
    }

    /// The request may go on: from now on a settlement is owed.
    pub(super) fn set_admission(&mut self, route: &Arc<Route>, reservation: Reservation) {
        self.facts.set_route(route);
        self.reservation = Some(reservation);
    }

    /// To be set when the client lets its answer wait for so long that an upstream may have given up on it.
    pub(super) fn held_back(&self) -> &Arc<AtomicBool> {
        &self.held_back
    }

    /// Whether that was so.
    pub(super) fn is_held_back(&self) -> bool {
        self.held_back.load(Ordering::Relaxed)
    }

    /// How long the client may hear nothing of a stream before a heartbeat is due; none for no heartbeats.
    pub(super) fn heartbeat(&self) -> Option<Duration> {
        let default = self.gateway.settings.heartbeat;
        self.facts.route().map_or(default, |route| route.heartbeat.interval(default))
    }

    /// What the token may still use, beside what is reserved; none before it is admitted.
    pub(super) fn headroom(&self) -> Option<Headroom> {
        self.reservation.as_ref().map(Reservation::headroom)
    }

    /// The strict limit of which this request has used more than was reserved for it.
    pub(super) fn exceeded_limit(&self) -> Option<Exceeded> {
        let reservation = self.reservation.as_ref().filter(|reservation| reservation.is_bounded())?;
        reservation.check(self.attempts.used()?).err()
    }

    /// The request has ended. Only the first call counts.
    pub(super) fn finish(&mut self, outcome: RequestOutcome) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let now = clock::now();
        self.report_to_health(outcome, now);
        self.attempts.close(outcome.error, now.mono);
        let record = record::make(&self.context, &mut self.facts, &mut self.attempts, outcome, now);
        if let Some(reservation) = self.reservation.take() {
            // Nothing went out to an upstream: dropping it gives everything back.
            if !record.usage.attempts.is_empty() {
                let Actual { tokens, spend } = self.counted;
                let rest = Actual {
                    tokens: record.usage.usage.total().saturating_sub(tokens),
                    spend: record.usage.cost_nano_usd.saturating_sub(spend),
                };
                reservation.settle(now.unix_ms, rest);
            }
        }
        record::report(&self.gateway, record, &self.facts, &self.attempts);
    }

    /// The same, with why in words.
    pub(super) fn finish_with(&mut self, message: &str, outcome: RequestOutcome) {
        self.facts.explain(message);
        self.finish(outcome);
    }

    /// The answer's own code panicked and was caught.
    pub(super) fn panicked(&mut self) {
        self.gateway.metrics.panics().inc();
        self.finish(RequestOutcome::new(Outcome::GatewayStopped, "panic"));
    }

    /// An upstream that answered to the end is well; one that broke off is not. A client that left says nothing, nor
    /// does an error about the request, nor a break after the client had held the upstream back.
    fn report_to_health(&self, outcome: RequestOutcome, now: Now) {
        let Some((upstream, stats)) = self.attempts.open() else { return };
        match outcome.outcome {
            // That it finds what it keeps does not show that its model answers.
            Outcome::Completed if self.facts.is_about_stored() => {}
            Outcome::Completed => upstream.health.succeeded(self.facts.tenant()),
            Outcome::UpstreamFailed => {
                let is_clients = upstream.provider.takes_client_credential;
                let is_its_fault = stats.error.is_none_or(|kind| failure::is_fault_of_upstream(kind, is_clients));
                if is_its_fault && !self.is_held_back() {
                    upstream.health.failed(now.mono, self.facts.tenant());
                }
            }
            Outcome::ClientCancelled | Outcome::LimitStopped | Outcome::GatewayStopped => {}
        }
    }

    /// What it means that nobody said how the request ended.
    fn outcome_when_dropped(&self) -> RequestOutcome {
        if std::thread::panicking() {
            return RequestOutcome::new(Outcome::GatewayStopped, "panic");
        }
        let stats = self.attempts.open().map(|(_, stats)| *stats).filter(|_| self.facts.status() != 0);
        // The terminal event had gone out; clients hang up right after it (hard case 40).
        if stats.is_some_and(|stats| stats.complete) {
            return RequestOutcome::COMPLETED;
        }
        if let Some(kind) = stats.and_then(|stats| stats.error) {
            return RequestOutcome::new(Outcome::UpstreamFailed, failure::kind_code(kind));
        }
        if self.gateway.drain.is_expired() {
            return RequestOutcome::new(Outcome::GatewayStopped, "shutdown");
        }
        RequestOutcome::new(Outcome::ClientCancelled, "client_cancelled")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.finished {
            self.finish(self.outcome_when_dropped());
        }
    }
}
