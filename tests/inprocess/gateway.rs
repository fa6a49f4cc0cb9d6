//! The gateway as `routeapi run` starts it, on free ports, from manifests in a temporary directory.
//!
//! What it tells about requests is read from its access log, which is an interface of its own.

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use routeapi_dataplane::{
    app::{App, Ending, Files, Running, Settings, Source},
    config::local::{Loader, values::Values},
    request::RequestSettings,
    server::Limits,
};
use routeapi_tests::{upstream::Upstream, wait};
use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for anything that should happen at once.
pub const SOON: Duration = Duration::from_secs(10);

/// The token of [`Manifests::token`].
pub const TOKEN: &str = "sk-test-token";

/// Manifests as text.
#[derive(Clone, Default)]
pub struct Manifests(String);

/// A running gateway.
pub struct Gateway {
    running: Running,
    directory: TempDir,
    lines: Lines,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

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
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("all.yaml"), &manifests.0).unwrap();
        let mut loader = Loader::new(vec![directory.path().to_owned()], Values::random()).unwrap();
        let loaded = loader.load(&|_| None);
        assert!(loaded.problems.is_empty(), "{:?}\n{}", loaded.problems, manifests.0);
        let lines = Lines::default();
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let running = App::start(Settings {
            listen: any,
            listen_tls: None,
            admin: any,
            source: Source::Files(Box::new(Files { loader, loaded, on_reload: Box::new(|_| {}) })),
            limits: Limits::default(),
            requests,
            ending: Ending { delay: Duration::ZERO, timeout: Duration::ZERO, on_signals: false },
            workers: Some(2),
            access_log: Some(Box::new(lines.clone())),
        })
        .unwrap();
        Self { running, directory, lines }
    }

    pub fn address(&self) -> SocketAddr {
        self.running.gateway
    }

    pub fn admin(&self) -> SocketAddr {
        self.running.admin
    }

    pub fn running(&self) -> &Running {
        &self.running
    }

    /// Puts other manifests in force, and waits until they are.
    pub async fn apply(&self, manifests: &Manifests) {
        let revision = || self.running.store.current().revision.clone();
        let before = revision();
        // As an editor does it: the new file takes the old one's place in one step.
        let draft = self.directory.path().join("draft");
        std::fs::write(&draft, &manifests.0).unwrap();
        std::fs::rename(draft, self.directory.path().join("all.yaml")).unwrap();
        wait::until_true("the changed manifests are in force", SOON, || revision() != before).await;
    }

    /// The records of finished requests, when there are this many.
    pub async fn records(&self, count: usize) -> Vec<Value> {
        wait::until_true("requests are recorded", SOON, || self.lines.read().len() >= count).await;
        let records = self.lines.read();
        assert_eq!(records.len(), count, "exactly one record per request: {records:#?}");
        records
    }

    /// The record of the only request.
    pub async fn record(&self) -> Value {
        self.records(1).await.remove(0)
    }
}

impl Lines {
    fn read(&self) -> Vec<Value> {
        let bytes = self.0.lock().unwrap();
        bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
