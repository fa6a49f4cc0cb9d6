//! Events of a stream: each has its type in both places, and the next number.

use super::item::{self, Part};
use crate::{
    codec::json::write::{self, Members},
    wire::sse,
};

/// The way of events out; none where nobody wants them.
pub struct Told<'a> {
    /// The next event's number.
    pub sequence: &'a mut u64,
    /// The place of the item that is spoken of.
    pub index: usize,
    /// Where they go.
    pub out: Option<&'a mut Vec<u8>>,
}

// === impl Told ===

impl Told<'_> {
    /// One event.
    pub fn event(&mut self, kind: &str, fill: impl FnOnce(&mut Members<'_>)) {
        let Some(out) = &mut self.out else { return };
        let mut data = Vec::with_capacity(256);
        write::object(&mut data, |o| {
            o.put("type", kind);
            o.put("sequence_number", &*self.sequence);
            fill(o);
        });
        sse::write(out, Some(kind), &data);
        *self.sequence = self.sequence.saturating_add(1);
    }

    /// An item begins.
    pub fn added(&mut self, fill: impl FnOnce(&mut Members<'_>)) {
        let index = self.index;
        self.event("response.output_item.added", |out| {
            out.put("output_index", &index);
            out.object("item", fill);
        });
    }

    /// The same for an item that is JSON text already.
    pub fn added_json(&mut self, item: &str) {
        let index = self.index;
        self.event("response.output_item.added", |out| {
            out.put("output_index", &index);
            out.put_json("item", item);
        });
    }

    /// The item is complete.
    pub fn done(&mut self, item: &str) {
        let index = self.index;
        self.event("response.output_item.done", |out| {
            out.put("output_index", &index);
            out.put_json("item", item);
        });
    }

    /// An event of the item that is open.
    pub fn of_item(&mut self, kind: &str, id: &str, fill: impl FnOnce(&mut Members<'_>)) {
        let index = self.index;
        self.event(kind, |out| {
            out.put("item_id", id);
            out.put("output_index", &index);
            fill(out);
        });
    }

    /// An event of one of its parts.
    pub fn of_part(&mut self, kind: &str, id: &str, part: usize, fill: impl FnOnce(&mut Members<'_>)) {
        self.of_item(kind, id, |out| {
            out.put("content_index", &part);
            fill(out);
        });
    }

    /// An event of its summary, which has one part.
    pub fn of_summary(&mut self, kind: &str, id: &str, fill: impl FnOnce(&mut Members<'_>)) {
        self.of_item(kind, id, |out| {
            out.put("summary_index", &0);
            fill(out);
        });
    }

    /// The summary is complete.
    pub fn end_summary(&mut self, id: &str, text: &str) {
        self.of_summary("response.reasoning_summary_text.done", id, |out| out.put("text", text));
        self.of_summary("response.reasoning_summary_part.done", id, |out| {
            out.object("part", |out| item::summary(text, out));
        });
    }

    /// A part is complete.
    pub fn end_part(&mut self, id: &str, index: usize, part: &Part) {
        match part {
            Part::Text { text, .. } => self.of_part("response.output_text.done", id, index, |out| {
                out.put("text", text);
                out.list("logprobs", |_| ());
            }),
            Part::Refusal(words) => {
                self.of_part("response.refusal.done", id, index, |out| out.put("refusal", words));
            }
        }
        self.of_part("response.content_part.done", id, index, |out| out.object("part", |out| part.put(out)));
    }
}
