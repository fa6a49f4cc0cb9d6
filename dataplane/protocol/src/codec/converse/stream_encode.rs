//! Events for a Converse client (docs/protocols/converse.md), in frames of an event stream.
//!
//! One block at a time, numbered without gaps; only calls and pictures have a start, words and reasoning begin with their
//! first delta. The end and the counts are two events, `messageStop` and `metadata`, and counts may come late, so that both
//! are held until the answer is complete. A heartbeat is an event of a name that no client knows: SDKs leave such events
//! out, for new ones may come at any time.

use super::{finish, formats::blob, response::picture, usage};
use crate::{
    codec::{
        ResponseContext, StreamEncoder, arguments,
        block_sequencer::{BlockSequencer, Sink},
        ids::{BEDROCK_CALL_ID, call_id},
        json::write::{self, Members},
        media,
        tagged_state::{self, Place},
    },
    dialect::Family,
    ir::{BlockKind, Delta, Event, Finish, FinishReason, Opaque, Usage},
    problem::{Problem, ProblemKind, render},
    wire::event_stream,
};

/// The name of an event that says nothing.
pub const HEARTBEAT: &str = "heartbeat";

/// Writes one answer.
#[derive(Debug, Default)]
pub struct Encoder {
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
    /// The number of the next block.
    next: u32,
    has_call: bool,
    open: Open,
}

/// The block that is open; on the wire it begins with its first content.
#[derive(Debug, Default)]
enum Open {
    /// None, or one that this client has no use for.
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

impl Encoder {
    /// For one answer, which names neither a model nor an id.
    pub fn new(_reply: &ResponseContext) -> Self {
        Self::default()
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.started, true) {
            event(out, "messageStart", |o| o.put("role", "assistant"));
        }
    }

    fn fail(&mut self, problem: &Problem, out: &mut Vec<u8>) {
        render::bedrock_event(problem, out);
        self.done = true;
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        self.serialiser.flush(&mut Writer { wire: &mut self.wire, out });
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.flush(out);
        let finish = self.finish.take().unwrap_or_else(|| FinishReason::Stop.into());
        event(out, "messageStop", |o| {
            o.put("stopReason", finish::write(finish.reason, self.wire.has_call));
            if let Some(text) = &finish.stop_sequence {
                o.object("additionalModelResponseFields", |o| o.put("stop_sequence", text));
            }
        });
        event(out, "metadata", |o| usage::write(self.usage, o));
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
            Event::Lost(_) => return,
            _ => self.start(out),
        }
        let mut writer = Writer { wire: &mut self.wire, out };
        let fits = match event {
            // Only the first candidate can be said; blocks of others are unknown to the serialiser from here on.
            Event::BlockStart { block, candidate: 0, kind } => self.serialiser.start(*block, kind.clone(), &mut writer),
            Event::BlockDelta { block, delta } => self.serialiser.grow(*block, delta, &mut writer),
            Event::BlockEnd { block } => {
                self.serialiser.end(*block, &mut writer);
                Ok(())
            }
            Event::Start { usage, .. } => {
                self.usage.merge(usage.unwrap_or_default());
                Ok(())
            }
            Event::Usage(usage) => {
                self.usage.merge(*usage);
                Ok(())
            }
            Event::Finish { candidate: 0, finish } => {
                self.finish = Some(finish.clone());
                self.flush(out);
                Ok(())
            }
            Event::End => {
                self.end(out);
                Ok(())
            }
            Event::BlockStart { .. } | Event::Finish { .. } | Event::Lost(_) | Event::Ping | Event::Error(_) => Ok(()),
        };
        if let Err(overflow) = fits {
            self.fail(&Problem::new(ProblemKind::Upstream, overflow.to_string()), out);
        }
    }

    fn heartbeat(&mut self, out: &mut Vec<u8>) {
        if !self.done {
            event(out, HEARTBEAT, |_| ());
        }
    }
}

