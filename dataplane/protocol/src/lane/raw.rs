//! Answers of any content type, passed on as they come: sound, pictures, text, JSON, events.
//!
//! Every byte goes out as it came, and none is held: a piece is looked at and handed on. That is enough to see usage,
//! errors and the end. A JSON document counts as an answer only once it has closed or is longer than [`JUDGED`], so that a
//! 200 with an error in it still leads to another upstream.

mod members;

use bytes::Bytes;
use serde_json::{Value, json};

use self::members::Members;
use crate::{
    codec::ResponseContext,
    dialect::{Family, Operation},
    direct::Direct,
    framing::Framing,
    lane::{
        parts::{truncated, unreadable},
        terminal,
    },
    problem::{Problem, understand},
    response_stats::ResponseStats,
    usage,
};

/// A JSON document of more bytes than this is an answer, whatever its end says.
const JUDGED: u64 = 16 << 10;

/// What is looked for in a document and in each event.
const NAMES: [&str; 6] = ["usage", "meta", "error", "type", "text", "delta"];
const COUNT: usize = NAMES.len();

pub(crate) struct RawStream {
    operation: Operation,
    context: ResponseContext,
    shape: Shape,
    seen: ResponseStats,
    bytes: u64,
    /// A terminal error of our own went out.
    over: bool,
    /// The upstream itself said that it failed.
    stated: bool,
}

/// What comes.
enum Shape {
    /// Server-sent events.
    Events(Box<Events>),
    /// One JSON document.
    Document(Box<Members<COUNT>>),
    /// Text without a form: its length is what was said.
    Text,
    /// Sound, a picture, anything.
    Binary,
    /// A page for people in the place of an answer.
    Page,
}

/// Events, line by line; no line is held.
struct Events {
    /// The beginning of the current line: enough to tell a field's name and `[DONE]`.
    line: Vec<u8>,
    /// The current line is `data:`, and its value goes to `members`.
    in_data: bool,
    members: Members<COUNT>,
    /// The event has data.
    has_data: bool,
    /// The last event said that it was the last.
    last: bool,
    after_cr: bool,
}

/// Most bytes of a line that are held.
const LINE: usize = 16;

/// Bytes around a string's characters.
const QUOTES: u64 = 2;

impl RawStream {
    pub(crate) fn new(operation: Operation, context: ResponseContext, content_type: Option<&str>) -> Self {
        let kind = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let shape = match kind.as_str() {
            "text/event-stream" => Shape::Events(Box::default()),
            "text/html" => Shape::Page,
            "application/json" | "text/json" => Shape::Document(Box::new(Members::new(NAMES))),
            kind if kind.ends_with("+json") => Shape::Document(Box::new(Members::new(NAMES))),
            kind if kind.starts_with("text/") => Shape::Text,
            _ => Shape::Binary,
        };
        Self { operation, context, shape, seen: ResponseStats::default(), bytes: 0, over: false, stated: false }
    }

    pub(crate) fn stats(&self) -> &ResponseStats {
        &self.seen
    }

    pub(crate) fn states_error(&self) -> bool {
        self.stated
    }

    pub(crate) fn push(&mut self, chunk: Bytes) -> Bytes {
        if self.over {
            return Bytes::new();
        }
        self.bytes = self.bytes.saturating_add(chunk.len() as u64);
        match &mut self.shape {
            Shape::Events(events) => {
                events.push(&chunk, &mut self.seen);
                self.stated |= self.seen.error.is_some();
            }
            Shape::Document(document) => {
                document.push(&chunk);
                self.judge();
            }
            Shape::Text => {
                self.seen.delivered(String::from_utf8_lossy(&chunk).chars().count() as u64);
            }
            Shape::Binary => self.seen.content |= !chunk.is_empty(),
            Shape::Page => self.refuse("the upstream answered with a page of HTML"),
        }
        chunk
    }

    /// Whether a document is an answer.
    fn judge(&mut self) {
        let Shape::Document(document) = &self.shape else { return };
        if self.seen.content || self.seen.error.is_some() {
            return;
        }
        if document.first().is_some_and(|byte| byte != b'{') {
            self.refuse("the upstream answered with something that is no answer of its API");
        } else if let Some(error) = document.get("error").filter(understand::is_error).filter(|_| document.is_closed())
        {
            self.seen.error = Some(understand::event(Family::OpenAi, &json!({ "error": error })));
            self.stated = true;
        } else {
            self.seen.content = document.is_closed() || self.bytes > JUDGED;
        }
    }

