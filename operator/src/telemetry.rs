//! The operator's own metrics, one method per thing that happens, and its logs.

use std::{
    collections::BTreeMap,
    io,
    sync::atomic::{AtomicI64, AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use routeapi_channel::{Key, Kind};
use routeapi_compile::Verdict;
use routeapi_process::{Filter, Format, Log, LostLines};

const SECONDS: [f64; 9] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// Counters and gauges, and their text.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    compile_seconds: Histogram,
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

/// Why a write was made or what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    /// It was made.
    Written,
    /// Somebody else wrote first; it will be made again from there.
    Conflict,
    /// The API server refused or did not answer.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Objects {
    kind: &'static str,
    accepted: &'static str,
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
        let compile_seconds = Histogram::new(SECONDS);
        registry.register("compile_seconds", "Time to compile the whole state", compile_seconds.clone());
        let objects = Family::default();
        registry.register("objects", "AIProviders, AIRoutes and ApiTokens by verdict", objects.clone());
        let revisions = Counter::default();
        registry.register("revisions", "States published", revisions.clone());
        let connected = Gauge::default();
        registry.register("data_planes_connected", "Open configuration streams of this replica", connected.clone());
        let refused = Counter::default();
        registry.register("connections_refused", "Callers that were not let in", refused.clone());
        let sent = Family::default();
        registry.register("resources_sent", "Resources sent to data planes", sent.clone());
        let answers = Family::default();
        registry.register("answers", "Transactions that data planes answered", answers.clone());
        let watch_failures = Family::default();
        registry.register("watch_failures", "Watches that failed and were started again", watch_failures.clone());
        let writes = Family::default();
        registry.register("writes", "Writes to the API server", writes.clone());
        let minted = Counter::default();
        registry.register("tokens_minted", "Token values made", minted.clone());
        let help = "Lines of the log left out because standard error was not read";
        registry.register_collector(Box::new(LostLines { name: "log_lost_lines", help }));
        let leader = Gauge::default();
        registry.register("leader", "1 on the replica that holds the lease", leader.clone());
        Self {
            registry,
            compile_seconds,
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
    /// A state was compiled.
    pub fn compiled(&self, took: Duration, verdicts: &BTreeMap<Key, Verdict>) {
        self.compile_seconds.observe(took.as_secs_f64());
        for (kind, name) in [(Kind::Provider, "AIProvider"), (Kind::Route, "AIRoute"), (Kind::Token, "ApiToken")] {
            for (wanted, accepted) in [(true, "true"), (false, "false")] {
                let count = verdicts.iter().filter(|(key, it)| key.kind == kind && it.accepted() == wanted).count();
                let gauge = self.objects.get_or_create(&Objects { kind: name, accepted });
                gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
    }

    /// A state differs from the one before.
    pub fn published(&self) {
        self.revisions.inc();
    }

    /// Streams opened (1) or closed (-1).
    pub fn connected(&self, by: i64) {
        self.connected.inc_by(by);
    }

    /// A caller was not let in.
    pub fn refused(&self) {
        self.refused.inc();
    }

    /// A transaction was sent.
    pub fn sent(&self, put: usize, del: usize) {
        let count = |it| u64::try_from(it).unwrap_or(u64::MAX);
        self.sent.get_or_create(&Sent { frame: "put" }).inc_by(count(put));
        self.sent.get_or_create(&Sent { frame: "del" }).inc_by(count(del));
    }

    /// How many resources were put so far.
    pub fn puts(&self) -> u64 {
        self.sent.get_or_create(&Sent { frame: "put" }).get()
    }

    /// A transaction was answered.
    pub fn answered(&self, whole: bool) {
        self.answers.get_or_create(&Answers { answer: if whole { "ack" } else { "nack" } }).inc();
    }

    /// A watch failed.
    pub fn watch_failed(&self, kind: &'static str) {
        self.watch_failures.get_or_create(&Watches { kind }).inc();
    }

    /// Something was written, or not.
    pub fn wrote(&self, what: &'static str, outcome: Outcome) {
        self.writes.get_or_create(&Writes { what, outcome }).inc();
    }

    /// A token value was made.
    pub fn minted(&self) {
        self.minted.inc();
    }

    /// This replica became the one that writes, or ceased to be.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// All of it as OpenMetrics text.
    ///
    /// # Errors
    /// When a value does not format, which none does.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Logs as JSON lines on stderr.
///
/// # Errors
/// When the thread that writes cannot be started.
pub fn start_logs(filter: &Filter) -> io::Result<Log> {
    routeapi_process::start(Format::Json, filter)
}
