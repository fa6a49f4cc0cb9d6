//! The server that data planes connect to: HTTP/2 over TLS.
//!
//! `POST /v1/config` is the configuration stream (see `routeapi_channel::frame`), for data planes. `GET /v1/acks` returns what
//! this replica's data planes have in force, for the operator's other replicas. The certificate is looked up at each
//! handshake, so it can change without dropping connections. Independent of the kinds.
//!
//! A connection is unauthenticated until it has presented a valid token: it has seconds to do so, and small buffers, and the
//! number of such connections is limited. A connection without open streams is closed after a while.

pub mod ack;
pub mod acked_state;
pub mod auth;
pub mod lines;
pub mod peers;
pub mod pod_name;
pub mod review_cache;
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

use auth::{AuthError, Authenticator, Caller};
use lines::{Outbox, Outgoing};
use session::SessionContext;

use crate::{
    connections::{ConnectionLimiter, ConnectionPermit, Limits},
    settings::Account,
};

/// HTTP path at which replicas read each other's acknowledgements.
pub const ACKS: &str = "/v1/acks";

/// [`frame::FEATURE_LIST`], [`frame::FEATURE_NACK_PARTS`] and [`frame::FEATURE_CREDENTIALS`].
const FEATURES: &str = "list,nack-parts,credentials";

/// Unauthenticated connections need a few round trips to present a token; one address may have half of them, since a service
/// mesh or NAT gives many pods one. Authenticated ones are data planes and replicas.
pub const LIMITS: Limits = Limits { unauthenticated: 256, per_address: 128, authenticated: 4096 };

/// HTTP/2 windows: what an unauthenticated caller can make us buffer, per stream and per connection.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 128 << 10;

/// Maximum size of a request head in bytes. A ServiceAccount token takes one or two thousand.
const MAX_HEAD: u32 = 16 << 10;

/// HTTP/2 pings, and how long their acknowledgement may take: well below the idle timeouts of cloud load balancers and NATs.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Streams of one connection. A data plane opens one, and another when it replaces it.
const MAX_STREAMS: u32 = 8;

/// How long sessions may take to end on shutdown, less than the whole shutdown may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Wait after `accept` has failed, most likely for lack of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Timeouts of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Limit for the TLS handshake.
    pub handshake: Duration,
    /// From the handshake to the first request with a valid token.
    pub token: Duration,
    /// Time without an open stream.
    pub idle: Duration,
}

/// What every connection needs.
pub struct PushServer {
    /// What every session needs.
    pub sessions: SessionContext,
    /// Authenticates callers.
    pub authenticator: Authenticator,
    /// ServiceAccounts of data planes.
    pub data_planes: Vec<Account>,
    /// The operator's own ServiceAccount.
    pub operator: Option<Account>,
    /// Limits connections.
    pub limiter: Arc<ConnectionLimiter>,
    /// Timeouts of connections.
    pub timeouts: Timeouts,
}

/// One connection, as its requests see it.
struct Connection {
    push: Arc<PushServer>,
    permit: ConnectionPermit,
    /// Number of open streams.
    streams: watch::Sender<usize>,
}

/// Counts an open stream until dropped.
struct OpenStream(Arc<Connection>);

type PushResponse = Response<Either<Full<Bytes>, Outgoing>>;

/// Accepts connections until shutdown, then waits for every session to end.
pub async fn serve(push: Arc<PushServer>, listener: TcpListener, tls: TlsAcceptor) {
    let tracker = TaskTracker::new();
    let shutdown = push.sessions.shutdown.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, from)) => {
                let (push, permit) = (Arc::clone(&push), push.limiter.accept(from.ip()));
                drop(tracker.spawn(connection(push, permit, stream, tls.clone())));
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    tracker.close();
    tracker.wait().await;
}

