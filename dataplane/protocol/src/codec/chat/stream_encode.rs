//! Events as chunks for a client (docs/protocols/chat-completions.md, streaming.md).
//!
//! The official clients fail on what servers get away with, so: the role once per choice and in its first chunk, choices
//! opened in order, id, type and name once per call, indices of calls dense from 0, `{}` for a call without arguments,
//! one finish reason per choice, usage last and only if asked for, `[DONE]` after an end and never after an error.

use std::collections::BTreeMap;

use super::{annotations, finish, reasoning_state, response::write_call_state, usage};
use crate::{
    codec::{
        ResponseContext, StreamEncoder, free_form, ids,
        json::write::{self, Members},
        media,
    },
    dialect::Family,
    ir::{Block, BlockKind, Delta, Event, Opaque, Usage},
    problem::{Problem, render::openai_error},
    wire::sse,
};

/// The encoder of one stream.
#[derive(Debug)]
pub struct Encoder {
    reply: ResponseContext,
    /// Fixed by the first chunk, whatever comes later.
    envelope: Option<Envelope>,
    choices: Vec<Choice>,
    blocks: BTreeMap<u32, Growing>,
    usage: Usage,
    finished: bool,
    over: bool,
}

/// What every chunk repeats.
#[derive(Debug)]
struct Envelope {
    id: String,
    created: i64,
}

#[derive(Debug, Default)]
struct Choice {
    opened: bool,
    refused: bool,
    calls: usize,
    details: usize,
    citations: usize,
    images: usize,
}

/// A block that is open.
#[derive(Debug)]
struct Growing {
    candidate: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Text,
    Refusal,
    /// The text so far: a detail repeats it beside its signature.
    Reasoning {
        redacted: bool,
        text: String,
    },
    Call(Call),
    Hidden,
}

#[derive(Debug)]
struct Call {
    index: usize,
    /// What the first delta says; sent with the next event, so that a signature can ride on it.
    opening: Option<(String, String)>,
    /// Arguments of a free-form call, which can be unwrapped only when they are whole.
    custom: Option<String>,
    has_arguments: bool,
}

impl Encoder {
    /// An encoder for this client.
    pub fn new(reply: &ResponseContext) -> Self {
        Self {
            reply: reply.clone(),
            envelope: None,
            choices: Vec::new(),
            blocks: BTreeMap::new(),
            usage: Usage::default(),
            finished: false,
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
            Event::Start { id, created, usage, .. } => {
                self.fix_envelope(id.as_deref(), *created);
                self.usage.merge(usage.unwrap_or_default());
            }
            Event::BlockStart { block, candidate, kind } => self.block_start(*block, *candidate, kind, out),
            Event::BlockDelta { block, delta } => self.block_delta(*block, delta, out),
            Event::BlockEnd { block } => self.block_end(*block, out),
            Event::Usage(usage) => self.usage.merge(*usage),
            Event::Finish { candidate, finish } => {
                let candidate = self.open_choice(*candidate, out);
                let refused = self.choices.get(candidate).is_some_and(|choice| choice.refused);
                self.finished = true;
                self.chunk(candidate, Some(finish::encode(finish.reason, refused)), out, |_| ());
            }
            Event::Lost(_) => {}
            Event::Ping => self.heartbeat(out),
            Event::Error(problem) => self.error(problem, out),
            Event::End => self.end(out),
        }
    }

    /// A chunk that says nothing. After a finish reason even that could reset what the client has read.
    fn heartbeat(&mut self, out: &mut Vec<u8>) {
        if !self.over && !self.finished {
            self.chunk(0, None, out, |_| ());
        }
    }
}

impl Encoder {
    fn fix_envelope(&mut self, id: Option<&str>, created: Option<i64>) -> &Envelope {
        let reply = &self.reply;
        self.envelope.get_or_insert_with(|| Envelope {
            id: ids::prefixed(id, "chatcmpl-", &reply.id),
            created: created.unwrap_or(reply.created),
        })
    }

