//! Bytes that are held: request bodies, whole answers, and beginnings of streams. All of them together are bounded, so
//! that a crowd of large requests is turned away instead of ending the process.
//!
//! The bound is for the process and counts what is held now; each kind has its own bound per request beside it, and a
//! token may hold a part of the whole, so that it fills no more than its own. What flows through (a stream after its
//! first content) is not held and does not count; a large event of it that is not complete is and does.

use bytes::{Bytes, BytesMut};
use prometheus_client::metrics::gauge::Gauge;
use routeapi_protocol::response_translation::ResponseStream;

use super::Gateway;
use crate::live::Account;

/// A part of what may be held, given back when dropped.
#[derive(Debug)]
pub(super) struct Lease {
    /// What all hold together, and how much that may be; then the same for the token's requests.
    bounds: [(Gauge, i64); 2],
    held: i64,
}

/// More is held than may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// What a stream holds of an event that is not complete.
#[derive(Debug)]
pub(super) struct UnfinishedEvent {
    lease: Lease,
    counted: usize,
}

/// Up to so many bytes of an event do not count: most streams never ask.
const UNCOUNTED: usize = 128 << 10;

/// Pieces as one; a single piece is not copied.
#[derive(Debug)]
pub(super) struct Gathered {
    first: Bytes,
    rest: Option<BytesMut>,
    lease: Lease,
}

// === impl Lease ===

impl Lease {
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
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Full> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.held = self.held.saturating_add(bytes);
        self.add(bytes)
    }
}

impl Lease {
    fn add(&self, more: i64) -> Result<(), Full> {
        let is_full = |(held, limit): &(Gauge, i64)| held.inc_by(more).saturating_add(more) > *limit;
        // Each bound counts, whatever the others say.
        let full = self.bounds.iter().filter(|bound| is_full(bound)).count();
        if full > 0 { Err(Full) } else { Ok(()) }
    }

    /// Holds so many bytes from now on, be it more or less than before.
    pub(super) fn resize(&mut self, bytes: usize) -> Result<(), Full> {
        let wanted = i64::try_from(bytes).unwrap_or(i64::MAX);
        let more = wanted.saturating_sub(self.held);
        self.held = wanted;
        self.add(more)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        for (held, _) in &self.bounds {
            held.dec_by(self.held);
        }
    }
}

// === impl UnfinishedEvent ===

impl UnfinishedEvent {
    pub(super) fn new(lease: Lease) -> Self {
        Self { lease, counted: 0 }
    }

    /// Counts what the stream holds now. Where it holds too much but the client can do without, it lets go.
    pub(super) fn count(&mut self, stream: &mut ResponseStream) -> Result<(), Full> {
        let held = stream.held();
        let counted = if held > UNCOUNTED { held } else { 0 };
        if std::mem::replace(&mut self.counted, counted) == counted || self.lease.resize(counted).is_ok() {
            return Ok(());
        }
        if !stream.stop_looking() {
            return Err(Full);
        }
        self.counted = 0;
        self.lease.resize(0)
    }
}

// === impl Gathered ===

impl Gathered {
    pub(super) fn new(lease: Lease) -> Self {
        Self { first: Bytes::new(), rest: None, lease }
    }

    /// Takes a piece, also when that is more than may be held.
    pub(super) fn push(&mut self, piece: Bytes) -> Result<(), Full> {
        let length = piece.len();
        match &mut self.rest {
            Some(rest) => rest.extend_from_slice(&piece),
            None if self.first.is_empty() => self.first = piece,
            None if piece.is_empty() => {}
            None => self.rest.insert(BytesMut::from(self.first.as_ref())).extend_from_slice(&piece),
        }
        self.lease.grow(length)
    }

    pub(super) fn len(&self) -> usize {
        self.rest.as_ref().map_or(self.first.len(), BytesMut::len)
    }

    /// All of it, with the lease to keep for as long as it is held.
    pub(super) fn join(self) -> (Bytes, Lease) {
        (self.rest.map_or(self.first, BytesMut::freeze), self.lease)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_one_and_all_holders_share_the_bound() {
        let gauge = Gauge::default();
        let lease = || Lease::of([(gauge.clone(), 5), (Gauge::default(), usize::MAX)]);
        let (mut a, mut b) = (Gathered::new(lease()), Gathered::new(lease()));
        for piece in ["a", "", "bc"] {
            assert_eq!(a.push(Bytes::from_static(piece.as_bytes())), Ok(()));
        }
        assert_eq!(b.push(Bytes::from_static(b"de")), Ok(()));
        assert_eq!(b.push(Bytes::from_static(b"f")), Err(Full));
        assert_eq!((a.len(), b.len(), gauge.get()), (3, 3, 6));
        let (bytes, lease) = a.join();
        assert_eq!((bytes, gauge.get()), (Bytes::from_static(b"abc"), 6));
        drop(lease);
        assert_eq!(gauge.get(), 3);
        assert_eq!(b.push(Bytes::from_static(b"gh")), Ok(()));
        drop(b);
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn what_is_held_may_become_less() {
        let gauge = Gauge::default();
        let mut lease = Lease::of([(gauge.clone(), 5), (Gauge::default(), usize::MAX)]);
        assert_eq!(lease.resize(6), Err(Full));
        assert_eq!((lease.resize(2), gauge.get()), (Ok(()), 2));
        drop(lease);
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn a_token_fills_its_own_part_and_no_more() {
        let (all, greedy, other) = (Gauge::default(), Gauge::default(), Gauge::default());
        let lease = |token: &Gauge| Lease::of([(all.clone(), 100), (token.clone(), 25)]);
        let mut leases: Vec<Lease> = (0..5).map(|_| lease(&greedy)).collect();
        let granted = leases.iter_mut().filter_map(|lease| lease.grow(10).ok()).count();
        assert_eq!(granted, 2);
        assert_eq!(lease(&other).grow(25), Ok(()));
        drop(leases);
        assert_eq!((all.get(), greedy.get(), other.get()), (0, 0, 0));
    }
}
