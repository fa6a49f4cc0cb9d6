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
    end_reason::{EndReason, end_outcome, request_timed_out, shutting_down},
    ready_bytes::ReadyBytes,
    watch::{Event, Watch},
};
use crate::request::{answer::Answer, caller::Caller, outcome::RequestOutcome, respond, settle::Guard, wait::Attempts};

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
    /// An upstream has answered, or the gateway for it.
    Answered(Box<(Answer, Guard)>),
    /// The wait is over without an answer; this is what the client still gets.
    Ended(ReadyBytes),
}

impl WaitingBody {
    pub(super) fn new(attempts: Attempts, pending: PendingStream, watch: Watch, caller: Caller) -> Self {
        Self { attempts, pending, watch, caller, sent: 0 }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        if let Poll::Ready((guard, outcome)) = self.attempts.poll(context) {
            let guard = self.with_sent_bytes(guard);
            return Poll::Ready(match outcome {
                Ok(answer) => Step::Answered(Box::new((answer, guard))),
                Err(refusal) => {
                    let (problem, outcome) = respond::unanswered_stream_error(&refusal);
                    Step::Ended(self.finish_with_error(&problem, guard, &refusal.log_message(), outcome))
                }
            });
        }
        // The first goes out with the head: it shows what the connection passes through that something comes.
        if self.sent == 0 {
            return Poll::Ready(self.heartbeat());
        }
        self.watch.poll(context).map(|event| match event {
            Event::HeartbeatDue => self.heartbeat(),
            Event::Shutdown => Step::Ended(self.end(&shutting_down())),
            Event::Idle(_) | Event::DeadlinePassed => Step::Ended(self.end(&request_timed_out())),
        })
    }

    /// Ends it while nobody pulls it, if that is a reason to; gives the dialect's terminal error.
    pub(super) fn terminate(&mut self, why: EndReason<'_>) -> Option<ReadyBytes> {
        let (problem, outcome) = end_outcome(why, Some(&self.caller))?;
        let last = self.pending.fail(&problem);
        self.sent = self.sent.saturating_add(last.len());
        self.finish(&problem.message, outcome);
        Some(ReadyBytes::last(last))
    }

    /// Settles the request where it is.
    pub(super) fn finish(&mut self, message: &str, outcome: RequestOutcome) {
        if let Some(guard) = self.attempts.stop() {
            self.with_sent_bytes(guard).finish_with(message, outcome);
        }
    }

    pub(super) fn panicked(&mut self) {
        if let Some(guard) = self.attempts.stop() {
            self.with_sent_bytes(guard).panicked();
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

    fn end(&mut self, (problem, outcome): &(Problem, RequestOutcome)) -> ReadyBytes {
        match self.attempts.stop() {
            Some(guard) => {
                let guard = self.with_sent_bytes(guard);
                self.finish_with_error(problem, guard, &problem.message, *outcome)
            }
            None => ReadyBytes::last(Bytes::new()),
        }
    }

    /// The terminal error, with which the request is settled.
    fn finish_with_error(
        &self,
        problem: &Problem,
        mut guard: Guard,
        message: &str,
        outcome: RequestOutcome,
    ) -> ReadyBytes {
        let last = self.pending.fail(problem);
        guard.facts.add_sent(last.len());
        guard.finish_with(message, outcome);
        ReadyBytes::last(last)
    }

    /// The guard, with what has gone out without it.
    fn with_sent_bytes(&self, mut guard: Guard) -> Guard {
        guard.facts.set_status(STATUS);
        guard.facts.add_sent(self.sent);
        guard
    }
}

impl Drop for WaitingBody {
    fn drop(&mut self) {
        // The client is gone. Dropped with the attempts, the guard would not know that the status had gone out.
        if let Some(guard) = self.attempts.stop() {
            drop(self.with_sent_bytes(guard));
        }
    }
}
