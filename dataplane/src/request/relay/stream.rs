//! An upstream's stream on its way to the client, pulled by the server: so a slow client holds the upstream back and
//! nothing queues up in between. Each piece goes out as it comes.

use std::{
    pin::Pin,
    sync::atomic::Ordering,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::Body;
use routeapi_metering::Outcome;
use routeapi_protocol::{
    problem::{Problem, ProblemKind},
    response_translation::ResponseStream,
};

use super::{
    end_reason::{EndReason, end_outcome, request_timed_out, shutting_down},
    ready_bytes::{BodyError, ReadyBytes},
    watch::{Event, Watch},
};
use crate::{
    request::{
        answer::UpstreamPermits,
        failure::kind_code,
        memory::{BuffersFull, UnfinishedEvent},
        outcome::RequestOutcome,
        refusal::{BUFFERS_FULL, Refusal},
        respond,
        settle::Guard,
    },
    upstream::UpstreamBody,
};

/// Pieces of an upstream that bring nothing for the client, taken before other work of the thread gets its turn.
const MAX_POLLS: usize = 32;

/// How long the dialect's terminal marker is waited for once all of the answer has come.
const MARKER_TIMEOUT: Duration = Duration::from_secs(5);

/// An answer that is still being made.
pub(super) struct StreamBody {
    pieces: Pieces,
    watch: Watch,
    guard: Guard,
    ended: bool,
}

/// Its parts.
pub(super) struct Pieces {
    /// Ready to go out.
    pub ready: ReadyBytes,
    /// Turns the upstream's bytes into the client's dialect.
    pub stream: ResponseStream,
    /// The upstream; none once it has ended.
    pub rest: Option<UpstreamBody>,
    /// What the stream holds of an event.
    pub unfinished: UnfinishedEvent,
    /// Freed with the body; none for what no upstream answers.
    #[expect(dead_code, reason = "held for its drop")]
    pub permits: Option<UpstreamPermits>,
}

impl StreamBody {
    pub(super) fn new(pieces: Pieces, watch: Watch, guard: Guard) -> Self {
        Self { pieces, watch, guard, ended: false }
    }

    pub(super) fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        for _ in 0..MAX_POLLS {
            if let Some(bytes) = self.pieces.ready.take() {
                self.guard.facts.add_sent(bytes.len());
                return Poll::Ready(Some(Ok(bytes)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let Some(upstream) = &mut self.pieces.rest else {
                self.end();
                continue;
            };
            match Pin::new(upstream).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.take(data)?;
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    let message = format!("the upstream's answer broke off: {error}");
                    let problem = Problem::new(ProblemKind::Upstream, message);
                    self.stop(&problem, RequestOutcome::new(Outcome::UpstreamFailed, "stream_broken"))?;
                }
                Poll::Ready(None) => {
                    let failed_before = self.pieces.stream.stats().error.is_some();
                    self.pieces.ready = ReadyBytes::new(self.pieces.stream.finish());
                    self.note_early_end(failed_before);
                    self.end();
                }
                Poll::Pending => match self.watch.poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(event) => self.on_event(event)?,
                },
            }
        }
        // An upstream that is never silent and says nothing must not keep this worker.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    pub(super) fn guard(&mut self) -> &mut Guard {
        &mut self.guard
    }

    /// The client lets it wait.
    pub(super) fn held_back(&self) {
        self.guard.held_back().store(true, Ordering::Relaxed);
    }

    pub(super) fn deadline(&self) -> Instant {
        self.watch.deadline()
    }

    /// When a timer wakes whoever pulls, while the upstream is silent.
    pub(super) fn wakes_at(&self) -> Instant {
        self.watch.wakes_at()
    }

    /// Ends the stream while nobody pulls it: what is ready and the dialect's terminal error are left for the client.
    pub(super) fn terminate(&mut self, why: EndReason<'_>) -> Option<ReadyBytes> {
        if self.ended {
            return None;
        }
        let (problem, outcome) = end_outcome(why, self.guard.facts.caller())?;
        let ends_well = self.stop(&problem, outcome).is_ok();
        Some(ReadyBytes { ends_well, ..std::mem::take(&mut self.pieces.ready) })
    }

    /// Takes what the upstream sent.
    fn take(&mut self, data: Bytes) -> Result<(), BodyError> {
        self.watch.heard();
        if let Some(refusal) = self.watch.revoked(&self.guard) {
            let (problem, code) = respond::stream_error(&refusal);
            return self.stop(&problem, RequestOutcome::new(Outcome::LimitStopped, code));
        }
        if let Some(event) = self.watch.deadline_event() {
            return self.on_event(event);
        }
        self.pieces.ready = ReadyBytes::new(self.pieces.stream.push(data));
        self.guard.attempts.observe(self.pieces.stream.stats());
        if self.pieces.stream.is_answered() {
            self.watch.shorten_idle(MARKER_TIMEOUT);
        }
        if let Err(BuffersFull) = self.pieces.unfinished.count(&mut self.pieces.stream) {
            let problem = Problem::new(ProblemKind::Overloaded, BUFFERS_FULL);
            return self.stop(&problem, RequestOutcome::new(Outcome::GatewayStopped, "buffers_full"));
        }
        match self.guard.exceeded_limit() {
            Some(exceeded) => {
                // What was paid for still goes out.
                let (problem, code) = respond::stream_error(&Refusal::LimitReached(exceeded));
                self.stop(&problem, RequestOutcome::new(Outcome::LimitStopped, code))
            }
            None => Ok(()),
        }
    }

    fn on_event(&mut self, event: Event) -> Result<(), BodyError> {
        match event {
            Event::HeartbeatDue => {
                self.pieces.ready = ReadyBytes::new(self.pieces.stream.heartbeat());
                Ok(())
            }
            Event::Idle(_) if self.pieces.stream.is_answered() => {
                // Only the terminal marker is missing: no reason to call a complete answer a failure.
                self.pieces.ready = ReadyBytes::new(self.pieces.stream.finish());
                self.guard.attempts.observe(self.pieces.stream.stats());
                self.end();
                Ok(())
            }
            Event::Idle(idle) => {
                let message = format!("the upstream sent nothing for {idle:?}");
                let problem = Problem::new(ProblemKind::Timeout, message);
                self.stop(&problem, RequestOutcome::new(Outcome::UpstreamFailed, "stream_idle_timeout"))
            }
            Event::DeadlinePassed => {
                let (problem, outcome) = request_timed_out();
                self.stop(&problem, outcome)
            }
            Event::Shutdown => {
                let (problem, outcome) = shutting_down();
                self.stop(&problem, outcome)
            }
        }
    }

    /// Ends the stream before its upstream did: the dialect's terminal error, unless the answer was at its end already.
    fn stop(&mut self, problem: &Problem, outcome: RequestOutcome) -> Result<(), BodyError> {
        let stats = self.pieces.stream.stats();
        if stats.complete || stats.error.is_some() {
            self.end();
            return Ok(());
        }
        self.pieces.ready.last = self.pieces.stream.fail(problem);
        self.pieces.rest = None;
        self.ended = true;
        self.guard.facts.explain(&problem.message);
        let is_told = !self.pieces.ready.last.is_empty();
        self.finish(outcome);
        if is_told { Ok(()) } else { Err(BodyError) }
    }

    /// The upstream closed its answer. That it came too early shows as an error that was not there before.
    fn note_early_end(&mut self, failed_before: bool) {
        let stats = self.pieces.stream.stats();
        self.guard.attempts.observe(stats);
        if !failed_before && stats.error.is_some() {
            // An error event without a blank line behind it shows at the end as well, and its own words stay out.
            self.guard.facts.explain("the upstream's stream broke off or ended with an error");
            self.finish(RequestOutcome::new(Outcome::UpstreamFailed, "truncated"));
        }
    }

    /// Settles the request. What is held still goes out and counts as handed over.
    fn finish(&mut self, outcome: RequestOutcome) {
        self.guard.facts.add_sent(self.pieces.ready.len());
        self.guard.finish(outcome);
    }

    /// The answer is over; how it ended was seen in it.
    fn end(&mut self) {
        self.pieces.rest = None;
        self.ended = true;
        let outcome = match &self.pieces.stream.stats().error {
            None => RequestOutcome::COMPLETED,
            Some(problem) => {
                // Its own words stay out of the log: they can quote the prompt.
                self.guard.facts.explain("the upstream reported an error in its stream");
                RequestOutcome::new(Outcome::UpstreamFailed, kind_code(problem.kind))
            }
        };
        self.finish(outcome);
    }
}