    /// One chunk of one choice; `fill` writes the delta's members.
    fn chunk(
        &mut self,
        candidate: usize,
        finish: Option<&str>,
        out: &mut Vec<u8>,
        fill: impl FnOnce(&mut Members<'_>),
    ) {
        self.frame(out, |out| {
            out.list("choices", |out| {
                out.object(|out| {
                    out.put("index", &candidate);
                    out.object("delta", fill);
                    out.put("finish_reason", &finish);
                });
            });
        });
    }

    /// One frame; `fill` writes what is not the envelope.
    fn frame(&mut self, out: &mut Vec<u8>, fill: impl FnOnce(&mut Members<'_>)) {
        self.fix_envelope(None, None);
        let Some(envelope) = &self.envelope else { return };
        let mut data = Vec::with_capacity(256);
        let hides_usage = self.reply.include_usage && !self.over;
        write::object(&mut data, |out| {
            out.put("id", &envelope.id);
            out.put("object", "chat.completion.chunk");
            out.put("created", &envelope.created);
            out.put("model", &self.reply.model);
            fill(out);
            if hides_usage {
                out.put("usage", &None::<bool>);
            }
        });
        sse::write(out, None, &data);
    }

    /// Opens a choice and, before it, those that come first: clients count them up.
    fn open_choice(&mut self, candidate: u32, out: &mut Vec<u8>) -> usize {
        let candidate = self.known_choice(candidate);
        for index in 0..=candidate {
            if self.take_opening(index) {
                self.chunk(index, None, out, |out| {
                    out.put("role", "assistant");
                    out.put("content", "");
                });
            }
        }
        candidate
    }

    fn known_choice(&mut self, candidate: u32) -> usize {
        // More than a vendor's limit of choices is a decoder's mistake, not a reason to allocate.
        let candidate = usize::try_from(candidate).unwrap_or_default().min(127);
        if self.choices.len() <= candidate {
            self.choices.resize_with(candidate.saturating_add(1), Choice::default);
        }
        candidate
    }

    /// Whether the choice has still to be opened; it counts as opened from now on.
    fn take_opening(&mut self, candidate: usize) -> bool {
        self.choices.get_mut(candidate).is_some_and(|choice| !std::mem::replace(&mut choice.opened, true))
    }

    /// A delta with content; the first one of a choice carries the role.
    fn content(&mut self, candidate: usize, out: &mut Vec<u8>, fill: impl FnOnce(&mut Members<'_>)) {
        if let Some(before) = candidate.checked_sub(1) {
            self.open_choice(u32::try_from(before).unwrap_or_default(), out);
        }
        let first = self.take_opening(candidate);
        self.chunk(candidate, None, out, |out| {
            if first {
                out.put("role", "assistant");
            }
            fill(out);
        });
    }

    fn block_start(&mut self, block: u32, candidate: u32, kind: &BlockKind, out: &mut Vec<u8>) {
        let candidate = self.known_choice(candidate);
        let choice = self.choices.get_mut(candidate);
        let kind = match kind {
            BlockKind::Text => Kind::Text,
            BlockKind::Reasoning { redacted } => Kind::Reasoning { redacted: *redacted, text: String::new() },
            BlockKind::Refusal => {
                if let Some(choice) = choice {
                    choice.refused = true;
                }
                Kind::Refusal
            }
            BlockKind::ToolCall { id, name } => {
                let index = choice.map_or(0, |choice| count(&mut choice.calls));
                Kind::Call(Call {
                    index,
                    custom: self.reply.custom_tools.contains(name).then(String::new),
                    opening: Some((id.clone(), name.clone())),
                    has_arguments: false,
                })
            }
            BlockKind::Media(media) => {
                self.media(candidate, media, out);
                Kind::Hidden
            }
            BlockKind::Unknown { .. } => Kind::Hidden,
        };
        self.blocks.insert(block, Growing { candidate, kind });
    }

    /// A picture goes beside the words; of anything else the words say that it is missing.
    fn media(&mut self, candidate: usize, media: &Block, out: &mut Vec<u8>) {
        if let Some(url) = media::image_url(media) {
            let index = self.choices.get_mut(candidate).map_or(0, |choice| count(&mut choice.images));
            self.content(candidate, out, |out| annotations::put_images(&[url], index, out));
        } else if let Some(words) = media::stand_in(media) {
            self.content(candidate, out, |out| out.put("content", &words));
        }
    }

    fn block_delta(&mut self, number: u32, delta: &Delta, out: &mut Vec<u8>) {
        let Some(mut block) = self.blocks.remove(&number) else { return };
        let candidate = block.candidate;
        match (&mut block.kind, delta) {
            (_, Delta::Text(text) | Delta::Reasoning(text) | Delta::Arguments(text)) if text.is_empty() => {}
            (Kind::Text, Delta::Text(text)) => self.content(candidate, out, |out| out.put("content", text)),
            (Kind::Refusal, Delta::Text(text)) => self.content(candidate, out, |out| out.put("refusal", text)),
            (Kind::Reasoning { text: whole, .. }, Delta::Reasoning(text)) => {
                whole.push_str(text);
                self.content(candidate, out, |out| out.put("reasoning_content", text));
            }
            (Kind::Reasoning { redacted, text }, Delta::State(state)) => {
                let text = (!*redacted).then_some(text.as_str());
                self.detail(candidate, text, state, *redacted, out);
            }
            (Kind::Text, Delta::Citation(citation)) if citation.url.is_some() => {
                let index = self.choices.get_mut(candidate).map(|choice| count(&mut choice.citations));
                self.content(candidate, out, |out| annotations::put_citations([citation].into_iter(), index, out));
            }
            (Kind::Text, Delta::State(state)) => self.detail(candidate, None, state, false, out),
            (Kind::Call(call), Delta::Arguments(text)) => self.arguments(candidate, call, text, out),
            (Kind::Call(call), Delta::State(state)) if state.family == Family::Gemini => {
                self.call_state(candidate, call, state, out);
            }
            _ => {}
        }
        self.blocks.insert(number, block);
    }

    fn detail(&mut self, candidate: usize, text: Option<&str>, state: &Opaque, redacted: bool, out: &mut Vec<u8>) {
        if state.value.is_empty() {
            return;
        }
        let index = self.choices.get_mut(candidate).map_or(0, |choice| count(&mut choice.details));
        self.content(candidate, out, |out| {
            out.list("reasoning_details", |out| reasoning_state::encode(text, state, redacted, index, out));
        });
    }

    /// The first delta of a call, with the signature if that came right behind it.
    fn call_state(&mut self, candidate: usize, call: &mut Call, state: &Opaque, out: &mut Vec<u8>) {
        let (index, opening) = (call.index, call.opening.take());
        let is_custom = call.custom.is_some();
        self.call_delta(candidate, index, out, |out| {
            match &opening {
                Some((id, name)) => write_opening(id, name, is_custom, out),
                // The official stream helper fails on a delta of a function call that holds no `function`.
                None if !is_custom => write_arguments("", out),
                None => {}
            }
            write_call_state(state, out);
        });
    }

    fn open_call(&mut self, candidate: usize, call: &mut Call, out: &mut Vec<u8>) {
        if let Some((id, name)) = call.opening.take() {
            let is_custom = call.custom.is_some();
            self.call_delta(candidate, call.index, out, |out| write_opening(&id, &name, is_custom, out));
        }
    }

    fn arguments(&mut self, candidate: usize, call: &mut Call, text: &str, out: &mut Vec<u8>) {
        self.open_call(candidate, call, out);
        call.has_arguments |= !text.trim().is_empty();
        match &mut call.custom {
            Some(whole) => whole.push_str(text),
            None => self.call_delta(candidate, call.index, out, |out| write_arguments(text, out)),
        }
    }

    fn block_end(&mut self, number: u32, out: &mut Vec<u8>) {
        let Some(Growing { candidate, kind: Kind::Call(mut call) }) = self.blocks.remove(&number) else { return };
        self.open_call(candidate, &mut call, out);
        if let Some(whole) = &call.custom {
            let input = free_form::unwrap(whole);
            self.call_delta(candidate, call.index, out, |out| {
                out.object("custom", |out| out.put("input", &input));
            });
        } else if !call.has_arguments {
            self.call_delta(candidate, call.index, out, |out| write_arguments("{}", out));
        }
    }

    fn call_delta(&mut self, candidate: usize, index: usize, out: &mut Vec<u8>, fill: impl FnOnce(&mut Members<'_>)) {
        self.content(candidate, out, |out| {
            out.list("tool_calls", |out| {
                out.object(|out| {
                    out.put("index", &index);
                    fill(out);
                });
            });
        });
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.over = true;
        if self.reply.include_usage {
            let usage = self.usage;
            self.frame(out, |out| {
                out.list("choices", |_| ());
                usage::encode(&usage, out);
            });
        }
        sse::write(out, None, b"[DONE]");
    }

    fn error(&mut self, problem: &Problem, out: &mut Vec<u8>) {
        self.over = true;
        sse::write(out, None, format!("{{\"error\":{}}}", openai_error(problem)).as_bytes());
    }
}

/// The next index.
fn count(counter: &mut usize) -> usize {
    let index = *counter;
    *counter = index.saturating_add(1);
    index
}

fn write_opening(id: &str, name: &str, is_custom: bool, out: &mut Members<'_>) {
    out.put("id", id);
    if is_custom {
        out.put("type", "custom");
        out.object("custom", |out| {
            out.put("name", name);
            out.put("input", "");
        });
    } else {
        out.put("type", "function");
        out.object("function", |out| {
            out.put("name", name);
            out.put("arguments", "");
        });
    }
}

fn write_arguments(text: &str, out: &mut Members<'_>) {
    out.object("function", |out| out.put("arguments", text));
}
