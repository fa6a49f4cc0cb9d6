//! Events for an Anthropic client (docs/protocols/streaming.md).
//!
//! Clients demand one `message_start`, dense block numbers, one open block at a time, usage in `message_start` and in
//! the one `message_delta`, and `message_stop` at a good end only. So blocks go through the serialiser, start with their
//! first content, and the finish is held until the end, for counts may follow it.

use super::{
    citations,
    finish::{self, Said},
    usage,
};
use crate::{
    codec::{
        ResponseContext, StreamEncoder, arguments,
        block_sequencer::{BlockSequencer, Sink},
        ids::{ANTHROPIC_CALL_ID, call_id, prefixed},
        json::write::{self, Members},
        media,
        tagged_state::{self, Place},
    },
    dialect::Family,
    ir::{BlockKind, Delta, Event, Finish, FinishReason, Opaque, Usage},
    problem::{Problem, ProblemKind, render},
    wire::sse,
};

/// Writes one answer.
#[derive(Debug)]
pub struct Encoder {
    reply: ResponseContext,
    serialiser: BlockSequencer,
    wire: Wire,
    usage: Usage,
    finish: Option<Finish>,
    started: bool,
    done: bool,
}

/// Where the blocks on the wire stand.
#[derive(Debug, Default)]
struct Wire {
    /// The number of the next block to start.
    next: u32,
    /// What was written.
    said: Said,
    open: Open,
}

/// The block that the serialiser has open; on the wire it begins with its first content.
#[derive(Debug, Default)]
enum Open {
    /// None, or one that an Anthropic client has no use for.
    #[default]
    Nothing,
    Text {
        begun: bool,
        state: Option<Opaque>,
    },
    Reasoning {
        begun: bool,
        redacted: bool,
        state: Option<Opaque>,
    },
    Call {
        id: String,
        name: String,
        begun: bool,
        state: Option<Opaque>,
        /// Arguments that are no object, held to be wrapped.
        odd: Option<String>,
    },
}

/// The serialiser's way to the output.
struct Writer<'a> {
    wire: &'a mut Wire,
    out: &'a mut Vec<u8>,
}

// === impl Encoder ===

impl Encoder {
    /// For one answer.
    pub fn new(reply: &ResponseContext) -> Self {
        Self {
            reply: reply.clone(),
            serialiser: BlockSequencer::default(),
            wire: Wire::default(),
            usage: Usage::default(),
            finish: None,
            started: false,
            done: false,
        }
    }

    fn start(&mut self, id: Option<&str>, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        event(out, "message_start", |o| {
            o.object("message", |message| {
                message.put("id", &prefixed(id, "msg_", &self.reply.id));
                message.put("type", "message");
                message.put("role", "assistant");
                message.put("model", &self.reply.model);
                message.list("content", |_| ());
                message.put("stop_reason", &None::<&str>);
                message.put("stop_sequence", &None::<&str>);
                message.object("usage", |members| usage::write(self.usage, members));
            });
        });
    }

    fn fail(&mut self, problem: &Problem, out: &mut Vec<u8>) {
        event(out, "error", |o| o.put_json("error", &render::anthropic_error(problem)));
        self.done = true;
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        self.serialiser.flush(&mut Writer { wire: &mut self.wire, out });
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.flush(out);
        let finish = self.finish.take().unwrap_or_else(|| FinishReason::Stop.into());
        event(out, "message_delta", |o| {
            o.object("delta", |delta| {
                delta.put("stop_reason", finish::write(finish.reason, self.wire.said));
                delta.put("stop_sequence", &finish.stop_sequence);
            });
            o.object("usage", |members| usage::write(self.usage, members));
        });
        event(out, "message_stop", |_| ());
        self.done = true;
    }
}

