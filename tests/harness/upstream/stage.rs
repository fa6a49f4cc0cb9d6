//! Puts an answer, a refusal or a scripted failure into an HTTP response with the dialect's headers.

use super::ask::Dialect;
use super::event::Event;
use super::play::{Play, Played};
use super::record::{Exchange, Outcome};
use super::refusal::{Refusal, scripted};
use super::script::{CutHow, Script};
use super::wire::Line;
use bytes::Bytes;
use hyper::Response;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::watch;

/// What an endpoint answers with.
pub(super) enum Reply {
    /// One JSON document, worth so many tokens.
    Document(Value, u64),
    Stream {
        events: Vec<Event>,
        heartbeat: Event,
        error: Event,
        content_type: &'static str,
    },
}

/// The request id that OpenAI and Anthropic put into a header.
pub(super) fn request_id(id: u64) -> String {
    format!("req_{id}")
}

/// All that a response needs, whichever it is.
pub(super) struct Stage {
    pub dialect: Dialect,
    pub script: Script,
    pub line: Arc<Line>,
    pub paused: watch::Receiver<bool>,
}

impl Stage {
    pub fn refuse(mut self, refusal: &Refusal, exchange: Exchange) -> Response<Played> {
        exchange.note(|entry| entry.refusal = Some(refusal.message.clone()));
        exchange.end(Outcome::Refused);
        self.script = Script::default();
        let body = refusal.body(self.dialect, &request_id(exchange.id)).to_string();
        self.whole(refusal.status, body.into(), "application/json", 0, exchange)
    }

    pub fn fail(mut self, exchange: Exchange) -> Response<Played> {
        exchange.end(Outcome::Failed);
        exchange.note(|entry| entry.output_tokens = 0);
        let failure = self.script.status.take().expect("the caller looked");
        let own = || scripted(failure.status).body(self.dialect, &request_id(exchange.id)).to_string();
        let body = failure.body.clone().unwrap_or_else(own);
        let content_type = failure.content_type.as_deref().unwrap_or("application/json").to_owned();
        self.whole(failure.status, body.into(), &content_type, 0, exchange)
    }

    pub fn reply(self, reply: Reply, exchange: Exchange) -> Response<Played> {
        match reply {
            Reply::Document(document, tokens) => {
                self.whole(200, document.to_string().into(), "application/json", tokens, exchange)
            }
            Reply::Stream { events, heartbeat, error, content_type } => {
                let head = self.head(200, content_type, exchange.id);
                exchange.note(|entry| entry.status = 200);
                head.body(Played::start(self.play(events, heartbeat, error), exchange, None)).expect("a legal response")
            }
        }
    }

    pub fn whole(
        self,
        status: u16,
        body: Bytes,
        content_type: &str,
        tokens: u64,
        exchange: Exchange,
    ) -> Response<Played> {
        let head = self.head(status, content_type, exchange.id);
        exchange.note(|entry| entry.status = status);
        let event = Event { bytes: body, content: true, tokens };
        let play = self.play(vec![event], Event::raw("\n"), Event::raw(""));
        let script = &play.script;
        let open_ended = script.only_heartbeats
            || script.heartbeats > 0
            || script.stall_after.is_some()
            || script.cut.is_some_and(|cut| cut.how == CutHow::End);
        let length = (!open_ended).then(|| play.events.iter().map(|event| event.bytes.len() as u64).sum());
        head.body(Played::start(play, exchange, length)).expect("a legal response")
    }

    fn head(&self, status: u16, content_type: &str, id: u64) -> http::response::Builder {
        let mut head = Response::builder().status(status);
        if !self.script.no_content_type {
            head = head.header("content-type", content_type);
        }
        if self.script.gzip {
            head = head.header("content-encoding", "gzip");
        }
        head = match self.dialect {
            Dialect::Chat | Dialect::Responses => {
                head.header("x-request-id", request_id(id)).header("x-ratelimit-remaining-requests", "99")
            }
            Dialect::Anthropic => {
                head.header("request-id", request_id(id)).header("anthropic-ratelimit-requests-remaining", "99")
            }
            Dialect::Gemini => head,
        };
        self.script.headers.iter().fold(head, |head, (name, value)| head.header(name, value))
    }

    fn play(self, events: Vec<Event>, heartbeat: Event, error: Event) -> Play {
        let events = if self.script.gzip { compressed(&events) } else { events };
        Play { events, heartbeat, error, script: self.script, line: self.line, paused: self.paused }
    }
}

/// Each event is flushed, so that a streaming reader gets it at once.
fn compressed(events: &[Event]) -> Vec<Event> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let last = events.len().saturating_sub(1);
    let pack = |(nth, event): (usize, &Event)| {
        encoder.write_all(&event.bytes).and_then(|()| encoder.flush()).expect("memory does not fail");
        if nth == last {
            encoder.try_finish().expect("memory does not fail");
        }
        Event { bytes: Bytes::from(std::mem::take(encoder.get_mut())), ..event.clone() }
    };
    events.iter().enumerate().map(pack).collect()
}
