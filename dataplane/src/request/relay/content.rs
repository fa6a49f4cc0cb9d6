//! What an answer under way consists of, and how it goes over from waiting for an upstream to its answer.

use std::{
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use routeapi_metering::Outcome;

use super::{
    end_reason::EndReason,
    ready_bytes::{BodyError, ReadyBytes},
    stream::{Pieces, StreamBody},
    waiting::{Step, WaitingBody},
    watch::Watch,
    whole::WholeBody,
};
use crate::request::{
    answer::{Answer, AnswerBody, Source},
    outcome::RequestOutcome,
    settle::Guard,
};

/// An answer under way.
pub(super) enum DeliveryContent {
    /// No upstream has answered yet.
    Waiting(Box<WaitingBody>),
    Stream(Box<StreamBody>),
    Whole(Box<WholeBody>),
    /// Ended from outside: what the client is still to get.
    Terminated(ReadyBytes),
    Done,
}

impl DeliveryContent {
    /// An answer that a client is to get; the guard goes with it.
    pub(super) fn of(answer: Answer, mut guard: Guard) -> Self {
        let Answer { source, deadline, body, .. } = answer;
        match body {
            AnswerBody::Whole { bytes, .. } if bytes.is_empty() => {
                guard.finish(RequestOutcome::COMPLETED);
                Self::Done
            }
            AnswerBody::Whole { bytes, memory, .. } => {
                Self::Whole(Box::new(WholeBody::new(bytes, deadline, guard, memory)))
            }
            // Sessions have a way of their own (`realtime`): this one has no client.
            AnswerBody::Session { .. } => {
                guard.finish(RequestOutcome::new(Outcome::GatewayStopped, "internal"));
                Self::Done
            }
            AnswerBody::Stream { held, stream, rest, unfinished, .. } => {
                let watch = Watch::new(guard.gateway(), guard.heartbeat(), deadline);
                let (watch, permits) = match source {
                    Source::Upstream { upstream, permits, .. } => {
                        (watch.idle_after(upstream.timeouts.stream_idle), Some(permits))
                    }
                    Source::Gateway => (watch, None),
                };
                let pieces = Pieces { ready: ReadyBytes::new(held), stream, rest, unfinished, permits };
                Self::Stream(Box::new(StreamBody::new(pieces, watch, guard)))
            }
        }
    }

    pub(super) fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        match self {
            Self::Waiting(body) => match ready!(body.poll(context)) {
                Step::Heartbeat(bytes) => Poll::Ready(Some(Ok(bytes))),
                Step::Answered(answered) => {
                    let (answer, guard) = *answered;
                    *self = Self::of(answer, guard);
                    self.next(context)
                }
                Step::Ended(last) => {
                    *self = Self::Terminated(last);
                    self.next(context)
                }
            },
            Self::Stream(body) => body.next(context),
            Self::Whole(body) => {
                let piece = body.next();
                // Said with the last piece: an HTTP/2 client that counts bytes hears of the end before it resets the stream.
                if body.left() == 0 {
                    *self = Self::Done;
                }
                Poll::Ready(piece.map(Ok))
            }
            Self::Terminated(ready) => Poll::Ready(ready.next()),
            Self::Done => Poll::Ready(None),
        }
    }

    /// The client lets it wait.
    pub(super) fn held_back(&self) {
        match self {
            Self::Waiting(body) => body.held_back(),
            Self::Stream(body) => body.held_back(),
            Self::Whole(_) | Self::Terminated(_) | Self::Done => {}
        }
    }

    /// Settles its request, unless that was done.
    pub(super) fn finish(&mut self, message: &str, outcome: RequestOutcome) {
        match self {
            Self::Waiting(body) => body.finish(message, outcome),
            Self::Stream(body) => body.guard().finish_with(message, outcome),
            Self::Whole(body) => body.guard().finish_with(message, outcome),
            Self::Terminated(_) | Self::Done => {}
        }
    }

    pub(super) fn panicked(&mut self) {
        match self {
            Self::Waiting(body) => body.panicked(),
            Self::Stream(body) => body.guard().panicked(),
            Self::Whole(body) => body.guard().panicked(),
            Self::Terminated(_) | Self::Done => {}
        }
    }

    /// When a timer wakes whoever pulls, while the upstream is silent.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        match self {
            Self::Waiting(body) => Some(body.wakes_at()),
            Self::Stream(body) => Some(body.wakes_at()),
            Self::Whole(_) | Self::Terminated(_) | Self::Done => None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Waiting(body) => Some(body.deadline()),
            Self::Stream(body) => Some(body.deadline()),
            Self::Whole(body) => Some(body.deadline()),
            Self::Terminated(_) | Self::Done => None,
        }
    }

    /// Ends the answer, if that is a reason to; gives what the client is still to get.
    pub(super) fn terminate(&mut self, why: EndReason<'_>) -> Option<ReadyBytes> {
        match self {
            Self::Waiting(body) => body.terminate(why),
            Self::Stream(body) => body.terminate(why),
            Self::Whole(body) => body.terminate(why),
            Self::Terminated(_) | Self::Done => None,
        }
    }
}
