//! The admin port: `/metrics`, `/livez`, `/readyz`. HTTP/1.1, no secrets, no writes.
//!
//! `/readyz` answers 503 with one line per condition that is not met, so that the text shows what to do.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::watch, time};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    connections::{ConnectionLimiter, Limits},
    index::Index,
    telemetry::Metrics,
};

/// Nobody authenticates here: a new connection, which may be a probe, evicts the oldest. Prometheus and the kubelet need a few.
const LIMITS: Limits = Limits { unauthenticated: 64, per_address: 32, authenticated: 0 };

/// How long a connection may take to send a request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Wait after `accept` has failed, most likely for lack of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The sources of the responses.
#[derive(Debug)]
pub struct Admin {
    /// Tells whether every kind was listed.
    pub index: Arc<Index>,
    /// Whether there is a serving certificate.
    pub certificates: watch::Receiver<bool>,
    /// Why the CRDs do not fit this version; none if they do.
    pub crds: watch::Receiver<Option<String>>,
    /// Counters and gauges.
    pub metrics: Arc<Metrics>,
}

/// Serves until shutdown.
pub async fn serve(admin: Arc<Admin>, listener: TcpListener, shutdown: CancellationToken) {
    let limiter = ConnectionLimiter::new(LIMITS);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => return,
        };
        let (stream, permit) = match accepted {
            Ok((stream, from)) => (stream, limiter.accept(from.ip())),
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let admin = Arc::clone(&admin);
        let service = service_fn(move |request| {
            let response = admin.respond(&request);
            async move { Ok::<_, Infallible>(response) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).keep_alive(true);
        builder.max_buf_size(16 << 10);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            let evicted = permit.evicted();
            tokio::select! {
                () = evicted.cancelled() => debug!("evicted by another connection"),
                ended = connection => if let Err(error) = ended { debug!(%error, "admin connection") },
                () = shutdown.cancelled() => {}
            }
        });
    }
}

// === impl Admin ===

impl Admin {
    fn respond(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n".to_owned());
        }
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => self.ready(),
            "/metrics" => self.metrics(),
            _ => text(StatusCode::NOT_FOUND, "/metrics, /livez, /readyz\n".to_owned()),
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let crds = self.crds.borrow().clone();
        let lists = self.index.pending_lists().into_iter().map(|scope| {
            let within = scope
                .namespace
                .map_or_else(|| "all namespaces".to_owned(), |namespace| format!("namespace {namespace}"));
            format!("{} in {within} not listed yet", scope.plural)
        });
        let certificate = (!*self.certificates.borrow()).then(|| "no serving certificate yet".to_owned());
        let missing: String =
            crds.into_iter().chain(lists).chain(certificate).map(|line| format!("{line}\n")).collect();
        if missing.is_empty() {
            text(StatusCode::OK, "ok\n".to_owned())
        } else {
            text(StatusCode::SERVICE_UNAVAILABLE, missing)
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        match self.metrics.text() {
            Ok(body) => {
                let mut response = text(StatusCode::OK, body);
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
                response
            }
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "cannot format the metrics\n".to_owned()),
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
