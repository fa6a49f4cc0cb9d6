//! A Converse upstream's events (docs/protocols/converse.md, streaming.md).
//!
//! Only calls and pictures have a start: words and reasoning begin with their first delta, and numbers may leave gaps (hard
//! case 244). `messageStop` comes before the counts, so that the end is held until these have come or the body has ended;
//! `metadata` without counts takes none away. A body that ends without `messageStop` was cut off. Exceptions arrive as
//! `error` ([`crate::wire::event_stream`]).

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    content_decode::{citation, native},
    finish,
    formats::Kind,
    usage,
};
use crate::{
    codec::{StreamDecoder, chat, ids::invented_call_id, json::loose},
    dialect::Family,
    ir::{Block, BlockKind, Citation, Delta, Event, Finish, Media, MediaSource, Usage},
    problem::{Problem, ProblemKind, understand},
    wire::sse::{Frame, MAX_EVENT},
};

/// Reads one answer.
#[derive(Debug, Default)]
pub struct Decoder {
    started: bool,
    done: bool,
    /// Open blocks by the upstream's number.
    blocks: BTreeMap<u32, Open>,
    /// The number of the next block.
    next: u32,
    /// Characters of visible text so far.
    said: u64,
    has_call: bool,
    usage: Usage,
    /// Held until the counts have come.
    finish: Option<Finish>,
    /// Bytes that were held for the ends of blocks.
    held: usize,
}

/// Most blocks that are open at once; Bedrock opens one after the other.
const MAX_OPEN: usize = 4096;

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
    Reasoning {
        signature: String,
    },
    /// Pieces of what Claude hid.
    Redacted(Vec<String>),
    Call,
    Image {
        format: String,
        bytes: String,
    },
    /// What Bedrock ran itself, or what nobody knows.
    Foreign,
}

