//! What of an answer can go out now, and whether its body ends well behind it.

use bytes::Bytes;

/// Largest piece that is handed over, in bytes. The server keeps a piece until its client has taken it.
pub(super) const MAX_PIECE_BYTES: usize = 64 << 10;

/// The answer cannot go on and its dialect has no words left for it: the connection must break, so that nobody takes the
/// answer for finished.
#[derive(Debug, thiserror::Error)]
#[error("the answer was cut off")]
pub struct BodyError;

/// What is ready to go out.
#[derive(Default)]
pub(super) struct ReadyBytes {
    pub bytes: Bytes,
    /// The terminal error, behind what was ready before.
    pub last: Bytes,
    /// Whether the body ends well behind all that; otherwise its connection has to break.
    pub ends_well: bool,
}

impl ReadyBytes {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { bytes, last: Bytes::new(), ends_well: false }
    }

    /// The last of an answer, which ends well with it.
    pub(super) fn last(last: Bytes) -> Self {
        Self { bytes: Bytes::new(), last, ends_well: true }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len().saturating_add(self.last.len())
    }

    /// The next piece, if there is one.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        if self.bytes.is_empty() {
            self.bytes = std::mem::take(&mut self.last);
        }
        let length = self.bytes.len().min(MAX_PIECE_BYTES);
        (length > 0).then(|| self.bytes.split_to(length))
    }

    /// For an answer that was cut: its last words.
    pub(super) fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        match self.take() {
            Some(bytes) => Some(Ok(bytes)),
            None => (!self.ends_well).then_some(Err(BodyError)),
        }
    }
}
