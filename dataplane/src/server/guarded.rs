//! A client's connection with a watch on its header sections: they end in time, none has two lengths, and what all
//! connections hold of unfinished ones is bounded.
//!
//! hyper's own header timeout runs from the end of the previous request, so it cannot tell a connection that rests from
//! one that dawdles; it serves as the idle timeout, and this one times the header section itself, starting with the
//! connection or with a section's first byte; on HTTP/2, a header block's or any other frame's that no request in flight
//! waits for. A first request that has begun and is too slow gets status 408, one that is given up for the memory it holds
//! 503; on a later one the connection is only closed, since an answer may be under way.
//!
//! On the way out, hyper's own refusal of what it cannot read gets the id and the body that every answer has.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http::StatusCode;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::{Metrics, capacity::Charge, connection::Activity, framing::Framing, refusal};

const TIMED_OUT: &str = "the request's header section took too long";
const GIVEN_UP: &str = "the gateway holds as many bytes of unfinished requests as it may";

/// No request of a connection has two lengths.
const NONE: u64 = u64::MAX;

/// Tells the connection's service which request, counted from 0, is to be refused.
#[derive(Clone, Debug)]
pub(super) struct Ambiguous(Arc<AtomicU64>);

impl Ambiguous {
    /// Whether this request has both `Content-Length` and `Transfer-Encoding`.
    pub(super) fn is(&self, ordinal: u64) -> bool {
        self.0.load(Ordering::Relaxed) == ordinal
    }
}

/// A connection under watch.
pub(super) struct Guarded<I> {
    io: I,
    framing: Framing,
    ambiguous: Ambiguous,
    activity: Arc<Activity>,
    charge: Charge,
    timeout: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
    metrics: Metrics,
}

impl<I> Guarded<I> {
    /// Header sections may take `timeout`.
    pub(super) fn new(io: I, timeout: Duration, activity: Arc<Activity>, charge: Charge, metrics: Metrics) -> Self {
        Self {
            io,
            framing: Framing::new(),
            ambiguous: Ambiguous(Arc::new(AtomicU64::new(NONE))),
            activity,
            charge,
            timeout,
            deadline: Some(Box::pin(tokio::time::sleep(timeout))),
            metrics,
        }
    }

    /// For the service.
    pub(super) fn ambiguous(&self) -> Ambiguous {
        self.ambiguous.clone()
    }

    /// Whether no header section is whole yet and HTTP/1 may be spoken.
    pub(super) fn is_opening(&self) -> bool {
        self.framing.is_http1() && self.framing.is_at_start()
    }

    fn saw(&mut self, bytes: &[u8]) {
        self.framing.push(bytes);
        if let Some(ordinal) = self.framing.ambiguous() {
            self.ambiguous.0.store(ordinal, Ordering::Relaxed);
        }
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
            return Poll::Ready((StatusCode::SERVICE_UNAVAILABLE, GIVEN_UP));
        }
        let Some(deadline) = &mut self.deadline else { return Poll::Pending };
        ready!(deadline.as_mut().poll(cx));
        self.deadline = None;
        self.metrics.slow_headers.inc();
        Poll::Ready((StatusCode::REQUEST_TIMEOUT, TIMED_OUT))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
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
            let _ = Pin::new(&mut this.io).poll_write(cx, &refusal::bytes(status, why));
        }
        this.charge.set(None);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
    }
}

impl<I: AsyncWrite + Unpin> Guarded<I> {
    /// Sends an answer behind which the connection is closed. What does not fit into the socket at once is lost.
    fn replace(&mut self, cx: &mut Context<'_>, answer: &[u8], length: usize) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, answer).map_ok(|_| length)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Guarded<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(answer) = refusal::in_place_of(bytes) {
            return self.replace(cx, &answer, bytes.len());
        }
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = parts.iter().find(|part| !part.is_empty()).map_or(&[][..], |part| &**part);
        if let Some(answer) = refusal::in_place_of(written) {
            return self.replace(cx, &answer, written.len());
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
