//! The guard of a request: whatever way the request ends, it settles exactly once. It owns what must be given back (the
//! reservation) and what must be told (the record), so dropping it frees and tells everything.
//!
//! Made when the head arrives, it travels with the request through every phase and ends in the response body. Dropped
//! without a word it knows what that means: a panic, a passed shutdown deadline, an answer whose end the client had
//! already seen, or else a client that went away.
//!
//! **What is charged.** A token pays for every attempt's usage, as the gateway's owner does; see [`usage`]. Decides
//! nothing else: no retries, no statuses.

mod usage;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use routeapi_metering::{Actual, AttemptRecord, Exceeded, Outcome, Usage, UsageRecord};
use routeapi_protocol::{
    dialect::{Family, Operation},
    framing::Framing,
    report::Warning,
    request::ParsedRequest,
    response_stats::ResponseStats,
};

use usage::{AttemptStats, UsageBounds};

use super::{Gateway, client::Client, context::Context, identify::Caller, printable::printable, respond};
use crate::{
    clock::{self, Now},
    config::runtime::{Route, Upstream},
    state::{Headroom, Reservation},
    telemetry::{
        RequestRecord,
        metrics::{RequestFacts, WarningKind},
    },
    upstream::SentMark,
};

/// Most characters of what went wrong in a record.
const MAX_MESSAGE_CHARS: usize = 1_024;
/// Most characters of a path in a record.
const MAX_PATH_CHARS: usize = 512;
/// Most characters of a method in a record; registered ones have 17 at most.
const MAX_METHOD_CHARS: usize = 32;

/// One per request.
pub(super) struct Guard {
    gateway: Arc<Gateway>,
    context: Arc<Context>,
    client: Client,
    family: Family,
    caller: Option<Caller>,
    request: Option<RequestShape>,
    route: Option<Arc<Route>>,
    reservation: Option<Reservation>,
    past: Vec<AttemptRecord>,
    /// `gen_ai.provider.name` of each attempt.
    providers: Vec<&'static str>,
    current: Option<OpenAttempt>,
    warnings: Vec<Warning>,
    status: u16,
    response_bytes: u64,
    first_content: Option<Instant>,
    message: Option<String>,
    /// The client let its answer wait, so that a break of the upstream may be its doing. Shared, because that is seen
    /// where the answer is handed over, which the guard may not have reached yet.
    held_back: Arc<AtomicBool>,
    /// A load balancer's question, of which no record is made.
    is_probe: bool,
    finished: bool,
}

/// What of a call the record needs, without its body.
struct RequestShape {
    operation: Operation,
    model: String,
    stream: bool,
    bounds: UsageBounds,
}

/// A try at an upstream that has not ended.
struct OpenAttempt {
    upstream: Arc<Upstream>,
    model: String,
    began: Instant,
    status: Option<u16>,
    sent: SentMark,
    stats: AttemptStats,
    /// How many of the answer's losses were taken over, by name and beyond the bound.
    taken_over: (usize, u64),
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestOutcome {
    /// Seen from the client.
    pub outcome: Outcome,
    /// Why, where it did not end well.
    pub error: Option<&'static str>,
}

impl OpenAttempt {
    /// The upstream took the request and did not refuse it. No vendor bills an answer with an error status.
    fn was_received(&self) -> bool {
        self.sent.is_set() && self.status.is_none_or(|status| (200..300).contains(&status))
    }

    /// What this usage costs at the price of the model that was asked for, in billionths of a dollar.
    fn cost(&self, usage: &Usage) -> u64 {
        let price = self.upstream.terms(&self.model).and_then(|terms| terms.price);
        price.map_or(0, |price| price.cost(usage))
    }
}

impl RequestOutcome {
    pub(super) const COMPLETED: Self = Self { outcome: Outcome::Completed, error: None };

    pub(super) const fn new(outcome: Outcome, error: &'static str) -> Self {
        Self { outcome, error: Some(error) }
    }
}

// === impl Guard: what becomes known on the way ===

impl Guard {
    pub(super) fn new(gateway: &Arc<Gateway>, context: Context, client: Client) -> Self {
        gateway.metrics.began();
        Self {
            gateway: Arc::clone(gateway),
            context: Arc::new(context),
            client,
            family: Family::OpenAi,
            caller: None,
            request: None,
            route: None,
            reservation: None,
            past: Vec::new(),
            providers: Vec::new(),
            current: None,
            warnings: Vec::new(),
            status: 0,
            response_bytes: 0,
            first_content: None,
            message: None,
            held_back: Arc::default(),
            is_probe: false,
            finished: false,
        }
    }

