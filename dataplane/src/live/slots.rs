//! How many requests one provider may have in flight from this process.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// Slots of one provider. The cap may change while slots are taken.
#[derive(Debug)]
pub struct Slots {
    cap: AtomicU32,
    taken: AtomicU32,
}

/// A taken slot, given back when dropped.
#[derive(Debug)]
pub struct Slot(Arc<Slots>);

impl Default for Slots {
    fn default() -> Self {
        Self { cap: AtomicU32::new(u32::MAX), taken: AtomicU32::new(0) }
    }
}

impl Slots {
    /// Takes on the cap of a new configuration; none means no bound.
    pub fn configure(&self, cap: Option<u32>) {
        self.cap.store(cap.unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Takes a slot if one is free.
    pub fn try_take(self: &Arc<Self>) -> Option<Slot> {
        let cap = self.cap.load(Ordering::Relaxed);
        let take = |taken: u32| (taken < cap).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Relaxed, take).ok()?;
        Some(Slot(Arc::clone(self)))
    }

    /// How many are taken.
    pub fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_slot_is_free_again() {
        let slots = Arc::new(Slots::default());
        slots.configure(Some(1));
        let slot = slots.try_take().unwrap();
        assert!(slots.try_take().is_none());
        drop(slot);
        assert!(slots.try_take().is_some());
        assert_eq!(slots.taken(), 0);
    }
}
