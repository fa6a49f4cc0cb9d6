//! Where an attack takes place: a gateway process, the upstream behind it, and the manifests it was started with.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use routeapi_tests::{
    client::Client,
    process::{Child, Program},
    upstream::{Script, Upstream},
    wait,
};

use crate::confine::Confinement;

/// Longer than anything that is waited for may take.
pub const SOON: Duration = Duration::from_secs(60);

pub const ATTACKER: &str = "attackers-own-token-0001";
pub const CAPPED: &str = "attackers-capped-token-0001";
pub const INNOCENT: &str = "innocents-own-token-0001";

/// The cap of [`CAPPED`]: tokens per hour.
pub const CAP: u64 = 10_000;

/// What differs between attacks.
#[derive(Default)]
pub struct Setup {
    /// Manifests beside the usual ones.
    pub more: String,
    /// More arguments of `routeapi run`.
    pub args: Vec<&'static str>,
    /// Standard error is a pipe that nobody reads.
    pub full_pipe: bool,
}

/// A running gateway and what is around it.
pub struct Ground {
    pub gateway: SocketAddr,
    pub admin: SocketAddr,
    pub upstream: Upstream,
    /// The manifest file.
    pub manifest: PathBuf,
    pub process: Child,
    _pipe: Option<fs::File>,
    _files: tempfile::TempDir,
    // Last: the group can be taken away only when the process is gone.
    _confinement: Confinement,
}

impl Ground {
    /// Starts a gateway under a memory limit.
    pub async fn start(binary: &Path, memory: u64, setup: &Setup) -> Result<Self> {
        let upstream = Upstream::start(Script::new().text("calm and steady").tolerate_unknown()).await;
        let files = tempfile::tempdir()?;
        let manifest = files.path().join("manifests.yaml");
        fs::write(&manifest, manifests(&upstream, &setup.more))?;
        let confinement = Confinement::new(memory);
        let log = files.path().join("log");
        let (mut shell, mut pipe) = (confinement.shell(), None);
        if setup.full_pipe {
            let fifo = files.path().join("fifo");
            anyhow::ensure!(std::process::Command::new("mkfifo").arg(&fifo).status()?.success(), "mkfifo");
            // Open on both ends here, so that the other side neither waits nor sees an end.
            pipe = Some(fs::File::options().read(true).write(true).open(&fifo)?);
            shell = format!("exec 2>{}; {shell}", fifo.display());
        }
        let binary = fs::canonicalize(binary).with_context(|| format!("{}", binary.display()))?;
        let program = Program::new("/bin/sh", &log)
            .args([
                "-c".as_ref(),
                shell.as_ref(),
                binary.as_os_str(),
                "run".as_ref(),
                "-f".as_ref(),
                manifest.as_os_str(),
            ])
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--access-log"])
            .args(&setup.args)
            .env("ROUTEAPI_LOG", "warn")
            .env("ROUTEAPI_LEDGER", "off");
        let process = Child::start(&program)?;
        let addresses = || std::future::ready(addresses(&process.log()));
        let ((gateway, admin), _) = wait::until("the gateway listens", SOON, addresses).await;
        Ok(Self { gateway, admin, upstream, manifest, process, _pipe: pipe, _files: files, _confinement: confinement })
    }

    /// The attacker, on connections kept as an SDK keeps them.
    pub fn attacker(&self) -> Client {
        Client::new(self.gateway, ATTACKER)
    }

    /// What is in the manifest file at first.
    pub fn manifests(&self) -> String {
        manifests(&self.upstream, "")
    }

    /// A series' value, all label sets added.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let page = self.metrics().await?;
        let of_it = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let values = page.lines().filter(of_it).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(values.sum())
    }

    /// The whole page of metrics.
    pub async fn metrics(&self) -> Result<String> {
        let request = "GET /metrics HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n";
        crate::wire::exchange(self.admin, request.as_bytes()).await
    }

    /// Records of the access log, each a JSON object.
    pub fn records(&self) -> Vec<serde_json::Value> {
        let log = self.process.log();
        let lines = log.lines().filter(|line| line.starts_with("{\"id\""));
        lines.filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Memory that is resident now.
    pub fn resident_kib(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most memory that was resident.
    pub fn peak_kib(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// CPU time so far, all threads, also those that have ended.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        // Ticks are of 10 ms on every Linux that Rust runs on.
        Duration::from_millis((ticks(11) + ticks(12)) * 10)
    }

    /// How the process ended, if it did.
    pub fn death(&self) -> Option<String> {
        let status = self.process.exited().ok()??;
        Some(format!("the gateway ended: {status}; {}", self.process.log_tail(3)))
    }

    fn status(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}

fn addresses(log: &str) -> Option<(SocketAddr, SocketAddr)> {
    let of = |prefix: &str| log.lines().find_map(|line| line.strip_prefix(prefix)?.trim().parse().ok());
    Some((of("listening on http://")?, of("admin on http://")?))
}

/// Providers that both tenants use, routes of both, and their tokens.
fn manifests(upstream: &Upstream, more: &str) -> String {
    let mut text = String::new();
    let (url, openai) = (upstream.url(), upstream.openai_url());
    for (name, kind, base, room) in [
        ("openai", "OpenAI", &openai, 100_000),
        ("anthropic", "Anthropic", &url, 100_000),
        ("gemini", "Gemini", &url, 100_000),
        ("narrow", "OpenAI", &openai, 4),
    ] {
        let spec = format!("{{type: {kind}, baseURL: \"{base}\", maxConcurrentRequests: {room}}}");
        object(&mut text, "AIProvider", name, &spec);
    }
    object(&mut text, "AIProvider", "echo", "{type: Echo}");
    for (name, model, provider) in [
        ("calm-chat", "calm-chat", "openai"),
        ("calm-claude", "calm-claude", "anthropic"),
        ("calm-gemini", "calm-gemini", "gemini"),
        ("chat", "chat-*", "openai"),
        ("claude", "claude-*", "anthropic"),
        ("gem", "gem-*", "gemini"),
        ("narrow", "narrow-*", "narrow"),
    ] {
        route(&mut text, name, model, provider);
    }
    token(&mut text, "attacker", ATTACKER, "");
    token(&mut text, "capped", CAPPED, &format!(", limits: [{{name: cap, per: Hour, tokens: {CAP}}}]"));
    token(&mut text, "innocent", INNOCENT, "");
    text + more
}

/// Adds an object to manifests.
pub fn object(text: &mut String, kind: &str, name: &str, spec: &str) {
    let head = "apiVersion: routeapi.dev/v1alpha1";
    writeln!(text, "---\n{head}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}").expect("a string");
}

/// Adds a route with one upstream.
pub fn route(text: &mut String, name: &str, model: &str, provider: &str) {
    let upstream = format!("{{name: up, providerRef: {{name: {provider}}}}}");
    object(text, "AIRoute", name, &format!("{{model: \"{model}\", upstreams: [{upstream}]}}"));
}

/// Adds a token with its value.
pub fn token(text: &mut String, name: &str, value: &str, more: &str) {
    object(text, "ApiToken", name, &format!("{{models: [\"*\"], secretName: {name}{more}}}"));
    let head = "apiVersion: v1\nkind: Secret";
    writeln!(text, "---\n{head}\nmetadata: {{name: {name}}}\nstringData: {{token: {value}}}").expect("a string");
}
