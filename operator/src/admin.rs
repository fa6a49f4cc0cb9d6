//! The port for people and probes: `/metrics`, `/livez`, `/readyz`. HTTP/1.1, no secrets, no writes.
//!
//! `/readyz` is 503 with one line per thing that is still missing, so that the text itself says what to do.

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
    connections::{Limits, Places},
    index::Index,
    telemetry::Metrics,
};

/// Connections. All are strangers' here: a newcomer, which may be a probe, takes the place of the oldest.
const LIMITS: Limits = Limits { strangers: 64, per_address: 32, known: 0 };

/// What the answers are made of.
#[derive(Debug)]
pub struct Admin {
    /// Whether every kind was listed.
    pub index: Arc<Index>,
    /// Whether there is a certificate.
    pub certificates: watch::Receiver<bool>,
    /// What is wrong with the CRDs, if anything.
    pub crds: watch::Receiver<Option<String>>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// Serves until shutdown.
pub async fn serve(admin: Arc<Admin>, listener: TcpListener, shutdown: CancellationToken) {
    let places = Places::new(LIMITS);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => return,
        };
        let (stream, place) = match accepted {
            Ok((stream, from)) => (stream, places.enter(from.ip())),
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                time::sleep(Duration::from_millis(100)).await; // out of descriptors, most likely
                continue;
            }
        };
        let admin = Arc::clone(&admin);
        let service = service_fn(move |request| {
            let answer = admin.answer(&request);
            async move { Ok::<_, Infallible>(answer) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10)).keep_alive(true);
        builder.max_buf_size(16 << 10);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            let lost = place.lost();
            tokio::select! {
                () = lost.cancelled() => debug!("gave its place to another connection"),
                ended = connection => if let Err(error) = ended { debug!(%error, "admin connection") },
                () = shutdown.cancelled() => {}
            }
        });
    }
}

// === impl Admin ===

impl Admin {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
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
        let lists = self.index.awaited().into_iter().map(|scope| {
            let place = scope.namespace.map_or_else(|| "all namespaces".to_owned(), |it| format!("namespace {it}"));
            format!("{} of {place} were not listed yet", scope.plural)
        });
        let certificate = (!*self.certificates.borrow()).then(|| "there is no serving certificate yet".to_owned());
        let missing: String = crds.into_iter().chain(lists).chain(certificate).map(|it| format!("{it}\n")).collect();
        match missing.is_empty() {
            true => text(StatusCode::OK, "ok\n".to_owned()),
            false => text(StatusCode::SERVICE_UNAVAILABLE, missing),
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
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "metrics do not format\n".to_owned()),
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
