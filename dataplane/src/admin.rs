//! What operators of the gateway may ask: `/metrics`, `/livez`, `/readyz` and `/config`, on a listener and runtime of
//! their own, so that they are answered when the traffic side is busy.
//!
//! Ready means: a valid configuration is held, the listeners are bound, and the end has not begun; the health of upstreams
//! plays no part. Live means: the traffic runtime's heart beats. Neither calls out. Nothing here shows a secret.

mod config;
mod metrics;

use std::{
    future::{self, Future},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use prometheus_client::registry::Registry;

use crate::{
    clock,
    config::store::{Link, Store},
    server::{Drain, Handle},
};

const TEXT: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const JSON: &str = "application/json";

/// Between two beats.
pub const BEAT: Duration = Duration::from_secs(1);

/// Without a beat for so long, the traffic runtime is stuck.
const STUCK_MS: i64 = 30_000;

/// When the traffic runtime last ran a task. Clones share it.
#[derive(Clone, Debug)]
pub struct Heart(Arc<AtomicI64>);

/// Answers the admin listener.
#[derive(Clone)]
pub struct Admin(Arc<Parts>);

struct Parts {
    registry: Registry,
    store: Arc<Store>,
    series: metrics::Series,
    drain: Drain,
    heart: Heart,
}

impl Default for Heart {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(clock::now().unix_ms)))
    }
}

impl Heart {
    /// Beats for as long as it is polled. Belongs on the traffic runtime.
    pub async fn beat(self) {
        loop {
            self.0.store(clock::now().unix_ms, Ordering::Relaxed);
            tokio::time::sleep(BEAT).await;
        }
    }

    fn beats(&self) -> bool {
        clock::now().unix_ms.saturating_sub(self.0.load(Ordering::Relaxed)) < STUCK_MS
    }
}

impl Admin {
    /// Shows these series and this store.
    pub fn new(mut registry: Registry, store: Arc<Store>, drain: Drain, heart: Heart) -> Self {
        let series = metrics::Series::new(&mut registry);
        Self(Arc::new(Parts { registry, store, series, drain, heart }))
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/livez" => check(&[("traffic-runtime", self.0.heart.beats(), None)]),
            "/readyz" => self.ready(),
            "/metrics" => self.metrics(),
            "/config" => {
                let dump = config::dump(&self.0.store);
                respond(StatusCode::OK, JSON, dump.to_string())
            }
            _ => text(StatusCode::NOT_FOUND, "try /metrics, /livez, /readyz or /config\n"),
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let why = match self.0.store.link() {
            Link::Down { reason: Some(reason), .. } => Some(reason),
            Link::Down { reason: None, .. } => Some("the operator is being connected to".to_owned()),
            Link::Up { .. } => Some("connected to the operator, which has sent none yet".to_owned()),
            Link::Local => None,
        };
        let configured = self.0.store.is_configured();
        check(&[("configuration", configured, why), ("not-draining", !self.0.drain.is_draining(), None)])
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        self.0.series.refresh(&self.0.store);
        let mut page = String::new();
        match prometheus_client::encoding::text::encode(&mut page, &self.0.registry) {
            Ok(()) => respond(StatusCode::OK, OPEN_METRICS, page),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
        }
    }
}

impl Handle for Admin {
    type Body = Full<Bytes>;

    fn handle(&self, _: SocketAddr, request: Request<Incoming>) -> impl Future<Output = Response<Self::Body>> + Send {
        future::ready(self.answer(request.method(), request.uri().path()))
    }
}

/// Each check on a line, as Kubernetes components write theirs with `?verbose`, and why it does not hold.
fn check(checks: &[(&str, bool, Option<String>)]) -> Response<Full<Bytes>> {
    let lines = checks.iter().map(|(name, holds, why)| match why {
        Some(why) if !holds => format!("[-]{name}: {why}\n"),
        _ => format!("[{}]{name}\n", if *holds { '+' } else { '-' }),
    });
    let status =
        if checks.iter().all(|(_, holds, _)| *holds) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    text(status, &lines.collect::<String>())
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    respond(status, TEXT, body.to_owned())
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
