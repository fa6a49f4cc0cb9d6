//! The output of one answer as it grows: a sink of blocks that come one after the other, which makes items of them, tells
//! each step as an event, and keeps the finished items for the object at the end.
//!
//! Words in a row are one message, a refusal among them is a part of its own. The last item is held open until another
//! one begins or the answer ends, for only then is it known whether it is complete (hard case 110). An item begins with
//! its first content. State of other vendors stands in reasoning items, its own or one beside what it hangs on.

use serde::de::IgnoredAny;

use super::{
    item::{self, Call, OWN_REASONING, Part, Status},
    reasoning_state,
    told::Told,
    web_search::{Asked, Found, OWN_SEARCH, Search},
};
use crate::{
    codec::{
        ResponseContext,
        block_sequencer::Sink,
        json::write::{self, Members},
        media,
        tagged_state::{self, Place},
    },
    dialect::Family,
    ir::{Block, BlockKind, Citation, Delta, Media, MediaSource, Opaque, Raw},
};

/// What was said so far.
#[derive(Debug, Default)]
pub struct Output {
    /// The next event's number.
    sequence: u64,
    /// The finished items, as JSON.
    items: Vec<String>,
    items_bytes: usize,
    open: Option<Open>,
    /// Searches of the vendor's that have found nothing yet.
    searches: Vec<Asked>,
    /// Characters of visible text.
    chars: u64,
    /// Whether a refusal is among it.
    refused: bool,
}

/// The last item.
#[derive(Debug)]
struct Open {
    id: String,
    begun: bool,
    what: What,
    /// State that hangs on it, or is its own.
    state: Option<Opaque>,
}

#[derive(Debug)]
enum What {
    Message {
        parts: Vec<Part>,
        /// Whether the block that speaks declines.
        declines: bool,
    },
    Reasoning {
        text: String,
        redacted: bool,
    },
    Call(Call),
}

/// The way of blocks into the output, and of events out of it; none where nobody wants events.
pub struct Writer<'a> {
    pub output: &'a mut Output,
    pub context: &'a ResponseContext,
    pub out: Option<&'a mut Vec<u8>>,
}

// === impl Output ===

impl Output {
    /// The finished items, as JSON, for the end of the answer.
    pub fn take_items(&mut self) -> Vec<String> {
        self.items_bytes = 0;
        std::mem::take(&mut self.items)
    }

    /// Whether a refusal is among what was said.
    pub const fn refused(&self) -> bool {
        self.refused
    }

    /// Bytes that are kept.
    pub fn held(&self) -> usize {
        let open = self.open.as_ref().map_or(0, |open| match &open.what {
            What::Message { parts, .. } => parts.iter().map(Part::held).sum(),
            What::Reasoning { text, .. } => text.len(),
            What::Call(call) => call.arguments.len(),
        });
        let searches = self.searches.iter().map(Asked::held);
        searches.fold(self.items_bytes.saturating_add(open), usize::saturating_add)
    }
}

// === impl Writer ===