    pub(super) fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    pub(super) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// In whose dialect the client is spoken to.
    pub(super) fn family(&self) -> Family {
        self.family
    }

    pub(super) fn caller(&self) -> Option<&Caller> {
        self.caller.as_ref()
    }

    /// Whose request it is, as health sees it: the token's namespace.
    pub(super) fn tenant(&self) -> &str {
        self.caller.as_ref().map_or("", |caller| caller.token.id.namespace())
    }

    /// To be set when the client lets its answer wait for so long that an upstream may have given up on it.
    pub(super) fn held_back(&self) -> &Arc<AtomicBool> {
        &self.held_back
    }

    /// Whether that was so.
    pub(super) fn is_held_back(&self) -> bool {
        self.held_back.load(Ordering::Relaxed)
    }

    /// What the last attempt changed in the request.
    pub(super) fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    pub(super) fn set_family(&mut self, family: Family) {
        self.family = family;
    }

    pub(super) fn set_caller(&mut self, caller: &Caller) {
        self.caller = Some(caller.clone());
    }

    /// A load balancer asks, every few seconds and from many places: it counts in metrics and is in no record.
    pub(super) fn mark_as_probe(&mut self) {
        self.is_probe = true;
    }

    /// Known from the path alone, so that even a body that cannot be read is recorded under its API.
    pub(super) fn set_operation(&mut self, operation: Operation) {
        self.request =
            Some(RequestShape { operation, model: String::new(), stream: false, bounds: UsageBounds::default() });
    }

    pub(super) fn set_request(&mut self, request: &ParsedRequest) {
        self.client.set_end_user(request.end_user(), self.gateway.settings.record_client);
        self.request = Some(RequestShape {
            operation: request.operation(),
            model: super::admit::clip(request.model()),
            stream: request.framing() != Framing::Whole,
            bounds: UsageBounds::of(request),
        });
    }

    pub(super) fn set_admission(&mut self, route: &Arc<Route>, reservation: Reservation) {
        self.route = Some(Arc::clone(route));
        self.reservation = Some(reservation);
    }

    /// How long the client may hear nothing of a stream before a heartbeat is due; none for no heartbeats.
    pub(super) fn heartbeat(&self) -> Option<Duration> {
        let default = self.gateway.settings.heartbeat;
        self.route.as_ref().map_or(default, |route| route.heartbeat.interval(default))
    }

    /// What the token may still use, beside what is reserved; none before it is admitted.
    pub(super) fn headroom(&self) -> Option<Headroom> {
        self.reservation.as_ref().map(Reservation::headroom)
    }

    /// The status that the client is told.
    pub(super) fn set_status(&mut self, status: u16) {
        self.status = status;
    }

    /// What went wrong, in words. The first word counts.
    pub(super) fn explain(&mut self, message: &str) {
        if self.message.is_none() {
            self.message = Some(printable(message, MAX_MESSAGE_CHARS));
        }
    }

    pub(super) fn add_sent(&mut self, bytes: usize) {
        self.response_bytes = self.response_bytes.saturating_add(bytes as u64);
    }

    // === attempts ===

    /// A request goes out to an upstream. The mark says when the upstream may have it.
    pub(super) fn begin_attempt(
        &mut self,
        upstream: &Arc<Upstream>,
        model: &str,
        warnings: Vec<Warning>,
        now: Instant,
    ) -> SentMark {
        let sent = SentMark::default();
        self.fail_attempt("superseded", now);
        self.warnings = warnings;
        self.providers.push(respond::provider_name(upstream.provider.type_));
        self.current = Some(OpenAttempt {
            upstream: Arc::clone(upstream),
            model: super::admit::clip(model),
            began: now,
            status: None,
            sent: sent.clone(),
            stats: AttemptStats::default(),
            taken_over: (0, 0),
        });
        sent
    }

