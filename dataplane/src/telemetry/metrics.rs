//! The Prometheus series about requests. Names follow the OpenTelemetry GenAI semantic conventions where they have one,
//! spelled as Prometheus does (dots become underscores, units are suffixes); the rest begin with `routeapi_`.
//!
//! Labels are closed sets or names from the configuration, never anything a client can choose: a model id under a
//! wildcard route is counted under the route's name.

use std::{borrow::Cow, sync::Arc};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use routeapi_metering::{AttemptRecord, Outcome, UsageRecord};
use routeapi_process::LostLines;

use super::{
    buckets::{DURATIONS, TOKENS},
    traffic::{Traffic, TrafficSeries},
};

type Histograms<S> = Family<S, Histogram, fn() -> Histogram>;

/// Every series about requests.
#[derive(Debug)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    in_flight: Gauge,
    buffered: Gauge,
    early: Counter,
    sessions: Gauge,
    durations: Histograms<DurationLabels>,
    first_tokens: Histograms<FirstTokenLabels>,
    token_usage: Histograms<TokenLabels>,
    traffic: Arc<Traffic>,
    warnings: Family<WarningLabels, Counter>,
    lost_lines: Counter,
    panics: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    operation: &'static str,
    status: u16,
    outcome: EnumLabel<Outcome>,
    error_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurationLabels {
    gen_ai_operation_name: &'static str,
    gen_ai_provider_name: &'static str,
    error_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FirstTokenLabels {
    gen_ai_operation_name: &'static str,
    gen_ai_provider_name: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    gen_ai_operation_name: &'static str,
    gen_ai_provider_name: &'static str,
    gen_ai_token_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WarningLabels {
    operation: &'static str,
    kind: WarningKind,
}

/// What became of a request field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WarningKind {
    /// Sent with another value.
    Adapted,
    /// Not sent.
    Dropped,
}

/// A closed set as a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EnumLabel<T>(T);

/// What of a finished call the labels need beside its record.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// `gen_ai.operation.name`
    pub operation: &'static str,
    /// `gen_ai.provider.name` of each attempt, in order.
    pub providers: &'a [&'static str],
    /// Whether the route keeps sessions on one upstream.
    pub has_affinity: bool,
}

// === impl Metrics ===

impl Metrics {
    /// Makes the series and names them in a registry. `traffic` counts by route and upstream.
    pub fn new(registry: &mut Registry, traffic: Arc<Traffic>) -> Self {
        let durations: fn() -> Histogram = || Histogram::new(DURATIONS);
        let tokens: fn() -> Histogram = || Histogram::new(TOKENS);
        let metrics = Self {
            requests: Family::default(),
            in_flight: Gauge::default(),
            buffered: Gauge::default(),
            early: Counter::default(),
            sessions: Gauge::default(),
            durations: Family::new_with_constructor(durations),
            first_tokens: Family::new_with_constructor(durations),
            token_usage: Family::new_with_constructor(tokens),
            traffic,
            warnings: Family::default(),
            lost_lines: Counter::default(),
            panics: Counter::default(),
        };
        metrics.register(registry);
        metrics
    }

    fn register(&self, registry: &mut Registry) {
        let help = "Requests by API, status and how they ended";
        registry.register("routeapi_requests", help, self.requests.clone());
        let help = "Requests whose answer has not ended";
        registry.register("routeapi_requests_in_flight", help, self.in_flight.clone());
        let help = "Bytes of request bodies, whole answers and beginnings of streams that are held now";
        registry.register("routeapi_buffered_bytes", help, self.buffered.clone());
        let help = "Streams whose status and headers went out before an upstream had answered";
        registry.register("routeapi_early_responses", help, self.early.clone());
        let help = "Sessions over a WebSocket that are open now";
        registry.register("routeapi_realtime_sessions", help, self.sessions.clone());
        let help = "From a call's arrival to the end of its answer";
        let durations = self.durations.clone();
        registry.register_with_unit("gen_ai_server_request_duration", help, Unit::Seconds, durations);
        let help = "From a call's arrival to its first content";
        let first = self.first_tokens.clone();
        registry.register_with_unit("gen_ai_server_time_to_first_token", help, Unit::Seconds, first);
        let help = "Tokens per attempt by type, as reported, counted or estimated";
        registry.register("gen_ai_client_token_usage", help, self.token_usage.clone());
        registry.register_collector(Box::new(TrafficSeries(Arc::clone(&self.traffic))));
        let help = "Request fields that were changed or dropped for an upstream's protocol";
        registry.register("routeapi_translation_warnings", help, self.warnings.clone());
        let help = "Access log lines left out because the output was not read or failed";
        registry.register("routeapi_access_log_lost_lines", help, self.lost_lines.clone());
        let help = "Lines of the program's own log left out because standard error was not read";
        registry.register_collector(Box::new(LostLines { name: "routeapi_log_lost_lines", help }));
        let help = "Panics that were caught; each is a defect worth reporting";
        registry.register("routeapi_panics", help, self.panics.clone());
    }

