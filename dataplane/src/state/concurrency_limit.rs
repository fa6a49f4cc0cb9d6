//! How many requests one provider may have in flight from this process.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// The requests of one provider in flight. The cap may change meanwhile.
#[derive(Debug)]
pub struct ConcurrencyLimit {
    cap: AtomicU32,
    in_use: AtomicU32,
}

/// One request in flight, given back when dropped.
#[derive(Debug)]
pub struct ConcurrencyPermit(Arc<ConcurrencyLimit>);

impl Default for ConcurrencyLimit {
    fn default() -> Self {
        Self { cap: AtomicU32::new(u32::MAX), in_use: AtomicU32::new(0) }
    }
}

impl ConcurrencyLimit {
    /// Takes on the cap of a new configuration; none means no bound.
    pub(super) fn configure(&self, cap: Option<u32>) {
        self.cap.store(cap.unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Counts one more request, if the cap allows it.
    pub fn try_acquire(self: &Arc<Self>) -> Option<ConcurrencyPermit> {
        let cap = self.cap.load(Ordering::Relaxed);
        let acquire = |in_use: u32| (in_use < cap).then_some(in_use + 1);
        self.in_use.fetch_update(Ordering::AcqRel, Ordering::Relaxed, acquire).ok()?;
        Some(ConcurrencyPermit(Arc::clone(self)))
    }

    /// How many are taken.
    pub fn in_use(&self) -> u32 {
        self.in_use.load(Ordering::Relaxed)
    }
}

impl Drop for ConcurrencyPermit {
    fn drop(&mut self) {
        self.0.in_use.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_permit_frees_its_slot() {
        let limit = Arc::new(ConcurrencyLimit::default());
        limit.configure(Some(1));
        let permit = limit.try_acquire().unwrap();
        assert!(limit.try_acquire().is_none());
        drop(permit);
        assert!(limit.try_acquire().is_some());
        assert_eq!(limit.in_use(), 0);
    }
}