/// Every event's members that matter.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wire<'a> {
    #[serde(deserialize_with = "loose::number")]
    content_block_index: Option<u32>,
    start: Option<WireStart>,
    #[serde(borrow)]
    delta: Option<WireDelta<'a>>,
    #[serde(deserialize_with = "loose::owned")]
    stop_reason: Option<String>,
    additional_model_response_fields: Option<WireFields>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    trace: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireStart {
    tool_use: Option<WireCall>,
    image: Option<WireImage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireCall {
    #[serde(default, deserialize_with = "loose::owned")]
    tool_use_id: Option<String>,
    #[serde(default, deserialize_with = "loose::owned")]
    name: Option<String>,
    r#type: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct WireImage {
    #[serde(default, deserialize_with = "loose::owned")]
    format: Option<String>,
    source: Option<WireSource>,
}

#[derive(Deserialize)]
struct WireSource {
    #[serde(default, deserialize_with = "loose::owned")]
    bytes: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireDelta<'a> {
    #[serde(deserialize_with = "loose::owned")]
    text: Option<String>,
    tool_use: Option<WireInput>,
    reasoning_content: Option<WireReasoning>,
    #[serde(borrow)]
    citation: Option<&'a RawValue>,
    image: Option<WireImage>,
}

#[derive(Deserialize)]
struct WireInput {
    /// A piece of the arguments, or from some servers the object itself.
    #[serde(default, deserialize_with = "loose::json")]
    input: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireReasoning {
    #[serde(default, deserialize_with = "loose::owned")]
    text: Option<String>,
    #[serde(default, deserialize_with = "loose::owned")]
    signature: Option<String>,
    #[serde(default, deserialize_with = "loose::owned")]
    redacted_content: Option<String>,
}

#[derive(Deserialize)]
struct WireFields {
    #[serde(default, deserialize_with = "loose::owned")]
    stop_sequence: Option<String>,
}

impl WireDelta<'_> {
    /// Bytes that are held until the block ends.
    fn held(&self) -> usize {
        let length = |text: Option<&String>| text.map_or(0, String::len);
        let thought = self.reasoning_content.as_ref();
        let hidden = thought.map_or(0, |it| length(it.signature.as_ref()) + length(it.redacted_content.as_ref()));
        let bytes =
            self.image.as_ref().and_then(|image| image.source.as_ref()).map_or(0, |it| length(it.bytes.as_ref()));
        hidden.saturating_add(bytes).saturating_add(self.citation.map_or(0, |raw| raw.get().len()))
    }
}

impl StreamDecoder for Decoder {
    fn push(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) {
        if self.done {
            return;
        }
        let Some(name) = frame.event else {
            return self.fail(understand::no_answer(Family::Bedrock, frame.data.as_bytes()), out);
        };
        if name == "error" {
            let body = serde_json::from_str(frame.data).unwrap_or_default();
            return self.fail(understand::event(Family::Bedrock, &body), out);
        }
        if !EVENTS.contains(&name) {
            // New kinds of events are no failure.
            return;
        }
        match serde_json::from_str::<Wire<'_>>(frame.data) {
            Ok(wire) => self.event(name, wire, out),
            Err(_) => self.fail(understand::no_answer(Family::Bedrock, frame.data.as_bytes()), out),
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
        u64::from(self.finish.is_some() || self.done)
    }
}

/// The events of an answer.
const EVENTS: [&str; 6] =
    ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"];

impl Decoder {
    fn event(&mut self, name: &str, wire: Wire<'_>, out: &mut Vec<Event>) {
        self.start(out);
        let index = wire.content_block_index.unwrap_or_default();
        match name {
            "contentBlockStart" => {
                if let Some(start) = wire.start {
                    self.block_start(index, start, out);
                }
            }
            "contentBlockDelta" => self.delta(index, wire.delta.unwrap_or_default(), out),
            "contentBlockStop" => {
                if let Some(open) = self.blocks.remove(&index) {
                    close(open, self.said, out);
                }
            }
            "messageStop" => {
                if let Some(word) = wire.stop_reason.as_deref().filter(|word| chat::broke_off(word)) {
                    return self.fail(chat::stopped_early(word), out);
                }
                let stop_sequence = wire.additional_model_response_fields.and_then(|fields| fields.stop_sequence);
                let reason = wire.stop_reason.as_deref();
                self.finish = Some(finish::read(reason, stop_sequence, self.has_call));
            }
            "metadata" => {
                if wire.trace.is_some() {
                    out.push(Event::Lost("trace".into()));
                }
                if let Some(counts) = wire.usage.and_then(usage::read) {
                    self.usage.merge(counts);
                    out.push(Event::Usage(self.usage));
                    if self.finish.is_some() {
                        self.end(out);
                    }
                }
            }
            _ => {}
        }
    }

    fn start(&mut self, out: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.started, true) {
            out.push(Event::Start { id: None, model: None, created: None, usage: None });
        }
    }

    fn block_start(&mut self, index: u32, start: WireStart, out: &mut Vec<Event>) {
        let what = match (start.tool_use, start.image) {
            (Some(call), _) if call.r#type.is_none() => {
                self.has_call = true;
                let number = self.next;
                let said = |text: Option<String>| text.filter(|text| !text.is_empty());
                let id = said(call.tool_use_id).unwrap_or_else(|| invented_call_id("converse", number as usize));
                let kind = BlockKind::ToolCall { id, name: call.name.unwrap_or_default() };
                out.push(Event::BlockStart { block: number, candidate: 0, kind });
                What::Call
            }
            (None, Some(image)) => What::Image { format: image.format.unwrap_or_default(), bytes: String::new() },
            _ => {
                out.push(Event::Lost("contentBlockStart".into()));
                What::Foreign
            }
        };
        self.open(index, what, out);
    }

    /// Puts a block under the upstream's number; one that is used again ends its former block.
    fn open(&mut self, index: u32, what: What, out: &mut Vec<Event>) {
        let open = Open { number: self.next, what };
        self.next = self.next.saturating_add(1);
        if let Some(former) = self.blocks.insert(index, open) {
            close(former, self.said, out);
        }
    }

    fn delta(&mut self, index: u32, delta: WireDelta<'_>, out: &mut Vec<Event>) {
        let fits = |open: &Open| match open.what {
            What::Text { .. } => delta.text.is_some() || delta.citation.is_some(),
            What::Reasoning { .. } | What::Redacted(_) => delta.reasoning_content.is_some(),
            What::Call | What::Image { .. } | What::Foreign => true,
        };
        if !self.blocks.get(&index).is_some_and(fits) && !self.begin_unsaid(index, &delta, out) {
            return;
        }
        self.held = self.held.saturating_add(delta.held());
        if self.held > MAX_EVENT || self.blocks.len() > MAX_OPEN {
            let why = "the upstream's answer has a part that is too large to be translated";
            return self.fail(Problem::new(ProblemKind::Upstream, why), out);
        }
        let Some(open) = self.blocks.get_mut(&index) else { return };
        let reasoning = delta.reasoning_content;
        let grown = match &mut open.what {
            What::Text { start, citations } => {
                if let Some(text) = &delta.text {
                    self.said = self.said.saturating_add(text.chars().count() as u64);
                }
                citations.extend(delta.citation.and_then(|raw| citation(raw, *start..*start)));
                delta.text.map(Delta::Text)
            }
            What::Reasoning { signature } => reasoning.and_then(|piece| {
                signature.push_str(&piece.signature.unwrap_or_default());
                piece.text.map(Delta::Reasoning)
            }),
            What::Redacted(pieces) => {
                pieces.extend(reasoning.and_then(|piece| piece.redacted_content));
                None
            }
            What::Call => delta.tool_use.and_then(|call| call.input).map(Delta::Arguments),
            What::Image { bytes, .. } => {
                bytes.push_str(&delta.image.and_then(|image| image.source?.bytes).unwrap_or_default());
                None
            }
            What::Foreign => None,
        };
        let is_empty = |delta: &Delta| matches!(delta, Delta::Text(text) | Delta::Arguments(text) | Delta::Reasoning(text) if text.is_empty());
        let block = open.number;
        out.extend(grown.filter(|delta| !is_empty(delta)).map(|delta| Event::BlockDelta { block, delta }));
    }

    /// Begins the block that a delta belongs to and that nothing began; whether that could be done. A call without its
    /// beginning has no name, and fails the answer.
    fn begin_unsaid(&mut self, index: u32, delta: &WireDelta<'_>, out: &mut Vec<Event>) -> bool {
        let (kind, what) = match &delta.reasoning_content {
            Some(piece) if piece.redacted_content.is_some() => {
                (BlockKind::Reasoning { redacted: true }, What::Redacted(Vec::new()))
            }
            Some(_) => (BlockKind::Reasoning { redacted: false }, What::Reasoning { signature: String::new() }),
            None if delta.text.is_some() || delta.citation.is_some() => {
                (BlockKind::Text, What::Text { start: self.said, citations: Vec::new() })
            }
            None => {
                let arguments = delta.tool_use.as_ref().and_then(|call| call.input.as_deref()).unwrap_or_default();
                if !arguments.is_empty() {
                    self.fail(Problem::new(ProblemKind::Upstream, "the upstream sent arguments without a call"), out);
                }
                return false;
            }
        };
        if let Some(former) = self.blocks.remove(&index) {
            close(former, self.said, out);
        }
        out.push(Event::BlockStart { block: self.next, candidate: 0, kind });
        self.open(index, what, out);
        true
    }

    fn end(&mut self, out: &mut Vec<Event>) {
        for (_, open) in std::mem::take(&mut self.blocks) {
            close(open, self.said, out);
        }
        let finish = self.finish.take().unwrap_or_else(|| finish::read(None, None, self.has_call));
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
    match open.what {
        What::Text { start, citations } => {
            let placed = citations.into_iter().map(|citation| Citation { span: start..said, ..citation });
            out.extend(placed.map(|citation| Event::BlockDelta { block, delta: Delta::Citation(citation) }));
        }
        What::Reasoning { signature } => {
            if !signature.is_empty() {
                out.push(Event::BlockDelta { block, delta: Delta::State(native(signature)) });
            }
        }
        What::Redacted(pieces) => {
            out.push(Event::BlockDelta { block, delta: Delta::State(native(joined(pieces))) });
        }
        What::Image { format, bytes } => {
            let source = MediaSource::Inline { mime: Kind::Image.mime(&format), data: bytes };
            let image = Block::Image(Media { source, detail: None, state: None, cache: None });
            out.push(Event::BlockStart { block, candidate: 0, kind: BlockKind::Media(Box::new(image)) });
        }
        What::Foreign => return,
        What::Call => {}
    }
    out.push(Event::BlockEnd { block });
}

/// Pieces of bytes, each in base64, as one.
fn joined(mut pieces: Vec<String>) -> String {
    if pieces.len() <= 1 {
        return pieces.pop().unwrap_or_default();
    }
    let decoded: Result<Vec<Vec<u8>>, _> = pieces.iter().map(|piece| STANDARD.decode(piece)).collect();
    decoded.map_or_else(|_| pieces.concat(), |bytes| STANDARD.encode(bytes.concat()))
}

#[cfg(test)]
mod tests;
