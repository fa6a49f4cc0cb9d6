//! The two directions of a stream as lines: a reader of the request body, and a bounded outbox that feeds the response body.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use routeapi_channel::frame::{self, FromDataPlane, FromOperator, Line, MAX_LINE};
use tokio::{sync::mpsc, time};

/// Maximum number of chunks queued for a slow pod: 512 KiB, so that a thousand slow pods take at most 512 MiB.
const MAX_QUEUED_CHUNKS: usize = 8;

/// Lines are collected into chunks of about this many bytes, so that a large transaction needs few writes.
const CHUNK_SIZE: usize = 64 << 10;

/// How long a pod may take to accept a chunk: enough for a saturated node, and short enough to notice a pod that hangs.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads lines from a data plane.
#[derive(Debug)]
pub struct Lines<B> {
    body: B,
    buffer: BytesMut,
    searched: usize,
}

/// Why a line cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The line exceeds [`MAX_LINE`].
    #[error("a line is longer than {MAX_LINE} bytes")]
    TooLong,
    /// The line is not a frame.
    #[error("malformed frame: {0}")]
    Malformed(serde_json::Error),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Broken(String),
}

/// Sends lines to a data plane. Dropping it ends the response gracefully.
#[derive(Debug)]
pub struct Outbox {
    chunks: mpsc::Sender<Bytes>,
    pending: BytesMut,
}

/// The response body that an [`Outbox`] feeds.
#[derive(Debug)]
pub struct Outgoing(mpsc::Receiver<Bytes>);

/// Why a line cannot be sent.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The stream is closed.
    #[error("the stream is closed")]
    Closed,
    /// The frame does not serialize, which does not happen.
    #[error("a frame cannot be written: {0}")]
    Frame(String),
    /// The pod has not accepted a chunk in time.
    #[error("the pod accepted no data for {SEND_TIMEOUT:?}")]
    TimedOut,
}

// === impl Lines ===

impl<B> Lines<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    /// A reader of a request body.
    pub fn new(body: B) -> Self {
        Self { body, buffer: BytesMut::new(), searched: 0 }
    }

    /// The next frame that this version knows; none at the end. Cancel safe.
    ///
    /// # Errors
    /// When the connection failed or a line is not a frame.
    pub async fn next(&mut self) -> Result<Option<FromDataPlane>, ReadError> {
        loop {
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(at) = unsearched.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + at + 1);
                self.searched = 0;
                match frame::read(&line).map_err(ReadError::Malformed)? {
                    Line::Frame(frame) => return Ok(Some(frame)),
                    Line::Unknown(name) => {
                        tracing::debug!(name, "skipping an unknown frame");
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
    /// An outbox and the body that it feeds.
    pub fn new() -> (Self, Outgoing) {
        let (chunks, body) = mpsc::channel(MAX_QUEUED_CHUNKS);
        (Self { chunks, pending: BytesMut::new() }, Outgoing(body))
    }

    /// Adds a line; sends when a chunk is full.
    ///
    /// # Errors
    /// When the stream is closed, or the pod accepts no data.
    pub async fn put(&mut self, line: &[u8]) -> Result<(), SendError> {
        self.pending.extend_from_slice(line);
        if self.pending.len() >= CHUNK_SIZE { self.flush().await } else { Ok(()) }
    }

    /// Adds a frame as a line; sends when a chunk is full.
    ///
    /// # Errors
    /// When the stream is closed, or the pod accepts no data.
    pub async fn put_frame(&mut self, frame: &FromOperator) -> Result<(), SendError> {
        serde_json::to_writer((&mut self.pending).writer(), frame)
            .map_err(|error| SendError::Frame(error.to_string()))?;
        self.put(b"\n").await
    }

    /// Sends the pending lines.
    ///
    /// # Errors
    /// When the stream is closed, or the pod accepts no data.
    pub async fn flush(&mut self) -> Result<(), SendError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let chunk = self.pending.split().freeze();
        match time::timeout(SEND_TIMEOUT, self.chunks.send(chunk)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(SendError::Closed),
            Err(_) => Err(SendError::TimedOut),
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
        let chunks: Vec<_> =
            text.as_bytes().chunks(size).map(|chunk| Ok(Frame::data(Bytes::from_static(chunk)))).collect();
        Lines::new(StreamBody::new(futures_util::stream::iter(chunks)))
    }

    #[tokio::test]
    async fn lines_are_read_from_chunks_of_any_size() {
        let text = "{\"pong\":{}}\n{\"ack\":{\"revision\":\"00\"}}\n";
        for size in 1..text.len() {
            let mut lines = cut(text, size);
            assert!(matches!(lines.next().await, Ok(Some(FromDataPlane::Pong {}))));
            assert!(matches!(lines.next().await, Ok(Some(FromDataPlane::Ack { .. }))));
            assert!(matches!(lines.next().await, Ok(None)));
        }
    }

    #[tokio::test]
    async fn malformed_and_oversized_lines_are_errors() {
        assert!(matches!(cut("{\"ack\":1}\n", 4).next().await, Err(ReadError::Malformed(_))));
        let mut lines = Lines::new(Full::new(Bytes::from(vec![b' '; MAX_LINE + 1])));
        assert!(matches!(lines.next().await, Err(ReadError::TooLong)));
    }

    #[tokio::test(start_paused = true)]
    async fn sending_to_a_pod_that_accepts_no_data_times_out() {
        let (mut outbox, _body) = Outbox::new();
        let mut sent = 0;
        let error = loop {
            match outbox.put(&vec![0; CHUNK_SIZE]).await {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!((sent, error), (MAX_QUEUED_CHUNKS, SendError::TimedOut));
    }
}
