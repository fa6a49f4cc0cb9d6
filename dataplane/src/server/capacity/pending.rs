//! Bytes of requests that have begun and not ended, of all connections together. When they are too many, those that have
//! been unfinished for longest are given up: a client in good faith sends its header section in one go.
//!
//! A connection is known here only while it holds something, and most never do, since most header sections come whole.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;

/// What all connections hold.
#[derive(Debug)]
pub(super) struct Pending {
    max: usize,
    held: Mutex<PendingEntries>,
}

#[derive(Debug, Default)]
struct PendingEntries {
    total: usize,
    /// By age: numbers are given in order.
    entries: BTreeMap<u64, Entry>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    bytes: usize,
    notice: Arc<Notice>,
}

/// Tells a connection that it is given up.
#[derive(Debug, Default)]
struct Notice {
    given_up: AtomicBool,
    waker: AtomicWaker,
}

/// What one connection holds. Nothing any more when it is dropped.
#[derive(Debug)]
pub struct Charge {
    pending: Arc<Pending>,
    entry: Option<(u64, Arc<Notice>)>,
}

impl Pending {
    pub(super) fn new(max: usize) -> Self {
        Self { max, held: Mutex::default() }
    }

    fn add(&self, bytes: usize) -> (u64, Arc<Notice>) {
        let notice = Arc::new(Notice::default());
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let number = held.next;
        held.next += 1;
        held.total = held.total.saturating_add(bytes);
        held.entries.insert(number, Entry { bytes, notice: Arc::clone(&notice) });
        held.shrink(self.max);
        (number, notice)
    }

    fn change(&self, number: u64, bytes: usize) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = held.entries.get_mut(&number) else { return };
        let before = std::mem::replace(&mut entry.bytes, bytes);
        held.total = held.total.saturating_sub(before).saturating_add(bytes);
        held.shrink(self.max);
    }

    fn remove(&self, number: u64) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = held.entries.remove(&number) {
            held.total = held.total.saturating_sub(entry.bytes);
        }
    }
}

impl PendingEntries {
    fn shrink(&mut self, max: usize) {
        while self.total > max {
            let Some((_, oldest)) = self.entries.pop_first() else { return };
            self.total = self.total.saturating_sub(oldest.bytes);
            oldest.notice.given_up.store(true, Ordering::Release);
            oldest.notice.waker.wake();
        }
    }
}

impl Charge {
    pub(super) fn new(pending: Arc<Pending>) -> Self {
        Self { pending, entry: None }
    }

    /// How many bytes of something unfinished this connection holds now; none if all that has begun has ended.
    pub(in crate::server) fn set(&mut self, bytes: Option<usize>) {
        match (bytes, &self.entry) {
            (Some(bytes), Some((number, _))) => self.pending.change(*number, bytes),
            (Some(bytes), None) => self.entry = Some(self.pending.add(bytes)),
            (None, Some((number, _))) => {
                self.pending.remove(*number);
                self.entry = None;
            }
            (None, None) => {}
        }
    }

    /// Resolves when the connection is to be given up.
    pub(in crate::server) fn poll_given_up(&self, context: &Context<'_>) -> Poll<()> {
        let Some((_, notice)) = &self.entry else { return Poll::Pending };
        notice.waker.register(context.waker());
        if notice.given_up.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(None);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn is_given_up(charge: &Charge) -> bool {
        charge.poll_given_up(&Context::from_waker(Waker::noop())).is_ready()
    }

    fn charges<const N: usize>(max: usize) -> (Arc<Pending>, [Charge; N]) {
        let pending = Arc::new(Pending::new(max));
        let charges = std::array::from_fn(|_| Charge::new(Arc::clone(&pending)));
        (pending, charges)
    }

    #[test]
    fn oldest_unfinished_requests_are_dropped_beyond_the_limit() {
        let (_, mut charges) = charges::<4>(100);
        for charge in &mut charges {
            charge.set(Some(30));
        }
        assert_eq!(charges.each_ref().map(is_given_up), [true, false, false, false]);
        charges[3].set(Some(70));
        assert_eq!(charges.each_ref().map(is_given_up), [true, true, false, false]);
    }

    #[test]
    fn finished_requests_no_longer_count() {
        let (pending, mut charges) = charges::<2>(100);
        charges[0].set(Some(90));
        charges[0].set(None);
        charges[1].set(Some(90));
        assert!(!is_given_up(&charges[0]) && !is_given_up(&charges[1]));
        drop(charges);
        let held = pending.held.lock().unwrap();
        assert_eq!((held.total, held.entries.len()), (0, 0));
    }

    #[test]
    fn single_unfinished_request_beyond_the_limit_is_dropped() {
        let (pending, mut charges) = charges::<1>(100);
        charges[0].set(Some(101));
        assert!(is_given_up(&charges[0]));
        assert_eq!(pending.held.lock().unwrap().total, 0);
    }
}
