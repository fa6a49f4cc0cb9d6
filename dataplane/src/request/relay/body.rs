//! The response body: pulled by the server, so a slow client holds the upstream back and nothing queues up in between.
//! Each piece goes out as it comes. Dropped by the server when the client has gone, it drops the upstream's connection
//! and, with the guard, settles the request.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use routeapi_metering::Outcome;
use routeapi_protocol::{
    problem::{Problem, ProblemKind},
    response_translation::ResponseStream,
};

use super::{
    delivery::{Delivery, DeliveryContent, EndReason},
    watch::{Event, Watch},
};
use crate::{
    request::{
        Gateway,
        attempt::UpstreamPermits,
        identify::{self, Caller},
        memory::{BuffersFull, MemoryPermit, UnfinishedEvent},
        refusal::{BUFFERS_FULL, Refusal},
        respond,
        settle::{Guard, RequestOutcome},
    },
    upstream::UpstreamBody,
};

/// Largest piece that is handed over, in bytes. The server keeps a piece until its client has taken it.
const MAX_PIECE_BYTES: usize = 64 << 10;

/// Pieces of an upstream that bring nothing for the client, taken before other work of the thread gets its turn.
const MAX_POLLS: usize = 32;

/// How long the dialect's terminal marker is waited for once all of the answer has come.
const MARKER_TIMEOUT: Duration = Duration::from_secs(5);

/// What goes to the client.
pub struct ResponseBody(Kind);

enum Kind {
    /// Nothing more.
    Done,
    /// An answer whose request is settled.
    Full(Bytes),
    /// An upstream's answer, whole or as it comes.
    Delivery(Arc<Delivery>),
}

/// The answer cannot go on and its dialect has no words left for it: the connection must break, so that nobody takes the
/// answer for finished.
#[derive(Debug, thiserror::Error)]
#[error("the answer was cut off")]
pub struct BodyError;

/// An upstream's whole answer.
pub(super) struct WholeBody {
    bytes: Bytes,
    deadline: Instant,
    guard: Guard,
}

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
    /// Freed with the body.
    #[expect(dead_code, reason = "held for its drop")]
    pub permits: UpstreamPermits,
}

/// What is ready to go out.
#[derive(Default)]
pub(super) struct ReadyBytes {
    bytes: Bytes,
    /// The terminal error, behind what was ready before.
    last: Bytes,
    /// Whether the body ends well behind all that; otherwise its connection has to break.
    ends_well: bool,
}

/// A whole answer with its memory permit: held until the last of it has left the server.
struct HeldBytes {
    bytes: Bytes,
    _memory: MemoryPermit,
}

// === impl ResponseBody ===

impl ResponseBody {
    pub(in crate::request) fn full(bytes: Bytes) -> Self {
        Self(if bytes.is_empty() { Kind::Done } else { Kind::Full(bytes) })
    }