    fn refuse(&mut self, why: &'static str) {
        self.seen.error.get_or_insert_with(|| unreadable(why));
    }

    pub(crate) fn finish(&mut self) -> Bytes {
        if self.over || self.seen.error.is_some() {
            return Bytes::new();
        }
        let is_whole = match &mut self.shape {
            Shape::Events(events) => {
                events.end(&mut self.seen);
                self.stated |= self.seen.error.is_some();
                // How streams end that nobody knows, nobody knows.
                events.last || (self.operation == Operation::Direct(Direct::Unlisted) && events.is_between())
            }
            Shape::Document(document) => {
                let counts = document.get("usage").or_else(|| document.get("meta"));
                if let Some(used) = counts.as_ref().and_then(usage::direct) {
                    self.seen.count(used);
                }
                self.seen.delivered(document.length("text").saturating_sub(QUOTES));
                document.is_closed()
            }
            // Silence has no words.
            Shape::Text => true,
            Shape::Binary => self.bytes > 0,
            Shape::Page => false,
        };
        if self.seen.error.is_some() {
            return Bytes::new();
        }
        if is_whole {
            self.seen.complete = true;
            self.seen.content = true;
            return Bytes::new();
        }
        self.end_with(&truncated())
    }

    pub(crate) fn fail(&mut self, problem: &Problem) -> Bytes {
        if self.over || self.seen.complete || self.seen.error.is_some() {
            return Bytes::new();
        }
        self.end_with(problem)
    }

    /// Only events have a place for an error; anything else is cut off.
    fn end_with(&mut self, problem: &Problem) -> Bytes {
        self.over = true;
        let last = match &self.shape {
            Shape::Events(events) => {
                let past = terminal::Past { context: &self.context, seen: &self.seen, sequence: None, elements: false };
                let mut out = if events.is_between() { Vec::new() } else { b"\n\n".to_vec() };
                out.extend(terminal::error(self.operation, Framing::Sse, problem, &past));
                Bytes::from(out)
            }
            Shape::Document(_) | Shape::Text | Shape::Binary | Shape::Page => Bytes::new(),
        };
        self.seen.error.get_or_insert_with(|| problem.clone());
        last
    }

    pub(crate) fn heartbeat(&self) -> Bytes {
        match &self.shape {
            Shape::Events(events) if !self.over && events.is_between() => Bytes::from_static(b": keepalive\n\n"),
            _ => Bytes::new(),
        }
    }
}

impl Default for Events {
    fn default() -> Self {
        Self {
            line: Vec::with_capacity(LINE),
            in_data: false,
            members: Members::new(NAMES),
            has_data: false,
            last: false,
            after_cr: false,
        }
    }
}

impl Events {
    fn push(&mut self, mut bytes: &[u8], seen: &mut ResponseStats) {
        if std::mem::take(&mut self.after_cr) {
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while !bytes.is_empty() {
            let length = memchr::memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len());
            let (part, rest) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
            self.part(part);
            let Some((end, mut rest)) = rest.split_first() else { return };
            if *end == b'\r' {
                self.after_cr = rest.is_empty();
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            }
            if self.line.is_empty() {
                self.end(seen);
            }
            self.line.clear();
            self.in_data = false;
            bytes = rest;
        }
    }

    /// Takes a part of a line.
    fn part(&mut self, part: &[u8]) {
        let known = self.line.len();
        let room = LINE.saturating_sub(known);
        self.line.extend_from_slice(part.get(..room).unwrap_or(part));
        if self.in_data {
            self.members.push(part);
            return;
        }
        const NAME: &[u8] = b"data:";
        if self.line.starts_with(NAME) {
            self.in_data = true;
            self.has_data = true;
            let begins = NAME.len().saturating_sub(known);
            self.members.push(part.get(begins..).unwrap_or_default());
        }
    }

    /// An event has ended.
    fn end(&mut self, seen: &mut ResponseStats) {
        if !std::mem::take(&mut self.has_data) {
            return;
        }
        let members = std::mem::replace(&mut self.members, Members::new(NAMES));
        let kind = members.get("type").and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default();
        let error = members.get("error").filter(understand::is_error);
        if error.is_some() || kind == "error" {
            let body = json!({ "error": error.unwrap_or(Value::Null) });
            seen.error.get_or_insert_with(|| understand::event(Family::OpenAi, &body));
            return;
        }
        if let Some(used) = members.get("usage").as_ref().and_then(usage::direct) {
            seen.count(used);
        }
        seen.delivered(members.length("delta").saturating_sub(QUOTES));
        seen.content = true;
        // `[DONE]`, or the last event of each of OpenAI's streams by its name.
        self.last = members.first() == Some(b'[') || kind.ends_with(".completed") || kind.ends_with(".done");
    }

