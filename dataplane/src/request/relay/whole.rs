//! An upstream's whole answer on its way to the client, in pieces.

use std::time::Instant;

use bytes::Bytes;
use routeapi_metering::Outcome;

use super::{
    end_reason::{EndReason, end_outcome},
    ready_bytes::{MAX_PIECE_BYTES, ReadyBytes},
};
use crate::request::{memory::MemoryPermit, outcome::RequestOutcome, settle::Guard};

/// An upstream's whole answer.
pub(super) struct WholeBody {
    bytes: Bytes,
    deadline: Instant,
    guard: Guard,
}

/// A whole answer with its memory permit: held until the last of it has left the server.
struct HeldBytes {
    bytes: Bytes,
    _memory: Option<MemoryPermit>,
}

// === impl WholeBody ===

impl WholeBody {
    pub(super) fn new(bytes: Bytes, deadline: Instant, guard: Guard, memory: Option<MemoryPermit>) -> Self {
        let bytes = if bytes.is_empty() { bytes } else { Bytes::from_owner(HeldBytes { bytes, _memory: memory }) };
        Self { bytes, deadline, guard }
    }

    /// The next piece. With the last one the answer counts as handed over.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        if self.bytes.is_empty() {
            return None;
        }
        let piece = self.bytes.split_to(self.bytes.len().min(MAX_PIECE_BYTES));
        self.guard.facts.add_sent(piece.len());
        if self.bytes.is_empty() {
            self.guard.finish(RequestOutcome::COMPLETED);
        }
        Some(piece)
    }

    pub(super) fn left(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(super) fn guard(&mut self) -> &mut Guard {
        &mut self.guard
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// A whole answer has no place for an error, so it breaks off.
    pub(super) fn terminate(&mut self, why: EndReason<'_>) -> Option<ReadyBytes> {
        let (problem, outcome) = end_outcome(why, self.guard.facts.caller())?;
        self.guard.facts.explain(&problem.message);
        self.guard.finish(outcome);
        Some(ReadyBytes::default())
    }
}

impl Drop for WholeBody {
    fn drop(&mut self) {
        // Unless it was handed over before, the client has not got it.
        self.guard.finish(RequestOutcome::new(Outcome::ClientCancelled, "client_cancelled"));
    }
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
