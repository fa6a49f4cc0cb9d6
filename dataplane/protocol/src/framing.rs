//! How a client wants its answer. How the upstream frames it is a [`crate::wire::Wire`].

/// How an answer is to arrive at the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// One JSON document.
    Whole,
    /// Server-sent events.
    Sse,
    /// One JSON array, written element by element (Gemini without `alt=sse`).
    JsonArray,
    /// Amazon's event stream (Converse).
    EventStream,
}

impl Framing {
    /// The content type of an answer that arrives so.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Sse => "text/event-stream",
            Self::Whole | Self::JsonArray => "application/json",
            Self::EventStream => "application/vnd.amazon.eventstream",
        }
    }
}