    /// How many there have been.
    pub(super) fn attempt_count(&self) -> usize {
        self.providers.len()
    }

    /// The upstream sent its status.
    pub(super) fn attempt_status(&mut self, status: u16) {
        if let Some(attempt) = &mut self.current {
            attempt.status = Some(status);
        }
    }

    /// More of the upstream's answer was read. Returns whether content has come.
    pub(super) fn observe(&mut self, stats: &ResponseStats) -> bool {
        let Some(attempt) = &mut self.current else { return false };
        attempt.stats.update(stats);
        // What an answer loses on its way is told like what a request lost: in the header while that has not gone out,
        // in the record in any case. Losses only ever grow, so each event costs what is new in it.
        let (names, more) = std::mem::replace(&mut attempt.taken_over, (stats.lost.len(), stats.lost_more));
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
    pub(super) fn mark_whole_answer(&mut self) {
        if let Some(attempt) = &mut self.current {
            attempt.stats.whole();
            self.first_content.get_or_insert_with(clock::mono);
        }
    }

    /// The attempt that runs did not serve.
    pub(super) fn fail_attempt(&mut self, error: &'static str, now: Instant) {
        if let Some(attempt) = self.current.take() {
            self.first_content = None;
            let record = self.close_attempt(attempt, Some(error), now);
            self.past.push(record);
        }
    }

    /// The strict limit of which this request has used more than was reserved for it.
    pub(super) fn exceeded_limit(&self) -> Option<Exceeded> {
        let reservation = self.reservation.as_ref().filter(|reservation| reservation.is_bounded())?;
        let attempt = self.current.as_ref()?;
        let bounds = self.request.as_ref().map(|request| request.bounds).unwrap_or_default();
        let (mut usage, _) = attempt.stats.account(bounds, attempt.was_received());
        let mut spend = attempt.cost(&usage);
        for past in &self.past {
            usage.add(past.usage);
            spend = spend.saturating_add(past.cost_nano_usd);
        }
        reservation.check(Actual { tokens: usage.total(), spend }).err()
    }

    fn close_attempt(&self, attempt: OpenAttempt, error: Option<&'static str>, now: Instant) -> AttemptRecord {
        let bounds = self.request.as_ref().map(|request| request.bounds).unwrap_or_default();
        let (usage, usage_source) = attempt.stats.account(bounds, attempt.was_received());
        let cost_nano_usd = attempt.cost(&usage);
        AttemptRecord {
            upstream: attempt.upstream.name.clone(),
            provider: attempt.upstream.provider.id.to_string(),
            model: attempt.model,
            status: attempt.status,
            error,
            duration_ms: millis(attempt.began, now),
            cost_nano_usd,
            usage,
            usage_source,
        }
    }
}

// === impl Guard: the end ===

impl Guard {
    /// The request has ended. Only the first call counts.
    pub(super) fn finish(&mut self, outcome: RequestOutcome) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let now = clock::now();
        self.report_to_health(outcome, now);
        if let Some(attempt) = self.current.take() {
            let record = self.close_attempt(attempt, outcome.error, now.mono);
            self.past.push(record);
        }
        let record = self.record(outcome, now);
        if let Some(reservation) = self.reservation.take() {
            // Nothing went out to an upstream: dropping it gives everything back.
            if !record.usage.attempts.is_empty() {
                let actual = Actual { tokens: record.usage.usage.total(), spend: record.usage.cost_nano_usd };
                reservation.settle(now.unix_ms, actual);
            }
        }
        self.emit(record);
    }

    /// The same, with why in words.
    pub(super) fn finish_with(&mut self, message: &str, outcome: RequestOutcome) {
        self.explain(message);
        self.finish(outcome);
    }

    /// An upstream that answered to the end is well; one that broke off is not. A client that left says nothing, nor
    /// does an error about the request, nor a break after the client had held the upstream back.
    fn report_to_health(&self, outcome: RequestOutcome, now: Now) {
        let Some(attempt) = &self.current else { return };
        match outcome.outcome {
            Outcome::Completed => attempt.upstream.health.succeeded(self.tenant()),
            Outcome::UpstreamFailed => {
                let is_its_fault = attempt.stats.error.is_none_or(super::attempt::is_problem_of_upstream);
                if is_its_fault && !self.is_held_back() {
                    attempt.upstream.health.failed(now.mono, self.tenant());
                }
            }
            Outcome::ClientCancelled | Outcome::LimitStopped | Outcome::GatewayStopped => {}
        }
    }