    /// No event has begun that has not ended.
    fn is_between(&self) -> bool {
        self.line.is_empty() && !self.has_data && !self.in_data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(operation: Operation, content_type: &str) -> RawStream {
        RawStream::new(operation, ResponseContext::default(), Some(content_type))
    }

    fn whole(content_type: &str, body: &[u8], cut: usize) -> (Vec<u8>, ResponseStats) {
        let mut raw = raw(Operation::Direct(Direct::ImageGenerations), content_type);
        let mut out = Vec::new();
        for piece in body.chunks(cut.max(1)) {
            out.extend(raw.push(Bytes::copy_from_slice(piece)));
        }
        out.extend(raw.finish());
        (out, raw.stats().clone())
    }

    #[test]
    fn bytes_are_untouched_and_usage_is_found() {
        let picture = "A".repeat(40_000);
        let body = format!(
            r#"{{"created":1,"data":[{{"b64_json":"{picture}"}}],"usage":{{"input_tokens":7,"output_tokens":9}}}}"#
        );
        for cut in [1, 7, 4_096, 100_000] {
            let (out, seen) = whole("application/json; charset=utf-8", body.as_bytes(), cut);
            assert_eq!(out, body.as_bytes());
            assert!(seen.complete && seen.content && seen.error.is_none());
            let usage = seen.usage.unwrap();
            assert_eq!((usage.input, usage.output), (Some(7), Some(9)));
        }
        let (out, seen) = whole("audio/mpeg", &[0, 255, 1], 2);
        assert_eq!((out.as_slice(), seen.complete, seen.usage), (&[0, 255, 1][..], true, None));
    }

    #[test]
    fn a_page_an_error_or_nothing_is_no_answer() {
        for (kind, body, complete) in [
            ("text/html", "<html>502</html>", false),
            ("application/json", "<html>502</html>", false),
            ("application/json", r#"{"error":{"message":"no","type":"server_error"}}"#, false),
            ("application/problem+json", r#"{"error":{"message":"no"}}"#, false),
            ("text/json; charset=utf-8", r#"{"error":{"message":"no"}}"#, false),
            ("application/json", r#"{"data":["#, false),
            ("application/json", "", false),
            ("audio/mpeg", "", false),
            ("text/plain", "", true),
            ("application/json", r#"{"error":null,"data":[]}"#, true),
        ] {
            let (_, seen) = whole(kind, body.as_bytes(), 3);
            assert_eq!((seen.complete, seen.error.is_none()), (complete, complete), "{kind} {body}: {seen:?}");
        }
    }

    #[test]
    fn an_error_is_told_before_anything_went_out() {
        let mut raw = raw(Operation::Direct(Direct::Transcriptions), "application/json");
        raw.push(Bytes::from_static(br#"{"error":{"message":"overloaded","#));
        assert!(!raw.stats().content && raw.stats().error.is_none());
        raw.push(Bytes::from_static(br#""code":503}}"#));
        assert!(raw.stats().error.is_some() && !raw.stats().content);
    }

    #[test]
    fn events_end_by_their_own_word_or_with_an_error() {
        let events = "event: image_generation.partial_image\r\ndata: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"AAAA\"}\r\n\r\n\
            data: {\"type\":\"image_generation.completed\",\"b64_json\":\"AA\",\"usage\":{\"input_tokens\":2,\"output_tokens\":3}}\r\n\r\n";
        for cut in 1..events.len() {
            let (out, seen) = whole("text/event-stream", events.as_bytes(), cut);
            assert_eq!(out, events.as_bytes());
            assert!(seen.complete && seen.error.is_none(), "{cut}: {seen:?}");
            assert_eq!(seen.usage.and_then(|usage| usage.output), Some(3), "{cut}");
        }
        let (out, seen) = whole("text/event-stream", b"data: {\"type\":\"x.partial\"}\n\ndata: {\"ty", 5);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("{\"ty\n\ndata: {\"error\":") && !seen.complete, "{text}");
        let (_, seen) = whole("text/event-stream", b"data: {\"type\":\"error\",\"error\":{\"message\":\"x\"}}\n\n", 9);
        assert!(seen.error.is_some() && !seen.content);
        let (_, seen) = whole("text/event-stream", b": hello\n\ndata: {\"a\":1}\n\ndata: [DONE]\n\n", 4);
        assert!(seen.complete, "{seen:?}");
    }
}
