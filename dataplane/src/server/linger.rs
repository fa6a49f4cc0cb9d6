//! Closing a connection so that its client reads the last answer, although it is still sending.
//!
//! A socket that is closed while something unread has come, or still comes, is reset by the kernel, and a reset can take
//! the answer from a client that has not read it yet (RFC 9112 section 9.6). So our side is closed first; what the client
//! still sends is read and thrown away until it has sent all, has closed, is silent, or has sent too much.

use std::{
    future::Future,
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep},
};

use super::{Limits, framing::Framing};

/// Bytes that are read at a time.
const READ_BUFFER_BYTES: usize = 8 << 10;

/// How long a client that is turned away may go on sending, and how much: a usual request.
const TURN_AWAY_TIMEOUT: Duration = Duration::from_secs(1);
const TURN_AWAY_BYTES: u64 = 64 << 10;

/// The end of one connection.
#[derive(Debug)]
pub(super) struct Linger {
    left: usize,
    silence: Duration,
    total: Duration,
    is_closed: bool,
    wait: Option<Wait>,
}

#[derive(Debug)]
struct Wait {
    until: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Linger {
    /// As long and as much as the listener's limits say.
    pub(super) fn new(limits: &Limits) -> Self {
        let Limits { linger_bytes, linger_silence, linger_total, .. } = *limits;
        Self { left: linger_bytes, silence: linger_silence, total: linger_total, is_closed: false, wait: None }
    }

    /// Closes our side, and then waits for the client's. `framing` tells whether it is in the middle of a request.
    pub(super) fn poll_close<I>(
        &mut self,
        io: &mut I,
        framing: &mut Framing,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        if !self.is_closed {
            ready!(Pin::new(&mut *io).poll_shutdown(cx))?;
            self.is_closed = true;
        }
        self.poll_drain(io, framing, cx).map(Ok)
    }

    fn poll_drain<I: AsyncRead + Unpin>(
        &mut self,
        io: &mut I,
        framing: &mut Framing,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut space = [const { MaybeUninit::uninit() }; READ_BUFFER_BYTES];
        loop {
            let mut piece = ReadBuf::uninit(&mut space);
            match Pin::new(&mut *io).poll_read(cx, &mut piece) {
                Poll::Pending if framing.is_at_rest() => return Poll::Ready(()),
                Poll::Pending => return self.poll_silence(cx),
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => {
                    let read = piece.filled();
                    let Some(left) = self.left.checked_sub(read.len()).filter(|_| !read.is_empty()) else {
                        return Poll::Ready(());
                    };
                    self.left = left;
                    framing.push(read);
                    if let Some(Wait { until, timer }) = &mut self.wait {
                        timer.as_mut().reset(after(self.silence).min(*until));
                    }
                }
            }
        }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let wait = self.wait.get_or_insert_with(|| {
            let until = after(self.total);
            Wait { until, timer: Box::pin(tokio::time::sleep_until(after(self.silence).min(until))) }
        });
        wait.timer.as_mut().poll(cx)
    }
}

fn after(time: Duration) -> Instant {
    Instant::now() + time
}

/// Closes a connection of which nothing was read, behind the answer that turned it away.
pub(super) async fn turn_away(mut socket: TcpStream) {
    // Best effort: the client may have gone.
    let _ = socket.shutdown().await;
    let mut rest = socket.take(TURN_AWAY_BYTES);
    let _ = tokio::time::timeout(TURN_AWAY_TIMEOUT, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{DuplexStream, duplex};

    use super::*;

    const BEGUN: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n";

    /// Longer than any of these tests may take.
    const NEVER: Duration = Duration::from_secs(600);
    const BRIEF: Duration = Duration::from_millis(20);

    fn limits() -> Limits {
        Limits { linger_bytes: 1_000, linger_silence: NEVER, linger_total: NEVER, ..Limits::default() }
    }

    /// Closes a connection on which this much has been read.
    async fn close(limits: Limits, mut io: DuplexStream, read: &[u8]) {
        let (mut linger, mut framing) = (Linger::new(&limits), Framing::new());
        framing.push(read);
        poll_fn(|cx| linger.poll_close(&mut io, &mut framing, cx)).await.unwrap();
    }

    #[tokio::test]
    async fn linger_ends_when_the_client_has_sent_all_or_closed() {
        let (_client, server) = duplex(64);
        close(limits(), server, b"").await;
        let (client, server) = duplex(64);
        drop(client);
        close(limits(), server, BEGUN).await;
        let (mut client, server) = duplex(64);
        let sends = async {
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            client.write_all(&[b'x'; 100]).await.unwrap();
        };
        // Our side is closed first; the end of the body is the end.
        tokio::join!(close(limits(), server, BEGUN), sends);
    }

    #[tokio::test]
    async fn linger_ends_after_silence() {
        let (_silent, server) = duplex(64);
        close(Limits { linger_silence: BRIEF, ..limits() }, server, BEGUN).await;
    }

    #[tokio::test]
    async fn linger_ends_after_its_total_time() {
        let (mut slow, server) = duplex(64);
        let sends = tokio::spawn(async move {
            while slow.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        let without_end = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n";
        close(Limits { linger_bytes: usize::MAX, linger_total: BRIEF, ..limits() }, server, without_end).await;
        sends.await.unwrap();
    }

    #[tokio::test]
    async fn linger_ends_after_its_byte_limit() {
        let (mut fast, server) = duplex(64);
        let sends = tokio::spawn(async move {
            let mut sent = 0;
            while fast.write_all(b"x").await.is_ok() {
                sent += 1;
            }
            sent
        });
        close(Limits { linger_bytes: 50, ..limits() }, server, BEGUN).await;
        let sent = sends.await.unwrap();
        assert!((51..=50 + 128).contains(&sent), "{sent} bytes");
    }
}
