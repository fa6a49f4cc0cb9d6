//! The two directions of a stream as lines: a reader over a request body and a bounded outbox that is a response body.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use routeapi_channel::frame::{self, FromDataPlane, Line, MAX_LINE};
use tokio::{sync::mpsc, time};

/// Chunks that wait for a slow pod at most; a chunk is one transaction's worth of lines up to [`CHUNK`] bytes.
const WAITING: usize = 8;

/// When lines are gathered into one chunk, its size.
const CHUNK: usize = 64 << 10;

/// How long a pod may take to make room for a chunk.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lines from a data plane.
#[derive(Debug)]
pub struct Lines<B> {
    body: B,
    buffer: BytesMut,
    searched: usize,
}

/// Why no further line can be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Longer than both sides agreed on.
    #[error("a line is longer than {MAX_LINE} bytes")]
    TooLong,
    /// Not one of the frames.
    #[error("not a frame of this protocol: {0}")]
    Malformed(serde_json::Error),
    /// The connection failed.
    #[error("the stream broke: {0}")]
    Broken(String),
}

/// Lines to a data plane. Dropping it ends the response in order.
#[derive(Debug)]
pub struct Outbox {
    chunks: mpsc::Sender<Bytes>,
    gathered: BytesMut,
}

/// The response body that an [`Outbox`] fills.
#[derive(Debug)]
pub struct Outgoing(mpsc::Receiver<Bytes>);

/// The pod is gone, or takes nothing any more.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The stream is closed.
    #[error("the stream is closed")]
    Closed,
    /// Nothing was taken for too long.
    #[error("the pod took nothing for {PATIENCE:?}")]
    Stuck,
}

// === impl Lines ===

impl<B> Lines<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    /// Reads from a request body.
    pub fn new(body: B) -> Self {
        Self { body, buffer: BytesMut::new(), searched: 0 }
    }

    /// The next line that this version knows; none at the end. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the stream broke or does not speak the protocol.
    pub async fn next(&mut self) -> Result<Option<FromDataPlane>, ReadError> {
        loop {
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(at) = unsearched.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + at + 1);
                self.searched = 0;
                match frame::read(&line).map_err(ReadError::Malformed)? {
                    Line::Frame(frame) => return Ok(Some(frame)),
                    Line::Unknown(name) => {
                        tracing::debug!(name, "a data plane says something that this version does not know");
                    }
                }
                continue;
            }
            self.searched = self.buffer.len();
            if self.searched > MAX_LINE {
                return Err(ReadError::TooLong);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.buffer.extend(frame.into_data().unwrap_or_default()),
                Some(Err(error)) => return Err(ReadError::Broken(error.to_string())),
                None => return Ok(None),
            }
        }
    }
}

// === impl Outbox ===

impl Outbox {
    /// An outbox and the body that it fills.
    pub fn new() -> (Self, Outgoing) {
        let (chunks, body) = mpsc::channel(WAITING);
        (Self { chunks, gathered: BytesMut::new() }, Outgoing(body))
    }

    /// Adds a line; sends when enough have gathered.
    ///
    /// # Errors
    /// When the pod is gone or stuck.
    pub async fn put(&mut self, line: &[u8]) -> Result<(), SendError> {
        self.gathered.extend_from_slice(line);
        if self.gathered.len() >= CHUNK { self.flush().await } else { Ok(()) }
    }

    /// Sends what has gathered.
    ///
    /// # Errors
    /// When the pod is gone or stuck.
    pub async fn flush(&mut self) -> Result<(), SendError> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let chunk = self.gathered.split().freeze();
        match time::timeout(PATIENCE, self.chunks.send(chunk)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(SendError::Closed),
            Err(_) => Err(SendError::Stuck),
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{Full, StreamBody};

    fn cut(
        text: &'static str,
        size: usize,
    ) -> Lines<impl Body<Data = Bytes, Error = std::convert::Infallible> + Unpin> {
        let chunks: Vec<_> = text.as_bytes().chunks(size).map(|it| Ok(Frame::data(Bytes::from_static(it)))).collect();
        Lines::new(StreamBody::new(futures_util::stream::iter(chunks)))
    }

    #[tokio::test]
    async fn lines_are_found_however_the_bytes_are_cut() {
        let text = "{\"pong\":{}}\n{\"ack\":{\"revision\":\"00\"}}\n";
        for size in 1..text.len() {
            let mut lines = cut(text, size);
            assert!(matches!(lines.next().await, Ok(Some(FromDataPlane::Pong {}))));
            assert!(matches!(lines.next().await, Ok(Some(FromDataPlane::Ack { .. }))));
            assert!(matches!(lines.next().await, Ok(None)));
        }
    }

    #[tokio::test]
    async fn what_is_no_frame_and_what_is_too_long_is_refused() {
        assert!(matches!(cut("{\"ack\":1}\n", 4).next().await, Err(ReadError::Malformed(_))));
        let mut lines = Lines::new(Full::new(Bytes::from(vec![b' '; MAX_LINE + 1])));
        assert!(matches!(lines.next().await, Err(ReadError::TooLong)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_takes_nothing_is_given_up() {
        let (mut outbox, _body) = Outbox::new();
        let mut sent = 0;
        let error = loop {
            match outbox.put(&vec![0; CHUNK]).await {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!((sent, error), (WAITING, SendError::Stuck));
    }
}
