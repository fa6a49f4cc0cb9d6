//! What has come of an answer so far, all items together.

use crate::{
    ir::{BlockKind, Event},
    problem::{Problem, ProblemKind},
};

/// Most blocks in one answer. Vendors stop at some hundreds.
const MAX_BLOCKS: u32 = 4096;

/// The answer.
#[derive(Debug, Default)]
pub struct Answer {
    /// The upstream's id: seed of ids that are not there.
    pub seed: String,
    /// Characters of visible text.
    pub said: u64,
    /// A tool was called.
    pub called: bool,
    /// The model declined.
    pub refused: bool,
    next: u32,
}

impl Answer {
    /// Begins a block.
    ///
    /// # Errors
    /// When there are too many.
    pub fn begin(&mut self, kind: BlockKind, out: &mut Vec<Event>) -> Result<u32, Problem> {
        let block = self.next;
        if block >= MAX_BLOCKS {
            return Err(too_many());
        }
        self.next = block.saturating_add(1);
        match kind {
            BlockKind::ToolCall { .. } => self.called = true,
            BlockKind::Refusal => self.refused = true,
            _ => {}
        }
        out.push(Event::BlockStart { block, candidate: 0, kind });
        Ok(block)
    }

    /// How many blocks have begun.
    pub const fn begun(&self) -> u32 {
        self.next
    }
}

/// The answer falls into more pieces than any model gives.
pub fn too_many() -> Problem {
    Problem::new(ProblemKind::Upstream, "the upstream sent too many items in one answer")
}