    /// Counts lines that the access log leaves out.
    pub fn lost_lines(&self) -> Counter {
        self.lost_lines.clone()
    }

    /// Counts caught panics, wherever they happen.
    pub fn panics(&self) -> Counter {
        self.panics.clone()
    }

    /// Bytes that are held now. Whoever holds some adds and takes them off.
    pub(crate) fn buffered(&self) -> Gauge {
        self.buffered.clone()
    }

    /// Sessions that are open now. Whoever opens one counts it.
    pub(crate) fn sessions(&self) -> Gauge {
        self.sessions.clone()
    }

    /// Requests whose answer has not ended.
    pub fn in_flight(&self) -> i64 {
        self.in_flight.get()
    }

    /// A stream's head has gone out before an upstream has answered.
    pub(crate) fn answered_early(&self) {
        self.early.inc();
    }

    pub(crate) fn began(&self) {
        self.in_flight.inc();
    }

    /// Counts a finished request. Called once per request, by its guard.
    pub(crate) fn ended(&self, record: &UsageRecord, facts: Option<RequestFacts<'_>>) {
        self.in_flight.dec();
        let error_type = label(record.error.as_ref()).unwrap_or("");
        let labels = RequestLabels {
            operation: label(record.operation.as_ref()).unwrap_or("none"),
            status: known(record.status),
            outcome: EnumLabel(record.outcome),
            error_type,
        };
        self.requests.get_or_create(&labels).inc();
        let (Some(facts), Some(route)) = (facts, &record.route) else {
            return;
        };
        let provider = facts.providers.last().unwrap_or(&"none");
        let labels =
            DurationLabels { gen_ai_operation_name: facts.operation, gen_ai_provider_name: provider, error_type };
        let (duration, first) = (seconds(record.duration_ms), record.first_content_ms.map(seconds));
        self.durations.get_or_create(&labels).observe(duration);
        if let Some(first) = first {
            let labels = FirstTokenLabels { gen_ai_operation_name: facts.operation, gen_ai_provider_name: provider };
            self.first_tokens.get_or_create(&labels).observe(first);
        }
        let route = self.traffic.route(route);
        if let Some(route) = &route {
            route.ended(error_type, duration, first);
            if facts.has_affinity && !record.attempts.is_empty() {
                route.session_ended(record.affinity.as_ref().map(|affinity| affinity.kept));
            }
        }
        for (attempt, provider) in record.attempts.iter().zip(facts.providers) {
            self.attempted(attempt, facts.operation, provider);
            if let Some(upstream) = route.as_ref().and_then(|route| route.upstream(&attempt.upstream)) {
                let ended_well = if record.outcome == Outcome::ClientCancelled { "client_cancelled" } else { "ok" };
                let (input, output) = (attempt.usage.total_input(), attempt.usage.total_output());
                upstream.attempted(
                    label(attempt.error.as_ref()).unwrap_or(ended_well),
                    input,
                    output,
                    attempt.cost_nano_usd,
                );
            }
        }
    }

    fn attempted(&self, attempt: &AttemptRecord, operation: &'static str, provider: &'static str) {
        for (kind, tokens) in [("input", attempt.usage.total_input()), ("output", attempt.usage.total_output())] {
            if tokens == 0 {
                continue;
            }
            let labels = TokenLabels {
                gen_ai_operation_name: operation,
                gen_ai_provider_name: provider,
                gen_ai_token_type: kind,
            };
            #[expect(clippy::cast_precision_loss, reason = "a histogram's sum is a float; counts stay far below 2^53")]
            self.token_usage.get_or_create(&labels).observe(tokens as f64);
        }
    }

    pub(crate) fn warned(&self, operation: &'static str, kind: WarningKind) {
        self.warnings.get_or_create(&WarningLabels { operation, kind }).inc();
    }
}

/// A code as a label. Those of this process are borrowed; one that was read back from a spool belongs to no closed set.
fn label(code: Option<&Cow<'static, str>>) -> Option<&'static str> {
    code.map(|code| match code {
        Cow::Borrowed(code) => code,
        Cow::Owned(_) => "other",
    })
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds stay far below 2^53")]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1_000.0
}

/// A status as a label: those that mean something by themselves as they are, others as the first of their class, since an
/// upstream can send any number.
fn known(status: u16) -> u16 {
    match status {
        0 | 400..=431 | 451 | 499..=504 | 529 => status,
        _ => status / 100 * 100,
    }
}

// === impl labels ===

impl EncodeLabelValue for EnumLabel<Outcome> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self.0 {
            Outcome::Completed => "completed",
            Outcome::ClientCancelled => "client_cancelled",
            Outcome::UpstreamFailed => "upstream_failed",
            Outcome::LimitStopped => "limit_stopped",
            Outcome::GatewayStopped => "gateway_stopped",
        }
        .encode(encoder)
    }
}

impl EncodeLabelValue for WarningKind {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self {
            Self::Adapted => "adapted",
            Self::Dropped => "dropped",
        }
        .encode(encoder)
    }
}