    /// An upstream's answer, watched from now on.
    pub(super) fn delivered(content: DeliveryContent, gateway: &Gateway) -> Self {
        match content {
            DeliveryContent::Done => Self(Kind::Done),
            content => Self(Kind::Delivery(Delivery::new(content, gateway))),
        }
    }

    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        match &mut self.0 {
            Kind::Delivery(delivery) => delivery.poll(context),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Kind::Done;
                Poll::Ready(Some(Ok(bytes)))
            }
            Kind::Done => Poll::Ready(None),
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let body = self.get_mut();
        // A panic here would take the connection with it, and on HTTP/2 every other stream on that connection.
        match catch_unwind(AssertUnwindSafe(|| body.next(context))) {
            Ok(next) => next.map(|piece| piece.map(|bytes| bytes.map(Frame::data))),
            Err(_) => {
                if let Kind::Delivery(delivery) = &body.0 {
                    delivery.panicked();
                }
                body.0 = Kind::Done;
                Poll::Ready(Some(Err(BodyError)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Done => true,
            Kind::Full(_) => false,
            Kind::Delivery(delivery) => delivery.is_done(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Done => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Delivery(delivery) => delivery.left().map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

// === impl WholeBody ===

impl WholeBody {
    pub(super) fn new(bytes: Bytes, deadline: Instant, guard: Guard, memory: MemoryPermit) -> Self {
        let bytes = if bytes.is_empty() { bytes } else { Bytes::from_owner(HeldBytes { bytes, _memory: memory }) };
        Self { bytes, deadline, guard }
    }

    /// The next piece. With the last one the answer counts as handed over.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        if self.bytes.is_empty() {
            return None;
        }
        let piece = self.bytes.split_to(self.bytes.len().min(MAX_PIECE_BYTES));
        self.guard.add_sent(piece.len());
        if self.bytes.is_empty() {
            self.guard.finish(RequestOutcome::COMPLETED);
        }
        Some(piece)
    }

    pub(super) fn left(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(super) fn guard(&mut self) -> &mut Guard {
        &mut self.guard
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// A whole answer has no place for an error, so it breaks off.
    pub(super) fn terminate(&mut self, why: EndReason<'_>) -> Option<ReadyBytes> {
        let (problem, outcome) = end_outcome(why, self.guard.caller())?;
        self.guard.explain(&problem.message);
        self.guard.finish(outcome);
        Some(ReadyBytes::default())
    }
}

impl Drop for WholeBody {
    fn drop(&mut self) {
        // Unless it was handed over before, the client has not got it.
        self.guard.finish(RequestOutcome::new(Outcome::ClientCancelled, "client_cancelled"));
    }
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

// === impl ReadyBytes ===

impl ReadyBytes {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { bytes, last: Bytes::new(), ends_well: false }
    }

    /// The last of an answer, which ends well with it.
    pub(super) fn last(last: Bytes) -> Self {
        Self { bytes: Bytes::new(), last, ends_well: true }
    }

    fn len(&self) -> usize {
        self.bytes.len().saturating_add(self.last.len())
    }

    /// The next piece, if there is one.
    fn take(&mut self) -> Option<Bytes> {
        if self.bytes.is_empty() {
            self.bytes = std::mem::take(&mut self.last);
        }
        let length = self.bytes.len().min(MAX_PIECE_BYTES);
        (length > 0).then(|| self.bytes.split_to(length))
    }

    /// For an answer that was cut: its last words.
    pub(super) fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        match self.take() {
            Some(bytes) => Some(Ok(bytes)),
            None => (!self.ends_well).then_some(Err(BodyError)),
        }
    }
}

// === impl StreamBody ===

impl StreamBody {
    pub(super) fn new(pieces: Pieces, watch: Watch, guard: Guard) -> Self {
        Self { pieces, watch, guard, ended: false }
    }

    pub(super) fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        for _ in 0..MAX_POLLS {
            if let Some(bytes) = self.pieces.ready.take() {
                self.guard.add_sent(bytes.len());
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
        let (problem, outcome) = end_outcome(why, self.guard.caller())?;
        let ends_well = self.stop(&problem, outcome).is_ok();
        Some(ReadyBytes { ends_well, ..std::mem::take(&mut self.pieces.ready) })
    }

    /// Takes what the upstream sent.
    fn take(&mut self, data: Bytes) -> Result<(), BodyError> {
        self.watch.heard();
        if let Some(refusal) = self.watch.revoked(&self.guard) {
            let (problem, word) = respond::stream_error(&refusal);
            return self.stop(&problem, RequestOutcome::new(Outcome::LimitStopped, word));
        }
        if let Some(event) = self.watch.deadline_event() {
            return self.on_event(event);
        }
        self.pieces.ready = ReadyBytes::new(self.pieces.stream.push(data));
        self.guard.observe(self.pieces.stream.stats());
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
                let (problem, word) = respond::stream_error(&Refusal::LimitReached(exceeded));
                self.stop(&problem, RequestOutcome::new(Outcome::LimitStopped, word))
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
                self.guard.observe(self.pieces.stream.stats());
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
        self.guard.explain(&problem.message);
        let is_told = !self.pieces.ready.last.is_empty();
        self.finish(outcome);
        if is_told { Ok(()) } else { Err(BodyError) }
    }

    /// The upstream closed its answer. That it came too early shows as an error that was not there before.
    fn note_early_end(&mut self, failed_before: bool) {
        let stats = self.pieces.stream.stats();
        self.guard.observe(stats);
        if !failed_before && stats.error.is_some() {
            // An error event without a blank line behind it shows at the end as well, and its own words stay out.
            self.guard.explain("the upstream's stream broke off or ended with an error");
            self.finish(RequestOutcome::new(Outcome::UpstreamFailed, "truncated"));
        }
    }

    /// Settles the request. What is held still goes out and counts as handed over.
    fn finish(&mut self, outcome: RequestOutcome) {
        self.guard.add_sent(self.pieces.ready.len());
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
                self.guard.explain("the upstream reported an error in its stream");
                RequestOutcome::new(Outcome::UpstreamFailed, respond::problem_code(problem))
            }
        };
        self.finish(outcome);
    }
}

pub(super) fn request_timed_out() -> (Problem, RequestOutcome) {
    let problem = Problem::new(ProblemKind::Timeout, "the request took longer than its route allows");
    (problem, RequestOutcome::new(Outcome::GatewayStopped, "request_timeout"))
}

pub(super) fn shutting_down() -> (Problem, RequestOutcome) {
    let problem = Problem::new(ProblemKind::Overloaded, "the gateway is shutting down; try again");
    (problem, RequestOutcome::new(Outcome::GatewayStopped, "shutdown"))
}

/// Whether an answer ends for this, and how that is told.
pub(super) fn end_outcome(why: EndReason<'_>, caller: Option<&Caller>) -> Option<(Problem, RequestOutcome)> {
    match why {
        EndReason::Shutdown => Some(shutting_down()),
        EndReason::Deadline => Some(request_timed_out()),
        EndReason::Changed(runtime) => {
            let refusal = identify::revoked(runtime, caller?)?;
            let (problem, word) = respond::stream_error(&refusal);
            Some((problem, RequestOutcome::new(Outcome::LimitStopped, word)))
        }
    }
}
