//! A socket below TLS. Until the handshake is done a client may send so many bytes, and they count as held: what has
//! come of a ClientHello is kept until the rest has.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::capacity::Charge;

/// A socket whose client is watched until its handshake is done.
pub(super) struct Handshake {
    socket: TcpStream,
    /// None once the handshake is done.
    watch: Option<Watch>,
}

struct Watch {
    read: usize,
    most: usize,
    charge: Charge,
}

impl Handshake {
    /// At most `most` bytes may come.
    pub(super) fn new(socket: TcpStream, most: usize, charge: Charge) -> Self {
        Self { socket, watch: Some(Watch { read: 0, most, charge }) }
    }

    /// The handshake is done: what comes from now on is not counted here.
    pub(super) fn done(&mut self) {
        self.watch = None;
    }
}

impl AsyncRead for Handshake {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Some(watch) = &mut this.watch else { return Pin::new(&mut this.socket).poll_read(cx, buf) };
        let before = buf.filled().len();
        let Poll::Ready(result) = Pin::new(&mut this.socket).poll_read(cx, buf) else {
            return watch.charge.poll_given_up(cx).map(|()| Err(io::Error::other("too much is held of handshakes")));
        };
        watch.read += buf.filled().len() - before;
        watch.charge.set(Some(watch.read));
        let result = result.and_then(|()| {
            if watch.read > watch.most { Err(io::Error::other("the client sent too much")) } else { Ok(()) }
        });
        Poll::Ready(result)
    }
}

impl AsyncWrite for Handshake {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}
