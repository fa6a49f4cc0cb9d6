//! An answer as it comes. The contract that every decoder keeps and every encoder relies on
//! (docs/protocols/streaming.md):
//!
//! 1. `Start` first and once, synthesised if the dialect has none. Only `Ping`, and an `Error` that takes the place of
//!    the whole answer, may come before it.
//! 2. Block numbers are never reused; blocks of one candidate may overlap.
//! 3. `BlockEnd` for every started block before the `Finish` of its candidate, synthesised if missing.
//! 4. `Finish`+ then `End`, or one `Error`, and nothing after. An upstream that ends without its terminal event is an
//!    `Error`, never a clean end.

use super::{Block, Citation, Finish, Opaque, Raw, Usage};
use crate::{dialect::Family, problem::Problem, report::Field};

/// One step of an answer.
#[derive(Clone, Debug)]
pub enum Event {
    /// The answer begins.
    Start {
        /// The upstream's id for it.
        id: Option<String>,
        /// The model that answers, as the upstream names it.
        model: Option<String>,
        /// Seconds since 1970.
        created: Option<i64>,
        /// Input counts known at the start (Anthropic).
        usage: Option<Usage>,
    },
    /// A block begins.
    BlockStart {
        /// Its number, unique in this answer.
        block: u32,
        /// The candidate it belongs to, from 0.
        candidate: u32,
        /// What it is.
        kind: BlockKind,
    },
    /// A block grows.
    BlockDelta {
        /// Which.
        block: u32,
        /// By what.
        delta: Delta,
    },
    /// A block is complete.
    BlockEnd {
        /// Which.
        block: u32,
    },
    /// Counts so far, complete in themselves: a later one replaces an earlier one member by member.
    Usage(Usage),
    /// A candidate is complete.
    Finish {
        /// Which, from 0.
        candidate: u32,
        /// Why.
        finish: Finish,
    },
    /// The upstream said something that the neutral representation has no place for, under this name.
    Lost(Field),
    /// The upstream is alive.
    Ping,
    /// The upstream failed.
    Error(Problem),
    /// The answer is complete.
    End,
}

/// What a block is.
#[derive(Clone, Debug)]
pub enum BlockKind {
    /// Words.
    Text,
    /// Reasoning.
    Reasoning {
        /// The vendor hid the text; the state follows as a delta.
        redacted: bool,
    },
    /// A call; its arguments follow as deltas.
    ToolCall {
        /// Pairs it with its result.
        id: String,
        /// The tool.
        name: String,
    },
    /// The model declines, in words.
    Refusal,
    /// A picture, sound, film or document, complete.
    Media(Box<Block>),
    /// Something of the upstream's family that the IR has no name for, complete.
    Unknown {
        /// Whose dialect.
        family: Family,
        /// Its type as written.
        kind: String,
        /// The whole block.
        raw: Raw,
    },
}

/// How a block grows.
#[derive(Clone, Debug)]
pub enum Delta {
    /// More words (text, refusal).
    Text(String),
    /// More of the arguments' JSON text.
    Arguments(String),
    /// More visible reasoning.
    Reasoning(String),
    /// Reasoning state for this block, complete.
    State(Opaque),
    /// A source that words rest on, which may be words of other text blocks (text).
    Citation(Citation),
}
