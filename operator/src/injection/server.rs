//! The webhook's listener: HTTPS, `POST /inject`.
//!
//! Anybody in the cluster may reach it, and learns nothing secret. So what callers can cost is bounded: connections, the time
//! and bytes of a request, and the memory for parsing. Many pods are small; those beyond [`SMALL_BODY`] are read a few at a
//! time, so that whoever sends large ones delays only these.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use routeapi_injection::Sidecar;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use super::review;
use crate::connections::{ConnectionLimiter, ConnectionPermit, Limits};

/// The path of the webhook.
pub const PATH: &str = "/inject";

/// An API server opens a connection for each pod that is created at the same time. A new one evicts the oldest of the same
/// address, or of the address with the most.
const LIMITS: Limits = Limits { unauthenticated: 256, per_address: 128, authenticated: 0 };

/// Longest request in bytes: etcd takes no larger pod than 1.5 MiB, to which the API server adds some KiB.
const MAX_BODY: usize = 2 << 20;

/// Longest request in bytes that is read without waiting.
const SMALL_BODY: usize = 64 << 10;

/// How many longer ones are in memory at a time. Parsed, each may take 14 times its size.
const LARGE_BODIES: usize = 2;

/// For a whole request; the API server waits for 5 s (`timeoutSeconds`).
const DEADLINE: Duration = Duration::from_secs(4);

/// For the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time without a request: longer than API servers keep a connection (90 s), so that they close it, and no request meets a
/// closed one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a replica that stops still answers, while the cluster takes it out of the Service.
const LAME_DUCK: Duration = Duration::from_secs(3);

/// How long requests may take after that.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Wait after `accept` has failed, most likely for lack of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What every connection needs.
#[derive(Debug)]
pub struct InjectionServer {
    sidecar: watch::Receiver<Option<Arc<Sidecar>>>,
    limiter: Arc<ConnectionLimiter>,
    large_bodies: Semaphore,
    shutdown: CancellationToken,
}

/// A refusal in HTTP's terms, which the API server treats as a failure of the webhook (`failurePolicy`).
type Failure = (StatusCode, String);

/// Accepts connections until a while after shutdown, then waits for their requests.
pub async fn serve(server: Arc<InjectionServer>, listener: TcpListener, tls: TlsAcceptor) {
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let mut stopping = pin!(async {
        server.shutdown.cancelled().await;
        time::sleep(LAME_DUCK).await;
    });
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopping.as_mut() => break,
        };
        match accepted {
            Ok((stream, from)) => {
                let permit = server.limiter.accept(from.ip());
                drop(tracker.spawn(connection(Arc::clone(&server), permit, (stream, tls.clone()), stop.clone())));
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    stop.cancel();
    tracker.close();
    tracker.wait().await;
}

async fn connection(
    server: Arc<InjectionServer>,
    permit: ConnectionPermit,
    (stream, tls): (TcpStream, TlsAcceptor),
    stop: CancellationToken,
) {
    let (_, evicted) = (stream.set_nodelay(true), permit.evicted());
    let handshake = tokio::select! {
        handshake = time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)) => handshake,
        () = evicted.cancelled() => return debug!("evicted by another connection"),
        () = stop.cancelled() => return,
    };
    let stream = match handshake {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(%error, "TLS handshake failed"),
        Err(_) => return debug!("TLS handshake timed out"),
    };
    let service = service_fn(move |request| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(server.respond(request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT).keep_alive(true).max_buf_size(16 << 10);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = evicted.cancelled() => return debug!("evicted by another connection"),
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            time::timeout(DRAIN_TIMEOUT, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!(%error, "connection ended");
    }
}

// === impl InjectionServer ===

impl InjectionServer {
    /// Adds this sidecar, once it is known.
    pub fn new(sidecar: watch::Receiver<Option<Arc<Sidecar>>>, shutdown: CancellationToken) -> Arc<Self> {
        let (limiter, large_bodies) = (ConnectionLimiter::new(LIMITS), Semaphore::new(LARGE_BODIES));
        Arc::new(Self { sidecar, limiter, large_bodies, shutdown })
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let answer = match (request.method(), request.uri().path()) {
            (&Method::POST, PATH) => {
                let answer = time::timeout(DEADLINE, self.inject(request.into_body())).await;
                answer.unwrap_or_else(|_| Err((StatusCode::REQUEST_TIMEOUT, "the request took too long".to_owned())))
            }
            (_, PATH) => Err((StatusCode::METHOD_NOT_ALLOWED, "method not allowed".to_owned())),
            _ => Err((StatusCode::NOT_FOUND, "not found".to_owned())),
        };
        let (status, kind, body) = match answer {
            Ok(body) => (StatusCode::OK, "application/json", body),
            Err((status, text)) => {
                debug!(%status, text, "no answer");
                (status, "text/plain; charset=utf-8", format!("{text}\n").into_bytes())
            }
        };
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }

    async fn inject(&self, mut body: Incoming) -> Result<Vec<u8>, Failure> {
        let (mut bytes, mut large) = (Vec::new(), None);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > MAX_BODY {
                return Err((StatusCode::PAYLOAD_TOO_LARGE, format!("more than {MAX_BODY} bytes")));
            }
            if large.is_none() && bytes.len() + data.len() > SMALL_BODY {
                large = self.large_bodies.acquire().await.ok();
            }
            bytes.extend_from_slice(&data);
        }
        let sidecar = self.sidecar.borrow().clone();
        let sidecar = sidecar.ok_or_else(|| {
            let text = "the operator does not know yet which CA signs the gateway's certificate";
            (StatusCode::SERVICE_UNAVAILABLE, text.to_owned())
        })?;
        let answer = review::respond(&bytes, &sidecar).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()));
        drop(large);
        answer
    }
}
