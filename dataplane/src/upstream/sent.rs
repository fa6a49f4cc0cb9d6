//! Whether an upstream may have received a request: what was sent may be billed, whatever becomes of its answer.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Set once a connection to the upstream has begun to take the request's body.
#[derive(Clone, Debug, Default)]
pub struct SentMark(Arc<AtomicBool>);

/// A request body that notes that it was taken.
#[derive(Clone, Debug, Default)]
pub struct MarkedBody {
    bytes: Bytes,
    mark: SentMark,
}

impl SentMark {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the upstream may have received the request.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl MarkedBody {
    pub(super) fn new(bytes: Bytes, mark: SentMark) -> Self {
        Self { bytes, mark }
    }
}

impl Body for MarkedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let body = self.get_mut();
        body.mark.set();
        let bytes = std::mem::take(&mut body.bytes);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}
