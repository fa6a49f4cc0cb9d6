//! The attempts of a call as one value, so that they can go on wherever they are awaited: before the head of the answer
//! has gone out, or inside the response body of a client that would hear nothing for too long.
//!
//! They own the guard while they run and give it back with their outcome, or when they are stopped. Dropping them drops
//! the upstream's connection and settles the request.

use std::{
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use routeapi_protocol::pending::PendingStream;

use super::{
    answer::Answer,
    attempt::{self, PlannedRequest},
    caller::Caller,
    common_headers::CommonHeaders,
    refusal::Refusal,
    settle::Guard,
};

/// What came of the attempts.
type AttemptsResult = (Guard, Result<Answer, Refusal>);

/// The same, or none where the attempts were stopped.
type RunningAttempts = dyn Future<Output = (Guard, Option<Result<Answer, Refusal>>)> + Send;

/// Attempts under way.
pub(super) struct Attempts {
    /// None once they are over.
    running: Option<Pin<Box<RunningAttempts>>>,
    stopped: Arc<AtomicBool>,
    held_back: Arc<AtomicBool>,
}

/// What a stream's head is made of before an upstream has answered. Nothing of it needs the guard.
pub(super) struct EarlyHead {
    /// How long the client may hear nothing until then.
    pub after: Duration,
    /// The gateway's own headers.
    pub common_headers: CommonHeaders,
    /// What goes out meanwhile.
    pub pending: PendingStream,
    /// Whose request it is.
    pub caller: Caller,
    /// End of the whole request.
    pub deadline: Instant,
}

// === impl Attempts ===

impl Attempts {
    /// Attempts that begin when they are polled.
    pub(super) fn begin(request: PlannedRequest, mut guard: Guard) -> Self {
        let stopped = Arc::<AtomicBool>::default();
        let (stop, held_back) = (Arc::clone(&stopped), Arc::clone(guard.held_back()));
        let running = Box::pin(async move {
            let result = {
                let attempts = AssertUnwindSafe(attempt::attempt(request, &mut guard)).catch_unwind();
                let mut attempts = pin!(attempts);
                let stoppable = poll_fn(|context| match stop.load(Ordering::Relaxed) {
                    true => Poll::Ready(None),
                    false => attempts.as_mut().poll(context).map(Some),
                });
                stoppable.await
            };
            let result = result.map(|result| {
                result.unwrap_or_else(|_| {
                    guard.gateway().metrics.panics().inc();
                    Err(Refusal::Panicked)
                })
            });
            (guard, result)
        });
        Self { running: Some(running), stopped, held_back }
    }

    /// Their outcome. They go on where this is dropped.
    pub(super) async fn result(&mut self) -> AttemptsResult {
        poll_fn(|context| self.poll(context)).await
    }

    /// Their outcome, once: not to be asked for again, nor after [`Self::stop`].
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<AttemptsResult> {
        let Some(running) = &mut self.running else { return Poll::Pending };
        let Poll::Ready((guard, result)) = running.as_mut().poll(context) else { return Poll::Pending };
        self.running = None;
        // Only those that were stopped have none.
        Poll::Ready((guard, result.unwrap_or(Err(Refusal::ShuttingDown))))
    }

    /// Ends them where they are. None if they were over.
    pub(super) fn stop(&mut self) -> Option<Guard> {
        let running = self.running.take()?;
        self.stopped.store(true, Ordering::Relaxed);
        running.now_or_never().map(|(guard, _)| guard)
    }

    /// Bytes that they take beside what they point to.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.running.as_ref().map_or(0, |running| size_of_val(&**running))
    }

    /// The client lets its answer wait, and with it the attempts: what an upstream did meanwhile may be its doing.
    pub(super) fn held_back(&self) {
        self.held_back.store(true, Ordering::Relaxed);
    }
}

// === impl EarlyHead ===

impl EarlyHead {
    /// For a client that streams, where its route wants heartbeats from the beginning.
    pub(super) fn of(request: &PlannedRequest, guard: &Guard) -> Option<Self> {
        let after = guard.heartbeat().filter(|_| request.plan.route.heartbeat.before_content)?;
        let context = guard.context();
        Some(Self {
            after,
            pending: request.read.request.pending(context.id.as_str(), context.now.unix_seconds())?,
            common_headers: CommonHeaders::of(guard),
            caller: request.view.caller().clone(),
            deadline: request.plan.deadline,
        })
    }
}
