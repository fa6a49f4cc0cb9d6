//! An Anthropic upstream's events (docs/protocols/messages.md, streaming.md).
//!
//! Usage is cumulative and comes twice: later members replace earlier ones, absent ones leave them (hard cases 219, 220).
//! A call starts with `input: {}`, which is not its arguments (hard case 73); a start with members is, unless deltas
//! follow. A signature comes whole before its block ends. What Anthropic ran itself is one foreign block.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{citations, finish, problem, usage::WireUsage};
use crate::{
    codec::{StreamDecoder, arguments, chat, ids::invented_call_id, json::loose},
    dialect::Family,
    ir::{BlockKind, Citation, Delta, Event, Finish, Opaque, Raw, Usage},
    problem::{Problem, ProblemKind, understand},
    wire::sse::Frame,
};

/// Reads one answer.
#[derive(Debug, Default)]
pub struct Decoder {
    started: bool,
    done: bool,
    /// Open blocks by the upstream's index.
    blocks: BTreeMap<u32, Open>,
    /// The number of the next block.
    next: u32,
    /// Characters of visible text so far.
    said: u64,
    has_call: bool,
    usage: Usage,
    /// Held until `message_stop`.
    finish: Option<Finish>,
}

#[derive(Debug)]
struct Open {
    number: u32,
    what: What,
}

#[derive(Debug)]
enum What {
    Text {
        /// Characters of visible text before it.
        start: u64,
        citations: Vec<Citation>,
    },
    Thinking {
        signature: String,
    },
    Redacted,
    Call {
        /// Arguments that stood in the start; used if no delta follows.
        whole: Option<String>,
    },
    /// Something that Anthropic ran, with the arguments it was given.
    Foreign {
        kind: String,
        raw: Raw,
        arguments: String,
    },
}

