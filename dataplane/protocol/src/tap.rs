//! What can be seen of an answer that passes through, in a copy and without touching it.
//!
//! Events that only carry a piece of text are glanced at, not parsed; those that start, end, count or fail are. An event
//! that cannot be read is nothing to the tap: the stream goes on, and at worst its usage is missing.

mod chat;
mod converse;
mod gemini;
mod json_scan;
mod messages;
mod outline;
mod responses;
pub(crate) mod whole;

use self::outline::Outline;
use crate::{dialect::Operation, direct::Direct, response_stats::ResponseStats, wire::sse::Frame};

/// Watches one answer's events.
#[derive(Debug)]
pub(crate) enum Tap {
    Chat(chat::Chat),
    Responses(responses::Responses),
    Messages,
    Gemini(gemini::Gemini),
    Converse,
    /// Operations whose answers are never streams.
    Blind,
}

impl Tap {
    #[deny(clippy::wildcard_enum_match_arm)]
    pub(crate) fn new(operation: Operation) -> Self {
        match operation {
            // A legacy completion's events differ in where the text is, which the tap does not ask.
            Operation::ChatCompletions | Operation::Direct(Direct::Completions) => Self::Chat(chat::Chat::default()),
            Operation::Responses => Self::Responses(responses::Responses::default()),
            Operation::Messages => Self::Messages,
            Operation::GenerateContent => Self::Gemini(gemini::Gemini::default()),
            Operation::Converse => Self::Converse,
            Operation::ResponsesInputTokens
            | Operation::Embeddings
            | Operation::MessagesCountTokens
            | Operation::EmbedContent
            | Operation::BatchEmbedContents
            | Operation::CountTokens
            | Operation::Predict
            | Operation::InvokeEmbedding
            | Operation::ConverseCountTokens
            | Operation::Direct(_)
            | Operation::Stored(_) => Self::Blind,
        }
    }

    /// Takes one event.
    pub(crate) fn event(&mut self, frame: Frame<'_>, seen: &mut ResponseStats) {
        match self {
            Self::Chat(tap) => tap.event(frame.data, seen),
            Self::Responses(tap) => tap.event(frame, seen),
            Self::Messages => messages::event(frame, seen),
            Self::Gemini(tap) => tap.event(frame.data, seen),
            Self::Converse => converse::event(frame, seen),
            Self::Blind => {}
        }
    }

    /// The body has ended, and no event is missing: some dialects end with the body (docs/protocols/streaming.md, rule
    /// 4).
    pub(crate) fn end(&self, seen: &mut ResponseStats) {
        let ends_with_body = match self {
            Self::Chat(_) | Self::Gemini(_) | Self::Messages | Self::Converse => seen.finish.is_some(),
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

/// Whether an event is an error as its dialect writes one.
pub(crate) fn names_error(operation: Operation, frame: Frame<'_>) -> bool {
    let Some(body) = Outline::read(frame.data.as_bytes()) else { return false };
    let says = |name: &str| body.get(name).is_some_and(|value| value.kind != crate::scan::Kind::Null);
    match operation {
        Operation::Responses => says("type"),
        _ => says("error"),
    }
}

#[cfg(test)]
mod tests;