    fn record(&mut self, outcome: RequestOutcome, now: Now) -> RequestRecord {
        let attempts = std::mem::take(&mut self.past);
        let mut usage = Usage::default();
        attempts.iter().for_each(|attempt| usage.add(attempt.usage));
        let context = &self.context;
        let usage = UsageRecord {
            id: context.id.clone(),
            time_unix_ms: context.now.unix_ms,
            duration_ms: millis(context.now.mono, now.mono),
            first_content_ms: self.first_content.map(|at| millis(context.now.mono, at)),
            token: self.caller.as_ref().map(|caller| caller.token.id.to_string()),
            key_id: self.caller.as_ref().map(|caller| caller.token.key_id.clone()),
            route: self.route.as_ref().map(|route| route.id.to_string()),
            model: self.request.as_ref().map(|request| request.model.clone()).filter(|model| !model.is_empty()),
            operation: self.request.as_ref().map(|request| request.operation.name()),
            stream: self.request.as_ref().is_some_and(|request| request.stream),
            status: self.status,
            outcome: outcome.outcome,
            error: outcome.error,
            usage,
            usage_source: usage::weakest(&attempts),
            cost_nano_usd: attempts.iter().fold(0, |sum: u64, attempt| sum.saturating_add(attempt.cost_nano_usd)),
            attempts,
        };
        RequestRecord {
            usage,
            peer: self.gateway.settings.record_client.address.then(|| context.peer.to_string()),
            client_address: self.client.address.map(|address| address.to_string()),
            user_agent_original: self.client.user_agent.take(),
            enduser_id: self.client.end_user.take(),
            method: printable(context.method.as_str(), MAX_METHOD_CHARS),
            path: printable(&context.path, MAX_PATH_CHARS),
            trace_id: context.trace.as_ref().map(|trace| trace.trace_id.clone()),
            span_id: context.trace.as_ref().map(|trace| trace.span_id.clone()),
            response_bytes: self.response_bytes,
            warnings: respond::warning_list(&self.warnings),
            message: self.message.take(),
            truncated: false,
        }
    }

    fn emit(&self, record: RequestRecord) {
        let metrics = &self.gateway.metrics;
        let facts = self.request.as_ref().map(|request| RequestFacts {
            operation: request.operation.gen_ai_operation(),
            providers: &self.providers,
        });
        if let Some(request) = &self.request {
            for warning in &self.warnings {
                let kind = match warning {
                    Warning::Adapted { .. } => WarningKind::Adapted,
                    // Nothing of the client's was touched.
                    Warning::Defaulted { .. } => continue,
                    // What is beyond the bound counts once: the counter says how often fields were lost, not how many.
                    Warning::Dropped { .. } | Warning::More { .. } => WarningKind::Dropped,
                };
                metrics.warned(request.operation.name(), kind);
            }
        }
        metrics.ended(&record.usage, facts);
        if !self.is_probe {
            self.gateway.records.record(&Arc::new(record));
        }
    }

    /// The answer's own code panicked and was caught.
    pub(super) fn panicked(&mut self) {
        self.gateway.metrics.panics().inc();
        self.finish(RequestOutcome::new(Outcome::GatewayStopped, "panic"));
    }

    /// What it means that nobody said how the request ended.
    fn outcome_when_dropped(&self) -> RequestOutcome {
        if std::thread::panicking() {
            return RequestOutcome::new(Outcome::GatewayStopped, "panic");
        }
        // The terminal event had gone out; clients hang up right after it (hard case 40).
        if self.current.as_ref().is_some_and(|attempt| attempt.stats.complete && self.status != 0) {
            return RequestOutcome::COMPLETED;
        }
        if let Some(kind) = self.current.as_ref().and_then(|attempt| attempt.stats.error).filter(|_| self.status != 0) {
            return RequestOutcome::new(Outcome::UpstreamFailed, super::attempt::kind_code(kind));
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

fn millis(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(u64::MAX)
}
