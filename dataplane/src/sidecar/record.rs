//! What a sidecar tells of its requests: a line in the access log and a few series.

use std::{
    io::{self, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use http::Method;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use routeapi_process::{Background, Bounds, Entry, LostLines};
use serde::Serialize;

use crate::{
    clock::{self, Now},
    counted::Counted,
    upstream,
};

/// Lines that wait for the writer at most. Few, since the queue's places are allocated when it is made.
const QUEUE_BOUNDS: Bounds = Bounds { entries: 1024, bytes: 1 << 20 };

/// How long the end waits for the queue to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Characters of a path that are kept.
const MAX_PATH_CHARS: usize = 256;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The gateway's answer was delivered, whatever its status.
    Completed,
    /// The client went first, or did not send all of its body.
    ClientCancelled,
    /// The gateway could not be reached, did not answer, or its answer broke off.
    GatewayFailed,
    /// By the sidecar: there is no token, or it cannot pass this on.
    Refused,
    /// The deadline of the end.
    SidecarStopped,
}

impl Outcome {
    /// As logs and series have it.
    const fn word(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::ClientCancelled => "client_cancelled",
            Self::GatewayFailed => "gateway_failed",
            Self::Refused => "refused",
            Self::SidecarStopped => "sidecar_stopped",
        }
    }
}

/// A request in the access log.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Record {
    /// As `x-routeapi-request-id` of the answer; the gateway's own line has the same. None if there was no answer.
    pub id: Option<String>,
    pub time_unix_ms: i64,
    pub duration_ms: u64,
    /// Until the head of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_ms: Option<u64>,
    pub method: String,
    /// Without the query.
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    pub outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// Times that the request was sent.
    pub sent: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    status: u16,
    outcome: &'static str,
}

/// Series of a sidecar.
#[derive(Debug)]
pub(super) struct Metrics {
    requests: Family<Labels, Counter>,
    in_flight: Gauge,
    head: Histogram,
    /// 1 while the gateway can be reached.
    pub reachable: Gauge,
    /// Readings of the token file that gave none.
    pub token_failures: Counter,
    /// Lines of the access log that were left out.
    lost_lines: Counter,
    /// Tasks that panicked.
    pub panics: Counter,
    /// Connections to the gateway.
    pub gateway: upstream::Metrics,
}

/// The access log.
#[derive(Debug)]
pub(super) struct Log(Background<Box<Record>>);

impl Metrics {
    pub fn new(gateway: upstream::Metrics) -> Self {
        Self {
            requests: Family::default(),
            in_flight: Gauge::default(),
            head: Histogram::new([0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0]),
            reachable: Gauge::default(),
            token_failures: Counter::default(),
            lost_lines: Counter::default(),
            panics: Counter::default(),
            gateway,
        }
    }

    /// Names every series.
    pub fn register(&self, registry: &mut Registry) {
        let Self { requests, in_flight, head, reachable, token_failures, lost_lines, panics, gateway } = self;
        registry.register(
            "routeapi_sidecar_requests",
            "Requests that have ended, by status (0 for none) and outcome",
            requests.clone(),
        );
        registry.register("routeapi_sidecar_requests_in_flight", "Requests in flight", in_flight.clone());
        registry.register(
            "routeapi_sidecar_head_seconds",
            "Time from a request's head to that of the gateway's answer",
            head.clone(),
        );
        registry.register(
            "routeapi_sidecar_gateway_reachable",
            "1 if the last check reached the gateway",
            reachable.clone(),
        );
        registry.register(
            "routeapi_sidecar_gateway_connections_open",
            "Connections to the gateway open now",
            gateway.open.clone(),
        );
        registry.register(
            "routeapi_sidecar_gateway_connections_opened",
            "Connections to the gateway opened",
            gateway.opened.clone(),
        );
        registry.register(
            "routeapi_sidecar_requests_repeated",
            "Requests sent once more because the gateway had not processed them",
            gateway.repeated.clone(),
        );
        registry.register(
            "routeapi_sidecar_token_read_failures",
            "Readings of the token file that gave no token",
            token_failures.clone(),
        );
        let help = "Lines of the access log left out because nobody read them in time";
        registry.register("routeapi_access_log_lost_lines", help, lost_lines.clone());
        let help = "Lines of the log left out because nobody read them in time";
        registry.register_collector(Box::new(LostLines { name: "routeapi_log_lost_lines", help }));
        registry.register("routeapi_panics", "Tasks and requests that panicked", panics.clone());
    }
}

impl Log {
    /// Starts the writer.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(out: impl Write + Send + 'static, metrics: &Metrics) -> io::Result<Self> {
        let lost = metrics.lost_lines.clone();
        let on_lost = move || {
            lost.inc();
        };
        Background::start("access-log", out, QUEUE_BOUNDS, on_lost).map(Self)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if !self.0.close(FLUSH_TIMEOUT) {
            tracing::warn!("the access log is not read; its last lines are lost");
        }
    }
}

impl Entry for Box<Record> {
    fn size(&self) -> usize {
        let texts = [self.id.as_ref(), self.message.as_ref(), Some(&self.method), Some(&self.path)];
        size_of::<Record>() + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }

    fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        out.write_all(&line)
    }
}

/// Follows a request to its end, and records it when it is dropped. Until somebody says how it ended, the client is gone.
pub(super) struct Guard {
    record: Option<Box<Record>>,
    since: Instant,
    metrics: Arc<Metrics>,
    log: Option<Arc<Log>>,
    _in_flight: Counted,
}

impl Guard {
    pub fn new(now: Now, method: &Method, path: &str, metrics: &Arc<Metrics>, log: Option<Arc<Log>>) -> Self {
        let record = Record {
            id: None,
            time_unix_ms: now.unix_ms,
            duration_ms: 0,
            head_ms: None,
            method: method.as_str().chars().take(MAX_PATH_CHARS).collect(),
            path: path.chars().take(MAX_PATH_CHARS).collect(),
            status: None,
            outcome: Outcome::ClientCancelled.word(),
            error: None,
            message: None,
            request_bytes: 0,
            response_bytes: 0,
            sent: 0,
        };
        let in_flight = Counted::in_gauge(metrics.in_flight.clone());
        let (record, metrics) = (Some(Box::new(record)), Arc::clone(metrics));
        Self { record, since: now.mono, metrics, log, _in_flight: in_flight }
    }

    /// Adds to what is known.
    pub fn note(&mut self, note: impl FnOnce(&mut Record)) {
        if let Some(record) = &mut self.record {
            note(record);
        }
    }

    /// The head of the gateway's answer is there.
    pub fn head(&mut self, status: u16, id: Option<String>) {
        let now = clock::mono();
        self.metrics.head.observe(now.saturating_duration_since(self.since).as_secs_f64());
        let head_ms = clock::millis(self.since, now);
        self.note(|record| {
            (record.status, record.id, record.head_ms) = (Some(status), id, Some(head_ms));
        });
    }

    /// It has ended so.
    pub fn end(&mut self, outcome: Outcome) {
        let Some(mut record) = self.record.take() else { return };
        record.duration_ms = clock::millis(self.since, clock::mono());
        record.outcome = outcome.word();
        self.metrics
            .requests
            .get_or_create(&Labels { status: record.status.unwrap_or(0), outcome: outcome.word() })
            .inc();
        if let Some(log) = &self.log {
            log.0.offer(record);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.end(Outcome::ClientCancelled);
    }
}
