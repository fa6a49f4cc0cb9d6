//! An answer that can be handed to the client: where it comes from, and what it holds.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
use routeapi_protocol::response_translation::ResponseStream;
use tokio::io::DuplexStream;

use super::memory::{MemoryPermit, UnfinishedEvent};
use crate::{
    config::runtime::Upstream,
    state::{ConcurrencyPermit, InFlight},
    upstream::{UpstreamBody, WebSocketIo},
};

/// An answer.
pub(super) struct Answer {
    /// Who answered.
    pub source: Source,
    /// Its status, 2xx.
    pub status: StatusCode,
    /// Its headers, as they came from the source.
    pub headers: HeaderMap,
    /// End of the whole request.
    pub deadline: Instant,
    /// What it says.
    pub body: AnswerBody,
}

/// Who answered.
pub(super) enum Source {
    /// An upstream.
    Upstream {
        /// Which.
        upstream: Arc<Upstream>,
        /// Whether its headers are in the client's dialect.
        same_dialect: bool,
        /// Held until the body has ended.
        permits: UpstreamPermits,
    },
    /// The gateway itself, from what it holds.
    Gateway,
}

/// What a request holds at an upstream: one of the provider's permits, and one request in flight.
pub(super) type UpstreamPermits = (ConcurrencyPermit, InFlight);

/// What an answer says, in the client's dialect.
pub(super) enum AnswerBody {
    /// All of it.
    Whole {
        /// The body.
        bytes: Bytes,
        /// Its new content type, if the body is not the upstream's own.
        changed: Option<&'static str>,
        /// For as long as it is held; none for what is held anyway.
        memory: Option<MemoryPermit>,
    },
    /// The beginning, with real content or the end in it, and what follows.
    Stream {
        /// What is ready for the client.
        held: Bytes,
        /// Turns what follows into the client's dialect.
        stream: ResponseStream,
        /// What follows; none if the upstream has ended its answer.
        rest: Option<UpstreamBody>,
        /// What the stream holds of an event.
        unfinished: UnfinishedEvent,
        /// Of the stream; none for the upstream's own.
        content_type: Option<&'static str>,
    },
    /// A WebSocket, on which nothing has been said yet.
    Session {
        /// The connection.
        io: Box<WebSocketIo>,
        /// The other end, where the upstream is inside this process.
        echo: Option<DuplexStream>,
    },
}

impl Answer {
    /// An answer of the gateway itself, in JSON; an empty one has no content type.
    pub(super) fn local(body: Vec<u8>, deadline: Instant) -> Self {
        let mut headers = HeaderMap::new();
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let body = AnswerBody::Whole { bytes: Bytes::from(body), changed: None, memory: None };
        Self { source: Source::Gateway, status: StatusCode::OK, headers, deadline, body }
    }
}
