//! Events of one dialect on both sides: the upstream's bytes go to the client as they came, up to the last complete
//! event; a tap reads along. Two things are edited: usage that only the gateway asked for goes, and ids of stored
//! responses are the client's.
//!
//! The unfinished tail is held, so that an upstream that dies in the middle of an event leaves the client with whole
//! events and a terminal error. A tail beyond [`LONGEST_HELD`] goes out raw; the event is closed first then, should an
//! error have to follow. A body that is not framed as asked for (one JSON document, an array) is converted by the codec
//! of its own dialect instead. A frame of an event stream has its length in front and can be cut nowhere, so that each
//! waits for its end however long it is.

use std::sync::Arc;

use bytes::Bytes;

use super::strip_usage;
use crate::{
    codec::{NameMap, ResponseContext},
    dialect::Operation,
    framing::Framing,
    lane::{
        generate::stream::GenerateStream,
        parts::{Codecs, truncated, unreadable},
        stated, terminal,
    },
    problem::{Problem, ProblemKind, understand},
    response_stats::ResponseStats,
    stored,
    tap::{self, Tap},
    wire::{
        Wire,
        event_stream::{self, Broken},
        is_binary, json_array,
        sse::{self, Block, Frame, MAX_EVENT},
    },
};

/// Most bytes of an unfinished event that wait for its end, unless the event may have to be edited.
const LONGEST_HELD: usize = 64 * 1024;

pub(crate) struct PassthroughStream {
    operation: Operation,
    framing: Framing,
    context: ResponseContext,
    hide_usage: bool,
    tap: Tap,
    seen: ResponseStats,
    ends: Ends,
    /// The unfinished event.
    held: Vec<u8>,
    /// How much of it went out already.
    sent: usize,
    /// Something other than white space has come.
    begun: bool,
    /// A byte order mark can no longer come.
    past_mark: bool,
    /// Elements of an array went out.
    elements: bool,
    /// A terminal error of our own went out.
    over: bool,
    /// What came is no frame of an event stream.
    broken: Option<Broken>,
    /// The upstream's exception is on its way to the client (event streams).
    excepted: bool,
    /// The upstream's error event, if it can be the body of an error answer.
    stated: Option<Bytes>,
    /// The upstream failed in words that are not of its dialect: no client would know them for an error.
    strays: bool,
    /// Takes over when the body is not framed as asked for.
    converted: Option<Box<GenerateStream>>,
    /// The body, if it is not framed as asked for and its dialect has no codec.
    document: Option<Vec<u8>>,
}

enum Ends {
    Sse(sse::Boundary),
    Array(json_array::Boundary),
    EventStream(event_stream::Boundary),
}

impl PassthroughStream {
    pub(crate) fn new(operation: Operation, framing: Framing, context: ResponseContext, hide_usage: bool) -> Self {
        let ends = match framing {
            Framing::JsonArray => Ends::Array(json_array::Boundary::default()),
            Framing::EventStream => Ends::EventStream(event_stream::Boundary::default()),
            Framing::Sse | Framing::Whole => Ends::Sse(sse::Boundary::default()),
        };
        Self {
            operation,
            framing,
            context,
            hide_usage,
            tap: Tap::new(operation),
            seen: ResponseStats::default(),
            ends,
            held: Vec::new(),
            sent: 0,
            begun: false,
            past_mark: false,
            elements: false,
            over: false,
            broken: None,
            excepted: false,
            stated: None,
            strays: false,
            converted: None,
            document: None,
        }
    }

    pub(crate) fn stats(&self) -> &ResponseStats {
        self.converted.as_ref().map_or(&self.seen, |lane| lane.stats())
    }

    pub(crate) fn stated_error(&self) -> Option<Bytes> {
        self.stated.clone().or_else(|| self.converted.as_ref()?.stated_error())
    }

