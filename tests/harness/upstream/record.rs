//! What the scripted upstream remembers: every request as received, and the ledger of what was really produced.

use super::answer::Usage;
use super::ask::Dialect;
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

/// A request as it came off the wire.
#[derive(Clone, Debug)]
pub struct Received {
    /// Number of the request, from 1; the same in the ledger.
    pub id: u64,
    /// The method.
    pub method: String,
    /// Path and query, undecoded.
    pub path: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// Header names in lower case, in the order of arrival.
    pub headers: Vec<(String, String)>,
    /// The body's bytes.
    pub body: Bytes,
    /// When the head was read.
    pub at: Instant,
}

impl Received {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    pub(super) fn to_json(&self) -> Value {
        json!({"id": self.id, "method": self.method, "path": self.path, "version": self.version,
            "headers": self.headers, "body": String::from_utf8_lossy(&self.body)})
    }
}

/// How an exchange ended, as the upstream saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Not over.
    Open,
    /// Everything was handed to the connection.
    Completed,
    /// The request broke the rules of its dialect.
    Refused,
    /// The script said to fail: an error status, an error event or a cut.
    Failed,
    /// The client closed the connection (or reset the stream) before the end.
    ClientClosed,
}

/// The truth about one request.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// As in [`Received`].
    pub id: u64,
    /// Which API was spoken.
    pub dialect: Dialect,
    /// The model asked for.
    pub model: String,
    /// The answer was a stream.
    pub streamed: bool,
    /// The response status; 0 while none was sent.
    pub status: u16,
    /// Input tokens, cached ones included.
    pub input_tokens: u64,
    /// Those of them that are reported as cached.
    pub cached_tokens: u64,
    /// Output tokens of the complete answer.
    pub output_tokens: u64,
    /// Output tokens that were handed to the connection.
    pub delivered_tokens: u64,
    /// Events with content that were handed to the connection.
    pub delivered_contents: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// When it ended.
    #[serde(skip)]
    pub ended: Option<Instant>,
    /// The same for other processes: seconds since 1970.
    pub ended_unix: Option<f64>,
    /// Why it was refused.
    pub refusal: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Records {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    received: Vec<Received>,
    ledger: Vec<Entry>,
    /// Messages of clients in sessions.
    heard: Vec<String>,
}

impl Records {
    pub fn received(&self) -> Vec<Received> {
        self.inner.lock().unwrap().received.clone()
    }

    pub fn ledger(&self) -> Vec<Entry> {
        self.inner.lock().unwrap().ledger.clone()
    }

    pub fn hear(&self, message: &str) {
        self.inner.lock().unwrap().heard.push(message.to_owned());
    }

    pub fn heard(&self) -> Vec<Value> {
        let inner = self.inner.lock().unwrap();
        inner.heard.iter().map(|message| serde_json::from_str(message).unwrap_or_default()).collect()
    }

    /// Forgets everything but the numbering, so that late endings cannot be taken for new requests.
    pub fn clear(&self) {
        let mut inner = self.inner.lock().unwrap();
        inner.received.clear();
        inner.ledger.clear();
        inner.heard.clear();
    }

    pub fn open(self: &Arc<Self>, dialect: Dialect, mut received: Received) -> Exchange {
        let mut inner = self.inner.lock().unwrap();
        inner.last += 1;
        let id = inner.last;
        received.id = id;
        inner.received.push(received);
        inner.ledger.push(Entry {
            id,
            dialect,
            model: String::new(),
            streamed: false,
            status: 0,
            input_tokens: 0,
            cached_tokens: 0,
            output_tokens: 0,
            delivered_tokens: 0,
            delivered_contents: 0,
            outcome: Outcome::Open,
            ended: None,
            ended_unix: None,
            refusal: None,
        });
        Exchange { id, records: Arc::clone(self) }
    }
}

/// One request under way. Dropping it before [`Exchange::end`] means that the client went away.
#[derive(Debug)]
pub(super) struct Exchange {
    pub id: u64,
    records: Arc<Records>,
}

impl Exchange {
    /// One that is in no ledger.
    pub fn unrecorded() -> Self {
        Self { id: 0, records: Arc::default() }
    }

    pub fn note(&self, change: impl FnOnce(&mut Entry)) {
        let mut inner = self.records.inner.lock().unwrap();
        if let Some(entry) = inner.ledger.iter_mut().find(|entry| entry.id == self.id) {
            change(entry);
        }
    }

    pub fn produced(&self, model: &str, streamed: bool, usage: Usage) {
        self.note(|entry| {
            model.clone_into(&mut entry.model);
            entry.streamed = streamed;
            entry.input_tokens = usage.input;
            entry.cached_tokens = usage.cached;
            entry.output_tokens = usage.output;
        });
    }

    /// The first ending counts.
    pub fn end(&self, outcome: Outcome) {
        self.note(|entry| {
            if entry.outcome == Outcome::Open {
                entry.outcome = outcome;
                entry.ended = Some(Instant::now());
                let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                entry.ended_unix = unix.ok().map(|time| time.as_secs_f64());
            }
        });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.end(Outcome::ClientClosed);
    }
}