impl Writer<'_> {
    /// The way of events out.
    pub fn told(&mut self) -> Told<'_> {
        let (index, out) = (self.output.items.len(), self.out.as_deref_mut());
        Told { sequence: &mut self.output.sequence, index, out }
    }

    /// The answer is over; `cut` says that it was cut short.
    pub fn end(&mut self, cut: bool) {
        self.finish(cut);
        for asked in std::mem::take(&mut self.output.searches) {
            self.search(&Search { asked, found: None });
        }
    }

    /// The last item is over; `cut` says that the answer was cut short in it.
    fn finish(&mut self, cut: bool) {
        let Some(mut open) = self.output.open.take() else { return };
        let status = if cut && open.may_be_cut() { Status::Incomplete } else { Status::Completed };
        let place = match &open.what {
            What::Message { .. } => Some(Place::TextBefore),
            What::Reasoning { .. } => None,
            What::Call(_) => Some(Place::CallBefore),
        };
        match &mut open.what {
            What::Message { parts, .. } => {
                if let Some(part) = parts.last() {
                    self.told().end_part(&open.id, parts.len().saturating_sub(1), part);
                }
                if open.begun {
                    self.done(|out| item::message(&open.id, status, parts, out));
                }
            }
            What::Reasoning { text, redacted } => {
                let place = if *redacted { Place::Redacted } else { Place::Thought };
                let says = |state: &&Opaque| !text.is_empty() || !state.value.is_empty();
                let carried = self.carried(&open.id, place, open.state.as_ref().filter(says));
                if !open.begun && carried.is_none() {
                    return;
                }
                if !open.begun {
                    self.told().added(|out| item::reasoning(&open.id, Status::InProgress, "", None, out));
                }
                if !text.is_empty() {
                    self.told().end_summary(&open.id, text);
                }
                self.done(|out| item::reasoning(&open.id, status, text, carried.as_deref(), out));
            }
            What::Call(call) => self.end_call(&open.id, open.begun, call, status),
        }
        if let Some((place, state)) = place.zip(open.state) {
            self.carrier(place, &state);
        }
    }

    fn end_call(&mut self, id: &str, begun: bool, call: &mut Call, status: Status) {
        let context = self.context;
        if !begun {
            self.told().added(|out| call.put(id, Status::InProgress, context, out));
        }
        let custom = call.is_custom(context);
        if !custom && call.arguments.trim().is_empty() && status == Status::Completed {
            "{}".clone_into(&mut call.arguments);
            self.told().of_item("response.function_call_arguments.delta", id, |out| out.put("delta", "{}"));
        }
        if custom {
            let input = call.input();
            if !input.is_empty() {
                self.told().of_item("response.custom_tool_call_input.delta", id, |out| out.put("delta", &input));
            }
            self.told().of_item("response.custom_tool_call_input.done", id, |out| out.put("input", &input));
        } else {
            self.told().of_item("response.function_call_arguments.done", id, |out| {
                out.put("name", &call.name);
                out.put("arguments", &call.arguments);
            });
        }
        self.done(|out| call.put(id, status, context, out));
    }

    /// An item that has only state, for a neighbour.
    fn carrier(&mut self, place: Place, state: &Opaque) {
        let id = self.item_id(OWN_REASONING);
        let Some(carried) = self.carried(&id, place, Some(state)) else { return };
        self.told().added(|out| item::reasoning(&id, Status::InProgress, "", None, out));
        self.done(|out| item::reasoning(&id, Status::Completed, "", Some(&carried), out));
    }

    /// State as the client keeps it: OpenAI's own as it is, under the id that it is bound to; any other under a tag, so
    /// that it is never taken for native.
    fn carried(&self, id: &str, place: Place, state: Option<&Opaque>) -> Option<String> {
        let state = state.filter(|_| self.context.echo.as_ref().is_none_or(|echo| echo.carries_state))?;
        if state.family == Family::OpenAi && !state.value.is_empty() {
            let (own, blob) = reasoning_state::split(&state.value);
            if own.is_none_or(|own| own == id) {
                return Some(blob.to_owned());
            }
        }
        Some(tagged_state::write(place, Some(state)))
    }

    /// The item is complete: it is told, and kept for the end.
    fn done(&mut self, fill: impl FnOnce(&mut Members<'_>)) {
        self.keep(write::text(fill));
    }

    fn keep(&mut self, item: String) {
        self.told().done(&item);
        self.output.items_bytes = self.output.items_bytes.saturating_add(item.len());
        self.output.items.push(item);
    }

    fn item_id(&self, prefix: &str) -> String {
        format!("{prefix}{}_{}", self.context.id, self.output.items.len())
    }

    fn begin(&mut self, prefix: &str, what: What) {
        let id = self.item_id(prefix);
        self.output.open = Some(Open { id, begun: false, what, state: None });
    }

    /// Words of a message, or none for a source that has none.
    fn say(&mut self, text: &str, citation: Option<&Citation>) {
        let Some(mut open) = self.output.open.take() else { return };
        if let What::Message { parts, declines } = &mut open.what {
            if !std::mem::replace(&mut open.begun, true) {
                self.told().added(|out| item::message(&open.id, Status::InProgress, &[], out));
            }
            let fits = match parts.last() {
                Some(Part::Text { .. }) => !*declines,
                Some(Part::Refusal(_)) => *declines,
                None => false,
            };
            if !fits {
                if let Some(part) = parts.last() {
                    self.told().end_part(&open.id, parts.len().saturating_sub(1), part);
                }
                let part = match declines {
                    true => Part::Refusal(String::new()),
                    false => Part::Text { text: String::new(), citations: Vec::new(), before: self.output.chars },
                };
                self.told().of_part("response.content_part.added", &open.id, parts.len(), |out| {
                    out.object("part", |out| part.put(out));
                });
                parts.push(part);
            }
            let index = parts.len().saturating_sub(1);
            if let Some(part) = parts.last_mut() {
                self.grow_part(&open.id, index, part, text, citation);
            }
        }
        self.output.open = Some(open);
    }

    fn grow_part(&mut self, id: &str, index: usize, part: &mut Part, text: &str, citation: Option<&Citation>) {
        match part {
            Part::Refusal(words) => {
                words.push_str(text);
                self.output.refused = true;
                self.told().of_part("response.refusal.delta", id, index, |out| out.put("delta", text));
            }
            Part::Text { text: words, citations, before } => {
                if !text.is_empty() {
                    words.push_str(text);
                    self.output.chars = self.output.chars.saturating_add(text.chars().count() as u64);
                    self.told().of_part("response.output_text.delta", id, index, |out| {
                        out.put("delta", text);
                        out.list("logprobs", |_| ());
                    });
                }
                if let Some(citation) = citation {
                    let number = citations.len();
                    self.told().of_part("response.output_text.annotation.added", id, index, |out| {
                        out.put("annotation_index", &number);
                        out.object("annotation", |out| item::annotation(citation, *before, out));
                    });
                    citations.push(Citation { native: None, ..citation.clone() });
                }
            }
        }
    }

    fn think(&mut self, more: &str) {
        let Some(mut open) = self.output.open.take() else { return };
        if let What::Reasoning { text, .. } = &mut open.what {
            if !std::mem::replace(&mut open.begun, true) {
                self.told().added(|out| item::reasoning(&open.id, Status::InProgress, "", None, out));
                self.told().of_summary("response.reasoning_summary_part.added", &open.id, |out| {
                    out.object("part", |out| item::summary("", out));
                });
            }
            text.push_str(more);
            self.told().of_summary("response.reasoning_summary_text.delta", &open.id, |out| out.put("delta", more));
        }
        self.output.open = Some(open);
    }

    fn call(&mut self, more: &str) {
        let Some(mut open) = self.output.open.take() else { return };
        if let What::Call(call) = &mut open.what {
            let context = self.context;
            if !std::mem::replace(&mut open.begun, true) {
                self.told().added(|out| call.put(&open.id, Status::InProgress, context, out));
            }
            call.arguments.push_str(more);
            // The text of a free-form call can be told apart from its wrapper only when all of it is here.
            if !call.is_custom(self.context) {
                self.told().of_item("response.function_call_arguments.delta", &open.id, |out| out.put("delta", more));
            }
        }
        self.output.open = Some(open);
    }

    fn state(&mut self, state: &Opaque) {
        let Some(open) = &mut self.output.open else { return };
        match &open.what {
            // Known in time: the state goes before the call, where a reader expects it.
            What::Call(_) if !open.begun => {
                let Some(call) = self.output.open.take() else { return };
                self.carrier(Place::CallBehind, state);
                let What::Call(call) = call.what else { return };
                self.open_call(call);
            }
            What::Message { .. } | What::Reasoning { .. } | What::Call(_) => open.state = Some(state.clone()),
        }
    }

    fn open_call(&mut self, call: Call) {
        let prefix = if call.is_custom(self.context) { "ctc_" } else { "fc_" };
        self.begin(prefix, What::Call(call));
    }

    fn open_message(&mut self, declines: bool) {
        let goes_on = match &mut self.output.open {
            Some(Open { what: What::Message { declines: declined, .. }, state: None, .. }) => {
                *declined = declines;
                true
            }
            _ => false,
        };
        if !goes_on {
            self.finish(false);
            self.begin("msg_", What::Message { parts: Vec::new(), declines });
        }
    }

    /// A picture is an item as if the vendor had made it; other media are told in words.
    fn media(&mut self, block: &Block) {
        if let Block::Image(Media { source: MediaSource::Inline { mime, data }, .. }) = block {
            self.finish(false);
            let id = self.item_id("ig_");
            self.told().added(|out| item::picture(&id, mime, "", out));
            self.done(|out| item::picture(&id, mime, data, out));
        } else if let Some(words) = media::stand_in(block) {
            self.open_message(false);
            self.say(&words, None);
        }
    }

    /// What Anthropic ran on its side: its searches, once they have found something. Others are of no use to this client.
    fn hosted(&mut self, kind: &str, raw: &Raw) {
        if let Some(asked) = Asked::read(kind, raw) {
            self.output.searches.push(asked);
        } else if let Some(found) = Found::read(kind, raw) {
            let at = self.output.searches.iter().position(|asked| found.answers(asked));
            let Some(at) = at else { return };
            let asked = self.output.searches.remove(at);
            self.finish(false);
            self.search(&Search { asked, found: Some(found) });
        }
    }

    /// A search of the vendor's, and behind it what only the vendor can read of it.
    fn search(&mut self, search: &Search) {
        let id = self.item_id(OWN_SEARCH);
        self.told().added(|out| search.put(&id, true, out));
        let steps: &[&str] =
            if search.succeeded() { &["in_progress", "searching", "completed"] } else { &["in_progress"] };
        for step in steps {
            self.told().of_item(&format!("response.web_search_call.{step}"), &id, |_| ());
        }
        self.done(|out| search.put(&id, false, out));
        self.carrier(Place::Hosted, &search.state());
    }

    /// What OpenAI itself ran, as it was: in one line, since line ends would end the event.
    fn raw(&mut self, raw: &Raw) {
        self.finish(false);
        let line = raw.get().replace(['\n', '\r'], " ");
        self.told().added_json(&line);
        self.keep(line);
    }
}

