//! The response body, which the server pulls. Dropped by the server when the client has gone, it drops the upstream's
//! connection and, with the guard, settles the request.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{content::DeliveryContent, delivery::Delivery, ready_bytes::BodyError};
use crate::request::gateway::Gateway;

/// What goes to the client.
pub struct ResponseBody(Kind);

enum Kind {
    /// Nothing more.
    Done,
    /// An answer whose request is settled.
    Full(Bytes),
    /// An upstream's answer, whole or as it comes.
    Delivery(Arc<Delivery>),
}

impl ResponseBody {
    pub(in crate::request) fn full(bytes: Bytes) -> Self {
        Self(if bytes.is_empty() { Kind::Done } else { Kind::Full(bytes) })
    }

    /// An upstream's answer, watched from now on.
    pub(super) fn delivered(content: DeliveryContent, gateway: &Gateway) -> Self {
        match content {
            DeliveryContent::Done => Self(Kind::Done),
            content => Self(Kind::Delivery(Delivery::new(content, gateway))),
        }
    }

    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        match &mut self.0 {
            Kind::Delivery(delivery) => delivery.poll(context),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Kind::Done;
                Poll::Ready(Some(Ok(bytes)))
            }
            Kind::Done => Poll::Ready(None),
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let body = self.get_mut();
        // A panic here would take the connection with it, and on HTTP/2 every other stream on that connection.
        match catch_unwind(AssertUnwindSafe(|| body.next(context))) {
            Ok(next) => next.map(|piece| piece.map(|bytes| bytes.map(Frame::data))),
            Err(_) => {
                if let Kind::Delivery(delivery) = &body.0 {
                    delivery.panicked();
                }
                body.0 = Kind::Done;
                Poll::Ready(Some(Err(BodyError)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Done => true,
            Kind::Full(_) => false,
            Kind::Delivery(delivery) => delivery.is_done(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Done => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Delivery(delivery) => delivery.left().map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
