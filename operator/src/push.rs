//! The server that data planes connect to: HTTP/2 over TLS.
//!
//! `POST /v1/config` is the configuration stream (see `routeapi_channel::frame`), for data planes. `GET /v1/acks` is what
//! this replica's data planes have in force, for the operator's other replicas. The certificate is looked up at each
//! handshake, so it changes without a connection being dropped. Knows none of the kinds.
//!
//! A connection that has not shown a valid token is a stranger's: it has seconds to do so, few places and small buffers.
//! One whose streams have ended is closed after a while.

pub mod ack;
pub mod auth;
pub mod held;
pub mod lines;
pub mod peers;
pub mod reviews;
pub mod session;

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{Either, Full};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use routeapi_channel::frame;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use auth::{Authenticator, Caller, Refused};
use lines::{Outbox, Outgoing};
use session::Sources;

use crate::{
    connections::{Limits, Place, Places},
    settings::Account,
};

/// The path that replicas ask each other at.
pub const ACKS: &str = "/v1/acks";

/// [`frame::FEATURE_LIST`], [`frame::FEATURE_NACK_PARTS`] and [`frame::FEATURE_CREDENTIALS`].
const FEATURES: &str = "list,nack-parts,credentials";

/// Connections: of strangers, who need a few round trips to show a token, and of data planes and replicas. Half of the
/// strangers' places may be one address's, since a service mesh or a NAT gives many pods one.
pub const LIMITS: Limits = Limits { strangers: 256, per_address: 128, known: 4096 };

/// How much a caller may send before it is read, per stream and connection: what a stranger can make us hold.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 128 << 10;

/// The longest request head. A ServiceAccount token has about one or two thousand bytes.
const LONGEST_HEAD: u32 = 16 << 10;

/// How long a connection may take.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// For the TLS handshake.
    pub handshake: Duration,
    /// From there to the first request with a valid token.
    pub token: Duration,
    /// Without an open stream.
    pub idle: Duration,
}

/// What every connection works with.
pub struct Push {
    /// What sessions work with.
    pub sources: Sources,
    /// Who may come in.
    pub authenticator: Authenticator,
    /// Accounts of data planes.
    pub data_planes: Vec<Account>,
    /// The operator's own account.
    pub operator: Option<Account>,
    /// Who is connected.
    pub places: Arc<Places>,
    /// How long connections may take.
    pub waits: Waits,
}

/// One connection, as its requests see it.
struct Connection {
    push: Arc<Push>,
    place: Place,
    /// Streams that are open.
    streams: watch::Sender<usize>,
}

/// An open stream; counted until dropped.
struct Open(Arc<Connection>);

type Answer = Response<Either<Full<Bytes>, Outgoing>>;

/// Accepts connections until shutdown, then waits for every session to end.
pub async fn serve(push: Arc<Push>, listener: TcpListener, tls: TlsAcceptor) {
    let tracker = TaskTracker::new();
    let shutdown = push.sources.shutdown.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, from)) => {
                let (push, place) = (Arc::clone(&push), push.places.enter(from.ip()));
                drop(tracker.spawn(connection(push, place, stream, tls.clone())));
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                time::sleep(Duration::from_millis(100)).await; // out of descriptors, most likely
            }
        }
    }
    tracker.close();
    tracker.wait().await;
}

