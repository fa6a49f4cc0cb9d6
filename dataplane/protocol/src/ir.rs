//! The neutral representation: a typed superset of what the dialects say about one call.
//!
//! Blocks are ordered lists per turn, because the order of reasoning, text and calls is meaning. Tool arguments and
//! schemas are raw JSON that no codec rewrites unless its target needs to. Usage counts are disjoint, so that no codec
//! has to know another one's inclusion rules. Optional scalars are `Option`: absent and `null` are `None`, `0` and
//! `false` are values.

mod content;
mod event;
mod extras;
mod number;
mod request;
mod response;
mod usage;

pub use content::{
    Block, CacheMark, Citation, Document, Media, MediaSource, Opaque, Reasoning, Text, ToolCall, ToolResult, Unknown,
};
pub use event::{BlockKind, Delta, Event};
pub use extras::{Extra, Extras};
pub use number::Number;
pub use request::{
    Effort, Efforts, Modality, OutputFormat, ReasoningControl, Request, Role, Sampling, Tool, ToolChoice, ToolKind,
    Turn,
};
pub use response::{Candidate, Finish, FinishReason, Response};
pub use usage::Usage;

/// JSON text that is carried and not understood.
pub type Raw = Box<serde_json::value::RawValue>;
