//! A stream whose head has gone out before an upstream has answered: heartbeats of the client's dialect, while the
//! attempts go on underneath. Then it becomes the stream of the upstream that answers, or ends in the dialect's error.
//!
//! The attempts are driven by whoever pulls the body, so a client that takes nothing holds them up as it holds up a
//! stream: what an upstream does meanwhile is not counted against it, and `client_write` ends it. The guard is with the
//! attempts; it is taken from them to end the request from here.

use std::{
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use routeapi_protocol::{pending::PendingStream, problem::Problem};

use super::{
    body::{Remains, reason, shutting_down, too_late},
    delivered,
    delivery::{Answer, Overdue},
    watch::{Event, Watch},
};
use crate::request::{
    identify::Caller,
    respond,
    settle::{Ending, Guard},
    wait::Attempts,
};

/// The status that went out with the head.
const STATUS: u16 = 200;

/// A stream that no upstream has answered yet.
pub(super) struct WaitingBody {
    attempts: Attempts,
    pending: PendingStream,
    watch: Watch,
    caller: Caller,
    /// Bytes of heartbeats.
    sent: usize,
}

/// What happens next.
pub(super) enum Step {
    /// Keeps the connection open.
    Heartbeat(Bytes),
    /// The wait is over, and this is what follows.
    Over(Answer),
}

impl WaitingBody {
    pub(super) fn new(attempts: Attempts, pending: PendingStream, watch: Watch, caller: Caller) -> Self {
        Self { attempts, pending, watch, caller, sent: 0 }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        if let Poll::Ready((guard, outcome)) = self.attempts.poll(context) {
            let guard = self.told(guard);
            return Poll::Ready(Step::Over(match outcome {
                Ok(answer) => delivered(answer, guard),
                Err(refusal) => {
                    let (problem, ending) = respond::unanswered(&refusal);
                    self.last_words(&problem, guard, &refusal.for_the_log(), ending)
                }
            }));
        }
        // The first goes out with the head: it shows what the connection passes through that something comes.
        if self.sent == 0 {
            return Poll::Ready(self.heartbeat());
        }
        self.watch.poll(context).map(|event| match event {
            Event::HeartbeatDue => self.heartbeat(),
            Event::Shutdown => Step::Over(self.end(&shutting_down())),
            Event::Idle(_) | Event::DeadlinePassed => Step::Over(self.end(&too_late())),
        })
    }

    /// Ends it while nobody pulls it, if that is a reason to; gives the dialect's terminal error.
    pub(super) fn cut(&mut self, why: Overdue<'_>) -> Option<Remains> {
        let (problem, ending) = reason(why, Some(&self.caller))?;
        let last = self.pending.fail(&problem);
        self.sent = self.sent.saturating_add(last.len());
        self.settle(&problem.message, ending);
        Some(Remains::last(last))
    }

    /// Settles the request where it is.
    pub(super) fn settle(&mut self, message: &str, ending: Ending) {
        if let Some(guard) = self.attempts.stop() {
            self.told(guard).settle_with(message, ending);
        }
    }

    pub(super) fn panicked(&mut self) {
        if let Some(guard) = self.attempts.stop() {
            self.told(guard).panicked();
        }
    }

    /// The client lets it wait, and with it the attempts.
    pub(super) fn held_back(&self) {
        self.attempts.held_back();
    }

    pub(super) fn deadline(&self) -> Instant {
        self.watch.deadline()
    }

    /// When a timer wakes whoever pulls, at the latest.
    pub(super) fn wakes_at(&self) -> Instant {
        self.watch.wakes_at()
    }

    fn heartbeat(&mut self) -> Step {
        let bytes = self.pending.heartbeat();
        self.sent = self.sent.saturating_add(bytes.len());
        Step::Heartbeat(bytes)
    }

    fn end(&mut self, (problem, ending): &(Problem, Ending)) -> Answer {
        match self.attempts.stop() {
            Some(guard) => {
                let guard = self.told(guard);
                self.last_words(problem, guard, &problem.message, *ending)
            }
            None => Answer::Done,
        }
    }

    /// The terminal error, with which the request is settled.
    fn last_words(&self, problem: &Problem, mut guard: Guard, message: &str, ending: Ending) -> Answer {
        let last = self.pending.fail(problem);
        guard.sent(last.len());
        guard.settle_with(message, ending);
        Answer::Cut(Remains::last(last))
    }

    /// The guard, with what has gone out without it.
    fn told(&self, mut guard: Guard) -> Guard {
        guard.answered(STATUS);
        guard.sent(self.sent);
        guard
    }
}

impl Drop for WaitingBody {
    fn drop(&mut self) {
        // The client is gone. Dropped with the attempts, the guard would not know that the status had gone out.
        if let Some(guard) = self.attempts.stop() {
            drop(self.told(guard));
        }
    }
}
