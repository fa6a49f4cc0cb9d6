//! What the scripted upstream is told to do: which answer, and how it goes out (late, in pieces, cut, not at all).
//!
//! A script is data (JSON on the control port, a builder in Rust); all times are in milliseconds. An empty script is a
//! healthy upstream. Where several failures are set, the earlier one in the life of a response wins: `refuse_stream`, `stall_headers`,
//! then `status`, then `stall_after`, `error_after` and `cut`, whichever comes first in the stream.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// One way to answer. `Script::default()` answers at once and rightly.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// The answer's text. Default: it quotes the last user text, the images and the tool results of the request.
    pub text: Option<String>,
    /// The text in exactly these pieces, one token and one stream event each. Default: a piece per word.
    pub pieces: Option<Vec<String>>,
    /// Call two tools at once, not one, when the request allows it.
    pub parallel_tools: bool,
    /// Never call a tool, although the request offers some.
    pub no_tools: bool,
    /// Call this tool, if the request offers it, and no other. Default: the first one, with arguments made from its schema.
    pub tool_call: Option<ToolCall>,
    /// How many of the input tokens are reported as read from the cache.
    pub cached_tokens: u64,
    /// What is said about usage.
    pub usage: UsageScript,
    /// Accept members that the dialect does not know, as self-hosted servers do.
    pub tolerate_unknown: bool,

    /// Wait before the response head.
    pub delay_headers_ms: u64,
    /// Wait between the response head and the first event with content.
    pub delay_content_ms: u64,
    /// Wait before every later event.
    pub delay_chunk_ms: u64,
    /// Never send a response head.
    pub stall_headers: bool,
    /// Refuse the HTTP/2 stream unprocessed (REFUSED_STREAM).
    pub refuse_stream: bool,
    /// Answer with an error status instead.
    pub status: Option<Failure>,
    /// Answer 400 and this body while a request holds this member at its top level.
    pub refuses: BTreeMap<String, String>,
    /// Heartbeats (comments, pings) before the first event.
    pub heartbeats: usize,
    /// Heartbeats for ever and nothing else, one per `delay_chunk_ms` (at least 5).
    pub only_heartbeats: bool,
    /// Send this many events, then nothing, and keep the connection open.
    pub stall_after: Option<usize>,
    /// Send this many events with content, then an error in the dialect, and end the body.
    pub error_after: Option<usize>,
    /// End early.
    pub cut: Option<Cut>,
    /// Leave out `content-type`.
    pub no_content_type: bool,
    /// Answer `stream: true` with one JSON document.
    pub ignore_stream: bool,
    /// Compress the body (`content-encoding: gzip`), flushed per event.
    pub gzip: bool,
    /// Extra response headers.
    pub headers: BTreeMap<String, String>,
    /// What else happens in a session.
    pub session: SessionScript,
}

/// What happens in a session of the Realtime API.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionScript {
    /// Close it.
    pub close: Option<SessionClose>,
    /// Drop the connection after so many answers.
    pub break_after: Option<usize>,
    /// Begin every answer with a piece of sound of so many characters.
    pub delta_bytes: Option<usize>,
    /// Send these bytes ahead of everything, whatever they are.
    pub raw: Option<Vec<u8>>,
    /// Read and say nothing.
    pub deaf: bool,
}

/// How a session is closed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionClose {
    /// After so many answers, at the client's next event.
    pub after: usize,
    /// The close code.
    pub code: u16,
    /// The reason.
    pub reason: String,
}

/// What is said about usage. The ledger always holds the truth.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageScript {
    /// The true numbers.
    #[default]
    Exact,
    /// No usage member at all.
    Absent,
    /// This value in its place, whatever it is.
    Odd(Value),
}

/// A call that an agent can answer: its tools do something with what they are given.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// The tool's name as the request offers it.
    pub name: String,
    /// The arguments, an object.
    pub arguments: Value,
}

/// An error response.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The HTTP status.
    pub status: u16,
    /// The body, verbatim. Default: an error of that status in the dialect of the request.
    #[serde(default)]
    pub body: Option<String>,
    /// The body's type when `body` is given. Default `application/json`.
    #[serde(default)]
    pub content_type: Option<String>,
}

/// Where and how a response ends early.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// Where.
    pub at: CutAt,
    /// How.
    #[serde(default)]
    pub how: CutHow,
}

/// A place in the response body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutAt {
    /// After so many whole events.
    Events(usize),
    /// After so many whole events and one half of the next.
    InsideEvent(usize),
    /// After so many bytes.
    Bytes(usize),
    /// Between the bytes of the first character that has several.
    InsideChar,
}

/// A manner of ending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutHow {
    /// The connection is closed in order (FIN) before the body is complete.
    #[default]
    Close,
    /// The connection is reset (RST). On HTTP/2 both this and `Close` reset the stream.
    Reset,
    /// The HTTP body ends well-formed; only the dialect's end is missing.
    End,
}

impl Script {
    /// A healthy upstream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An error status with a body in the request's dialect.
    #[must_use]
    pub fn failing(status: u16) -> Self {
        Self { status: Some(Failure { status, body: None, content_type: None }), ..Self::default() }
    }

