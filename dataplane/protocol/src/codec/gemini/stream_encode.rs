//! Events as chunks for a client (docs/protocols/streaming.md).
//!
//! One chunk is always held back, so that the reason for the end rides on content: Google's chat clients refuse a content
//! without parts. Calls go out whole, as objects. There is no sentinel, no comment and no `event:` line; an error has its
//! code, a number, as the very first thing.

use std::collections::BTreeMap;

use super::{
    finish, grounding, reasoning_state,
    response::{call_parts, media_part, text_part},
    usage,
};
use crate::{
    codec::{
        ResponseContext, StreamEncoder,
        json::write::{self, Elements, Members},
    },
    dialect::Family,
    ir::{BlockKind, Citation, Delta, Event, Finish, Opaque, ToolCall, Usage},
    problem::render::gemini_error,
    wire::sse,
};

/// Most candidates that are told apart.
const MAX_CANDIDATES: u32 = 128;

/// The encoder of one stream.
#[derive(Debug)]
pub struct Encoder {
    reply: ResponseContext,
    id: Option<String>,
    blocks: BTreeMap<u32, Block>,
    candidates: BTreeMap<u32, Candidate>,
    usage: Option<Usage>,
    over: bool,
}

/// What a candidate has not yet said.
#[derive(Debug, Default)]
struct Candidate {
    held: Option<Held>,
    finish: Option<Finish>,
    /// Sources, for the last chunk.
    citations: Vec<Citation>,
}

/// One chunk's worth of parts.
#[derive(Debug)]
enum Held {
    /// Words of a block, to which a signature may still be added.
    Words { block: u32, text: String, thought: bool, signature: Option<String> },
    /// Calls, or a part kept as it came: JSON text of the elements of `parts`.
    Parts(String),
}

/// A block that is open.
#[derive(Debug)]
struct Block {
    candidate: u32,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Words { thought: bool, redacted: bool },
    Call(ToolCall),
    Hidden,
}

impl Encoder {
    /// An encoder for this client.
    pub fn new(reply: &ResponseContext) -> Self {
        Self {
            reply: reply.clone(),
            id: None,
            blocks: BTreeMap::new(),
            candidates: BTreeMap::new(),
            usage: None,
            over: false,
        }
    }
}

impl StreamEncoder for Encoder {
    fn push(&mut self, event: &Event, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        match event {
            Event::Start { id, usage, .. } => {
                self.id.clone_from(id);
                self.count(*usage);
            }
            Event::BlockStart { block, candidate, kind } => self.block_start(*block, *candidate, kind, out),
            Event::BlockDelta { block, delta } => self.block_delta(*block, delta, out),
            Event::BlockEnd { block } => self.block_end(*block, out),
            Event::Usage(usage) => self.count(Some(*usage)),
            Event::Finish { candidate, finish } => {
                self.candidates.entry(*candidate).or_default().finish = Some(finish.clone());
            }
            Event::Lost(_) => {}
            Event::Ping => self.heartbeat(out),
            Event::Error(problem) => {
                self.over = true;
                for candidate in self.numbers() {
                    self.release(candidate, out);
                }
                sse::write(out, None, format!("{{\"error\":{}}}", gemini_error(problem)).as_bytes());
            }
            Event::End => self.end(out),
        }
    }

    /// A bare line feed between events: anything else raises in Google's clients.
    fn heartbeat(&mut self, out: &mut Vec<u8>) {
        if !self.over {
            out.push(b'\n');
        }
    }
}

impl Encoder {
    fn count(&mut self, usage: Option<Usage>) {
        if let Some(usage) = usage {
            self.usage.get_or_insert_default().merge(usage);
        }
    }

    fn numbers(&self) -> Vec<u32> {
        self.candidates.keys().copied().collect()
    }

    fn block_start(&mut self, block: u32, candidate: u32, kind: &BlockKind, out: &mut Vec<u8>) {
        let kind = match kind {
            BlockKind::Text | BlockKind::Refusal => Kind::Words { thought: false, redacted: false },
            BlockKind::Reasoning { redacted } => Kind::Words { thought: true, redacted: *redacted },
            BlockKind::ToolCall { id, name } => Kind::Call(ToolCall {
                id: id.clone(),
                name: name.clone(),
                arguments: String::new(),
                state: None,
                cache: None,
            }),
            BlockKind::Media(media) => {
                self.hold(candidate, Held::Parts(write::elements(|out| media_part(media, out))), out);
                Kind::Hidden
            }
            BlockKind::Unknown { family: Family::Gemini, raw, .. } => {
                self.hold(candidate, Held::Parts(raw.get().to_owned()), out);
                Kind::Hidden
            }
            BlockKind::Unknown { .. } => Kind::Hidden,
        };
        self.blocks.insert(block, Block { candidate, kind });
    }

