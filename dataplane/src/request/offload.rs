//! Work that takes longer than about a millisecond, away from the I/O workers: decoding, translating and inflating large
//! bodies. A worker that computes for longer keeps every connection it drives waiting.
//!
//! What is small is done where it is: a hand-over to another thread costs more than that work. What is large waits for
//! its token's turn first and for a thread then, so that a tenant with many large requests waits behind itself, and at
//! most one such request per token is ahead of anybody else's. Waiting ends at the request's deadline. A task that has
//! begun cannot be stopped; it ends soon, since its input is bounded and its work linear, and what it holds is kept until
//! then.

use std::{num::NonZero, panic::resume_unwind, sync::Arc, thread::available_parallelism, time::Instant};

use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout_at};

use crate::limits::Account;

/// Largest input, in bytes, that is worked on in place. Decoding and encoding together take 10 to 30 µs per KiB.
const MAX_INLINE_BYTES: usize = 32 << 10;

/// The threads for large inputs.
#[derive(Debug)]
pub struct Offload(Arc<Semaphore>);

/// The deadline came before the work was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DeadlinePassed;

impl Default for Offload {
    /// As many threads as there are cores.
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(available_parallelism().map_or(1, NonZero::get))))
    }
}

impl Offload {
    /// Does `work` on an input of `bytes`, for this account and not beyond `by`. A panic of the work goes on in the
    /// caller.
    ///
    /// # Errors
    /// When the deadline passes first, or the process ends.
    pub(super) async fn run<T, F>(
        &self,
        account: &Account,
        bytes: usize,
        by: Instant,
        work: F,
    ) -> Result<T, DeadlinePassed>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        if bytes <= MAX_INLINE_BYTES {
            return Ok(work());
        }
        let done = async {
            let turn = Arc::clone(account.turn()).acquire_owned().await;
            let thread = Arc::clone(&self.0).acquire_owned().await;
            spawn_blocking(move || {
                let _held = (turn, thread);
                work()
            })
            .await
        };
        match timeout_at(by.into(), done).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_cancelled) => Err(DeadlinePassed),
            },
            Err(_elapsed) => Err(DeadlinePassed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Condvar, Mutex, PoisonError},
        time::Duration,
    };

    use super::*;
    use crate::{clock, request::deadline::deadline_in};

    /// Work that waits until it is let go.
    #[derive(Clone, Default)]
    struct Gate(Arc<(Mutex<bool>, Condvar)>);

    impl Gate {
        fn pass(&self) {
            let (open, changed) = &*self.0;
            drop(changed.wait_while(open.lock().unwrap_or_else(PoisonError::into_inner), |open| !*open));
        }

        fn open(&self) {
            *self.0.0.lock().unwrap() = true;
            self.0.1.notify_all();
        }
    }

    fn soon() -> Instant {
        deadline_in(clock::mono(), Duration::from_secs(60))
    }

    #[tokio::test]
    async fn only_large_inputs_are_offloaded() {
        let (offload, account) = (Offload::default(), Account::default());
        let here = std::thread::current().id();
        let thread = || std::thread::current().id();
        assert_eq!(offload.run(&account, MAX_INLINE_BYTES, soon(), thread).await, Ok(here));
        assert_ne!(offload.run(&account, MAX_INLINE_BYTES + 1, soon(), thread).await, Ok(here));
    }

    #[tokio::test]
    async fn one_token_occupies_at_most_one_offload_thread() {
        let offload = Arc::new(Offload(Arc::new(Semaphore::new(2))));
        let (greedy, other) = (Arc::new(Account::default()), Account::default());
        let gate = Gate::default();
        let stuck: Vec<_> = (0..8)
            .map(|_| {
                let (offload, greedy, gate) = (Arc::clone(&offload), Arc::clone(&greedy), gate.clone());
                tokio::spawn(async move { offload.run(&greedy, usize::MAX, soon(), move || gate.pass()).await })
            })
            .collect();
        assert_eq!(offload.run(&other, usize::MAX, soon(), || 7).await, Ok(7));
        gate.open();
        for task in stuck {
            assert_eq!(task.await.unwrap(), Ok(()));
        }
    }

    #[tokio::test]
    async fn deadline_ends_waiting_but_not_running_work() {
        let (offload, account, gate) = (Offload::default(), Account::default(), Gate::default());
        let by = deadline_in(clock::mono(), Duration::from_millis(5));
        let held = Arc::new(());
        let (inside, waiting) = (Arc::clone(&held), gate.clone());
        let late = offload.run(&account, usize::MAX, by, move || {
            waiting.pass();
            drop(inside);
        });
        assert_eq!(late.await, Err(DeadlinePassed));
        assert_eq!(Arc::strong_count(&held), 2, "what the work holds is kept");
        gate.open();
        assert_eq!(offload.run(&account, usize::MAX, soon(), || ()).await, Ok(()));
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[tokio::test]
    #[should_panic(expected = "on purpose")]
    async fn offloaded_panic_resumes_in_the_caller() {
        let _ = Offload::default().run(&Account::default(), usize::MAX, soon(), || panic!("on purpose")).await;
    }
}
