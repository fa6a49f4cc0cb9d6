//! An answer's body on its way to the client: piece by piece, to its end or that of the sidecar.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::record::{Guard, Outcome};
use crate::upstream::PooledBody;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// An answer's body. Dropping it resets the stream at the gateway.
pub struct AnswerBody(Inner);

enum Inner {
    Gateway(Box<Streaming>),
    Own(Full<Bytes>),
}

struct Streaming {
    body: PooledBody,
    /// Bytes that are still to come, where that is known.
    left: Option<u64>,
    expired: Pin<Box<WaitForCancellationFutureOwned>>,
    guard: Guard,
}

/// The deadline of the end has passed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the sidecar is shutting down")]
struct Expired;

impl AnswerBody {
    /// The gateway's.
    pub(super) fn from_gateway(body: PooledBody, expired: WaitForCancellationFutureOwned, guard: Guard) -> Self {
        let left = body.size_hint().exact();
        let mut streaming = Streaming { body, left, expired: Box::pin(expired), guard };
        streaming.note_end();
        Self(Inner::Gateway(Box::new(streaming)))
    }

    /// The sidecar's own.
    pub(super) fn own(body: Bytes) -> Self {
        Self(Inner::Own(body.into()))
    }
}

impl Streaming {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.expired.as_mut().poll(context).is_ready() {
            self.guard.note(|record| record.error = Some("shutdown"));
            self.guard.end(Outcome::SidecarStopped);
            return Poll::Ready(Some(Err(Expired.into())));
        }
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(None) => self.guard.end(Outcome::Completed),
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                self.guard.note(|record| record.response_bytes += bytes);
                self.left = self.left.map(|left| left.saturating_sub(bytes));
                self.note_end();
            }
            Poll::Ready(Some(Err(error))) => {
                let message = format!("the gateway's answer broke off: {error}");
                self.guard.note(|record| (record.error, record.message) = (Some("answer_broken"), Some(message)));
                self.guard.end(Outcome::GatewayFailed);
            }
        }
        polled.map_err(Into::into)
    }

    /// Nobody asks for more behind the last byte of an answer whose length is known.
    fn note_end(&mut self) {
        if self.left == Some(0) || self.body.is_end_stream() {
            self.guard.end(Outcome::Completed);
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.0 {
            Inner::Gateway(streaming) => streaming.poll(context),
            Inner::Own(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Gateway(streaming) => streaming.body.is_end_stream(),
            Inner::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Gateway(streaming) => streaming.body.size_hint(),
            Inner::Own(body) => body.size_hint(),
        }
    }
}
