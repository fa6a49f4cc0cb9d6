//! An upstream's events (docs/protocols/responses.md, streaming.md).
//!
//! What a delta has said, a `done` event, the finished item and the final object say again, and some servers say it only
//! there: each text goes out once, as far as it has come. Items are told apart by `output_index`; ids change on the way at
//! some servers, and others always count 0. Only `completed`, `incomplete` and `failed` end an answer.

mod answer;
mod items;
mod open;
mod sent;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use self::{answer::Answer, items::Items};
use super::response_decode::{
    item::{Annotation, Item, Part},
    outcome::Outcome,
};
use crate::{
    codec::{
        StreamDecoder, chat,
        json::{
            loose,
            read::{Object, Spelling, elements},
        },
    },
    dialect::Family,
    ir::Event,
    problem::{Problem, ProblemKind, understand},
    wire::sse::Frame,
};

/// The decoder of one stream.
#[derive(Debug, Default)]
pub struct Decoder {
    started: bool,
    /// `response.in_progress` has come: once more, it is a sign of life.
    runs: bool,
    over: bool,
    /// It ended as answers do.
    complete: bool,
    answer: Answer,
    items: Items,
}

/// Every event's members that matter.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default, rename = "type", deserialize_with = "loose::option")]
    kind: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "loose::number")]
    output_index: Option<u64>,
    #[serde(default, deserialize_with = "loose::number")]
    content_index: Option<u64>,
    #[serde(default, deserialize_with = "loose::number")]
    summary_index: Option<u64>,
    #[serde(borrow, default, deserialize_with = "loose::option")]
    item_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "loose::option")]
    delta: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "loose::option")]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "loose::option")]
    refusal: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "loose::option")]
    arguments: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "loose::option")]
    input: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    item: Option<&'a RawValue>,
    #[serde(borrow, default)]
    part: Option<&'a RawValue>,
    #[serde(borrow, default)]
    annotation: Option<&'a RawValue>,
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

impl StreamDecoder for Decoder {
    fn push(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) {
        let data = frame.data.trim();
        // Neither a comment that some proxy wrapped into data nor another dialect's sentinel says anything.
        if self.over || data.is_empty() || data.starts_with(':') || data == "[DONE]" {
            return;
        }
        let taken = match serde_json::from_str::<Wire<'_>>(data) {
            Ok(wire) => self.event(frame, &wire, out),
            Err(error) => Err(understand::said_instead(Family::OpenAi, data.as_bytes()).unwrap_or_else(|| {
                let why = format!("the upstream sent an unreadable event: {error}");
                Problem::new(ProblemKind::Upstream, why)
            })),
        };
        if let Err(problem) = taken {
            self.over = true;
            out.push(Event::Error(problem));
        }
    }

    fn finish(&mut self, out: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.over, true) {
            let why = "the upstream's answer ended before it was complete";
            out.push(Event::Error(Problem::new(ProblemKind::Upstream, why)));
        }
    }

    fn finished(&self) -> u64 {
        u64::from(self.complete)
    }
}

impl Decoder {
    fn event(&mut self, frame: Frame<'_>, wire: &Wire<'_>, out: &mut Vec<Event>) -> Result<(), Problem> {
        let kind = wire.kind.as_deref().or(frame.event).unwrap_or_default();
        match kind {
            "response.created" => self.created(wire, out),
            "response.in_progress" | "response.queued" => {
                self.start(&outcome(wire.response), out);
                if std::mem::replace(&mut self.runs, true) {
                    out.push(Event::Ping);
                }
                Ok(())
            }
            "response.completed"
            | "response.incomplete"
            | "response.failed"
            | "response.cancelled"
            | "response.done" => self.end(kind, wire.response, out),
            "error" | "response.error" => Err(stated(wire, frame.data)),
            "keepalive" | "ping" => {
                out.push(Event::Ping);
                Ok(())
            }
            "" => bare_error(wire, frame.data).map_or(Ok(()), Err),
            _ => {
                self.start(&Outcome::default(), out);
                self.content(kind, wire, out)
            }
        }
    }

