//! One event of a streamed answer, framed, with what it is worth.

use bytes::Bytes;
use serde_json::Value;

/// Bytes that go out together.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub bytes: Bytes,
    /// Carries text or a tool call (a role, a ping or an opened block does not).
    pub content: bool,
    /// Output tokens in it.
    pub tokens: u64,
}

impl Event {
    /// `data:` alone.
    pub fn data(value: &Value) -> Self {
        Self::raw(format!("data: {value}\n\n"))
    }

    /// `event:` named by the value's `type`, and `data:`.
    pub fn named(value: &Value) -> Self {
        Self::raw(format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap_or_default()))
    }

    pub fn raw(text: impl Into<String>) -> Self {
        Self { bytes: Bytes::from(text.into()), content: false, tokens: 0 }
    }

    /// Marks it as content of so many tokens.
    pub fn worth(mut self, tokens: u64) -> Self {
        self.content = true;
        self.tokens = tokens;
        self
    }
}
