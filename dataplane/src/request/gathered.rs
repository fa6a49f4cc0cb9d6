//! Bytes that are held: request bodies, whole answers, and beginnings of streams. All of them together are bounded, so
//! that a crowd of large requests is turned away instead of ending the process.
//!
//! The bound is for the process and counts what is held now; each kind has its own bound per request beside it. What
//! flows through (a stream after its first content) is not held and does not count.

use bytes::{Bytes, BytesMut};
use prometheus_client::metrics::gauge::Gauge;

use super::Gateway;

/// A part of what may be held, given back when dropped.
#[derive(Debug)]
pub(super) struct Lease {
    held_by_all: Gauge,
    limit: i64,
    held: i64,
}

/// More is held than may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Pieces as one; a single piece is not copied.
#[derive(Debug)]
pub(super) struct Gathered {
    first: Bytes,
    rest: Option<BytesMut>,
    lease: Lease,
}

// === impl Lease ===

impl Lease {
    /// Holds nothing yet.
    pub(super) fn new(gateway: &Gateway) -> Self {
        Self::of(gateway.metrics.buffered(), gateway.settings.max_buffered_bytes)
    }

    pub(super) fn of(held_by_all: Gauge, limit: usize) -> Self {
        Self { held_by_all, limit: i64::try_from(limit).unwrap_or(i64::MAX), held: 0 }
    }

    /// Holds more. It counts in any case: what is full is for the caller to let go.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Full> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.held = self.held.saturating_add(bytes);
        let before = self.held_by_all.inc_by(bytes);
        if before.saturating_add(bytes) > self.limit { Err(Full) } else { Ok(()) }
    }
}

impl Lease {
    /// Holds so many bytes from now on, be it more or less than before.
    pub(super) fn resize(&mut self, bytes: usize) -> Result<(), Full> {
        let wanted = i64::try_from(bytes).unwrap_or(i64::MAX);
        let more = wanted.saturating_sub(self.held);
        self.held = wanted;
        let before = self.held_by_all.inc_by(more);
        if before.saturating_add(more) > self.limit { Err(Full) } else { Ok(()) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.held_by_all.dec_by(self.held);
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
        let mut a = Gathered::new(Lease::of(gauge.clone(), 5));
        let mut b = Gathered::new(Lease::of(gauge.clone(), 5));
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
        let mut lease = Lease::of(gauge.clone(), 5);
        assert_eq!(lease.resize(6), Err(Full));
        assert_eq!((lease.resize(2), gauge.get()), (Ok(()), 2));
        drop(lease);
        assert_eq!(gauge.get(), 0);
    }
}