    /// What grows the answer.
    fn content(&mut self, kind: &str, wire: &Wire<'_>, out: &mut Vec<Event>) -> Result<(), Problem> {
        let Self { answer, items, .. } = self;
        let place = (wire.output_index, wire.item_id.as_deref());
        let part = wire.content_index.unwrap_or(0);
        let delta = wire.delta.as_deref().unwrap_or_default();
        match kind {
            "response.output_item.added" => {
                wire.item.and_then(read).map_or(Ok(()), |item| items.added(wire.output_index, &item, answer, out))
            }
            "response.output_item.done" => {
                wire.item.and_then(read).map_or(Ok(()), |item| items.done(wire.output_index, item, answer, out))
            }
            "response.output_text.delta" => items.message(place)?.text(part, delta, answer, out),
            "response.output_text.done" => {
                items.message(place)?.whole_text(part, wire.text.as_deref().unwrap_or_default(), answer, out)
            }
            "response.refusal.delta" => items.message(place)?.refusal(part, delta, answer, out),
            "response.refusal.done" => {
                items.message(place)?.whole_refusal(part, wire.refusal.as_deref().unwrap_or_default(), answer, out)
            }
            "response.content_part.done" => match wire.part.map(Part::read) {
                // Reasoning has parts as well, which its own events tell.
                Some(whole @ (Part::Text { .. } | Part::Refusal(_))) if items.is_message(place) => {
                    items.message(place)?.whole(part, whole, answer, out)
                }
                _ => Ok(()),
            },
            "response.output_text.annotation.added" | "response.output_text_annotation.added" => {
                match wire.annotation.and_then(Annotation::read) {
                    Some(annotation) => items.message(place)?.cite(part, &annotation, answer, out),
                    None => {
                        out.push(Event::Lost("output[].content[].annotations".into()));
                        Ok(())
                    }
                }
            }
            "response.reasoning_summary_text.delta" => {
                items.thought(place)?.summary(wire.summary_index.unwrap_or(0), delta, answer, out)
            }
            "response.reasoning_text.delta" => items.thought(place)?.content(delta, answer, out),
            "response.function_call_arguments.delta" => items.call(place, false)?.grow(delta, answer, out),
            "response.custom_tool_call_input.delta" => items.call(place, true)?.grow(delta, answer, out),
            "response.function_call_arguments.done" => {
                items.call(place, false)?.whole(wire.arguments.as_deref().unwrap_or_default(), answer, out)
            }
            "response.custom_tool_call_input.done" => {
                items.call(place, true)?.whole(wire.input.as_deref().unwrap_or_default(), answer, out)
            }
            _ => {
                if !is_told_elsewhere(kind) {
                    out.push(Event::Lost(kind.to_owned().into()));
                }
                Ok(())
            }
        }
    }

    fn created(&mut self, wire: &Wire<'_>, out: &mut Vec<Event>) -> Result<(), Problem> {
        let outcome = outcome(wire.response);
        let is_another = self.answer.seed != outcome.id.as_deref().unwrap_or_default();
        if self.started && is_another && !self.items.is_empty() {
            // The first answer was cut off, whatever comes now.
            let why = "the upstream began its answer a second time";
            return Err(Problem::new(ProblemKind::Upstream, why));
        }
        self.start(&outcome, out);
        Ok(())
    }

    /// The beginning, once.
    fn start(&mut self, outcome: &Outcome<'_>, out: &mut Vec<Event>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        self.answer.seed = outcome.id.clone().unwrap_or_default();
        out.push(Event::Start {
            id: outcome.id.clone(),
            model: outcome.model.clone(),
            created: outcome.created,
            usage: None,
        });
    }

    /// The final object: what it holds and nobody has said yet, why it ended, and what it cost, also where it failed.
    fn end(&mut self, kind: &str, response: Option<&RawValue>, out: &mut Vec<Event>) -> Result<(), Problem> {
        let mut outcome = outcome(response);
        self.start(&outcome, out);
        let ended = |status: &str| matches!(status, "completed" | "incomplete" | "failed" | "cancelled" | "canceled");
        let is_stated = outcome.status.as_deref().is_some_and(ended);
        match kind.strip_prefix("response.").unwrap_or_default() {
            word @ ("failed" | "cancelled") => outcome.status = Some(word.to_owned()),
            _ if is_stated => {}
            "done" => outcome.status = Some("completed".to_owned()),
            word => outcome.status = Some(word.to_owned()),
        }
        out.extend(outcome.usage.map(Event::Usage));
        if let Some(problem) = outcome.failure() {
            return Err(problem);
        }
        let items = outcome.output.and_then(|raw| elements(raw).ok()).unwrap_or_default();
        self.items.all(&items, &mut self.answer, out)?;
        self.items.close(&mut self.answer, out)?;
        let finish = outcome.finish(self.answer.called, self.answer.refused).into();
        out.push(Event::Finish { candidate: 0, finish });
        out.push(Event::End);
        (self.over, self.complete) = (true, true);
        Ok(())
    }
}

fn outcome(response: Option<&RawValue>) -> Outcome<'_> {
    let response = response.and_then(|raw| Object::from_raw(raw, Spelling::Exact).ok());
    response.map(Outcome::read).unwrap_or_default()
}

fn read(raw: &RawValue) -> Option<Item> {
    Item::read(raw).ok()
}

/// What an error event says, flat or inside of `error`.
fn stated(wire: &Wire<'_>, data: &str) -> Problem {
    let inner = wire.error.and_then(chat::error);
    inner.unwrap_or_else(|| match serde_json::from_str::<serde_json::Value>(data) {
        Ok(body) => understand::event(Family::OpenAi, &body),
        Err(_) => understand::no_answer(Family::OpenAi, data.as_bytes()),
    })
}

/// What an event without a type says that is an error.
fn bare_error(wire: &Wire<'_>, data: &str) -> Option<Problem> {
    wire.error.and_then(chat::error).or_else(|| understand::bare(Family::OpenAi, data.as_bytes()))
}

/// Whether an event says only what other events say as well: beginnings and ends of parts, and the progress of what the
/// upstream runs by itself, which its item tells when it is done.
fn is_told_elsewhere(kind: &str) -> bool {
    let of_parts = [
        "response.content_part.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_part.done",
        "response.reasoning_summary_text.done",
        "response.reasoning_text.done",
    ];
    of_parts.contains(&kind) || kind.contains("_call.") || kind.contains("_call_") || kind.contains("mcp_list_tools.")
}
