//! The operator's own metrics, one method per event, and its logs.

use std::{
    io,
    sync::atomic::{AtomicI64, AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use routeapi_channel::Kind;
use routeapi_process::{Filter, Format, Log, LostLines};

/// Buckets from one object to tens of thousands.
const COMPILE_BUCKETS: [f64; 9] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// Counters and gauges.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    compile_seconds: Histogram,
    compiled_objects: Counter<u64, AtomicU64>,
    objects: Family<Objects, Gauge<i64, AtomicI64>>,
    revisions: Counter<u64, AtomicU64>,
    connected: Gauge<i64, AtomicI64>,
    refused: Counter<u64, AtomicU64>,
    sent: Family<Sent, Counter<u64, AtomicU64>>,
    answers: Family<Answers, Counter<u64, AtomicU64>>,
    watch_failures: Family<Watches, Counter<u64, AtomicU64>>,
    writes: Family<Writes, Counter<u64, AtomicU64>>,
    minted: Counter<u64, AtomicU64>,
    leader: Gauge<i64, AtomicI64>,
}

/// The outcome of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    /// It succeeded.
    Written,
    /// Somebody else wrote first; it is retried.
    Conflict,
    /// The API server refused it or did not respond.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Objects {
    kind: &'static str,
    accepted: &'static str,
}

impl Objects {
    fn new(kind: &'static str, accepted: bool) -> Self {
        Self { kind, accepted: if accepted { "true" } else { "false" } }
    }
}

fn object_kind(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Provider => Some("AIProvider"),
        Kind::Route => Some("AIRoute"),
        Kind::Token => Some("ApiToken"),
        Kind::Namespace | Kind::Unknown(_) => None,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Sent {
    frame: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answers {
    answer: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Watches {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Writes {
    what: &'static str,
    outcome: Outcome,
}

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("routeapi_operator");
        let compile_seconds = Histogram::new(COMPILE_BUCKETS);
        registry.register("compile_seconds", "Time to compile what has changed", compile_seconds.clone());
        let compiled_objects = Counter::default();
        registry.register("compiled_objects", "Objects compiled", compiled_objects.clone());
        let objects: Family<Objects, Gauge<i64, AtomicI64>> = Family::default();
        registry.register(
            "objects",
            "AIProviders, AIRoutes and ApiTokens by whether they are accepted",
            objects.clone(),
        );
        for kind in ["AIProvider", "AIRoute", "ApiToken"] {
            for accepted in [true, false] {
                drop(objects.get_or_create(&Objects::new(kind, accepted)));
            }
        }
        let revisions = Counter::default();
        registry.register("revisions", "Revisions published", revisions.clone());
        let connected = Gauge::default();
        registry.register("data_planes_connected", "Open configuration streams of this replica", connected.clone());
        let refused = Counter::default();
        registry.register(
            "connections_refused",
            "Connections refused for lack of a valid token or a free slot",
            refused.clone(),
        );
        let sent = Family::default();
        registry.register("resources_sent", "Resources sent to data planes", sent.clone());
        let answers = Family::default();
        registry.register(
            "answers",
            "Transactions that data planes acknowledged (ack) or rejected in part (nack)",
            answers.clone(),
        );
        let watch_failures = Family::default();
        registry.register("watch_failures", "Watches that failed and were restarted", watch_failures.clone());
        let writes = Family::default();
        registry.register("writes", "Writes to the API server", writes.clone());
        let minted = Counter::default();
        registry.register("tokens_minted", "API keys issued", minted.clone());
        let help = "Log lines dropped because standard error was not read";
        registry.register_collector(Box::new(LostLines { name: "log_lost_lines", help }));
        let leader = Gauge::default();
        registry.register("leader", "1 on the replica that is the leader, else 0", leader.clone());
        Self {
            registry,
            compile_seconds,
            compiled_objects,
            objects,
            revisions,
            connected,
            refused,
            sent,
            answers,
            watch_failures,
            writes,
            minted,
            leader,
        }
    }
}

impl Metrics {
    /// Records a compilation of so many objects.
    pub fn compiled(&self, took: Duration, objects: usize) {
        self.compile_seconds.observe(took.as_secs_f64());
        self.compiled_objects.inc_by(u64::try_from(objects).unwrap_or(u64::MAX));
    }

    /// Records whether an object was accepted before, and is now; none where it does not exist.
    pub fn object_changed(&self, kind: Kind, before: Option<bool>, now: Option<bool>) {
        let count = |accepted: bool, by: i64| {
            if let Some(kind) = object_kind(kind) {
                self.objects.get_or_create(&Objects::new(kind, accepted)).inc_by(by);
            }
        };
        before.into_iter().for_each(|accepted| count(accepted, -1));
        now.into_iter().for_each(|accepted| count(accepted, 1));
    }

    /// Counts a new revision.
    pub fn published(&self) {
        self.revisions.inc();
    }

    /// Adds to the number of open streams; negative for closed ones.
    pub fn connected(&self, by: i64) {
        self.connected.inc_by(by);
    }

    /// Counts a refused connection.
    pub fn refused(&self) {
        self.refused.inc();
    }

    /// Counts the resources of a transaction.
    pub fn sent(&self, put: usize, del: usize) {
        let count = |number| u64::try_from(number).unwrap_or(u64::MAX);
        self.sent.get_or_create(&Sent { frame: "put" }).inc_by(count(put));
        self.sent.get_or_create(&Sent { frame: "del" }).inc_by(count(del));
    }

    /// The number of resources put so far.
    pub fn puts(&self) -> u64 {
        self.sent.get_or_create(&Sent { frame: "put" }).get()
    }

    /// Counts the response to a transaction: an ack if it is complete, else a nack.
    pub fn answered(&self, complete: bool) {
        self.answers.get_or_create(&Answers { answer: if complete { "ack" } else { "nack" } }).inc();
    }

    /// Counts a failed watch.
    pub fn watch_failed(&self, kind: &'static str) {
        self.watch_failures.get_or_create(&Watches { kind }).inc();
    }

    /// Counts a write.
    pub fn wrote(&self, what: &'static str, outcome: Outcome) {
        self.writes.get_or_create(&Writes { what, outcome }).inc();
    }

    /// Counts an issued API key.
    pub fn minted(&self) {
        self.minted.inc();
    }

    /// Sets whether this replica is the leader.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// All metrics in OpenMetrics text format.
    ///
    /// # Errors
    /// When a value cannot be formatted, which does not happen.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Starts logging as JSON lines on standard error.
///
/// # Errors
/// When the thread that writes cannot be started.
pub fn start_logs(filter: &Filter) -> io::Result<Log> {
    routeapi_process::start(Format::Json, filter)
}