    /// Whether the upstream itself has said that it failed, be it in an event or in one document in place of events.
    pub(crate) fn states_error(&self) -> bool {
        self.stated.is_some() || self.excepted || self.converted.as_ref().is_some_and(|lane| lane.states_error())
    }

    pub(crate) fn push(&mut self, chunk: Bytes) -> Bytes {
        if self.over {
            return Bytes::new();
        }
        if let Some(lane) = &mut self.converted {
            return lane.push(&chunk);
        }
        if self.document.is_some() {
            return self.keep(&chunk);
        }
        if !self.begun {
            let Some(first) = chunk.iter().find(|byte| !byte.is_ascii_whitespace()) else { return chunk };
            self.begun = true;
            if !self.is_framed_as_asked(*first) {
                return self.convert(&chunk);
            }
        }
        let out = self.pass(&chunk);
        match self.broken.take() {
            Some(broken) => self.break_off(&out, broken),
            None => out,
        }
    }

    /// What is complete, and the terminal error behind it: nothing can be found again behind a frame that is none.
    fn break_off(&mut self, complete: &[u8], broken: Broken) -> Bytes {
        self.held = Vec::new();
        let mut out = complete.to_vec();
        if self.seen.error.is_none() && !self.seen.complete {
            out.extend(self.end_with(&Problem::new(ProblemKind::Upstream, broken.to_string())));
        }
        self.over = true;
        out.into()
    }

    pub(crate) fn finish(&mut self) -> Bytes {
        if self.over {
            return Bytes::new();
        }
        if let Some(lane) = &mut self.converted {
            return lane.finish();
        }
        if let Some(document) = self.document.take() {
            return self.judge(&document);
        }
        let mut out = self.last_event();
        self.tap.end(&mut self.seen);
        if self.seen.complete {
            match &self.ends {
                Ends::Array(ends) if !ends.closed => out.push(b']'),
                // A frame that has begun.
                Ends::EventStream(_) => {}
                // Line ends, a comment: what stands behind the last event.
                Ends::Array(_) | Ends::Sse(_) => out.extend_from_slice(self.held.get(self.sent..).unwrap_or_default()),
            }
        } else {
            match self.seen.error.clone() {
                None => out.extend(self.end_with(&truncated())),
                Some(problem) if self.strays => out.extend(self.end_with(&problem)),
                Some(_) => {}
            }
        }
        self.over = true;
        out.into()
    }

    pub(crate) fn fail(&mut self, problem: &Problem) -> Bytes {
        if let Some(lane) = &mut self.converted {
            return lane.fail(problem);
        }
        if self.over || self.seen.complete || self.seen.error.is_some() {
            return Bytes::new();
        }
        self.end_with(problem).into()
    }

    pub(crate) fn heartbeat(&mut self) -> Bytes {
        if let Some(lane) = &mut self.converted {
            return lane.heartbeat();
        }
        if self.over || self.sent > 0 || self.seen.complete || self.seen.error.is_some() {
            return Bytes::new();
        }
        terminal::heartbeat(self.operation, self.framing, &self.past()).into()
    }

    /// How many candidates have said why they ended.
    pub(crate) fn finished(&self) -> u64 {
        self.converted.as_ref().map_or(self.seen.finishes, |lane| lane.finished())
    }

    pub(crate) fn held(&self) -> usize {
        let document = self.document.as_ref().map_or(0, Vec::capacity);
        self.converted.as_ref().map_or(self.held.capacity().saturating_add(document), |lane| lane.held())
    }

    pub(crate) fn stop_looking(&mut self) -> bool {
        // What has begun to go out is kept for the tap alone.
        if self.sent > 0 {
            self.forget();
        }
        self.converted.is_none() && self.document.is_none() && self.held.len() <= LONGEST_HELD
    }

    /// Most bytes of an unfinished event that wait for its end. Those with the whole response in them can be large, and
    /// their ids must not go out as they came.
    fn longest_held(&self) -> usize {
        let is_whole = self.context.stored_ids.is_some() || matches!(self.ends, Ends::EventStream(_));
        if is_whole { MAX_EVENT } else { LONGEST_HELD }
    }

