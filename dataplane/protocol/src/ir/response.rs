//! What a model answered, whole.

use super::{Block, Usage};
use crate::report::Field;

/// A complete answer.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// The upstream's id for it, if it gave one.
    pub id: Option<String>,
    /// The model that answered, as the upstream names it.
    pub model: Option<String>,
    /// Seconds since 1970, if the upstream said.
    pub created: Option<i64>,
    /// The answers; one unless several were asked for.
    pub candidates: Vec<Candidate>,
    /// What it cost, if the upstream said.
    pub usage: Option<Usage>,
    /// Members of the upstream's answer that have no place here, by their name in it.
    pub lost: Vec<Field>,
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Text, reasoning and calls in order.
    pub blocks: Vec<Block>,
    /// Why it ended.
    pub finish: Finish,
}

/// Why and how an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finish {
    /// The reason.
    pub reason: FinishReason,
    /// The stop text that was hit, where the upstream tells.
    pub stop_sequence: Option<String>,
}

/// Why an answer ended (docs/protocols/finish-and-errors.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model was done.
    Stop,
    /// A stop text was hit.
    StopSequence,
    /// The model waits for tool results.
    ToolCalls,
    /// The output limit was reached.
    Length,
    /// The context window was full.
    ContextFull,
    /// Safety systems stopped it.
    ContentFilter,
    /// The model declined.
    Refusal,
    /// The turn goes on in another request.
    Pause,
    /// The model wrote a call that cannot be read.
    Malformed,
    /// A reason this program does not know.
    Other,
}

impl From<FinishReason> for Finish {
    fn from(reason: FinishReason) -> Self {
        Self { reason, stop_sequence: None }
    }
}
