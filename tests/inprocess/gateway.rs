//! The gateway as `routeapi run` starts it, from manifests that are put together here.
//!
//! What it tells about requests is read from its access log, which is an interface of its own.

use std::{net::SocketAddr, time::Duration};

use routeapi_dataplane::{
    app::Running,
    request::RequestSettings,
    server::Limits,
    upstream::{ConnectionLifetimes, Egress},
};
use routeapi_tests::{
    gateway::{self, Setup},
    upstream::Upstream,
    wait,
};
use serde_json::Value;

use crate::request::Ask;

/// Longest wait for anything that should happen at once.
pub const SOON: Duration = Duration::from_secs(10);

/// The token of [`Manifests::token`].
pub const TOKEN: &str = "sk-test-token-0001";

/// Manifests as text.
#[derive(Clone, Default)]
pub struct Manifests(String);

/// A running gateway.
pub struct Gateway(gateway::Gateway);

impl Manifests {
    pub fn new() -> Self {
        Self::default()
    }

    /// Any object.
    pub fn with(mut self, yaml: &str) -> Self {
        self.0.push_str("---\n");
        self.0.push_str(yaml);
        self.0.push('\n');
        self
    }

    /// A provider; its address as its type writes it.
    pub fn provider(self, name: &str, kind: &str, upstream: &Upstream) -> Self {
        self.provider_with(name, kind, upstream, "")
    }

    /// A Secret.
    pub fn secret(self, name: &str, values: &[(&str, &str)]) -> Self {
        let values: Vec<String> = values.iter().map(|(key, value)| format!("{key}: {value:?}")).collect();
        self.with(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: apps}}\nstringData: {{{}}}",
            values.join(", ")
        ))
    }

    /// A provider with more in its spec.
    pub fn provider_with(self, name: &str, kind: &str, upstream: &Upstream, more: &str) -> Self {
        let url = if kind == "OpenAI" { upstream.openai_url() } else { upstream.url() };
        self.with(&format!(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIProvider\nmetadata: {{name: {name}, namespace: apps}}\n\
             spec: {{type: {kind}, baseURL: \"{url}\"{}{more}}}",
            if more.is_empty() { "" } else { ", " }
        ))
    }

    /// A route of that model over these providers, in that order of priority.
    pub fn route(self, model: &str, providers: &[&str]) -> Self {
        self.route_with(model, providers, "")
    }

    /// A route with more in its spec.
    pub fn route_with(self, model: &str, providers: &[&str], more: &str) -> Self {
        let upstreams: Vec<String> = providers
            .iter()
            .enumerate()
            .map(|(priority, name)| {
                format!("{{name: {name}, providerRef: {{name: {name}}}, model: {name}-model, priority: {priority}}}")
            })
            .collect();
        self.with(&format!(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {{name: {model}, namespace: apps}}\n\
             spec: {{model: \"{model}\", upstreams: [{}]{}{more}}}",
            upstreams.join(", "),
            if more.is_empty() { "" } else { ", " }
        ))
    }

    /// The token [`TOKEN`] for every model.
    pub fn token(self) -> Self {
        self.token_with("main", TOKEN, "models: [\"*\"]")
    }

    /// A token of that value; `spec` says what it may.
    pub fn token_with(self, name: &str, value: &str, spec: &str) -> Self {
        self.with(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}-token, namespace: apps, labels: {{routeapi.dev/import: \"true\"}}}}\n\
             stringData: {{token: {value}}}"
        ))
        .with(&format!(
            "apiVersion: routeapi.dev/v1alpha1\nkind: ApiToken\nmetadata: {{name: {name}, namespace: apps}}\n\
             spec: {{secretName: {name}-token, {spec}}}"
        ))
    }
}

impl Gateway {
    /// Starts it with patience as in production.
    pub fn start(manifests: &Manifests) -> Self {
        Self::start_with(manifests, RequestSettings::default())
    }

    /// Starts it with other bounds.
    pub fn start_with(manifests: &Manifests, requests: RequestSettings) -> Self {
        Self(gateway::Gateway::local_with(&manifests.0, requests))
    }

    /// Starts it with other bounds on connections.
    pub fn start_within(manifests: &Manifests, limits: Limits) -> Self {
        Self::start_as(manifests, Setup { limits, ..Setup::default() })
    }

    /// Starts it with other settings of the process.
    pub fn start_as(manifests: &Manifests, setup: Setup) -> Self {
        Self(gateway::Gateway::local_as(&manifests.0, setup))
    }

    /// Starts it with other bounds on connections to upstreams.
    pub fn start_keeping(manifests: &Manifests, upstreams: ConnectionLifetimes) -> Self {
        Self(gateway::Gateway::local_as(&manifests.0, Setup { upstreams, ..Setup::default() }))
    }

    /// Starts it with ways out of the network as these variables say.
    pub fn start_through(manifests: &Manifests, environment: &[(&str, &str)]) -> Self {
        let read =
            |name: &str| environment.iter().find(|(held, _)| *held == name).map(|(_, value)| (*value).to_owned());
        let egress = Egress::read(read).unwrap();
        Self(gateway::Gateway::local_as(&manifests.0, Setup { egress, ..Setup::default() }))
    }

    /// Everything that people can see of it: its configuration and its access log.
    pub async fn shown(&self) -> String {
        format!("{} {:?}", self.0.config().await, self.0.records())
    }

    /// Ends it as SIGTERM does, and waits until it is gone.
    pub async fn stop(self) {
        self.0.stop().await;
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    pub fn admin(&self) -> SocketAddr {
        self.0.admin()
    }

    pub fn running(&self) -> &Running {
        self.0.running()
    }

    /// Puts other manifests in force, and waits until they are.
    pub async fn apply(&self, manifests: &Manifests) {
        self.0.apply(&manifests.0).await;
    }

    /// The records of finished requests, when there are this many.
    pub async fn records(&self, count: usize) -> Vec<Value> {
        let records = self.0.records_of(count).await;
        assert_eq!(records.len(), count, "exactly one record per request: {records:#?}");
        records
    }

    /// Waits until this many requests are under way.
    pub async fn under_way(&self, count: usize) {
        self.shows(&format!("routeapi_requests_in_flight {count}")).await;
    }

    /// Waits until a line stands on the page of metrics.
    pub async fn shows(&self, line: &str) {
        let line = format!("\n{line}\n");
        let look = || async { self.page().await.contains(&line).then_some(()) };
        wait::until("the metrics say so", SOON, look).await;
    }

    /// The page of metrics.
    pub async fn page(&self) -> String {
        Ask::get("/metrics").open_at(self.admin()).await.read().await.text().to_owned()
    }

    /// The record of the only request.
    pub async fn record(&self) -> Value {
        self.records(1).await.remove(0)
    }
}
