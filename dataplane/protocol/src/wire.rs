//! How an upstream frames its answer: where one event ends and the next begins, in bytes that arrive in pieces. How the
//! client wants its answer framed is a [`crate::framing::Framing`].

pub mod event_stream;
pub mod json_array;
mod reader;
pub(crate) mod sniff;
pub mod sse;

pub(crate) use reader::{Reader, is_binary};

use crate::framing::Framing;

/// How an upstream is asked to frame its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wire {
    /// One JSON document.
    Whole,
    /// Server-sent events.
    Sse,
    /// One JSON array, written element by element (Gemini without `alt=sse`).
    JsonArray,
    /// Amazon's event stream (Bedrock).
    EventStream,
}

impl Wire {
    /// Whether it is more than one document.
    pub const fn is_stream(self) -> bool {
        !matches!(self, Self::Whole)
    }
}

impl From<Framing> for Wire {
    /// What a host is asked for that can answer in each way that a client may want.
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::Whole => Self::Whole,
            Framing::Sse => Self::Sse,
            Framing::JsonArray => Self::JsonArray,
            Framing::EventStream => Self::EventStream,
        }
    }
}
