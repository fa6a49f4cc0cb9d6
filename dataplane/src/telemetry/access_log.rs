//! The access log: one JSON object per line and request.
//!
//! A thread of its own writes, so that a reader who stops reading (a full pipe) never stops a request. The queue is
//! bounded; when it is full, lines are left out and counted. Dropping the log writes what is queued first, so a clean
//! stop loses nothing, unless the reader takes nothing: the end of the process waits for it for a second at most.

use std::{
    io::{self, Write},
    mem,
    sync::Arc,
    time::Duration,
};

use prometheus_client::metrics::counter::Counter;
use routeapi_metering::AttemptRecord;
use routeapi_process::{Background, Bounds, Entry};

use super::{RecordSink, RequestRecord};

/// What waits for the writer at most.
const QUEUE_BOUNDS: Bounds = Bounds { entries: 16 * 1024, bytes: 32 << 20 };

/// How long the end waits for the queue to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Longest line, in bytes. Log shippers cut longer ones (16 KiB in the container runtime's own format), which leaves no
/// JSON.
const MAX_LINE_BYTES: usize = 16 * 1024 - 128;

/// Attempts in a line that was too long.
const MAX_SHORTENED_ATTEMPTS: usize = 8;
/// Characters of each text in a line that was too long.
const SHORTENED_CHARS: usize = 128;

/// Writes finished requests.
#[derive(Debug)]
pub struct AccessLog(Background<Arc<RequestRecord>>);

impl AccessLog {
    /// Starts the writer. `lost` counts lines that were left out.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(out: impl Write + Send + 'static, lost: Counter) -> io::Result<Self> {
        let on_lost = move || {
            lost.inc();
        };
        Background::start("access-log", out, QUEUE_BOUNDS, on_lost).map(Self)
    }
}

impl Entry for RequestRecord {
    fn size(&self) -> usize {
        let RequestRecord { usage, method, path, warnings, message, user_agent_original, enduser_id, .. } = self;
        let client = [user_agent_original, enduser_id].into_iter().flatten().map(|text| text.len()).sum::<usize>();
        let texts = method.len() + path.len() + message.as_ref().map_or(0, String::len) + client;
        let model = usage.model.as_ref().map_or(0, String::len);
        let warnings: usize = warnings.iter().map(|it| it.len() + mem::size_of::<String>()).sum();
        let attempts = usage.attempts.len() * mem::size_of::<AttemptRecord>();
        mem::size_of::<RequestRecord>() + texts + model + warnings + attempts
    }

    fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        line(out, self)
    }
}

/// A record that is too long for a line loses its longest free members and says so.
fn line(out: &mut dyn Write, record: &RequestRecord) -> io::Result<()> {
    let mut line = serde_json::to_vec(record)?;
    if line.len() > MAX_LINE_BYTES {
        let mut shortened = record.clone();
        shortened.truncated = true;
        shortened.warnings.clear();
        shortened.usage.attempts.truncate(MAX_SHORTENED_ATTEMPTS);
        shortened.message = shortened.message.map(|text| text.chars().take(SHORTENED_CHARS).collect());
        shortened.path = shortened.path.chars().take(SHORTENED_CHARS).collect();
        for text in [&mut shortened.user_agent_original, &mut shortened.enduser_id].into_iter().flatten() {
            *text = text.chars().take(SHORTENED_CHARS).collect();
        }
        line = serde_json::to_vec(&shortened)?;
    }
    line.push(b'\n');
    out.write_all(&line)
}

impl RecordSink for AccessLog {
    fn record(&self, record: &Arc<RequestRecord>) {
        self.0.offer(Arc::clone(record));
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        if !self.0.close(FLUSH_TIMEOUT) {
            tracing::warn!("the access log is not read; its last lines are lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use routeapi_metering::{Outcome, Usage, UsageRecord, UsageSource};

    use super::*;

    fn record(id: &str) -> Arc<RequestRecord> {
        Arc::new(RequestRecord {
            usage: UsageRecord {
                id: id.to_owned(),
                time_unix_ms: 1,
                duration_ms: 2,
                first_content_ms: None,
                token: None,
                key_id: None,
                route: None,
                model: None,
                operation: None,
                stream: false,
                status: 200,
                outcome: Outcome::Completed,
                error: None,
                usage: Usage::default(),
                usage_source: UsageSource::None,
                affinity: None,
                cost_nano_usd: 0,
                attempts: Vec::new(),
            },
            peer: Some("127.0.0.1:1".to_owned()),
            client_address: None,
            user_agent_original: None,
            enduser_id: None,
            k8s_pod_name: None,
            method: "GET".to_owned(),
            path: "/".to_owned(),
            trace_id: None,
            span_id: None,
            response_bytes: 0,
            warnings: Vec::new(),
            message: None,
            truncated: false,
        })
    }

    #[test]
    fn log_line_is_bounded_and_marked_truncated() {
        let mut long = Arc::unwrap_or_clone(record("x"));
        long.warnings = vec!["dropped;field=x".to_owned(); 10_000];
        long.message = Some("\u{1}".repeat(10_000));
        long.path = "/".repeat(10_000);
        let mut out = Vec::new();
        line(&mut out, &long).unwrap();
        assert!(out.len() < MAX_LINE_BYTES, "{}", out.len());
        let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(read["truncated"], true);
        out.clear();
        line(&mut out, &record("x")).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(read.get("truncated"), None);
    }

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn dropping_the_log_writes_queued_lines() {
        let out = Shared::default();
        let log = AccessLog::start(out.clone(), Counter::default()).unwrap();
        for at in 0..1_000 {
            log.record(&record(&at.to_string()));
        }
        drop(log);
        let written = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        let ids: Vec<String> = written
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ids, (0..1_000).map(|at| at.to_string()).collect::<Vec<_>>());
    }

    /// An output that takes nothing until it is opened.
    #[derive(Clone, Default)]
    struct Stuck(Arc<(Mutex<bool>, Condvar)>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (open, changed) = &*self.0;
            drop(changed.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn unread_log_drops_lines_instead_of_blocking() {
        let (out, lost) = (Stuck::default(), Counter::default());
        let log = AccessLog::start(out.clone(), lost.clone()).unwrap();
        let one = record("x");
        for _ in 0..3 * QUEUE_BOUNDS.entries {
            log.record(&one);
        }
        assert!(lost.get() > 0, "the queue is bounded");
        let lost_by_now = lost.get();
        let mut long = RequestRecord::clone(&one);
        long.path = "/".repeat(QUEUE_BOUNDS.bytes / 4);
        let log_of_long = AccessLog::start(out.clone(), lost.clone()).unwrap();
        for _ in 0..8 {
            log_of_long.record(&Arc::new(long.clone()));
        }
        assert_eq!(lost.get() - lost_by_now, 5, "so are its bytes");
        *out.0.0.lock().unwrap() = true;
        out.0.1.notify_all();
    }
}
