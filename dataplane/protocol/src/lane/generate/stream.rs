//! Events of one dialect in, events of another out, through the neutral representation.
//!
//! A whole document in the place of events becomes the events that it could have come as.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;

use super::{observe, to_events, whole};
use crate::{
    codec::{NameMap, ResponseContext, StreamDecoder, StreamEncoder},
    dialect::Operation,
    framing::Framing,
    ir::{BlockKind, Delta, Event},
    lane::{
        parts::{Codecs, in_clients_words, truncated, unreadable},
        stated,
    },
    problem::{Problem, ProblemKind},
    response_stats::ResponseStats,
    wire::{Reader, Wire, json_array::ArrayWriter, sse::MAX_EVENT},
};

pub(crate) struct GenerateStream {
    codecs: Codecs,
    upstream: Operation,
    client: Operation,
    input: Reader,
    decoder: Box<dyn StreamDecoder>,
    encoder: Box<dyn StreamEncoder>,
    array: Option<ArrayWriter>,
    names: Arc<NameMap>,
    seen: ResponseStats,
    events: Vec<Event>,
    /// Bytes of blocks that are not complete: an encoder may have to hold them.
    open: HashMap<u32, usize>,
    open_bytes: usize,
    /// `End` or `Error` went out.
    over: bool,
    /// The upstream itself has said that it failed.
    states: bool,
    /// The upstream's whole body, if it is an error of the client's own dialect.
    stated: Option<Bytes>,
}

impl GenerateStream {
    /// From the upstream's operation to the client's (`ends`), in the upstream's framing and the client's (`framed`).
    pub(crate) fn between(
        codecs: Codecs,
        ends: (Operation, Operation),
        framed: (Wire, Framing),
        context: &ResponseContext,
        names: Arc<NameMap>,
    ) -> Self {
        Self {
            codecs,
            upstream: ends.0,
            client: ends.1,
            input: Reader::new(framed.0),
            decoder: codecs.upstream.stream_decoder(),
            encoder: codecs.client.stream_encoder(context),
            array: (framed.1 == Framing::JsonArray).then(ArrayWriter::new),
            names,
            seen: ResponseStats::default(),
            events: Vec::new(),
            open: HashMap::new(),
            open_bytes: 0,
            over: false,
            states: false,
            stated: None,
        }
    }

    pub(crate) fn stated_error(&self) -> Option<Bytes> {
        self.stated.clone()
    }

    /// Whether the upstream itself has said that it failed, be it in an event or in one document in place of events.
    pub(crate) fn states_error(&self) -> bool {
        self.states
    }

    pub(crate) fn stats(&self) -> &ResponseStats {
        &self.seen
    }

    /// How many candidates have said why they ended.
    pub(crate) fn finished(&self) -> u64 {
        self.decoder.finished()
    }

    pub(crate) fn held(&self) -> usize {
        self.input.held().saturating_add(self.open_bytes).saturating_add(self.encoder.held())
    }

    pub(crate) fn push(&mut self, chunk: &[u8]) -> Bytes {
        if self.over {
            return Bytes::new();
        }
        let (decoder, events) = (&mut self.decoder, &mut self.events);
        let read = self.input.push(chunk, |frame| decoder.push(frame, events));
        self.states = self.events.iter().any(|event| matches!(event, Event::Error(_)));
        if let Err(broken) = read {
            self.events.push(Event::Error(Problem::new(ProblemKind::Upstream, broken.to_string())));
        }
        self.written()
    }

    pub(crate) fn finish(&mut self) -> Bytes {
        if self.over {
            return Bytes::new();
        }
        let (decoder, events) = (&mut self.decoder, &mut self.events);
        let document =
            std::mem::replace(&mut self.input, Reader::new(Wire::Whole)).finish(|frame| decoder.push(frame, events));
        match document {
            Some(body) => match whole::decode(self.upstream, self.codecs, &body) {
                Ok(response) => to_events::events(response, events),
                Err(problem) => {
                    events.push(Event::Error(problem));
                    let stated = stated::document(self.upstream, &body);
                    self.states = stated.is_some();
                    self.stated = stated.filter(|_| self.upstream == self.client);
                }
            },
            None => {
                self.states = events.iter().any(|event| matches!(event, Event::Error(_)));
                decoder.finish(events);
            }
        }
        // A decoder that says neither how it ended nor that it failed has not seen the end.
        self.events.push(Event::Error(truncated()));
        self.written()
    }

    pub(crate) fn fail(&mut self, problem: &Problem) -> Bytes {
        if self.over {
            return Bytes::new();
        }
        self.events.push(Event::Error(problem.clone()));
        self.written()
    }

    pub(crate) fn heartbeat(&mut self) -> Bytes {
        let mut out = Vec::new();
        if !self.over {
            self.encoder.heartbeat(&mut out);
            if self.array.is_some() {
                out = b"\n".to_vec();
            }
        }
        out.into()
    }

    /// Counts what an encoder may have to hold until its block or the answer is complete: arguments, reasoning, state and
    /// sources. Whether that is not too much.
    fn holds(&mut self, event: &Event) -> bool {
        match event {
            Event::BlockDelta { block, delta } => {
                let bytes = match delta {
                    Delta::Text(_) => return true,
                    Delta::Arguments(text) | Delta::Reasoning(text) => text.len(),
                    Delta::State(state) => state.value.len(),
                    // Held for the end of the answer.
                    Delta::Citation(citation) => citation.url.as_ref().map_or(64, |url| url.len().max(64)),
                };
                self.open_bytes = self.open_bytes.saturating_add(bytes);
                if !matches!(delta, Delta::Citation(_)) {
                    let held = self.open.entry(*block).or_default();
                    *held = held.saturating_add(bytes);
                }
            }
            Event::BlockEnd { block } => {
                let held = self.open.remove(block).unwrap_or(0);
                self.open_bytes = self.open_bytes.saturating_sub(held);
            }
            _ => {}
        }
        self.open_bytes <= MAX_EVENT
    }

    /// Encodes the events that are waiting; nothing after the end.
    fn written(&mut self) -> Bytes {
        let mut out = Vec::new();
        for mut event in std::mem::take(&mut self.events) {
            if self.over {
                break;
            }
            if !self.holds(&event) {
                event = Event::Error(unreadable("the upstream's answer has a part that is too large to be translated"));
            }
            if let Event::BlockStart { kind: BlockKind::ToolCall { name, .. }, .. } = &mut event {
                let original = self.names.original(name);
                if original != name {
                    *name = original.to_owned();
                }
            }
            if let Event::Error(problem) = &mut event
                && self.upstream != self.client
            {
                in_clients_words(problem, self.client);
            }
            observe::event(&event, self.client, &mut self.seen);
            self.over = matches!(event, Event::End | Event::Error(_));
            self.encoder.push(&event, &mut out);
        }
        let Some(array) = &mut self.array else { return out.into() };
        let mut elements = Vec::new();
        array.push(&out, &mut elements);
        if self.over {
            array.finish(&mut elements);
        }
        elements.into()
    }
}
