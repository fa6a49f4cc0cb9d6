//! What can be seen of an answer that passes through, in a copy and without touching it.
//!
//! Events that only carry a piece of text are glanced at, not parsed; those that start, end, count or fail are. An event
//! that cannot be read is nothing to the tap: the stream goes on, and at worst its usage is missing.

mod chat;
mod gemini;
mod json_scan;
mod messages;
mod responses;
pub(crate) mod usage;
pub(crate) mod whole;

use serde_json::Value;

use crate::{
    dialect::{Family, Operation},
    direct::Direct,
    problem::understand,
    response_stats::ResponseStats,
    scan::{Scan, Value as ScanValue},
    wire::sse::Frame,
};

/// Watches one answer's events.
#[derive(Debug)]
pub(crate) enum Tap {
    Chat(chat::Chat),
    Responses(responses::Responses),
    Messages,
    Gemini(gemini::Gemini),
    /// Operations whose answers are never streams.
    Blind,
}

impl Tap {
    pub(crate) fn new(operation: Operation) -> Self {
        match operation {
            // A legacy completion's events differ in where the text is, which the tap does not ask.
            Operation::ChatCompletions | Operation::Direct(Direct::Completions) => Self::Chat(chat::Chat::default()),
            Operation::Responses => Self::Responses(responses::Responses::default()),
            Operation::Messages => Self::Messages,
            Operation::GenerateContent => Self::Gemini(gemini::Gemini::default()),
            _ => Self::Blind,
        }
    }

    /// Takes one event.
    pub(crate) fn event(&mut self, frame: Frame<'_>, seen: &mut ResponseStats) {
        match self {
            Self::Chat(tap) => tap.event(frame.data, seen),
            Self::Responses(tap) => tap.event(frame, seen),
            Self::Messages => messages::event(frame, seen),
            Self::Gemini(tap) => tap.event(frame.data, seen),
            Self::Blind => {}
        }
    }

    /// The body has ended, and no event is missing: some dialects end with the body (docs/protocols/streaming.md, rule
    /// 4).
    pub(crate) fn end(&self, seen: &mut ResponseStats) {
        let ends_with_body = match self {
            Self::Chat(_) | Self::Gemini(_) | Self::Messages => seen.finish.is_some(),
            Self::Responses(_) => false,
            Self::Blind => true,
        };
        seen.complete |= ends_with_body && seen.error.is_none();
    }

    /// The last `sequence_number` of a Responses stream; none before its first event, and for other dialects.
    pub(crate) fn sequence(&self) -> Option<u64> {
        match self {
            Self::Responses(tap) => tap.sequence(),
            _ => None,
        }
    }
}

/// A document of which only small members are looked at: content may be long, and a tree of it would take many times
/// its bytes.
struct Outline<'a> {
    text: &'a [u8],
    scan: Scan,
}

impl<'a> Outline<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let text = text.as_bytes();
        Some(Self { text, scan: Scan::read(text).ok()? })
    }

    fn get(&self, name: &str) -> Option<&ScanValue> {
        self.scan.last(self.text, name)
    }

    /// A member as a tree, if it is small.
    fn small(&self, name: &str) -> Option<Value> {
        self.get(name)?.small(self.text)
    }

    /// Small members of an object in it, as an object.
    fn some<const N: usize>(&self, object: Option<&ScanValue>, names: [&str; N]) -> Value {
        let found = object.map_or([const { None }; N], |object| object.named(self.text, names));
        let members =
            names.iter().zip(found).filter_map(|(name, value)| Some(((*name).to_owned(), value?.small(self.text)?)));
        Value::Object(members.collect())
    }
}

/// Whether an event is an error as its dialect writes one.
pub(crate) fn names_error(operation: Operation, frame: Frame<'_>) -> bool {
    let Some(body) = Outline::read(frame.data) else { return false };
    let says = |name: &str| body.get(name).is_some_and(|value| value.kind != crate::scan::Kind::Null);
    match operation {
        Operation::Responses => says("type"),
        _ => says("error"),
    }
}

/// Notes an error without an envelope: none of an answer's members (`answers`), and words of what failed.
fn failed_bare(family: Family, data: &[u8], answers: bool, seen: &mut ResponseStats) {
    if !answers && let Some(problem) = understand::bare(family, data) {
        seen.error.get_or_insert(problem);
    }
}

/// Notes an error that came inside an answer.
fn failed(family: Family, body: &Value, seen: &mut ResponseStats) {
    seen.error.get_or_insert_with(|| understand::event(family, body));
}

/// Notes id and model of the answer, once.
fn identified(id: Option<&Value>, model: Option<&Value>, seen: &mut ResponseStats) {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    seen.response_id = seen.response_id.take().or_else(|| text(id));
    seen.response_model = seen.response_model.take().or_else(|| text(model));
}

#[cfg(test)]
mod tests;
