//! Every answer under way, so that each can be ended from outside while nobody pulls it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use crate::config::runtime::Runtime;

/// Answers that are looked at before other work of the thread gets its turn.
const SWEEP_BATCH: usize = 256;

/// Answers under way. Those that have ended are dropped by the next sweep.
#[derive(Default)]
pub struct Deliveries(Mutex<Vec<Weak<dyn Overdue>>>);

/// An answer that can be ended from outside.
pub(super) trait Overdue: Send + Sync {
    /// Ends it if its time is over.
    fn end_if_overdue(&self, sweep: &Sweep<'_>);
}

/// What each answer is held against.
pub(super) struct Sweep<'a> {
    /// When.
    pub now: Instant,
    /// Whether the shutdown deadline has passed.
    pub is_shut_down: bool,
    /// How long a client may take nothing of its answer.
    pub client_write: Duration,
    /// The configuration, if it is another one than at the last sweep.
    pub changed: Option<&'a Runtime>,
}

impl Deliveries {
    /// Watches an answer from now on.
    pub(super) fn add(&self, answer: Weak<dyn Overdue>) {
        self.lock().push(answer);
    }

    /// Ends the answers whose time is over.
    pub(super) async fn sweep(&self, sweep: Sweep<'_>) {
        let mut answers = std::mem::take(&mut *self.lock());
        for batch in answers.chunks(SWEEP_BATCH) {
            for answer in batch.iter().filter_map(Weak::upgrade) {
                answer.end_if_overdue(&sweep);
            }
            tokio::task::yield_now().await;
        }
        answers.retain(|answer| answer.strong_count() > 0);
        let mut new = self.lock();
        answers.append(&mut new);
        *new = answers;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<dyn Overdue>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