impl Sink for Writer<'_> {
    fn open(&mut self, kind: &BlockKind) {
        match kind {
            BlockKind::Text => self.open_message(false),
            BlockKind::Refusal => self.open_message(true),
            BlockKind::Reasoning { redacted } => {
                self.finish(false);
                self.begin(OWN_REASONING, What::Reasoning { text: String::new(), redacted: *redacted });
            }
            BlockKind::ToolCall { id, name } => {
                self.finish(false);
                self.open_call(Call { id: id.clone(), name: name.clone(), arguments: String::new() });
            }
            BlockKind::Media(media) => self.media(media),
            BlockKind::Unknown { family: Family::OpenAi, raw, .. } => self.raw(raw),
            BlockKind::Unknown { family: Family::Anthropic, kind, raw } => self.hosted(kind, raw),
            // What another vendor ran on its side is of no use to this client.
            BlockKind::Unknown { .. } => {}
        }
    }

    fn grow(&mut self, delta: &Delta) {
        match delta {
            Delta::Text(text) => self.say(text, None),
            Delta::Citation(citation) if citation.url.is_some() => self.say("", Some(citation)),
            Delta::Citation(_) => {}
            Delta::Reasoning(text) => self.think(text),
            Delta::Arguments(text) => self.call(text),
            Delta::State(state) => self.state(state),
        }
    }

    /// The item stays open until it is known whether the answer goes on.
    fn close(&mut self) {}
}

// === impl Open ===

impl Open {
    /// Whether the end of a cut answer can have cut this item: a call whose arguments are complete is complete.
    fn may_be_cut(&self) -> bool {
        match &self.what {
            What::Call(call) => serde_json::from_str::<IgnoredAny>(&call.arguments).is_err(),
            What::Message { .. } | What::Reasoning { .. } => true,
        }
    }
}