impl StreamEncoder for Encoder {
    fn push(&mut self, event: &Event, out: &mut Vec<u8>) {
        if self.done {
            return;
        }
        match event {
            Event::Error(problem) => return self.fail(problem, out),
            Event::Ping => return self.heartbeat(out),
            Event::Start { id, usage, .. } => {
                self.usage.merge(usage.unwrap_or_default());
                return self.start(id.as_deref(), out);
            }
            Event::Lost(_) => return,
            _ => self.start(None, out),
        }
        let mut writer = Writer { wire: &mut self.wire, out };
        match event {
            // Only the first candidate can be said; blocks of others are unknown to the serialiser from here on.
            Event::BlockStart { block, candidate: 0, kind } => {
                if let Err(overflow) = self.serialiser.start(*block, kind.clone(), &mut writer) {
                    self.fail(&Problem::new(ProblemKind::Upstream, overflow.to_string()), out);
                }
            }
            Event::BlockDelta { block, delta } => {
                if let Err(overflow) = self.serialiser.grow(*block, delta, &mut writer) {
                    self.fail(&Problem::new(ProblemKind::Upstream, overflow.to_string()), out);
                }
            }
            Event::BlockEnd { block } => self.serialiser.end(*block, &mut writer),
            Event::Usage(usage) => self.usage.merge(*usage),
            Event::Finish { candidate: 0, finish } => {
                self.finish = Some(finish.clone());
                self.flush(out);
            }
            Event::End => self.end(out),
            Event::BlockStart { .. }
            | Event::Finish { .. }
            | Event::Start { .. }
            | Event::Lost(_)
            | Event::Ping
            | Event::Error(_) => {}
        }
    }

    /// Legal at any time, also before `message_start`.
    fn heartbeat(&mut self, out: &mut Vec<u8>) {
        if !self.done {
            event(out, "ping", |_| ());
        }
    }
}

impl Sink for Writer<'_> {
    fn open(&mut self, kind: &BlockKind) {
        self.wire.said.refusal |= matches!(kind, BlockKind::Refusal);
        self.wire.open = match kind {
            BlockKind::Text | BlockKind::Refusal => Open::Text { begun: false, state: None },
            BlockKind::Reasoning { redacted } => Open::Reasoning { begun: false, redacted: *redacted, state: None },
            BlockKind::ToolCall { id, name } => Open::Call {
                id: call_id(id, ANTHROPIC_CALL_ID).into_owned(),
                name: name.clone(),
                begun: false,
                state: None,
                odd: None,
            },
            BlockKind::Unknown { family: Family::Anthropic, raw, .. } => {
                event(self.out, "content_block_start", |o| {
                    o.put("index", &self.wire.next);
                    o.put("content_block", raw);
                });
                self.stop();
                Open::Nothing
            }
            // No Messages answer can hold media; the user is told that there were some.
            BlockKind::Media(media) => {
                if let Some(words) = media::stand_in(media) {
                    self.text(&mut false, &words);
                    self.stop();
                }
                Open::Nothing
            }
            // What another vendor ran on its side is of no use to this client.
            BlockKind::Unknown { .. } => Open::Nothing,
        };
    }

    fn grow(&mut self, delta: &Delta) {
        let mut open = std::mem::take(&mut self.wire.open);
        match (&mut open, delta) {
            (Open::Text { begun, .. }, Delta::Text(text)) => self.text(begun, text),
            (Open::Text { begun, .. }, Delta::Citation(citation)) => {
                if let Some(raw) = citations::native(citation) {
                    self.begin_text(begun);
                    event(self.out, "content_block_delta", |o| {
                        o.put("index", &self.wire.next);
                        o.object("delta", |delta| {
                            delta.put("type", "citations_delta");
                            delta.put("citation", raw);
                        });
                    });
                }
            }
            (Open::Reasoning { begun, .. }, Delta::Reasoning(text)) => self.thought(begun, text),
            (Open::Call { id, name, begun, odd, .. }, Delta::Arguments(text)) => {
                if !*begun {
                    self.begin_call(begun, id, name);
                    if !text.trim_start().starts_with(['{']) && !text.trim().is_empty() {
                        *odd = Some(String::new());
                    }
                }
                match odd {
                    Some(held) => held.push_str(text),
                    None => self.arguments(text),
                }
            }
            // Known in time: the state goes before the call, where a reader expects it.
            (Open::Call { begun: false, .. }, Delta::State(state)) => self.carrier(Place::CallBehind, state),
            (
                Open::Text { state, .. } | Open::Reasoning { state, .. } | Open::Call { state, .. },
                Delta::State(new),
            ) => *state = Some(new.clone()),
            _ => {}
        }
        self.wire.open = open;
    }

    fn close(&mut self) {
        match std::mem::take(&mut self.wire.open) {
            Open::Nothing => {}
            Open::Text { begun, state } => {
                if begun {
                    self.stop();
                }
                if let Some(state) = state {
                    self.carrier(Place::TextBefore, &state); // hard case 145
                }
            }
            Open::Reasoning { begun, redacted, state } => self.close_thought(begun, redacted, state.as_ref()),
            Open::Call { id, name, mut begun, state, odd } => {
                if !begun {
                    self.begin_call(&mut begun, &id, &name);
                }
                if let Some(odd) = odd {
                    self.arguments(&arguments::as_object(&odd).json);
                }
                self.stop();
                if let Some(state) = state {
                    self.carrier(Place::CallBefore, &state);
                }
            }
        }
    }
}

