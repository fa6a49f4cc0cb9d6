//! What is sent to an upstream: bytes that are held, and for a large form what is still on its way from the client.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::Stream;
use http::HeaderValue;

use super::payload::Payload;

/// A request's body. Cloned for each try.
#[derive(Clone, Debug, Default)]
pub struct OutboundBody {
    /// JSON, or the first piece of a form.
    first: Bytes,
    form: Option<Box<FormBody>>,
}

#[derive(Clone, Debug)]
struct FormBody {
    content_type: HeaderValue,
    second: Bytes,
    third: Bytes,
    tail: Option<Tail>,
    /// It is this body that the tail goes out with.
    has_tail: bool,
}

/// What is still to come of a body. It can be sent once.
#[derive(Clone)]
pub struct Tail(Arc<Shared>);

type Pieces = dyn Stream<Item = Result<Bytes, BrokenOff>> + Send;

struct Shared {
    stream: Mutex<Pin<Box<Pieces>>>,
    begun: AtomicBool,
    lost: AtomicBool,
}

/// The rest of a body did not come, or was sent already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request body broke off")]
pub struct BrokenOff;

impl From<Bytes> for OutboundBody {
    /// JSON.
    fn from(first: Bytes) -> Self {
        Self { first, form: None }
    }
}

impl OutboundBody {
    /// A form; `tail` follows behind the pieces.
    pub fn form(pieces: [Bytes; 3], content_type: HeaderValue, tail: Option<Tail>) -> Self {
        let [first, second, third] = pieces;
        Self { first, form: Some(Box::new(FormBody { content_type, second, third, tail, has_tail: false })) }
    }

    /// What comes piece by piece, under headers that its sender has set.
    pub fn streamed(tail: Tail) -> Self {
        Self::form([Bytes::new(), Bytes::new(), Bytes::new()], HeaderValue::from_static(""), Some(tail))
    }

    /// For the header of that name.
    pub fn content_type(&self) -> HeaderValue {
        match &self.form {
            Some(form) => form.content_type.clone(),
            None => HeaderValue::from_static("application/json"),
        }
    }

    /// The whole body, if it is JSON.
    pub fn json(&self) -> &Bytes {
        &self.first
    }

    /// What a proof of who sends it can be about.
    pub(super) fn payload(&self) -> Payload<'_> {
        match &self.form {
            None => Payload::Whole([&self.first, &[], &[]]),
            Some(form) if form.tail.is_none() => Payload::Whole([&self.first, &form.second, &form.third]),
            Some(_) => Payload::Streamed,
        }
    }

    /// Bytes that are left; none where that is not known.
    pub(super) fn left(&self) -> Option<u64> {
        let form = self.form.as_ref();
        if form.is_some_and(|form| form.tail.is_some()) {
            return None;
        }
        let rest = form.map_or(0, |form| form.second.len().saturating_add(form.third.len()));
        Some(self.first.len().saturating_add(rest) as u64)
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.first))));
        }
        let Some(form) = &mut self.form else { return Poll::Ready(None) };
        for piece in [&mut form.second, &mut form.third] {
            if !piece.is_empty() {
                return Poll::Ready(Some(Ok(std::mem::take(piece))));
            }
        }
        let Some(tail) = &form.tail else { return Poll::Ready(None) };
        if !form.has_tail {
            if tail.0.begun.swap(true, Ordering::Relaxed) {
                tail.0.lost.store(true, Ordering::Relaxed);
                return Poll::Ready(Some(Err(BrokenOff)));
            }
            form.has_tail = true;
        }
        let next = tail.0.stream.lock().unwrap_or_else(PoisonError::into_inner).as_mut().poll_next(context);
        if matches!(next, Poll::Ready(None)) {
            form.tail = None;
        }
        next
    }
}

impl Tail {
    /// Nothing of it was sent yet.
    pub fn new(stream: impl Stream<Item = Result<Bytes, BrokenOff>> + Send + 'static) -> Self {
        let stream: Pin<Box<Pieces>> = Box::pin(stream);
        Self(Arc::new(Shared { stream: Mutex::new(stream), begun: AtomicBool::default(), lost: AtomicBool::default() }))
    }

    /// Whether an upstream may have got something of it, so that no other one can get all.
    pub fn has_begun(&self) -> bool {
        self.0.begun.load(Ordering::Relaxed)
    }

    /// Whether it was to be sent once more, and could not be.
    pub fn is_lost(&self) -> bool {
        self.0.lost.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Tail").field("begun", &self.has_begun()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn form(tail: Option<Tail>) -> OutboundBody {
        OutboundBody::form(
            [Bytes::from_static(b"a"), Bytes::new(), Bytes::from_static(b"b")],
            HeaderValue::from_static("x/y"),
            tail,
        )
    }

    async fn read(body: &mut OutboundBody) -> Result<Vec<u8>, BrokenOff> {
        let mut all = Vec::new();
        while let Some(piece) = poll_fn(|context| body.poll(context)).await {
            all.extend_from_slice(&piece?);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn buffered_body_can_be_resent_and_a_tail_only_once() {
        let whole = form(None);
        assert_eq!(whole.left(), Some(2));
        assert_eq!(whole.payload(), Payload::Whole([b"a", b"", b"b"]));
        for _ in 0..2 {
            assert_eq!(read(&mut whole.clone()).await.unwrap(), b"ab");
        }
        let tail = Tail::new(futures_util::stream::iter([Ok(Bytes::from_static(b"c")), Ok(Bytes::from_static(b"d"))]));
        let body = form(Some(tail.clone()));
        assert_eq!((body.left(), body.payload(), tail.has_begun()), (None, Payload::Streamed, false));
        assert_eq!(read(&mut body.clone()).await.unwrap(), b"abcd");
        assert!(tail.has_begun() && !tail.is_lost());
        assert_eq!(read(&mut body.clone()).await, Err(BrokenOff));
        assert!(tail.is_lost());
    }
}
