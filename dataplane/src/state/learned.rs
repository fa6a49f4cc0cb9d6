//! What was learned of an upstream model by asking it, kept until its provider says something else.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

/// What an upstream model was found not to take.
#[derive(Debug, Default)]
pub struct Learned {
    refuses_stream_options: AtomicBool,
    /// The provider's spec under which that was learned, by its hash.
    spec: Mutex<Option<u64>>,
}

impl Learned {
    /// Takes on a new configuration: another spec may mean another server, so that what was learned is forgotten.
    pub(super) fn configure(&self, spec: u64) {
        let mut known = self.spec.lock().unwrap_or_else(PoisonError::into_inner);
        if known.replace(spec).is_some_and(|known| known != spec) {
            self.refuses_stream_options.store(false, Ordering::Relaxed);
        }
    }

    /// Whether it refuses `stream_options`, by which usage is asked for in a Chat stream.
    pub fn refuses_stream_options(&self) -> bool {
        self.refuses_stream_options.load(Ordering::Relaxed)
    }

    /// It refused them, and took the same request without. Returns whether that is new.
    pub fn learn_refuses_stream_options(&self) -> bool {
        !self.refuses_stream_options.swap(true, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learned_facts_last_until_the_spec_changes() {
        let learned = Learned::default();
        learned.configure(1);
        assert!(learned.learn_refuses_stream_options());
        assert!(!learned.learn_refuses_stream_options(), "it is news once");
        learned.configure(1);
        assert!(learned.refuses_stream_options());
        learned.configure(2);
        assert!(!learned.refuses_stream_options());
    }
}
