//! The response body: pulled by the server, so a slow client holds the upstream back and nothing queues up in between.
//! Each piece goes out as it comes. Dropped by the server when the client has gone, it drops the upstream's connection
//! and, with the guard, settles the request.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use routeapi_metering::Outcome;
use routeapi_protocol::{
    exchange::ResponseStream,
    problem::{Problem, ProblemKind},
};

use super::watch::{Event, Watch};
use crate::{
    live::Slot,
    request::{
        gathered::Lease,
        respond,
        settle::{Ending, Guard},
    },
    upstream::UpstreamBody,
};

/// What goes to the client.
pub struct ResponseBody(Kind);

enum Kind {
    /// Nothing more.
    Done,
    /// An answer whose request is settled.
    Full(Bytes),
    /// An upstream's whole answer.
    Whole(Box<WholeBody>),
    /// An upstream's stream.
    Stream(Box<StreamBody>),
}

/// The answer cannot go on and its dialect has no words left for it: the connection must break, so that nobody takes the
/// answer for finished.
#[derive(Debug, thiserror::Error)]
#[error("the answer was cut off")]
pub struct BodyError;

struct WholeBody {
    bytes: Bytes,
    guard: Guard,
    /// Given back when the bytes are handed over.
    _lease: Lease,
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
    pub held: Bytes,
    /// Turns the upstream's bytes into the client's dialect.
    pub stream: ResponseStream,
    /// The upstream; none once it has ended.
    pub rest: Option<UpstreamBody>,
    /// Freed with the body.
    #[expect(dead_code, reason = "held for its drop")]
    pub slot: Slot,
}

// === impl ResponseBody ===

impl ResponseBody {
    pub(in crate::request) fn full(bytes: Bytes) -> Self {
        Self(if bytes.is_empty() { Kind::Done } else { Kind::Full(bytes) })
    }

    pub(super) fn whole(bytes: Bytes, guard: Guard, lease: Lease) -> Self {
        if bytes.is_empty() {
            return Self(Kind::Done);
        }
        Self(Kind::Whole(Box::new(WholeBody { bytes, guard, _lease: lease })))
    }

    pub(super) fn stream(body: StreamBody) -> Self {
        Self(Kind::Stream(Box::new(body)))
    }

    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        match &mut self.0 {
            Kind::Stream(body) => {
                let next = body.next(context);
                if matches!(next, Poll::Ready(None | Some(Err(_)))) {
                    self.0 = Kind::Done;
                }
                next
            }
            Kind::Whole(body) => {
                let bytes = std::mem::take(&mut body.bytes);
                body.guard.sent(bytes.len());
                body.guard.settle(Ending::COMPLETED);
                self.0 = Kind::Done;
                Poll::Ready(Some(Ok(bytes)))
            }
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
                if let Kind::Stream(stream) = &mut body.0 {
                    stream.guard.panicked();
                }
                body.0 = Kind::Done;
                Poll::Ready(Some(Err(BodyError)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Kind::Done)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Done => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Whole(body) => SizeHint::with_exact(body.bytes.len() as u64),
            Kind::Stream(_) => SizeHint::default(),
        }
    }
}

impl Drop for WholeBody {
    fn drop(&mut self) {
        // Unless it was handed over before, the client has not got it.
        self.guard.settle(Ending::new(Outcome::ClientCancelled, "client_cancelled"));
    }
}

// === impl StreamBody ===

impl StreamBody {
    pub(super) fn new(pieces: Pieces, watch: Watch, guard: Guard) -> Self {
        Self { pieces, watch, guard, ended: false }
    }

    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            if !self.pieces.held.is_empty() {
                let bytes = std::mem::take(&mut self.pieces.held);
                self.guard.sent(bytes.len());
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
                    self.stop(&problem, Ending::new(Outcome::UpstreamFailed, "stream_broken"))?;
                }
                Poll::Ready(None) => {
                    let failed_before = self.pieces.stream.observed().error.is_some();
                    self.pieces.held = self.pieces.stream.finish();
                    self.note_early_end(failed_before);
                    self.end();
                }
                Poll::Pending => match self.watch.poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(event) => self.react(event)?,
                },
            }
        }
    }

    /// Takes what the upstream sent.
    fn take(&mut self, data: Bytes) -> Result<(), BodyError> {
        self.watch.heard();
        if let Some(refusal) = self.watch.withdrawn(&self.guard) {
            let (problem, word) = respond::cut(&refusal);
            return self.stop(&problem, Ending::new(Outcome::LimitStopped, word));
        }
        if let Some(event) = self.watch.overtaken() {
            return self.react(event);
        }
        self.pieces.held = self.pieces.stream.push(data);
        self.guard.observe(self.pieces.stream.observed());
        Ok(())
    }

    fn react(&mut self, event: Event) -> Result<(), BodyError> {
        match event {
            Event::HeartbeatDue => {
                self.pieces.held = self.pieces.stream.heartbeat();
                Ok(())
            }
            Event::Idle(patience) => {
                let message = format!("the upstream sent nothing for {patience:?}");
                let problem = Problem::new(ProblemKind::Timeout, message);
                self.stop(&problem, Ending::new(Outcome::UpstreamFailed, "stream_idle_timeout"))
            }
            Event::DeadlinePassed => {
                let problem = Problem::new(ProblemKind::Timeout, "the request took longer than its route allows");
                self.stop(&problem, Ending::new(Outcome::GatewayStopped, "request_timeout"))
            }
            Event::Shutdown => {
                let problem = Problem::new(ProblemKind::Overloaded, "the gateway is shutting down; try again");
                self.stop(&problem, Ending::new(Outcome::GatewayStopped, "shutdown"))
            }
        }
    }

    /// Ends the stream before its upstream did: the dialect's terminal error, unless the answer was at its end already.
    fn stop(&mut self, problem: &Problem, ending: Ending) -> Result<(), BodyError> {
        let observed = self.pieces.stream.observed();
        if observed.complete || observed.error.is_some() {
            self.end();
            return Ok(());
        }
        self.pieces.held = self.pieces.stream.fail(problem);
        self.pieces.rest = None;
        self.ended = true;
        self.guard.explain(&problem.message);
        self.settle(ending);
        if self.pieces.held.is_empty() { Err(BodyError) } else { Ok(()) }
    }

    /// The upstream closed its answer. That it came too early shows as an error that was not there before.
    fn note_early_end(&mut self, failed_before: bool) {
        let observed = self.pieces.stream.observed();
        self.guard.observe(observed);
        if let (false, Some(problem)) = (failed_before, &observed.error) {
            let message = problem.message.to_string();
            self.guard.explain(&message);
            self.settle(Ending::new(Outcome::UpstreamFailed, "truncated"));
        }
    }

    /// Settles the request. What is held still goes out and counts as handed over.
    fn settle(&mut self, ending: Ending) {
        self.guard.sent(self.pieces.held.len());
        self.guard.settle(ending);
    }

    /// The answer is over; how it ended was seen in it.
    fn end(&mut self) {
        self.pieces.rest = None;
        self.ended = true;
        let ending = match &self.pieces.stream.observed().error {
            None => Ending::COMPLETED,
            Some(problem) => {
                // Its own words stay out of the log: they can quote the prompt.
                self.guard.explain("the upstream reported an error in its stream");
                Ending::new(Outcome::UpstreamFailed, respond::word(problem))
            }
        };
        self.settle(ending);
    }
}
