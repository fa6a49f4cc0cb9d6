//! Whether an upstream may have received a request: what was sent may be billed, whatever becomes of its answer.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::body::{BrokenOff, OutboundBody};

/// Set once a connection to the upstream has begun to take the request's body.
#[derive(Clone, Debug, Default)]
pub struct SentMark(Arc<AtomicBool>);

/// A request body that notes that it was taken.
#[derive(Clone, Debug, Default)]
pub struct MarkedBody {
    body: OutboundBody,
    mark: SentMark,
}

impl SentMark {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Forgets a request that the upstream never saw.
    pub fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether the upstream may have received the request.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl MarkedBody {
    /// A body that sets this mark.
    pub fn new(body: impl Into<OutboundBody>, mark: SentMark) -> Self {
        Self { body: body.into(), mark }
    }
}

impl Body for MarkedBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = self.get_mut();
        this.mark.set();
        this.body.poll(context).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        self.body.left() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.left().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
