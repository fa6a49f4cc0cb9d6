//! What both ends of a form know: the client's, from which it is read, and the upstream's, to which it is written.

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use routeapi_protocol::codec::Malformed;

use crate::{request::refusal::Refusal, upstream::BrokenOff};

/// Longest text of an error, in characters.
const MAX_MESSAGE_CHARS: usize = 256;

/// What both ends of a form know.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Bytes of the client's body that were read as parts.
    pub read: AtomicU64,
    /// How many pieces they are.
    pub pieces: AtomicU64,
    /// Why the client's side ended early.
    broken: Mutex<Option<Refusal>>,
    /// To be set then, so that nothing that follows from it is said of an upstream.
    pub blameless: OnceLock<Arc<AtomicBool>>,
}

impl Flow {
    pub(super) fn took(&self, bytes: usize) {
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
        self.pieces.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn break_off(&self, refusal: Refusal) -> BrokenOff {
        if let Some(blameless) = self.blameless.get() {
            blameless.store(true, Ordering::Relaxed);
        }
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(refusal);
        BrokenOff
    }

    pub(super) fn take_broken(&self) -> Option<Refusal> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A form that is not legal, with the reason.
pub(super) fn illegal(why: &str) -> Refusal {
    let why: String = why.chars().filter(|letter| !letter.is_control()).take(MAX_MESSAGE_CHARS).collect();
    let message = format!("the request body is not legal multipart/form-data: {why}");
    Refusal::Malformed(Malformed { field: None, message })
}
