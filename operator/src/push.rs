//! The server that data planes connect to: HTTP/2 over TLS.
//!
//! `POST /v1/config` is the configuration stream (see `routeapi_channel::frame`), for data planes. `GET /v1/acks` is what
//! this replica's data planes have in force, for the operator's other replicas. The certificate is looked up at each
//! handshake, so it changes without a connection being dropped. Knows none of the kinds.

pub mod ack;
pub mod auth;
pub mod held;
pub mod lines;
pub mod peers;
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
    time,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use auth::{Authenticator, Caller, Refused};
use lines::{Outbox, Outgoing};
use session::Sources;

use crate::settings::Account;

/// The path that replicas ask each other at.
pub const ACKS: &str = "/v1/acks";

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

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
}

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
            Ok((stream, _)) => drop(tracker.spawn(connection(Arc::clone(&push), stream, tls.clone()))),
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                time::sleep(Duration::from_millis(100)).await; // out of descriptors, most likely
            }
        }
    }
    tracker.close();
    tracker.wait().await;
}

async fn connection(push: Arc<Push>, stream: TcpStream, tls: TlsAcceptor) {
    let _ = stream.set_nodelay(true);
    let stream = match time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(%error, "TLS handshake failed"),
        Err(_) => return debug!("TLS handshake timed out"),
    };
    let shutdown = push.sources.shutdown.clone();
    let service = service_fn(move |request| {
        let push = Arc::clone(&push);
        async move { Ok::<_, Infallible>(push.answer(request).await) }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20))
        .max_concurrent_streams(8)
        .max_header_list_size(64 << 10);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // The sessions end by themselves now; a pod that reads nothing does not hold up the operator.
            time::timeout(Duration::from_secs(5), connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!(%error, "connection ended");
    }
}

// === impl Push ===

impl Push {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        match (request.method(), request.uri().path()) {
            (&Method::POST, frame::PATH) => self.stream(request).await,
            (&Method::GET, ACKS) => self.acks(&request).await,
            (_, frame::PATH | ACKS) => text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"),
            _ => text(StatusCode::NOT_FOUND, "no such path"),
        }
    }

    async fn stream(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let caller = match self.authenticator.admit(request.headers(), &self.data_planes).await {
            Ok(caller) => caller,
            Err(refused) => return self.refuse(&refused),
        };
        let (outbox, body) = Outbox::new();
        tokio::spawn(self.session(caller, request, outbox));
        let mut response = Response::new(Either::Right(body));
        response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/x-ndjson"));
        response
    }

    async fn session(self: Arc<Self>, caller: Caller, request: Request<Incoming>, outbox: Outbox) {
        let (head, body) = request.into_parts();
        self.sources.metrics.connected(1);
        let token_ends = self.authenticator.ended(&caller, &head.headers);
        let identify = |instance: &str| caller.peer(instance);
        let ended = session::run(identify, self.sources.clone(), body, outbox, token_ends).await;
        self.sources.metrics.connected(-1);
        debug!(reason = %ended, "stream ended");
    }

    async fn acks(&self, request: &Request<Incoming>) -> Answer {
        let operator = self.operator.as_slice();
        if let Err(refused) = self.authenticator.admit(request.headers(), operator).await {
            return self.refuse(&refused);
        }
        match serde_json::to_string(&self.sources.acks.local()) {
            Ok(body) => {
                let mut response = text(StatusCode::OK, &body);
                response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
                response
            }
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }

    fn refuse(&self, refused: &Refused) -> Answer {
        self.sources.metrics.refused();
        warn!(reason = %refused, "connection refused");
        let status = match refused {
            Refused::NoToken | Refused::Invalid(_) => StatusCode::UNAUTHORIZED,
            Refused::NotAllowed(_) => StatusCode::FORBIDDEN,
            Refused::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        text(status, &refused.to_string())
    }
}

fn text(status: StatusCode, text: &str) -> Answer {
    let mut response = Response::new(Either::Left(Full::from(format!("{text}\n"))));
    *response.status_mut() = status;
    response
}