    fn block_delta(&mut self, number: u32, delta: &Delta, out: &mut Vec<u8>) {
        let Some(block) = self.blocks.get_mut(&number) else { return };
        let candidate = block.candidate;
        match (&mut block.kind, delta) {
            (_, Delta::Text(text) | Delta::Reasoning(text)) if text.is_empty() => {}
            (Kind::Words { thought, .. }, Delta::Text(text) | Delta::Reasoning(text)) => {
                let held = Held::Words { block: number, text: text.clone(), thought: *thought, signature: None };
                self.hold(candidate, held, out);
            }
            (Kind::Words { .. }, Delta::Citation(citation)) => {
                self.candidates.entry(candidate).or_default().citations.push(citation.clone());
            }
            (Kind::Words { thought, redacted }, Delta::State(state)) => {
                let (thought, redacted) = (*thought, *redacted);
                self.sign(number, candidate, thought, reasoning_state::write(state, redacted), out);
            }
            (Kind::Call(call), Delta::Arguments(text)) => call.arguments.push_str(text),
            (Kind::Call(call), Delta::State(state)) => call.state = Some(Opaque::clone(state)),
            _ => {}
        }
    }

    /// Adds a signature to the block's words if they are still here, else sends it with empty words.
    fn sign(&mut self, number: u32, candidate: u32, thought: bool, value: String, out: &mut Vec<u8>) {
        if let Some(Candidate { held: Some(Held::Words { block, signature, .. }), .. }) =
            self.candidates.get_mut(&candidate)
            && *block == number
            && signature.is_none()
        {
            *signature = Some(value);
            return;
        }
        let held = Held::Words { block: number, text: String::new(), thought, signature: Some(value) };
        self.hold(candidate, held, out);
    }

    fn block_end(&mut self, number: u32, out: &mut Vec<u8>) {
        if let Some(Block { candidate, kind: Kind::Call(call) }) = self.blocks.remove(&number) {
            let parts = write::elements(|out| call_parts(&call, out));
            self.hold(candidate, Held::Parts(parts), out);
        }
    }

    /// Sends what the candidate holds and holds this.
    fn hold(&mut self, candidate: u32, held: Held, out: &mut Vec<u8>) {
        if candidate < MAX_CANDIDATES {
            self.release(candidate, out);
            self.candidates.entry(candidate).or_default().held = Some(held);
        }
    }

    fn release(&mut self, candidate: u32, out: &mut Vec<u8>) {
        if let Some(held) = self.candidates.get_mut(&candidate).and_then(|candidate| candidate.held.take()) {
            self.chunk(out, |out| {
                out.list("candidates", |out| write_candidate(candidate, Some(&held), None, out));
            });
        }
    }

    /// The last chunk of every candidate, with its reason; the very last has the usage.
    fn end(&mut self, out: &mut Vec<u8>) {
        self.over = true;
        let candidates = std::mem::take(&mut self.candidates);
        let last = candidates.len().saturating_sub(1);
        let usage = self.usage.take().unwrap_or_default();
        for (position, (number, candidate)) in candidates.into_iter().enumerate() {
            self.chunk(out, |out| {
                out.list("candidates", |out| {
                    write_candidate(number, candidate.held.as_ref(), Some(&candidate), out);
                });
                if position == last {
                    usage::encode(&usage, out);
                }
            });
        }
    }

    fn chunk(&mut self, out: &mut Vec<u8>, fill: impl FnOnce(&mut Members<'_>)) {
        let mut data = Vec::with_capacity(256);
        write::object(&mut data, |out| {
            fill(out);
            out.put("modelVersion", &self.reply.model);
            out.put("responseId", self.id.as_deref().unwrap_or(&self.reply.id));
        });
        // Arguments keep their spelling, but a frame is one line. Inside strings line ends are escaped.
        for byte in &mut data {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        sse::write(out, None, &data);
    }
}

fn write_candidate(index: u32, held: Option<&Held>, last: Option<&Candidate>, out: &mut Elements<'_>) {
    out.object(|out| {
        out.object("content", |out| {
            out.list("parts", |out| match held {
                Some(Held::Words { text, thought, signature, .. }) => {
                    signed_part(text, *thought, signature.as_deref(), out);
                }
                Some(Held::Parts(parts)) => out.put_json(parts),
                None => text_part("", false, None, out),
            });
            out.put("role", "model");
        });
        if let Some(candidate) = last {
            out.put_some("finishReason", candidate.finish.as_ref().map(|finish| finish::encode(finish.reason)));
            grounding::put(candidate.citations.iter(), out);
        }
        out.put("index", &index);
    });
}

fn signed_part(text: &str, thought: bool, signature: Option<&str>, out: &mut Elements<'_>) {
    out.object(|out| {
        out.put("text", text);
        out.put_some("thought", thought.then_some(true));
        out.put_some("thoughtSignature", signature);
    });
}