async fn connection(push: Arc<Push>, place: Place, stream: TcpStream, tls: TlsAcceptor) {
    let (_, lost) = (stream.set_nodelay(true), place.lost());
    let greeted = tokio::select! {
        greeted = time::timeout(push.waits.handshake, tls.accept(stream)) => greeted,
        () = lost.cancelled() => return debug!("gave its place to another connection"),
    };
    let stream = match greeted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(%error, "TLS handshake failed"),
        Err(_) => return debug!("TLS handshake timed out"),
    };
    let shutdown = push.sources.shutdown.clone();
    let shared = Arc::new(Connection { push, place, streams: watch::Sender::new(0) });
    let answering = Arc::clone(&shared);
    let service = service_fn(move |request| {
        let connection = Arc::clone(&answering);
        async move { Ok::<_, Infallible>(connection.answer(request).await) }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(8)
        .max_header_list_size(LONGEST_HEAD);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        // A stranger has no say in when it goes; cutting it frees what it holds.
        () = lost.cancelled() => return debug!("gave its place to another connection"),
        () = shared.not_admitted() => return debug!("no valid token in time"),
        () = async { tokio::select! { () = shutdown.cancelled() => {}, () = shared.idle() => {} } } => {
            connection.as_mut().graceful_shutdown();
            // The sessions end by themselves now; a pod that reads nothing does not hold up the operator.
            time::timeout(Duration::from_secs(5), connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!(%error, "connection ended");
    }
}

// === impl Connection ===

impl Connection {
    /// Completes if the connection's token wait is over without a token.
    async fn not_admitted(&self) {
        time::sleep(self.push.waits.token).await;
        if self.place.is_known() {
            std::future::pending::<()>().await;
        }
    }

    /// Completes when no stream was open for a while.
    async fn idle(&self) {
        let mut streams = self.streams.subscribe();
        loop {
            if streams.wait_for(|open| *open == 0).await.is_err() {
                return;
            }
            let opened = time::timeout(self.push.waits.idle, streams.wait_for(|open| *open > 0)).await;
            if opened.is_err() {
                return;
            }
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        match (request.method(), request.uri().path()) {
            (&Method::POST, frame::PATH) => self.stream(request).await,
            (&Method::GET, ACKS) => self.acks(&request).await,
            (_, frame::PATH | ACKS) => text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"),
            _ => text(StatusCode::NOT_FOUND, "no such path"),
        }
    }

    /// Who sent a request, if it is one of these accounts and there is a place for it.
    async fn admit(&self, request: &Request<Incoming>, accounts: &[Account]) -> Result<Caller, Refused> {
        let caller = self.push.authenticator.admit(request.headers(), self.place.address(), accounts).await?;
        if self.place.admit() { Ok(caller) } else { Err(Refused::Full) }
    }

    async fn stream(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let caller = match self.admit(&request, &self.push.data_planes).await {
            Ok(caller) => caller,
            Err(refused) => return self.push.refuse(&refused),
        };
        let (outbox, body) = Outbox::new();
        let open = Open::new(&self);
        tokio::spawn(self.session(caller, request, outbox, open));
        let mut response = Response::new(Either::Right(body));
        response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/x-ndjson"));
        response.headers_mut().insert(frame::FEATURES_HEADER, http::HeaderValue::from_static(FEATURES));
        response
    }

    async fn session(self: Arc<Self>, caller: Caller, request: Request<Incoming>, outbox: Outbox, _open: Open) {
        let (head, body) = request.into_parts();
        let Push { sources, authenticator, .. } = &*self.push;
        sources.metrics.connected(1);
        let token_ends = authenticator.ended(&head.headers);
        let identify = |instance: &str| caller.peer(instance);
        let ended = session::run(identify, sources.clone(), body, outbox, token_ends).await;
        sources.metrics.connected(-1);
        debug!(reason = %ended, "stream ended");
    }

    async fn acks(&self, request: &Request<Incoming>) -> Answer {
        if let Err(refused) = self.admit(request, self.push.operator.as_slice()).await {
            return self.push.refuse(&refused);
        }
        match serde_json::to_string(&self.push.sources.acks.local()) {
            Ok(body) => {
                let mut response = text(StatusCode::OK, &body);
                response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
                response
            }
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }
}

// === impl Open ===

impl Open {
    fn new(connection: &Arc<Connection>) -> Self {
        connection.streams.send_modify(|open| *open += 1);
        Self(Arc::clone(connection))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.streams.send_modify(|open| *open -= 1);
    }
}

// === impl Push ===

impl Push {
    fn refuse(&self, refused: &Refused) -> Answer {
        self.sources.metrics.refused();
        let status = match refused {
            Refused::NoToken | Refused::Invalid(_) => StatusCode::UNAUTHORIZED,
            Refused::NotAllowed(_) => StatusCode::FORBIDDEN,
            Refused::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Refused::Full | Refused::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        // What anybody can cause at any rate is counted and not logged.
        match refused {
            Refused::NoToken | Refused::TooMany => debug!(reason = %refused, "connection refused"),
            _ => warn!(reason = %refused, "connection refused"),
        }
        text(status, &refused.to_string())
    }
}

impl Default for Waits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { handshake: seconds(10), token: seconds(15), idle: seconds(30) }
    }
}

fn text(status: StatusCode, text: &str) -> Answer {
    let mut response = Response::new(Either::Left(Full::from(format!("{text}\n"))));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests;
