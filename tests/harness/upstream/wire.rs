//! Connections: plain or TLS, with the power to end by RST, and a count of those that are open.
//!
//! One that ends in order lingers: what the peer sends once it is closed would be answered with RST, which takes from the
//! peer what it has not read yet.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

/// How long a connection lingers at most.
const LINGER: Duration = Duration::from_secs(2);

/// What the player and the server know about a connection.
#[derive(Debug, Default)]
pub(super) struct Line {
    reset: AtomicBool,
}

impl Line {
    /// The connection, once closed, ends with RST instead of FIN.
    pub fn reset_on_close(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }
}

/// A TCP connection that [`Line`] controls.
pub(super) struct Wire {
    /// None once it is dropped.
    tcp: Option<TcpStream>,
    line: Arc<Line>,
    open: Arc<AtomicUsize>,
}

impl Wire {
    pub fn new(tcp: TcpStream, line: Arc<Line>, open: Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self { tcp: Some(tcp), line, open }
    }
}

impl Wire {
    fn tcp(&mut self) -> Pin<&mut TcpStream> {
        Pin::new(self.tcp.as_mut().expect("it is taken when it is dropped"))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        let Some(tcp) = self.tcp.take() else { return };
        if self.line.reset.load(Ordering::Relaxed) {
            let _ = tcp.set_zero_linger(); // the peer may have closed first
        } else if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(linger(tcp));
        }
    }
}

/// Says that nothing follows, and reads until the peer has closed as well.
async fn linger(mut tcp: TcpStream) {
    let drained = async {
        let _ = tcp.shutdown().await; // it may be shut down already
        let mut sink = [0; 4_096];
        while matches!(tcp.read(&mut sink).await, Ok(1..)) {}
    };
    let _ = tokio::time::timeout(LINGER, drained).await;
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.tcp().poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.tcp().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.line.reset.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(())); // no FIN before the RST
        }
        self.tcp().poll_shutdown(cx)
    }
}