    /// Refuses requests that hold this member at their top level, in these words.
    #[must_use]
    pub fn refusing(mut self, member: &str, body: &str) -> Self {
        self.refuses.insert(member.to_owned(), body.to_owned());
        self
    }

    /// The failure of a request that holds what is refused.
    pub(super) fn refusal(&self, body: &[u8]) -> Option<Failure> {
        let members: BTreeMap<String, Value> = serde_json::from_slice(body).ok()?;
        let (_, body) = self.refuses.iter().find(|(member, _)| members.contains_key(*member))?;
        Some(Failure { status: 400, body: Some(body.clone()), content_type: None })
    }

    /// A stream that is refused unprocessed.
    #[must_use]
    pub fn refused() -> Self {
        Self { refuse_stream: true, ..Self::default() }
    }

    /// 429 with `retry-after` in seconds.
    #[must_use]
    pub fn rate_limited(retry_after: u32) -> Self {
        Self::failing(429).header("retry-after", &retry_after.to_string())
    }

    /// A load balancer's 502: HTML, not the dialect.
    #[must_use]
    pub fn html_502() -> Self {
        let body = "<html><head><title>502 Bad Gateway</title></head><body>bad gateway</body></html>\n";
        Self::failing(502).body(body, "text/html")
    }

    /// Never answers, not even with a head.
    #[must_use]
    pub fn silent() -> Self {
        Self { stall_headers: true, ..Self::default() }
    }

    /// What happens in a session.
    #[must_use]
    pub fn session(mut self, session: SessionScript) -> Self {
        self.session = session;
        self
    }

    /// The answer's text.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.text = Some(text.to_owned());
        self
    }

    /// So many pieces of this text: one token and one event each.
    #[must_use]
    pub fn chunks(mut self, count: usize, piece: &str) -> Self {
        self.pieces = Some(vec![piece.to_owned(); count]);
        self
    }

    /// Two tool calls in one answer.
    #[must_use]
    pub fn parallel_tools(mut self) -> Self {
        self.parallel_tools = true;
        self
    }

    /// Text even where tools are offered.
    #[must_use]
    pub fn no_tools(mut self) -> Self {
        self.no_tools = true;
        self
    }

    /// Reports so many input tokens as cached.
    #[must_use]
    pub fn cached_tokens(mut self, count: u64) -> Self {
        self.cached_tokens = count;
        self
    }

    /// What is said about usage.
    #[must_use]
    pub fn usage(mut self, usage: UsageScript) -> Self {
        self.usage = usage;
        self
    }

    /// Accepts members that the dialect does not know.
    #[must_use]
    pub fn tolerate_unknown(mut self) -> Self {
        self.tolerate_unknown = true;
        self
    }

    /// Waits before the response head.
    #[must_use]
    pub fn delay_headers(mut self, delay: Duration) -> Self {
        self.delay_headers_ms = milliseconds(delay);
        self
    }

    /// Waits before the first event with content.
    #[must_use]
    pub fn delay_content(mut self, delay: Duration) -> Self {
        self.delay_content_ms = milliseconds(delay);
        self
    }

    /// Waits before every later event.
    #[must_use]
    pub fn delay_chunk(mut self, delay: Duration) -> Self {
        self.delay_chunk_ms = milliseconds(delay);
        self
    }

    /// The body of an error response, verbatim.
    ///
    /// # Panics
    /// When the script is not [`Script::failing`].
    #[must_use]
    pub fn body(mut self, body: &str, content_type: &str) -> Self {
        let failure = self.status.as_mut().expect("a body belongs to a failing script");
        failure.body = Some(body.to_owned());
        failure.content_type = Some(content_type.to_owned());
        self
    }

    /// Adds a response header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    /// So many heartbeats first.
    #[must_use]
    pub fn heartbeats(mut self, count: usize) -> Self {
        self.heartbeats = count;
        self
    }

    /// Heartbeats for ever and nothing else.
    #[must_use]
    pub fn only_heartbeats(mut self) -> Self {
        self.only_heartbeats = true;
        self
    }

    /// Falls silent after so many events, and keeps the connection open.
    #[must_use]
    pub fn stall_after(mut self, events: usize) -> Self {
        self.stall_after = Some(events);
        self
    }

    /// Sends the dialect's error after so many events with content.
    #[must_use]
    pub fn error_after(mut self, contents: usize) -> Self {
        self.error_after = Some(contents);
        self
    }

    /// Ends early.
    #[must_use]
    pub fn cut(mut self, at: CutAt, how: CutHow) -> Self {
        self.cut = Some(Cut { at, how });
        self
    }

    /// Leaves out `content-type`.
    #[must_use]
    pub fn no_content_type(mut self) -> Self {
        self.no_content_type = true;
        self
    }

    /// Answers `stream: true` with one JSON document.
    #[must_use]
    pub fn ignore_stream(mut self) -> Self {
        self.ignore_stream = true;
        self
    }

    /// Compresses the body.
    #[must_use]
    pub fn gzip(mut self) -> Self {
        self.gzip = true;
        self
    }
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