/// Every event's members that matter.
#[derive(Deserialize)]
struct Wire<'a> {
    r#type: String,
    #[serde(default, deserialize_with = "loose::number")]
    index: Option<u32>,
    message: Option<WireMessage>,
    #[serde(borrow)]
    content_block: Option<&'a RawValue>,
    delta: Option<WireDelta>,
    usage: Option<WireUsage>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WireMessage {
    #[serde(default, deserialize_with = "loose::owned")]
    id: Option<String>,
    #[serde(default, deserialize_with = "loose::owned")]
    model: Option<String>,
    usage: Option<WireUsage>,
    container: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct WireBlock {
    #[serde(default)]
    r#type: String,
    #[serde(default, deserialize_with = "loose::owned")]
    text: Option<String>,
    citations: Option<Raw>,
    #[serde(default, deserialize_with = "loose::owned")]
    thinking: Option<String>,
    #[serde(default, deserialize_with = "loose::owned")]
    signature: Option<String>,
    #[serde(default, deserialize_with = "loose::owned")]
    data: Option<String>,
    #[serde(default, deserialize_with = "loose::owned")]
    id: Option<String>,
    #[serde(default, deserialize_with = "loose::owned")]
    name: Option<String>,
    input: Option<Raw>,
}

#[derive(Default, Deserialize)]
struct WireDelta {
    #[serde(default, deserialize_with = "loose::owned")]
    text: Option<String>,
    /// A piece of the arguments, or from some servers the object itself.
    #[serde(default, deserialize_with = "loose::json")]
    partial_json: Option<String>,
    #[serde(default, deserialize_with = "loose::owned")]
    thinking: Option<String>,
    #[serde(default, deserialize_with = "loose::owned")]
    signature: Option<String>,
    #[serde(default, deserialize_with = "loose::owned")]
    stop_reason: Option<String>,
    #[serde(default, deserialize_with = "loose::owned")]
    stop_sequence: Option<String>,
    stop_details: Option<WireStopDetails>,
    citation: Option<Raw>,
    container: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct WireStopDetails {
    explanation: Option<String>,
}

impl StreamDecoder for Decoder {
    fn push(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) {
        // A comment that a careless proxy put into a data line, and another dialect's sentinel.
        if self.done || frame.data.is_empty() || frame.data.starts_with(':') || frame.data == "[DONE]" {
            return;
        }
        match serde_json::from_str::<Wire<'_>>(frame.data) {
            Ok(wire) => self.event(wire, frame.data, out),
            Err(_) => self.fail(understand::no_answer(Family::Anthropic, frame.data.as_bytes()), out),
        }
    }

    fn finish(&mut self, out: &mut Vec<Event>) {
        if self.done {
            return;
        }
        if self.finish.is_some() {
            self.end(out);
        } else {
            self.fail(Problem::new(ProblemKind::Upstream, "the upstream's answer ended before it was complete"), out);
        }
    }

    fn finished(&self) -> u64 {
        u64::from(self.finish.is_some())
    }
}

// === impl Decoder ===

impl Decoder {
    fn event(&mut self, wire: Wire<'_>, data: &str, out: &mut Vec<Event>) {
        match wire.r#type.as_str() {
            "message_start" if self.started => self.fail(problem::began_again(), out),
            "message_start" => self.start(wire.message, out),
            "content_block_start" => self.block_start(wire.index.unwrap_or_default(), wire.content_block, out),
            "content_block_delta" => self.delta(wire.index.unwrap_or_default(), wire.delta.unwrap_or_default(), out),
            "content_block_stop" => {
                if let Some(open) = self.blocks.remove(&wire.index.unwrap_or_default()) {
                    close(open, self.said, out);
                }
            }
            "message_delta" => self.message_delta(wire.delta.unwrap_or_default(), wire.usage, out),
            "message_stop" => self.end(out),
            "ping" => out.push(Event::Ping),
            "error" => {
                let error: Option<serde_json::Value> =
                    wire.error.and_then(|error| serde_json::from_str(error.get()).ok());
                self.fail(
                    match error.filter(understand::is_error) {
                        Some(error) => understand::event(Family::Anthropic, &serde_json::json!({ "error": error })),
                        None => understand::no_answer(Family::Anthropic, data.as_bytes()),
                    },
                    out,
                );
            }
            // New kinds of events are no failure.
            _ => {}
        }
    }

    fn start(&mut self, message: Option<WireMessage>, out: &mut Vec<Event>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let is_contained = message.as_ref().is_some_and(|message| message.container.is_some());
        let (id, model, usage) =
            message.map_or((None, None, None), |message| (message.id, message.model, message.usage));
        let usage = usage.map(Usage::from);
        self.usage.merge(usage.unwrap_or_default());
        out.push(Event::Start { id, model, created: None, usage });
        out.extend(is_contained.then(|| Event::Lost("container".into())));
    }

    fn block_start(&mut self, index: u32, raw: Option<&RawValue>, out: &mut Vec<Event>) {
        self.start(None, out);
        // What it is, its first delta will say.
        let block = raw.and_then(|raw| Some((raw, serde_json::from_str::<WireBlock>(raw.get()).ok()?)));
        let Some((raw, block)) = block.filter(|(_, block)| !block.r#type.is_empty()) else { return };
        // An index that is used again ends its former block.
        if let Some(former) = self.blocks.remove(&index) {
            close(former, self.said, out);
        }
        let number = self.next;
        self.next = number.saturating_add(1);
        let what = self.open(number, block, raw, out);
        self.blocks.insert(index, Open { number, what });
    }

    fn open(&mut self, number: u32, block: WireBlock, raw: &RawValue, out: &mut Vec<Event>) -> What {
        let mut begin = |kind: BlockKind, delta: Option<Delta>| {
            out.push(Event::BlockStart { block: number, candidate: 0, kind });
            out.extend(delta.map(|delta| Event::BlockDelta { block: number, delta }));
        };
        let said = |text: Option<String>| text.filter(|text| !text.is_empty());
        match block.r#type.as_str() {
            "text" => {
                let start = self.said;
                let citations = block.citations.as_deref().map(citations::read_all).unwrap_or_default();
                self.said = start.saturating_add(length(block.text.as_deref()));
                begin(BlockKind::Text, said(block.text).map(Delta::Text));
                What::Text { start, citations }
            }
            "thinking" => {
                begin(BlockKind::Reasoning { redacted: false }, said(block.thinking).map(Delta::Reasoning));
                What::Thinking { signature: block.signature.unwrap_or_default() }
            }
            "redacted_thinking" => {
                let state = said(block.data).map(native).map(Delta::State);
                begin(BlockKind::Reasoning { redacted: true }, state);
                What::Redacted
            }
            "tool_use" => {
                self.has_call = true;
                let id = said(block.id).unwrap_or_else(|| invented_call_id(raw.get(), number as usize));
                begin(BlockKind::ToolCall { id, name: block.name.unwrap_or_default() }, None);
                What::Call {
                    whole: block
                        .input
                        .filter(|input| !is_empty_object(input))
                        .map(|input| arguments::unquoted(input.get().to_owned())),
                }
            }
            _ => What::Foreign { kind: block.r#type, raw: raw.to_owned(), arguments: String::new() },
        }
    }

    fn delta(&mut self, index: u32, delta: WireDelta, out: &mut Vec<Event>) {
        if !self.blocks.contains_key(&index) && !self.begin_unsaid(index, &delta, out) {
            return;
        }
        let Some(open) = self.blocks.get_mut(&index) else { return };
        let grown = match &mut open.what {
            What::Text { citations, .. } => {
                citations.extend(delta.citation.as_deref().map(citations::read));
                self.said = self.said.saturating_add(length(delta.text.as_deref()));
                delta.text.map(Delta::Text)
            }
            What::Thinking { signature } => {
                if let Some(whole) = delta.signature {
                    *signature = whole;
                }
                delta.thinking.map(Delta::Reasoning)
            }
            What::Call { whole } => delta.partial_json.filter(|text| !text.is_empty()).map(|text| {
                *whole = None;
                Delta::Arguments(text)
            }),
            What::Foreign { arguments, .. } => {
                arguments.push_str(&delta.partial_json.unwrap_or_default());
                None
            }
            What::Redacted => None,
        };
        out.extend(grown.map(|delta| Event::BlockDelta { block: open.number, delta }));
    }

    /// Begins the block that a delta belongs to and that the upstream did not begin, some do not; whether that could be
    /// done. A call without its beginning has no name, and fails the answer.
    fn begin_unsaid(&mut self, index: u32, delta: &WireDelta, out: &mut Vec<Event>) -> bool {
        let (kind, what) = if delta.text.is_some() || delta.citation.is_some() {
            (BlockKind::Text, What::Text { start: self.said, citations: Vec::new() })
        } else if delta.thinking.is_some() || delta.signature.is_some() {
            (BlockKind::Reasoning { redacted: false }, What::Thinking { signature: String::new() })
        } else {
            if delta.partial_json.as_deref().is_some_and(|piece| !piece.is_empty()) {
                self.fail(Problem::new(ProblemKind::Upstream, "the upstream sent arguments without a call"), out);
            }
            return false;
        };
        self.start(None, out);
        let number = self.next;
        self.next = number.saturating_add(1);
        out.push(Event::BlockStart { block: number, candidate: 0, kind });
        self.blocks.insert(index, Open { number, what });
        true
    }

    fn message_delta(&mut self, delta: WireDelta, usage: Option<WireUsage>, out: &mut Vec<Event>) {
        self.start(None, out);
        if let Some(usage) = usage {
            self.usage.merge(usage.into());
            out.push(Event::Usage(self.usage));
        }
        if delta.container.is_some() {
            out.push(Event::Lost("container".into()));
        }
        if let Some(explanation) = delta.stop_details.and_then(|details| details.explanation) {
            self.refusal(explanation, out);
        }
        if let Some(word) = delta.stop_reason.as_deref().filter(|word| chat::broke_off(word)) {
            return self.fail(chat::stopped_early(word), out);
        }
        if let Some(reason) = delta.stop_reason {
            self.finish = Some(finish::read(Some(&reason), delta.stop_sequence, self.has_call));
        }
    }

    /// Why the answer was stopped, in words for the user.
    fn refusal(&mut self, explanation: String, out: &mut Vec<Event>) {
        let block = self.next;
        self.next = block.saturating_add(1);
        out.push(Event::BlockStart { block, candidate: 0, kind: BlockKind::Refusal });
        out.push(Event::BlockDelta { block, delta: Delta::Text(explanation) });
        out.push(Event::BlockEnd { block });
    }

    fn end(&mut self, out: &mut Vec<Event>) {
        self.start(None, out);
        for (_, open) in std::mem::take(&mut self.blocks) {
            close(open, self.said, out);
        }
        let finish = self.finish.take().unwrap_or_else(|| finish::read(Some("end_turn"), None, self.has_call));
        out.push(Event::Finish { candidate: 0, finish });
        out.push(Event::End);
        self.done = true;
    }

    fn fail(&mut self, problem: Problem, out: &mut Vec<Event>) {
        out.push(Event::Error(problem));
        self.done = true;
    }
}

/// Gives what was held for the block's end. `said` characters of visible text have come until here.
fn close(open: Open, said: u64, out: &mut Vec<Event>) {
    let block = open.number;
    let held = match open.what {
        What::Text { start, citations } => {
            let placed = citations.into_iter().map(|citation| Citation { span: start..said, ..citation });
            out.extend(placed.map(|citation| Event::BlockDelta { block, delta: Delta::Citation(citation) }));
            None
        }
        What::Thinking { signature } if !signature.is_empty() => Some(Delta::State(native(signature))),
        What::Call { whole: Some(whole) } => Some(Delta::Arguments(whole)),
        What::Foreign { kind, raw, arguments } => {
            let raw = with_input(raw, &arguments);
            out.push(Event::BlockStart {
                block,
                candidate: 0,
                kind: BlockKind::Unknown { family: Family::Anthropic, kind, raw },
            });
            None
        }
        What::Thinking { .. } | What::Redacted | What::Call { whole: None } => None,
    };
    out.extend(held.map(|delta| Event::BlockDelta { block, delta }));
    out.push(Event::BlockEnd { block });
}

/// The block with the arguments that came as deltas.
fn with_input(raw: Raw, arguments: &str) -> Raw {
    let (Ok(mut members), Ok(input)) =
        (serde_json::from_str::<BTreeMap<String, Raw>>(raw.get()), serde_json::from_str::<Raw>(arguments))
    else {
        return raw;
    };
    members.insert("input".to_owned(), input);
    serde_json::value::to_raw_value(&members).unwrap_or(raw)
}

fn is_empty_object(input: &RawValue) -> bool {
    let text = input.get();
    text == "null" || text.bytes().filter(|byte| !byte.is_ascii_whitespace()).eq(*b"{}")
}

fn length(text: Option<&str>) -> u64 {
    text.map_or(0, |text| text.chars().count() as u64)
}

const fn native(value: String) -> Opaque {
    Opaque { family: Family::Anthropic, value }
}

#[cfg(test)]
mod tests;
