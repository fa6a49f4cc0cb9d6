//! A client's connection with a watch on its header sections: they end in time, and none has two lengths.
//!
//! hyper's own header timeout runs from the end of the previous request, so it cannot tell a connection that rests from
//! one that dawdles; it serves as the idle timeout, and this one times the header section itself, starting with the
//! connection or with a section's first byte. A first request that is too slow gets status 408; on a later one the
//! connection is only closed, since an answer may be under way.
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
use prometheus_client::metrics::counter::Counter;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::{framing::Framing, refusal};

const TIMED_OUT: &str = "the request's header section took too long";

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
    timeout: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
    timeouts: Counter,
}

impl<I> Guarded<I> {
    /// Header sections may take `timeout`; those that take longer are counted in `timeouts`.
    pub(super) fn new(io: I, timeout: Duration, timeouts: Counter) -> Self {
        Self {
            io,
            framing: Framing::new(),
            ambiguous: Ambiguous(Arc::new(AtomicU64::new(NONE))),
            timeout,
            deadline: Some(Box::pin(tokio::time::sleep(timeout))),
            timeouts,
        }
    }

    /// For the service.
    pub(super) fn ambiguous(&self) -> Ambiguous {
        self.ambiguous.clone()
    }

    fn saw(&mut self, bytes: &[u8]) {
        self.framing.push(bytes);
        if let Some(ordinal) = self.framing.ambiguous() {
            self.ambiguous.0.store(ordinal, Ordering::Relaxed);
        }
        if !self.framing.is_mid_head() {
            if !self.framing.is_at_first_head() {
                self.deadline = None;
            }
        } else if self.deadline.is_none() {
            self.deadline = Some(Box::pin(tokio::time::sleep(self.timeout)));
        }
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
        let Some(deadline) = &mut this.deadline else { return Poll::Pending };
        ready!(deadline.as_mut().poll(cx));
        this.deadline = None;
        this.timeouts.inc();
        if this.framing.is_at_first_head() {
            // Best effort: the peer may not be reading either.
            let answer = refusal::bytes(StatusCode::REQUEST_TIMEOUT, TIMED_OUT);
            let _ = Pin::new(&mut this.io).poll_write(cx, &answer);
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, TIMED_OUT)))
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
