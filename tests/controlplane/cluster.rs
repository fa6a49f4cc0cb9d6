//! A namespace, and an operator that watches it.

use std::time::Duration;

use clap::Parser;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{Api, Client, Resource, api::PostParams};
use routeapi_crds::v1alpha1::{AIProvider, AIRoute, ApiToken};
use routeapi_operator::{
    app::{self, Operator},
    settings::Settings,
};
use routeapi_tests::{apiserver::ApiServer, wait};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::OnceCell};

use crate::{
    dataplane::{DataPlane, Manner},
    policy,
    rights::{self, Forbidden},
};

/// How long anything may take on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The account that data planes run as.
pub const GATEWAY: &str = "gateway";

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    settings: Settings,
}

/// One test's namespace.
pub struct Cluster {
    pub server: &'static ApiServer,
    pub client: Client,
    pub namespace: String,
    outage: bool,
}

/// An operator on a runtime of its own, so that it can be killed with everything that it does.
pub struct Running {
    pub operator: Option<Operator>,
    forbidden: Forbidden,
    /// Where the API server forbids what was granted: for a moment, because it starts again, or for another reason that
    /// the test brought about.
    outage: bool,
    runtime: Option<Runtime>,
}

impl Cluster {
    pub async fn new(prefix: &str) -> Self {
        static CRDS: OnceCell<Vec<String>> = OnceCell::const_new();
        let server = ApiServer::shared().await;
        CRDS.get_or_init(|| async { server.apply_crds().await.unwrap() }).await;
        Self::on(server, prefix, false).await
    }

    /// On an API server of the test's own, which it may kill.
    pub async fn alone(prefix: &str) -> Self {
        let server: &'static ApiServer = Box::leak(Box::new(ApiServer::start().await.unwrap()));
        server.apply_crds().await.unwrap();
        Self::on(server, prefix, true).await
    }

    async fn on(server: &'static ApiServer, prefix: &str, outage: bool) -> Self {
        let namespace = server.namespace(prefix).await.unwrap();
        let cluster = Self { server, client: server.client().await.unwrap(), namespace, outage };
        rights::grant(&cluster, rights::ALL).await;
        policy::install(&cluster).await;
        cluster
    }

    pub fn settings(&self, extra: &[&str]) -> Settings {
        let namespace = &self.namespace;
        let flags = [
            "test".to_owned(),
            "--listen=127.0.0.1:0".to_owned(),
            "--admin=127.0.0.1:0".to_owned(),
            format!("--namespace={namespace}"),
            format!("--watch-namespaces={namespace}"),
            format!("--data-plane-service-account={namespace}/{GATEWAY}"),
            format!("--operator-service-account={namespace}/{}", rights::OPERATOR),
            "--gateway-url=http://gateway.test".to_owned(),
            "--ca-propagation=1s".to_owned(),
        ];
        Flags::parse_from(flags.into_iter().chain(extra.iter().map(|flag| (*flag).to_owned()))).settings
    }

    /// Starts an operator with the rights that were granted, and waits until it is ready.
    pub async fn operator(&self, extra: &[&str]) -> Running {
        let running = self.start(extra).await;
        running.ready().await;
        running
    }

    /// Starts an operator.
    pub async fn start(&self, extra: &[&str]) -> Running {
        let settings = self.settings(extra);
        let token = self.server.service_account_token(&self.namespace, rights::OPERATOR, None).await.unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (server, name) = (self.server, format!("{}-{}", self.namespace, self.server.unique()));
        let forbidden = Forbidden::default();
        let noting = forbidden.clone();
        let starting = runtime.spawn(async move {
            let client = noting.note(server.client_for(&name, &token).await.unwrap());
            app::start(settings, client).await.unwrap()
        });
        let operator = Some(starting.await.unwrap());
        Running { operator, forbidden, outage: self.outage, runtime: Some(runtime) }
    }

    pub async fn data_plane(&self, running: &Running, manner: Manner) -> DataPlane {
        let pod = self.server.pod(&self.namespace, GATEWAY).await.unwrap();
        DataPlane::connect(self, running.config(), pod, manner).await
    }

