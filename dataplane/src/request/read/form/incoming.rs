//! The client's body as the parser pulls it: within its size and its times, and no faster than the parser reads.
//!
//! The parser asks for more before it looks at what it has, and keeps all of it. So it is given one piece at a time, and
//! none while it has enough: then it is told to look again.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::Stream;
use http_body::Body;
use tokio::time::{Sleep, sleep_until};

use super::flow::{Flow, illegal};
use crate::{
    clock,
    request::{deadline::deadline_in, gateway::RequestSettings, refusal::Refusal},
    upstream::BrokenOff,
};

/// Most bytes from which the parser reads nothing: the headers of a part, or what stands in front of the first one.
const MAX_PART_HEADER_BYTES: u64 = 16 << 10;

/// Bytes that the parser has enough with.
const MAX_UNREAD_BYTES: u64 = 64 << 10;

pub(super) struct Incoming<B> {
    body: B,
    flow: Arc<Flow>,
    /// Most bytes of the body, and how many have come.
    limit: usize,
    taken: u64,
    /// Bytes that were given since the parser read something, and what it had read then.
    unread: u64,
    pieces: u64,
    /// It was given something and has to look at it first.
    gave: bool,
    /// It was told to look again when it had read so many pieces.
    withheld_at: Option<u64>,
    idle: Duration,
    /// Longest wait for the client in all, and how long it was waited so far. While an upstream does not take what there
    /// is, nobody waits for the client.
    total: Duration,
    waited: Duration,
    waiting: Option<Waiting>,
}

struct Waiting {
    since: Instant,
    timer: Pin<Box<Sleep>>,
}

impl<B> Incoming<B> {
    pub(super) fn new(body: B, flow: Arc<Flow>, settings: &RequestSettings) -> Self {
        Self {
            body,
            flow,
            limit: settings.max_body_bytes,
            taken: 0,
            unread: 0,
            pieces: 0,
            gave: false,
            withheld_at: None,
            idle: settings.body_frame_idle,
            total: settings.body_total,
            waited: Duration::ZERO,
            waiting: None,
        }
    }

    fn fail(&self, refusal: Refusal) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        Poll::Ready(Some(Err(self.flow.break_off(refusal))))
    }

    /// Whether the parser is to look at what it has before it gets more.
    fn has_enough(&mut self) -> bool {
        let pieces = self.flow.pieces.load(Ordering::Relaxed);
        if pieces != self.pieces {
            (self.pieces, self.unread) = (pieces, 0);
        }
        if std::mem::take(&mut self.gave) {
            return true;
        }
        if self.taken.saturating_sub(self.flow.read.load(Ordering::Relaxed)) <= MAX_UNREAD_BYTES {
            return false;
        }
        if self.withheld_at.replace(pieces) != Some(pieces) {
            return true;
        }
        // It could read nothing of it: what seems to be left were delimiters, which nobody counts.
        self.flow.read.store(self.taken, Ordering::Relaxed);
        false
    }

    /// Waits for the client, but not for ever.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<Refusal> {
        let left = self.total.saturating_sub(self.waited);
        let (idle, total) = (self.idle, self.total);
        let waiting = self.waiting.get_or_insert_with(|| {
            let since = clock::mono();
            Waiting { since, timer: Box::pin(sleep_until(deadline_in(since, idle.min(left)).into())) }
        });
        ready!(waiting.timer.as_mut().poll(context));
        Poll::Ready(if left <= idle {
            Refusal::BodySlow { within: total }
        } else {
            Refusal::BodyStalled { after: idle }
        })
    }
}

impl<B> Stream for Incoming<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Item = Result<Bytes, BrokenOff>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.has_enough() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if this.unread > MAX_PART_HEADER_BYTES {
            return this
                .fail(illegal("the headers of a part, or what stands in front of the first part, are too long"));
        }
        loop {
            let frame = match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    let refusal = ready!(this.wait(context));
                    return this.fail(refusal);
                }
            };
            if let Some(waiting) = this.waiting.take() {
                this.waited = this.waited.saturating_add(clock::mono().saturating_duration_since(waiting.since));
            }
            match frame {
                None => return Poll::Ready(None),
                Some(Err(_)) => return this.fail(Refusal::BodyBroken),
                Some(Ok(frame)) => {
                    // Trailers mean nothing here.
                    let Ok(data) = frame.into_data() else { continue };
                    this.taken = this.taken.saturating_add(data.len() as u64);
                    this.unread = this.unread.saturating_add(data.len() as u64);
                    if this.taken > this.limit as u64 {
                        return this.fail(Refusal::BodyTooLarge { limit: this.limit });
                    }
                    this.gave = true;
                    return Poll::Ready(Some(Ok(data)));
                }
            }
        }
    }
}
