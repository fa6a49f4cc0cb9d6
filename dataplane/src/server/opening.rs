//! The beginning of a connection, up to its first whole header section.
//!
//! hyper sets up its buffers before it knows whether anything comes: 16 KiB and more for a connection that has sent a
//! kilobyte and stopped. So the first header section is buffered here, in as many bytes as it has, and hyper begins with
//! what was read. Where HTTP/2 is spoken it begins with the preface.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::guarded::GuardedStream;

/// Room for a usual header section.
const INITIAL_BUFFER_BYTES: usize = 1 << 10;

/// A connection some of whose bytes were read before.
pub(super) struct Opened<I> {
    first: Bytes,
    io: GuardedStream<I>,
}

/// Reads until a header section is whole, HTTP/2 is spoken, the other side has ended, or more than `most` bytes have come,
/// which is for hyper to refuse. `closing` ends a connection that has sent nothing; a request that has begun is awaited.
///
/// # Errors
/// When the connection breaks or is given up.
pub(super) async fn open<I>(
    mut io: GuardedStream<I>,
    most: usize,
    closing: impl Future<Output = ()>,
) -> io::Result<Opened<I>>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let mut closing = pin!(closing);
    let mut first = BytesMut::new();
    while io.is_opening() && first.len() <= most {
        if first.len() == first.capacity() {
            first.reserve(first.len().max(INITIAL_BUFFER_BYTES));
        }
        let read = tokio::select! {
            read = io.read_buf(&mut first) => read,
            () = closing.as_mut(), if first.is_empty() => return Err(io::ErrorKind::ConnectionAborted.into()),
        };
        let read = match read {
            Ok(read) => read,
            Err(error) => {
                // It may have been answered; what it was given up for may be the bytes.
                drop(first);
                let _ = io.shutdown().await;
                return Err(error);
            }
        };
        if read == 0 || !may_begin_a_request(&first) {
            break;
        }
    }
    Ok(Opened { first: first.freeze(), io })
}

/// Whether a request may begin so. What cannot be one, such as TLS on the plain port, is refused at once.
fn may_begin_a_request(bytes: &[u8]) -> bool {
    bytes.first().is_none_or(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'\r' | b'\n'))
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Opened<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let step = self.first.len().min(buf.remaining());
        buf.put_slice(self.first.get(..step).unwrap_or_default());
        self.first.advance(step);
        if self.first.is_empty() {
            self.first = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Opened<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
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
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, ready},
        sync::Arc,
    };

    use super::*;
    use crate::server::{Capacity, Limits, Metrics, activity::Activity};

    const HEAD: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    fn guarded<I>(io: I) -> GuardedStream<I> {
        let limits = Limits::default();
        let permit = Capacity::new(&limits).admit([10, 0, 0, 1].into()).unwrap();
        GuardedStream::new(io, &limits, Arc::new(Activity::default()), permit.charge(), Metrics::default())
    }

    #[tokio::test]
    async fn request_head_is_buffered_in_about_its_size_and_replayed() {
        let (mut client, server) = tokio::io::duplex(64);
        let opening = tokio::spawn(open(guarded(server), 64 << 10, pending()));
        for piece in HEAD.chunks(3) {
            client.write_all(piece).await.unwrap();
        }
        let mut opened = opening.await.unwrap().unwrap();
        assert_eq!(opened.first, HEAD);
        client.write_all(b"more").await.unwrap();
        drop(client);
        let mut all = Vec::new();
        opened.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, [HEAD, b"more"].concat());
    }

    #[tokio::test]
    async fn shutdown_waits_only_for_a_head_that_has_begun() {
        let (silent, server) = tokio::io::duplex(64);
        assert!(open(guarded(server), 64 << 10, ready(())).await.is_err(), "nothing was sent");
        drop(silent);
        let (mut client, server) = tokio::io::duplex(64);
        let closing = tokio_util::sync::CancellationToken::new();
        let opening = tokio::spawn(open(guarded(server), 64 << 10, closing.clone().cancelled_owned()));
        let (begun, rest) = HEAD.split_at(9);
        client.write_all(begun).await.unwrap();
        tokio::task::yield_now().await;
        closing.cancel();
        client.write_all(rest).await.unwrap();
        assert_eq!(opening.await.unwrap().unwrap().first, HEAD);
    }

    #[tokio::test]
    async fn oversize_head_and_http2_are_handed_to_hyper() {
        let long = vec![b'a'; 10_000];
        for (sent, most, least) in [
            (&long[..], 4_000, 4_001),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 4_000, 24),
            (b"\x16\x03\x01", 9, 3),
            (b"", 9, 0),
        ] {
            let mut opened = open(guarded(tokio::io::join(sent, Vec::new())), most, pending()).await.unwrap();
            assert!(opened.first.len() >= least, "{} bytes", opened.first.len());
            let mut all = Vec::new();
            opened.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, sent);
        }
    }

    #[tokio::test]
    async fn opening_connection_future_is_small() {
        let opening = open(guarded(tokio::io::empty()), 1, pending());
        assert!(size_of_val(&opening) <= 1024, "{} bytes", size_of_val(&opening));
    }
}