    pub async fn ca(&self) -> String {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let read = || async { api.get_opt("routeapi-config-ca").await.ok()??.data?.remove("ca.crt") };
        wait::until("the CA bundle is published", LIMIT, read).await.0
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub async fn create<K>(&self, kind: &str, name: &str, spec: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Serialize
            + std::fmt::Debug,
    {
        let api_version = if kind == "Secret" { "v1" } else { "routeapi.dev/v1alpha1" };
        let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
        for (field, value) in spec.as_object().unwrap() {
            object[field] = value.clone();
        }
        self.api().create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
    }

    pub async fn echo_provider(&self, name: &str) {
        self.create::<AIProvider>("AIProvider", name, json!({"spec": {"type": "Echo"}})).await;
    }

    pub async fn route(&self, name: &str, model: &str, provider: &str) {
        let upstreams = json!([{"name": "first", "providerRef": {"name": provider}}]);
        self.create::<AIRoute>("AIRoute", name, json!({"spec": {"model": model, "upstreams": upstreams}})).await;
    }

    pub async fn token(&self, name: &str, spec: Value) {
        let mut whole = json!({"models": ["*"]});
        for (field, value) in spec.as_object().unwrap() {
            whole[field] = value.clone();
        }
        self.create::<ApiToken>("ApiToken", name, json!({"spec": whole})).await;
    }

    pub async fn secret(&self, name: &str) -> Option<Secret> {
        self.api::<Secret>().get_opt(name).await.unwrap()
    }

    /// The value under a key of a Secret, once there is one.
    pub async fn secret_value(&self, name: &str, key: &str) -> String {
        let read = || async { Some(text(&self.secret(name).await?, key)) };
        wait::until(&format!("Secret {name}"), LIMIT, read).await.0
    }

    pub async fn conditions(&self, kind: &str, name: &str) -> Vec<Condition> {
        let conditions = match kind {
            "AIRoute" => self.api::<AIRoute>().get(name).await.unwrap().status.map(|status| status.conditions),
            "AIProvider" => self.api::<AIProvider>().get(name).await.unwrap().status.map(|status| status.conditions),
            _ => self.api::<ApiToken>().get(name).await.unwrap().status.map(|status| status.conditions),
        };
        conditions.unwrap_or_default()
    }

    /// Waits until a condition has this status and reason; its message and how long that took.
    pub async fn condition(&self, kind: &str, name: &str, type_: &str, says: (&str, &str)) -> (String, Duration) {
        let what = format!("{kind} {name}: {type_}={}/{}", says.0, says.1);
        let read = || async {
            let conditions = self.conditions(kind, name).await;
            let found = conditions.into_iter().find(|condition| condition.type_ == type_)?;
            (found.status == says.0 && found.reason == says.1).then_some(found.message)
        };
        wait::until(&what, LIMIT, read).await
    }
}

impl Running {
    pub fn config(&self) -> std::net::SocketAddr {
        self.operator.as_ref().unwrap().config
    }

    pub async fn admin(&self, path: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(self.operator.as_ref().unwrap().admin).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    pub async fn ready(&self) {
        let look = || async { self.admin("/readyz").await.contains(" 200 ").then_some(()) };
        wait::until("the operator is ready", LIMIT, look).await;
    }

    pub async fn leads(&self) -> Duration {
        let mut leader = self.operator.as_ref().unwrap().leader();
        let started = std::time::Instant::now();
        tokio::time::timeout(LIMIT, leader.wait_for(|leads| *leads)).await.expect("it becomes leader").unwrap();
        started.elapsed()
    }

    /// It will be forbidden what its role allows, by a quota for instance.
    pub fn expects_refusals(mut self) -> Self {
        self.outage = true;
        self
    }

    /// Ends it as a crash does.
    pub fn kill(self) {}

    /// The same of one that lacks a right, once it has needed that; the call that it was forbidden, by method and path.
    pub async fn kill_forbidden(mut self) -> String {
        let forbidden = std::mem::take(&mut self.forbidden);
        let look = || std::future::ready(forbidden.calls().pop());
        let (call, _) = wait::until("a call to be forbidden", LIMIT, look).await;
        assert!(forbidden.calls().iter().all(|made| *made == call), "{:?}", forbidden.calls());
        call
    }

    /// Ends it as SIGTERM does.
    pub async fn stop(mut self) {
        let operator = self.operator.take().unwrap();
        self.runtime.as_ref().unwrap().spawn(operator.stop()).await.unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        let forbidden = self.forbidden.calls();
        assert!(std::thread::panicking() || self.outage || forbidden.is_empty(), "no right for {forbidden:?}");
    }
}

pub fn text(secret: &Secret, key: &str) -> String {
    let bytes = secret.data.as_ref().and_then(|data| data.get(key)).unwrap_or_else(|| panic!("no key {key}"));
    String::from_utf8(bytes.0.clone()).unwrap()
}