    /// Too large to be looked at: what follows of this event is no event to the tap, and goes out as well.
    fn forget(&mut self) {
        self.held = b" ".to_vec();
        self.sent = 1;
    }

    fn is_framed_as_asked(&self, first: u8) -> bool {
        match self.ends {
            // A document, a text or a page.
            Ends::Sse(_) => !matches!(first, b'{' | b'[' | b'"' | b'<'),
            Ends::Array(_) => first == b'[',
            Ends::EventStream(_) => is_binary(first),
        }
    }

    /// Another framing than asked for: through the dialect's own codec, there and back.
    fn convert(&mut self, chunk: &[u8]) -> Bytes {
        let Some(codecs) = Codecs::between(self.operation, self.operation) else {
            self.document = Some(Vec::new());
            return self.keep(chunk);
        };
        let ends = (self.operation, self.operation);
        let framed = (Wire::from(self.framing), self.framing);
        let mut lane =
            Box::new(GenerateStream::between(codecs, ends, framed, &self.context, Arc::new(NameMap::default())));
        let out = lane.push(chunk);
        self.converted = Some(lane);
        out
    }

    /// Keeps a document until it is whole: it may say why there are no events.
    fn keep(&mut self, chunk: &[u8]) -> Bytes {
        let document = self.document.get_or_insert_default();
        document.extend_from_slice(chunk);
        if document.len() <= MAX_EVENT {
            return Bytes::new();
        }
        self.document = None;
        self.end_with(&unreadable("the upstream sent an event that is too large")).into()
    }

    /// What a document in the place of events says.
    fn judge(&mut self, document: &[u8]) -> Bytes {
        self.stated = stated::document(self.operation, document);
        let problem = match tap::whole::look(self.operation, document) {
            Some(seen) => seen
                .error
                .unwrap_or_else(|| unreadable("the upstream answered without events where a stream was asked for")),
            None => understand::no_answer(self.operation.family(), document),
        };
        self.end_with(&problem).into()
    }

    /// Forwards what is complete. Without a held tail and without edits no byte is copied.
    fn pass(&mut self, chunk: &Bytes) -> Bytes {
        let mut out = (!self.held.is_empty()).then(Vec::new);
        let mut at = 0;
        while let Some(rest) = chunk.get(at..).filter(|rest| !rest.is_empty()) {
            let Some(end) = self.next_end(rest) else { break };
            let piece = rest.get(..end).unwrap_or(rest);
            if self.held.is_empty() {
                let edited = self.event(piece, 0);
                if edited.is_some() && out.is_none() {
                    out = Some(chunk.get(..at).unwrap_or_default().to_vec());
                }
                if let Some(out) = &mut out {
                    out.extend_from_slice(edited.as_deref().unwrap_or(piece));
                }
            } else {
                self.held.extend_from_slice(piece);
                self.held_event(out.get_or_insert_default());
            }
            at += end;
            if self.broken.is_some() {
                break;
            }
        }
        self.held.extend_from_slice(chunk.get(at..).unwrap_or_default());
        if self.held.len() > self.longest_held() {
            let raw = self.held.get(self.sent..).unwrap_or_default();
            out.get_or_insert_with(|| chunk.get(..at).unwrap_or_default().to_vec()).extend_from_slice(raw);
            self.sent = self.held.len();
            if self.held.len() > MAX_EVENT {
                self.forget();
            }
        }
        out.map_or_else(|| chunk.slice(..at), Bytes::from)
    }

    fn next_end(&mut self, bytes: &[u8]) -> Option<usize> {
        match &mut self.ends {
            Ends::Sse(ends) => ends.end(bytes),
            Ends::Array(ends) => ends.end(bytes),
            Ends::EventStream(ends) => match ends.end(bytes) {
                Ok(end) => end,
                Err(broken) => {
                    self.broken = Some(broken);
                    None
                }
            },
        }
    }

