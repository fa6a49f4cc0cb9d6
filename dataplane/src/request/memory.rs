//! Bytes that are held: request bodies, whole answers, and beginnings of streams. All of them together are bounded, so
//! that a crowd of large requests is turned away instead of ending the process.
//!
//! The bound is for the process and counts what is held now; each kind has its own bound per request beside it, and a
//! token may hold a part of the whole, so that it fills no more than its own. What flows through (a stream after its
//! first content) is not held and does not count; a large event of it that is not complete is and does.

use bytes::{Bytes, BytesMut};
use prometheus_client::metrics::gauge::Gauge;
use routeapi_protocol::response_translation::ResponseStream;

use super::gateway::Gateway;
use crate::limits::Account;

/// A part of what may be held, given back when dropped.
#[derive(Debug)]
pub(super) struct MemoryPermit {
    /// What all hold together, and how much that may be; then the same for the token's requests.
    bounds: [(Gauge, i64); 2],
    held: i64,
}

/// More is held than may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BuffersFull;

/// What a stream holds of an event that is not complete.
#[derive(Debug)]
pub(super) struct UnfinishedEvent {
    memory: MemoryPermit,
    counted: usize,
}

/// Up to so many bytes of an event do not count: most streams never ask.
const UNCOUNTED_BYTES: usize = 128 << 10;

/// Pieces as one; a single piece is not copied.
#[derive(Debug)]
pub(super) struct BufferedBody {
    first: Bytes,
    rest: Option<BytesMut>,
    memory: MemoryPermit,
}

// === impl MemoryPermit ===

impl MemoryPermit {
    /// Holds nothing yet. A token may hold half of what the process may, and in any case one request, also translated,
    /// and its answer.
    pub(super) fn new(gateway: &Gateway, account: &Account) -> Self {
        let settings = &gateway.settings;
        let limit = settings.max_buffered_bytes;
        let one = settings.max_body_bytes.saturating_mul(2).saturating_add(settings.max_answer_bytes);
        let share = (limit / 2).max(one);
        Self::of([(gateway.metrics.buffered(), limit), (account.buffered(), share)])
    }

    pub(super) fn of(bounds: [(Gauge, usize); 2]) -> Self {
        let bounds = bounds.map(|(held, limit)| (held, i64::try_from(limit).unwrap_or(i64::MAX)));
        Self { bounds, held: 0 }
    }

    /// Holds more. It counts in any case: what is full is for the caller to let go.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), BuffersFull> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.held = self.held.saturating_add(bytes);
        self.add(bytes)
    }
}

impl MemoryPermit {
    fn add(&self, more: i64) -> Result<(), BuffersFull> {
        let is_full = |(held, limit): &(Gauge, i64)| held.inc_by(more).saturating_add(more) > *limit;
        // Each bound counts, whatever the others say.
        let full = self.bounds.iter().filter(|bound| is_full(bound)).count();
        if full > 0 { Err(BuffersFull) } else { Ok(()) }
    }

    /// Holds so many bytes from now on, be it more or less than before.
    pub(super) fn resize(&mut self, bytes: usize) -> Result<(), BuffersFull> {
        let wanted = i64::try_from(bytes).unwrap_or(i64::MAX);
        let more = wanted.saturating_sub(self.held);
        self.held = wanted;
        self.add(more)
    }
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        for (held, _) in &self.bounds {
            held.dec_by(self.held);
        }
    }
}

// === impl UnfinishedEvent ===

impl UnfinishedEvent {
    pub(super) fn new(memory: MemoryPermit) -> Self {
        Self { memory, counted: 0 }
    }

    /// Counts what the stream holds now. Where it holds too much but the client can do without, it lets go.
    pub(super) fn count(&mut self, stream: &mut ResponseStream) -> Result<(), BuffersFull> {
        let held = stream.held();
        let counted = if held > UNCOUNTED_BYTES { held } else { 0 };
        if std::mem::replace(&mut self.counted, counted) == counted || self.memory.resize(counted).is_ok() {
            return Ok(());
        }
        if !stream.stop_looking() {
            return Err(BuffersFull);
        }
        self.counted = 0;
        self.memory.resize(0)
    }
}

// === impl BufferedBody ===

impl BufferedBody {
    pub(super) fn new(memory: MemoryPermit) -> Self {
        Self { first: Bytes::new(), rest: None, memory }
    }

    /// Takes a piece, also when that is more than may be held.
    pub(super) fn push(&mut self, piece: Bytes) -> Result<(), BuffersFull> {
        let length = piece.len();
        match &mut self.rest {
            Some(rest) => rest.extend_from_slice(&piece),
            None if self.first.is_empty() => self.first = piece,
            None if piece.is_empty() => {}
            None => self.rest.insert(BytesMut::from(self.first.as_ref())).extend_from_slice(&piece),
        }
        self.memory.grow(length)
    }

    pub(super) fn len(&self) -> usize {
        self.rest.as_ref().map_or(self.first.len(), BytesMut::len)
    }

    /// All of it, with the permit to keep for as long as it is held.
    pub(super) fn join(self) -> (Bytes, MemoryPermit) {
        (self.rest.map_or(self.first, BytesMut::freeze), self.memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffered_pieces_join_and_share_the_memory_limit() {
        let gauge = Gauge::default();
        let memory = || MemoryPermit::of([(gauge.clone(), 5), (Gauge::default(), usize::MAX)]);
        let (mut a, mut b) = (BufferedBody::new(memory()), BufferedBody::new(memory()));
        for piece in ["a", "", "bc"] {
            assert_eq!(a.push(Bytes::from_static(piece.as_bytes())), Ok(()));
        }
        assert_eq!(b.push(Bytes::from_static(b"de")), Ok(()));
        assert_eq!(b.push(Bytes::from_static(b"f")), Err(BuffersFull));
        assert_eq!((a.len(), b.len(), gauge.get()), (3, 3, 6));
        let (bytes, memory) = a.join();
        assert_eq!((bytes, gauge.get()), (Bytes::from_static(b"abc"), 6));
        drop(memory);
        assert_eq!(gauge.get(), 3);
        assert_eq!(b.push(Bytes::from_static(b"gh")), Ok(()));
        drop(b);
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn memory_permit_can_shrink() {
        let gauge = Gauge::default();
        let mut memory = MemoryPermit::of([(gauge.clone(), 5), (Gauge::default(), usize::MAX)]);
        assert_eq!(memory.resize(6), Err(BuffersFull));
        assert_eq!((memory.resize(2), gauge.get()), (Ok(()), 2));
        drop(memory);
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn memory_limit_per_token_is_enforced() {
        let (all, greedy, other) = (Gauge::default(), Gauge::default(), Gauge::default());
        let memory = |token: &Gauge| MemoryPermit::of([(all.clone(), 100), (token.clone(), 25)]);
        let mut permits: Vec<MemoryPermit> = (0..5).map(|_| memory(&greedy)).collect();
        let granted = permits.iter_mut().filter_map(|permit| permit.grow(10).ok()).count();
        assert_eq!(granted, 2);
        assert_eq!(memory(&other).grow(25), Ok(()));
        drop(permits);
        assert_eq!((all.get(), greedy.get(), other.get()), (0, 0, 0));
    }
}