async fn connection(push: Arc<PushServer>, permit: ConnectionPermit, stream: TcpStream, tls: TlsAcceptor) {
    let (_, evicted) = (stream.set_nodelay(true), permit.evicted());
    let handshake = tokio::select! {
        handshake = time::timeout(push.timeouts.handshake, tls.accept(stream)) => handshake,
        () = evicted.cancelled() => return debug!("evicted by another connection"),
    };
    let stream = match handshake {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(%error, "TLS handshake failed"),
        Err(_) => return debug!("TLS handshake timed out"),
    };
    let shutdown = push.sessions.shutdown.clone();
    let shared = Arc::new(Connection { push, permit, streams: watch::Sender::new(0) });
    let answering = Arc::clone(&shared);
    let service = service_fn(move |request| {
        let connection = Arc::clone(&answering);
        async move { Ok::<_, Infallible>(connection.respond(request).await) }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        // An unauthenticated connection is dropped without ceremony, which frees its buffers.
        () = evicted.cancelled() => return debug!("evicted by another connection"),
        () = shared.not_authenticated() => return debug!("no valid token in time"),
        () = async { tokio::select! { () = shutdown.cancelled() => {}, () = shared.idle() => {} } } => {
            connection.as_mut().graceful_shutdown();
            // The sessions end by themselves now; a pod that does not read must not delay the shutdown.
            time::timeout(DRAIN_TIMEOUT, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!(%error, "connection ended");
    }
}

// === impl Connection ===

impl Connection {
    /// Completes if no valid token was presented in time.
    async fn not_authenticated(&self) {
        time::sleep(self.push.timeouts.token).await;
        if self.permit.is_authenticated() {
            std::future::pending::<()>().await;
        }
    }

    /// Completes when there was no open stream for a while.
    async fn idle(&self) {
        let mut streams = self.streams.subscribe();
        loop {
            if streams.wait_for(|open| *open == 0).await.is_err() {
                return;
            }
            let opened = time::timeout(self.push.timeouts.idle, streams.wait_for(|open| *open > 0)).await;
            if opened.is_err() {
                return;
            }
        }
    }

    async fn respond(self: Arc<Self>, request: Request<Incoming>) -> PushResponse {
        match (request.method(), request.uri().path()) {
            (&Method::POST, frame::PATH) => self.stream(request).await,
            (&Method::GET, ACKS) => self.acks(&request).await,
            (_, frame::PATH | ACKS) => text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"),
            _ => text(StatusCode::NOT_FOUND, "not found"),
        }
    }

    /// The sender of a request, if it is one of these accounts and not over the limit.
    async fn authenticate(&self, request: &Request<Incoming>, accounts: &[Account]) -> Result<Caller, AuthError> {
        let caller = self.push.authenticator.authenticate(request.headers(), self.permit.address(), accounts).await?;
        if self.permit.authenticate() { Ok(caller) } else { Err(AuthError::TooManyConnections) }
    }

    async fn stream(self: Arc<Self>, request: Request<Incoming>) -> PushResponse {
        let caller = match self.authenticate(&request, &self.push.data_planes).await {
            Ok(caller) => caller,
            Err(refused) => return self.push.reject(&refused),
        };
        let (outbox, body) = Outbox::new();
        let open = OpenStream::new(&self);
        tokio::spawn(self.session(caller, request, outbox, open));
        let mut response = Response::new(Either::Right(body));
        response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/x-ndjson"));
        response.headers_mut().insert(frame::FEATURES_HEADER, http::HeaderValue::from_static(FEATURES));
        response
    }

    async fn session(self: Arc<Self>, caller: Caller, request: Request<Incoming>, outbox: Outbox, _open: OpenStream) {
        let (head, body) = request.into_parts();
        let PushServer { sessions, authenticator, .. } = &*self.push;
        sessions.metrics.connected(1);
        let token_revoked = authenticator.until_revoked(&head.headers);
        let identify = |instance: &str| caller.peer(instance);
        let ended = session::run(identify, sessions.clone(), body, outbox, token_revoked).await;
        sessions.metrics.connected(-1);
        debug!(reason = %ended, "stream ended");
    }

    async fn acks(&self, request: &Request<Incoming>) -> PushResponse {
        if let Err(refused) = self.authenticate(request, self.push.operator.as_slice()).await {
            return self.push.reject(&refused);
        }
        match serde_json::to_string(&self.push.sessions.acks.local_reports()) {
            Ok(body) => {
                let mut response = text(StatusCode::OK, &body);
                response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
                response
            }
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }
}

// === impl OpenStream ===

impl OpenStream {
    fn new(connection: &Arc<Connection>) -> Self {
        connection.streams.send_modify(|open| *open += 1);
        Self(Arc::clone(connection))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams.send_modify(|open| *open -= 1);
    }
}

// === impl PushServer ===

impl PushServer {
    fn reject(&self, refused: &AuthError) -> PushResponse {
        self.sessions.metrics.refused();
        let status = match refused {
            AuthError::NoToken | AuthError::Invalid(_) => StatusCode::UNAUTHORIZED,
            AuthError::Forbidden(_) => StatusCode::FORBIDDEN,
            AuthError::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            AuthError::TooManyConnections | AuthError::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        // What anybody can cause at any rate is only counted.
        match refused {
            AuthError::NoToken | AuthError::RateLimited => debug!(reason = %refused, "connection refused"),
            _ => warn!(reason = %refused, "connection refused"),
        }
        text(status, &refused.to_string())
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { handshake: seconds(10), token: seconds(15), idle: seconds(30) }
    }
}

fn text(status: StatusCode, text: &str) -> PushResponse {
    let mut response = Response::new(Either::Left(Full::from(format!("{text}\n"))));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests;
