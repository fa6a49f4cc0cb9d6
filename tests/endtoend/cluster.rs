//! One API server with one release of the chart in it, its operator and three gateways, for all tests that do not break
//! them. Who measures does it alone.

use routeapi_tests::apiserver::ApiServer;
use routeapi_tests::client::Client;
use routeapi_tests::operator::{Operator, PodGateway, Release};
use routeapi_tests::upstream::{Script, Upstream};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::task::JoinSet;

/// Gateways of the shared release.
pub const GATEWAYS: usize = 3;

/// The shared release.
pub struct Cluster {
    pub release: Release,
    _operator: Operator,
    pub gateways: Vec<PodGateway>,
    turn: RwLock<()>,
}

impl Cluster {
    /// The one that all tests share, with the chart's default values; started by the first who asks.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Cluster> = OnceCell::const_new();
        SHARED
            .get_or_init(|| async {
                let release = Release::install(ApiServer::shared().await, &[]).await.unwrap();
                let operator = release.operator(None).await.unwrap();
                let mut gateways = Vec::new();
                for _ in 0..GATEWAYS {
                    gateways.push(release.gateway(&operator).await.unwrap());
                }
                for pod in &gateways {
                    pod.gateway.ready().await;
                }
                Self { release, _operator: operator, gateways, turn: RwLock::default() }
            })
            .await
    }

    /// Beside others.
    pub async fn together(&self) -> RwLockReadGuard<'_, ()> {
        self.turn.read().await
    }

    /// While nobody else changes anything.
    pub async fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.turn.write().await
    }

    /// A namespace of its own for an app.
    pub async fn namespace(&self, prefix: &str) -> String {
        self.release.api().namespace(prefix).await.unwrap()
    }

    /// A client of each gateway.
    pub fn clients(&self, token: &str) -> Vec<Client> {
        self.gateways.iter().map(|pod| Client::new(pod.gateway.address(), token)).collect()
    }
}

/// An upstream behind TLS, as a vendor's is.
pub async fn upstream(script: Script) -> Upstream {
    Upstream::builder().script(script).tls().start().await.unwrap()
}

/// An AIProvider for it in a namespace of provider Secrets, open to routes of every namespace, with its key and its CA.
pub async fn provide_in(release: &Release, namespace: &str, name: &str, upstream: &Upstream) {
    let manifests = [
        key(name, "first"),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"ca.crt": upstream.ca_pem()}}),
        provider(name, upstream),
    ];
    release.apply(namespace, &list(&manifests)).await.unwrap();
}

/// The AIProvider alone.
pub fn provider(name: &str, upstream: &Upstream) -> Value {
    json!({"apiVersion": "routeapi.dev/v1alpha1", "kind": "AIProvider", "metadata": {"name": name}, "spec": {
        "type": "OpenAI",
        "baseURL": format!("https://{}/v1", upstream.address()),
        "tls": {"caCertificateRef": {"kind": "ConfigMap", "name": name}, "serverName": "localhost"},
        "credentials": {"apiKey": {"secretRef": {"name": name}}},
        "allowedRoutes": {"namespaces": {"from": "All"}},
    }})
}

/// The same in the release's own namespace, where the chart's defaults look for Secrets.
pub async fn provide(release: &Release, name: &str, upstream: &Upstream) {
    provide_in(release, &release.namespace, name, upstream).await;
}

/// The Secret with an upstream's key.
pub fn key(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"apiKey": value}})
}

/// An AIRoute whose model has its name.
pub fn route(release: &Release, name: &str, provider: &str, model: &str) -> Value {
    route_to(&release.namespace, name, provider, model)
}

/// An AIRoute to an AIProvider of that namespace.
pub fn route_to(namespace: &str, name: &str, provider: &str, model: &str) -> Value {
    json!({"apiVersion": "routeapi.dev/v1alpha1", "kind": "AIRoute", "metadata": {"name": name}, "spec": {
        "model": name,
        "upstreams": [{"name": "only", "model": model, "providerRef": {"name": provider, "namespace": namespace}}],
    }})
}

/// An ApiToken for every model.
pub fn token(name: &str) -> Value {
    json!({"apiVersion": "routeapi.dev/v1alpha1", "kind": "ApiToken", "metadata": {"name": name}, "spec": {"models": ["*"]}})
}

/// Objects as kubectl takes them.
pub fn list(objects: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}

/// Requests that continue until stopped.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    token: Arc<Mutex<String>>,
    workers: JoinSet<()>,
}

impl Traffic {
    /// Two workers per client, each asking for `model` again and again.
    pub fn start(clients: &[Client], model: &str, token: &str) -> Self {
        let mut traffic = Self {
            stop: Arc::default(),
            answered: Arc::default(),
            failures: Arc::default(),
            token: Arc::new(Mutex::new(token.to_owned())),
            workers: JoinSet::new(),
        };
        for client in clients.iter().chain(clients) {
            let (client, model) = (client.clone(), model.to_owned());
            let (stop, answered) = (Arc::clone(&traffic.stop), Arc::clone(&traffic.answered));
            let (failures, token) = (Arc::clone(&traffic.failures), Arc::clone(&traffic.token));
            traffic.workers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let token = token.lock().unwrap().clone();
                    let answer = client.with_token(&token).chat(&model).await;
                    if answer.status != 200 || answer.broken.is_some() {
                        failures.lock().unwrap().push(format!(
                            "{} {:?} {}",
                            answer.status,
                            answer.broken,
                            answer.text()
                        ));
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        traffic
    }

    /// Requests that have been answered.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits for so many more answers.
    pub async fn more(&self, count: usize) {
        let wanted = self.answered() + count;
        let limit = std::time::Duration::from_secs(30);
        routeapi_tests::wait::until_true("traffic goes on", limit, || self.answered() >= wanted).await;
    }

    /// From the next request on, with this token.
    pub fn use_token(&self, token: &str) {
        token.clone_into(&mut self.token.lock().unwrap());
    }

    /// Stops; how many were answered, and what went wrong.
    pub async fn end(mut self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.workers.join_next().await {
            ended.unwrap();
        }
        (self.answered(), std::mem::take(&mut self.failures.lock().unwrap()))
    }
}

/// Median, 99th percentile and maximum in milliseconds.
pub fn spread(mut times: Vec<std::time::Duration>) -> String {
    times.sort();
    let at = |share: f64| {
        let index = ((times.len() - 1) as f64 * share).round() as usize;
        format!("{:.1} ms", times[index].as_secs_f64() * 1e3)
    };
    format!("median {}, p99 {}, max {} (n = {})", at(0.5), at(0.99), at(1.0), times.len())
}