// === impl Writer ===

impl Writer<'_> {
    fn text(&mut self, begun: &mut bool, text: &str) {
        self.begin_text(begun);
        self.delta("text_delta", "text", text);
    }

    fn begin_text(&mut self, begun: &mut bool) {
        if !std::mem::replace(begun, true) {
            self.begin(|block| {
                block.put("type", "text");
                block.put("text", "");
            });
        }
    }

    fn thought(&mut self, begun: &mut bool, text: &str) {
        if !std::mem::replace(begun, true) {
            self.begin_thinking();
        }
        self.delta("thinking_delta", "thinking", text);
    }

    /// A thinking block ends with a signature: the vendor's own, or ours around what another vendor issued.
    fn close_thought(&mut self, begun: bool, redacted: bool, state: Option<&Opaque>) {
        let native = state.filter(|state| state.family == Family::Anthropic);
        if let (Some(native), true, false) = (native, redacted, begun) {
            self.begin(|block| {
                block.put("type", "redacted_thinking");
                block.put("data", &native.value);
            });
            return self.stop();
        }
        if !begun {
            if state.is_none() {
                return;
            }
            self.begin_thinking();
        }
        let place = if redacted { Place::Redacted } else { Place::Thought };
        let signature = native.map_or_else(|| tagged_state::write(place, state), |native| native.value.clone());
        self.delta("signature_delta", "signature", &signature);
        self.stop();
    }

    /// An empty thinking block that carries state for a neighbour.
    fn carrier(&mut self, place: Place, state: &Opaque) {
        self.begin_thinking();
        self.delta("signature_delta", "signature", &tagged_state::write(place, Some(state)));
        self.stop();
    }

    fn begin_call(&mut self, begun: &mut bool, id: &str, name: &str) {
        *begun = true;
        self.wire.said.call = true;
        self.begin(|block| {
            block.put("type", "tool_use");
            block.put("id", id);
            block.put("name", name);
            block.object("input", |_| ());
        });
    }

    fn begin_thinking(&mut self) {
        self.begin(|block| {
            block.put("type", "thinking");
            block.put("thinking", "");
            block.put("signature", "");
        });
    }

    fn arguments(&mut self, text: &str) {
        self.delta("input_json_delta", "partial_json", text);
    }

    fn begin(&mut self, fill: impl FnOnce(&mut Members<'_>)) {
        event(self.out, "content_block_start", |o| {
            o.put("index", &self.wire.next);
            o.object("content_block", fill);
        });
    }

    fn delta(&mut self, kind: &str, member: &str, text: &str) {
        event(self.out, "content_block_delta", |o| {
            o.put("index", &self.wire.next);
            o.object("delta", |delta| {
                delta.put("type", kind);
                delta.put(member, text);
            });
        });
    }

    fn stop(&mut self) {
        event(self.out, "content_block_stop", |o| o.put("index", &self.wire.next));
        self.wire.next = self.wire.next.saturating_add(1);
    }
}

/// One event with its `event:` line, which clients dispatch on (hard case 57).
fn event(out: &mut Vec<u8>, kind: &str, fill: impl FnOnce(&mut Members<'_>)) {
    let mut data = Vec::with_capacity(128);
    write::object(&mut data, |o| {
        o.put("type", kind);
        fill(o);
    });
    sse::write(out, Some(kind), &data);
}

#[cfg(test)]
mod tests;
