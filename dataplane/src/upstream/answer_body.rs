//! An answer's body, wherever it comes from.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};

use super::{
    inflate::{self, InflateError, Inflated},
    pool::PooledBody,
};

/// An answer's body.
#[derive(Debug)]
pub enum UpstreamBody {
    /// From a connection. Dropping it cancels the request upstream.
    Http(PooledBody),
    /// From a connection, in gzip.
    Inflated(Box<Inflated<PooledBody>>),
    /// From the built-in upstream.
    Echo(VecDeque<Bytes>),
}

/// The answer broke off.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamBodyError {
    /// With its connection.
    #[error("upstream connection broke: {0}")]
    Connection(#[from] hyper::Error),
    /// Inside its encoding.
    #[error("the answer is not the gzip it is said to be: {0}")]
    Encoding(std::io::Error),
}

// === impl UpstreamBody ===

impl UpstreamBody {
    /// An answer from a connection; one in gzip will be inflated as it is read.
    pub(super) fn from_connection(mut response: Response<PooledBody>) -> Response<Self> {
        if inflate::take_gzip(response.headers_mut()) {
            response.map(|body| Self::Inflated(Box::new(Inflated::new(body))))
        } else {
            response.map(Self::Http)
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = UpstreamBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamBodyError>>> {
        match self.get_mut() {
            Self::Http(body) => Pin::new(body).poll_frame(context).map_err(UpstreamBodyError::Connection),
            Self::Inflated(body) => body.poll_piece(context).map_ok(Frame::data).map_err(Into::into),
            Self::Echo(chunks) => Poll::Ready(chunks.pop_front().map(|chunk| Ok(Frame::data(chunk)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http(body) => body.is_end_stream(),
            Self::Inflated(_) => false,
            Self::Echo(chunks) => chunks.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http(body) => body.size_hint(),
            Self::Inflated(_) => SizeHint::default(),
            Self::Echo(chunks) => SizeHint::with_exact(chunks.iter().map(|chunk| chunk.len() as u64).sum()),
        }
    }
}

impl From<InflateError<hyper::Error>> for UpstreamBodyError {
    fn from(error: InflateError<hyper::Error>) -> Self {
        match error {
            InflateError::Body(error) => Self::Connection(error),
            InflateError::Encoding(error) => Self::Encoding(error),
        }
    }
}