    /// Shows the held event, which is complete, to the tap and appends what has not gone out of it.
    fn held_event(&mut self, out: &mut Vec<u8>) {
        let (event, sent) = (std::mem::take(&mut self.held), std::mem::take(&mut self.sent));
        let edited = self.event(&event, sent);
        out.extend_from_slice(edited.as_deref().unwrap_or_else(|| event.get(sent..).unwrap_or_default()));
    }

    /// Shows one complete event to the tap. `sent` bytes went out before. What the client gets, if that is not the event.
    fn event(&mut self, event: &[u8], sent: usize) -> Option<Vec<u8>> {
        let start = if std::mem::replace(&mut self.past_mark, true) { event } else { sse::without_mark(event) };
        let mut edited = None;
        match self.ends {
            Ends::Array(_) => {
                self.elements = true;
                let data = String::from_utf8_lossy(json_array::element(event));
                self.show(Frame { event: None, data: &data });
            }
            Ends::EventStream(_) => match event_stream::Event::read(event) {
                Ok(read) => self.show(read.frame()),
                Err(broken) => {
                    // It goes no further.
                    self.broken.get_or_insert(broken);
                    edited = Some(Vec::new());
                }
            },
            Ends::Sse(_) => {
                if let Some(block) = Block::read(start) {
                    self.show(block.frame());
                    if sent == 0 {
                        edited = self.edited(event, block.frame().data);
                    }
                }
            }
        }
        edited
    }

    /// What the client gets in the place of an event; none if that is the event.
    fn edited(&self, event: &[u8], data: &str) -> Option<Vec<u8>> {
        if self.hide_usage {
            return Some(strip_usage::usage(event, data).unwrap_or_default());
        }
        stored::in_event(event, data, self.context.stored_ids.as_ref()?)
    }

    /// Shows an event to the tap. The one by which the upstream fails is kept, since it may be all that the client gets.
    fn show(&mut self, frame: Frame<'_>) {
        let had_failed = self.seen.error.is_some();
        self.tap.event(frame, &mut self.seen);
        if !had_failed && self.seen.error.is_some() {
            if matches!(self.ends, Ends::EventStream(_)) {
                // A frame is the body of no error answer.
                self.excepted = true;
                return;
            }
            self.stated = stated::document(self.operation, frame.data.as_bytes());
            self.strays = understand::bare(self.operation.family(), frame.data.as_bytes()).is_some()
                && !tap::names_error(self.operation, frame);
        }
    }

    /// At the end of the body: an event that only lacks its empty line. A cut event is not sent.
    fn last_event(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let whole = matches!(self.ends, Ends::Sse(_))
            && Block::read(&self.held).is_some_and(|block| {
                let data = block.frame().data;
                data == "[DONE]" || serde_json::from_str::<serde::de::IgnoredAny>(data).is_ok()
            });
        if whole {
            self.held_event(&mut out);
            self.tap.end(&mut self.seen);
            if !out.is_empty() && !self.seen.complete {
                // Whatever follows must not run into it.
                out.extend_from_slice(b"\n\n");
            }
        }
        out
    }

    /// The terminal error, behind whatever went out.
    fn end_with(&mut self, problem: &Problem) -> Vec<u8> {
        let mut out = Vec::new();
        if self.sent > 0 {
            out.extend_from_slice(b"\n\n");
        }
        out.extend(terminal::error(self.operation, self.framing, problem, &self.past()));
        self.over = true;
        self.held = Vec::new();
        self.seen.error.get_or_insert_with(|| problem.clone());
        out
    }

    fn past(&self) -> terminal::Past<'_> {
        terminal::Past {
            context: &self.context,
            seen: &self.seen,
            sequence: self.tap.sequence(),
            elements: self.elements,
        }
    }
}
