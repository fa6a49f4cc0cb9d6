//! What operators of the gateway may ask: `/metrics`, `/livez`, `/readyz` and `/config`, on a listener and runtime of
//! their own, so that they are answered when the traffic side is busy.
//!
//! Ready means: a valid configuration is held, the listeners are bound, and the end has not begun; the health of upstreams
//! plays no part. Live means: the traffic runtime runs its tasks. Neither calls out. Nothing here shows a secret.

mod config;
mod metrics;
pub(crate) mod page;
mod upstreams;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use prometheus_client::registry::Registry;
use tokio::task::spawn_blocking;

use self::page::{OPEN_METRICS, check, respond, text};
use crate::{
    clock,
    config::store::{Link, Store},
    server::{Drain, Handle},
};

const JSON: &str = "application/json";

/// How often the traffic runtime reports.
pub const WATCHDOG_INTERVAL: Duration = Duration::from_secs(1);

/// Without a report for so long, the traffic runtime is stuck.
const WATCHDOG_TIMEOUT_MS: i64 = 30_000;

/// When the traffic runtime last ran a task. Clones share it.
#[derive(Clone, Debug)]
pub struct Watchdog(Arc<AtomicI64>);

/// Answers the admin listener.
#[derive(Clone)]
pub struct Admin(Arc<AdminState>);

struct AdminState {
    registry: Registry,
    store: Arc<Store>,
    series: metrics::Series,
    drain: Drain,
    watchdog: Watchdog,
    metrics: CachedPage,
    config: CachedPage,
}

/// The page that was made last, and when that began.
type CachedPage = tokio::sync::Mutex<Option<(Instant, Bytes)>>;

impl Default for Watchdog {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(clock::now().unix_ms)))
    }
}

impl Watchdog {
    /// Reports for as long as it is polled. Belongs on the traffic runtime.
    pub async fn run(self) {
        loop {
            self.0.store(clock::now().unix_ms, Ordering::Relaxed);
            tokio::time::sleep(WATCHDOG_INTERVAL).await;
        }
    }

    fn is_alive(&self) -> bool {
        clock::now().unix_ms.saturating_sub(self.0.load(Ordering::Relaxed)) < WATCHDOG_TIMEOUT_MS
    }
}

impl Admin {
    /// Shows these series and this store.
    pub fn new(mut registry: Registry, store: Arc<Store>, drain: Drain, watchdog: Watchdog) -> Self {
        let series = metrics::Series::new(&mut registry);
        registry.register_collector(Box::new(upstreams::UpstreamSeries(Arc::clone(&store))));
        Self(Arc::new(AdminState {
            registry,
            store,
            series,
            drain,
            watchdog,
            metrics: CachedPage::default(),
            config: CachedPage::default(),
        }))
    }

    /// The two pages that grow with the configuration are made on a thread of their own, so that probes are answered
    /// meanwhile.
    async fn handle_request(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        match (method, path) {
            (&Method::GET | &Method::HEAD, "/metrics") => {
                self.page(&self.0.metrics, AdminState::metrics, OPEN_METRICS).await
            }
            (&Method::GET | &Method::HEAD, "/config") => self.page(&self.0.config, AdminState::config, JSON).await,
            _ => self.answer(method, path),
        }
    }

    /// Makes a page. Whoever asks while one is being made waits for the next and shares it, so that any number of
    /// scrapes costs two.
    async fn page(
        &self,
        cached: &CachedPage,
        make: fn(&AdminState) -> Result<String, String>,
        type_: &'static str,
    ) -> Response<Full<Bytes>> {
        let asked = Instant::now();
        let mut cached = cached.lock().await;
        if let Some((began, page)) = &*cached
            && *began >= asked
        {
            return respond(StatusCode::OK, type_, page.clone());
        }
        let (began, parts) = (Instant::now(), Arc::clone(&self.0));
        let page = match spawn_blocking(move || make(&parts)).await {
            Ok(Ok(page)) => Bytes::from(page),
            Ok(Err(error)) => return text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
            Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
        };
        *cached = Some((began, page.clone()));
        respond(StatusCode::OK, type_, page)
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if let Some(refused) = page::refuse_writing(method) {
            return refused;
        }
        match path {
            "/livez" => check(&[("traffic-runtime", self.0.watchdog.is_alive(), None)]),
            "/readyz" => self.ready(),
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
}

impl AdminState {
    fn metrics(&self) -> Result<String, String> {
        self.series.refresh(&self.store);
        page::encode(&self.registry)
    }

    #[expect(clippy::unnecessary_wraps, reason = "pages are made by functions of one type")]
    fn config(&self) -> Result<String, String> {
        Ok(config::dump(&self.store).to_string())
    }
}

impl Handle for Admin {
    type Body = Full<Bytes>;

    async fn handle(&self, _: SocketAddr, request: Request<Incoming>) -> Response<Self::Body> {
        self.handle_request(request.method(), request.uri().path()).await
    }
}