impl Sink for Writer<'_> {
    fn open(&mut self, kind: &BlockKind) {
        self.wire.open = match kind {
            BlockKind::Text | BlockKind::Refusal => Open::Text { begun: false, state: None },
            BlockKind::Reasoning { redacted } => Open::Reasoning { begun: false, redacted: *redacted, state: None },
            BlockKind::ToolCall { id, name } => Open::Call {
                id: call_id(id, BEDROCK_CALL_ID).into_owned(),
                name: name.clone(),
                begun: false,
                state: None,
                odd: None,
            },
            BlockKind::Media(block) => {
                match picture(block) {
                    Some((format, bytes)) => self.picture(format, bytes),
                    None => {
                        if let Some(words) = media::stand_in(block) {
                            self.delta(|o| o.put("text", &words));
                            self.stop();
                        }
                    }
                }
                Open::Nothing
            }
            // What a vendor ran on its side is of no use to this client.
            BlockKind::Unknown { .. } => Open::Nothing,
        };
    }

    fn grow(&mut self, delta: &Delta) {
        let mut open = std::mem::take(&mut self.wire.open);
        match (&mut open, delta) {
            (Open::Text { begun, .. }, Delta::Text(text)) => {
                *begun = true;
                self.delta(|o| o.put("text", text));
            }
            (Open::Reasoning { begun, .. }, Delta::Reasoning(text)) => {
                *begun = true;
                self.thought("text", text);
            }
            (Open::Call { id, name, begun, odd, .. }, Delta::Arguments(text)) => {
                if !*begun {
                    self.begin_call(begun, id, name);
                    if !text.trim_start().starts_with('{') && !text.trim().is_empty() {
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
                    self.carrier(Place::TextBefore, &state);
                }
            }
            Open::Reasoning { begun, redacted, state } => self.close_thought(begun, redacted, state.as_ref()),
            Open::Call { id, name, mut begun, state, odd } => {
                if !begun {
                    self.begin_call(&mut begun, &id, &name);
                    self.arguments("{}");
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

impl Writer<'_> {
    /// Reasoning ends with its signature, if it has one: Claude's own, or ours around what another vendor issued.
    fn close_thought(&mut self, begun: bool, redacted: bool, state: Option<&Opaque>) {
        let native = state.filter(|state| state.family == Family::Anthropic);
        match (native, state) {
            (Some(native), _) if redacted && !begun => self.thought("redactedContent", &blob(&native.value)),
            (Some(native), _) => self.thought("signature", &native.value),
            (None, Some(_)) => {
                let place = if redacted { Place::Redacted } else { Place::Thought };
                self.thought("signature", &tagged_state::write(place, state));
            }
            (None, None) if begun => {}
            (None, None) => return,
        }
        self.stop();
    }

    /// An empty reasoning block that carries state for a neighbour.
    fn carrier(&mut self, place: Place, state: &Opaque) {
        self.thought("signature", &tagged_state::write(place, Some(state)));
        self.stop();
    }

    fn begin_call(&mut self, begun: &mut bool, id: &str, name: &str) {
        *begun = true;
        self.wire.has_call = true;
        self.begin(|o| {
            o.object("toolUse", |o| {
                o.put("toolUseId", id);
                o.put("name", name);
            });
        });
    }

    fn picture(&mut self, format: &str, bytes: &str) {
        self.begin(|o| o.object("image", |o| o.put("format", format)));
        self.delta(|o| o.object("image", |o| o.object("source", |o| o.put("bytes", bytes))));
        self.stop();
    }

    fn thought(&mut self, member: &str, text: &str) {
        self.delta(|o| o.object("reasoningContent", |o| o.put(member, text)));
    }

    fn arguments(&mut self, text: &str) {
        self.delta(|o| o.object("toolUse", |o| o.put("input", text)));
    }

    fn begin(&mut self, fill: impl FnOnce(&mut Members<'_>)) {
        let index = self.wire.next;
        event(self.out, "contentBlockStart", |o| {
            o.object("start", fill);
            o.put("contentBlockIndex", &index);
        });
    }

    fn delta(&mut self, fill: impl FnOnce(&mut Members<'_>)) {
        let index = self.wire.next;
        event(self.out, "contentBlockDelta", |o| {
            o.put("contentBlockIndex", &index);
            o.object("delta", fill);
        });
    }

    fn stop(&mut self) {
        event(self.out, "contentBlockStop", |o| o.put("contentBlockIndex", &self.wire.next));
        self.wire.next = self.wire.next.saturating_add(1);
    }
}

fn event(out: &mut Vec<u8>, name: &str, fill: impl FnOnce(&mut Members<'_>)) {
    let mut data = Vec::with_capacity(128);
    write::object(&mut data, fill);
    event_stream::write(out, name, &data);
}

#[cfg(test)]
mod tests;
