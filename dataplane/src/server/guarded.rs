//! A client's connection with a watch on its header sections: they end in time, none has two lengths, and what all
//! connections hold of unfinished ones is bounded.
//!
//! hyper's own header timeout runs from the end of the previous request, so it cannot tell a connection that rests from
//! one that dawdles; it serves as the idle timeout, and this one times the header section itself, starting with the
//! connection or with a section's first byte; on HTTP/2, a header block's or any other frame's that no request in flight
//! waits for. A first request that has begun and is too slow gets status 408, one that is given up for the memory it holds
//! 503; on a later one the connection is only closed, since an answer may be under way.
//!
//! It ends such that a client that is still sending reads the answer. On the way out, hyper's own refusal of what it cannot read gets the id and the body that every answer has.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http::StatusCode;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::{Limits, Metrics, activity::Activity, capacity::Charge, error_response, framing::Framing, linger::Linger};

const HEADER_TIMEOUT: &str = "the request's header section took too long";
const TOO_MUCH_UNFINISHED: &str = "the gateway's limit for unfinished requests is reached";

/// No request of a connection.
const NONE: u64 = u64::MAX;

/// What the connection's service has to know of its HTTP/1 requests, which are counted from 0.
#[derive(Clone, Debug)]
pub(super) struct FramingFacts(Arc<Requests>);

#[derive(Debug)]
struct Requests {
    ambiguous: AtomicU64,
    in_body: AtomicU64,
    has_left_http: AtomicBool,
}

impl FramingFacts {
    fn new() -> Self {
        Self(Arc::new(Requests {
            ambiguous: AtomicU64::new(NONE),
            in_body: AtomicU64::new(NONE),
            has_left_http: AtomicBool::new(false),
        }))
    }

    /// Whether this request has both `Content-Length` and `Transfer-Encoding`.
    pub(super) fn is_ambiguous(&self, ordinal: u64) -> bool {
        self.0.ambiguous.load(Ordering::Relaxed) == ordinal
    }

    /// Whether a part of this request's body has not come yet.
    pub(super) fn is_in_body(&self, ordinal: u64) -> bool {
        self.0.in_body.load(Ordering::Relaxed) == ordinal
    }

    /// What comes from now on is not HTTP: it is neither read nor timed here.
    pub(super) fn leave_http(&self) {
        self.0.has_left_http.store(true, Ordering::Relaxed);
    }

    fn has_left_http(&self) -> bool {
        self.0.has_left_http.load(Ordering::Relaxed)
    }

    fn set(&self, framing: &Framing) {
        if let Some(ordinal) = framing.ambiguous() {
            self.0.ambiguous.store(ordinal, Ordering::Relaxed);
        }
        self.0.in_body.store(framing.in_body_of().unwrap_or(NONE), Ordering::Relaxed);
    }
}

/// A connection under watch.
pub(super) struct GuardedStream<I> {
    io: I,
    framing: Framing,
    framing_facts: FramingFacts,
    activity: Arc<Activity>,
    charge: Charge,
    timeout: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
    linger: Linger,
    metrics: Metrics,
}

impl<I> GuardedStream<I> {
    /// Of the limits, those of header sections and of the end.
    pub(super) fn new(io: I, limits: &Limits, activity: Arc<Activity>, charge: Charge, metrics: Metrics) -> Self {
        let timeout = limits.header_read;
        Self {
            io,
            framing: Framing::new(),
            framing_facts: FramingFacts::new(),
            activity,
            charge,
            timeout,
            deadline: Some(Box::pin(tokio::time::sleep(timeout))),
            linger: Linger::new(limits),
            metrics,
        }
    }

    /// For the service.
    pub(super) fn framing_facts(&self) -> FramingFacts {
        self.framing_facts.clone()
    }

    /// Whether no header section is whole yet and HTTP/1 may be spoken.
    pub(super) fn is_opening(&self) -> bool {
        self.framing.is_http1() && self.framing.is_at_start()
    }

    fn saw(&mut self, bytes: &[u8]) {
        self.framing.push(bytes);
        self.framing_facts.set(&self.framing);
        let unfinished = self.framing.unfinished(self.activity.is_busy());
        self.charge.set(unfinished);
        if unfinished.is_none() {
            if !self.framing.is_at_start() {
                self.deadline = None;
            }
        } else if self.deadline.is_none() {
            self.deadline = Some(Box::pin(tokio::time::sleep(self.timeout)));
        }
    }

    /// Why the connection is not waited for any longer.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<(StatusCode, &'static str)> {
        if self.charge.poll_given_up(cx).is_ready() {
            self.metrics.given_up.inc();
            return Poll::Ready((StatusCode::SERVICE_UNAVAILABLE, TOO_MUCH_UNFINISHED));
        }
        let Some(deadline) = &mut self.deadline else { return Poll::Pending };
        ready!(deadline.as_mut().poll(cx));
        self.deadline = None;
        self.metrics.slow_headers.inc();
        Poll::Ready((StatusCode::REQUEST_TIMEOUT, HEADER_TIMEOUT))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for GuardedStream<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.framing_facts.has_left_http() {
            // Of bytes that came too early, hyper has some; they are not part of a header section.
            this.charge.set(None);
            this.deadline = None;
            return Pin::new(&mut this.io).poll_read(cx, buf);
        }
        let before = buf.filled().len();
        if let Poll::Ready(result) = Pin::new(&mut this.io).poll_read(cx, buf) {
            this.saw(buf.filled().get(before..).unwrap_or_default());
            return Poll::Ready(result);
        }
        let (status, why) = ready!(this.poll_gone(cx));
        // A connection that was opened ahead and has sent nothing is closed without a word: its client would take the
        // answer for that to the request it sends next.
        let has_begun = this.framing.unfinished(false).is_some();
        if has_begun && this.framing.is_at_start() && this.framing.is_http1() {
            // Best effort: the peer may not be reading either.
            let _ = Pin::new(&mut this.io).poll_write(cx, &error_response::bytes(status, why));
        }
        this.charge.set(None);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
    }
}

impl<I: AsyncWrite + Unpin> GuardedStream<I> {
    /// Sends an answer behind which the connection is closed. What does not fit into the socket at once is lost.
    fn replace(&mut self, cx: &mut Context<'_>, answer: &[u8], length: usize) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, answer).map_ok(|_| length)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for GuardedStream<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.framing_facts.has_left_http()
            && let Some(answer) = error_response::replacement_for(bytes)
        {
            return self.replace(cx, &answer, bytes.len());
        }
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.framing_facts.has_left_http() {
            return Pin::new(&mut this.io).poll_shutdown(cx);
        }
        this.linger.poll_close(&mut this.io, &mut this.framing, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = parts.iter().find(|part| !part.is_empty()).map_or(&[][..], |part| &**part);
        if !self.framing_facts.has_left_http()
            && let Some(answer) = error_response::replacement_for(written)
        {
            return self.replace(cx, &answer, written.len());
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
