//! What a sidecar costs beside calling its gateway: memory at rest and under 100 streams, latency added, CPU per request.
//! The gateway is the real one, configured by a fake operator, with TLS and ServiceAccount tokens; its upstream is the mock.
//! Prints, and never judges.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use hdrhistogram::Histogram;
use routeapi_channel::{Catalog, frame::FromOperator};
use routeapi_compile::{Manifests, Options, compile};
use routeapi_crds::{value::AddressPolicy, yaml};
use routeapi_tests::{bytes, fake_operator::FakeOperator, token_issuer::TokenIssuer};
use tokio::runtime::Runtime;

use crate::{
    load::{self, Workload},
    process::Process,
};

/// How much to measure.
#[derive(clap::Args)]
pub struct Plan {
    /// The `routeapi` binary, built with `--release` for figures worth quoting.
    #[arg(long, default_value = "target/release/routeapi")]
    routeapi: PathBuf,
    /// Rounds; in each, the gateway is called directly and through the sidecar.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Whole requests per round and way.
    #[arg(long, default_value_t = 5_000)]
    requests: u64,
}

const LOAD_CPU: u32 = 0;
const SUBJECT_CPU: u32 = 1;
const CONNECTIONS: u64 = 8;
const STREAMS: u64 = 100;
const CHUNKS: u64 = 200;

/// A gateway, its sidecar, and what they need.
struct Setup {
    gateway: Process,
    sidecar: Process,
    token: String,
    _operator: FakeOperator,
    _mock: Process,
    _files: tempfile::TempDir,
}

/// Measures and prints.
pub fn run(plan: &Plan) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let setup = Setup::start(&plan.routeapi)?;
    // What the start needs is given back a moment later.
    std::thread::sleep(Duration::from_secs(2));
    let idle = setup.sidecar.resident_kib()?;
    let (mut direct, mut through) = (Histogram::new(3)?, Histogram::new(3)?);
    for (latency, subject) in [(&mut direct, &setup.gateway), (&mut through, &setup.sidecar)] {
        setup.load(&runtime, subject, 500, latency)?; // warm-up, thrown away
    }
    (direct, through) = (Histogram::new(3)?, Histogram::new(3)?);
    let before = setup.sidecar.cpu()?;
    for _ in 0..plan.rounds {
        setup.load(&runtime, &setup.gateway, plan.requests, &mut direct)?;
        setup.load(&runtime, &setup.sidecar, plan.requests, &mut through)?;
    }
    let cpu = setup.sidecar.cpu()?.saturating_sub(before);
    let requests = plan.requests * plan.rounds as u64;
    let per_request = cpu.as_micros() as f64 / requests as f64;
    let streaming = setup.streaming(&runtime)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "sidecar, {requests} requests of 1 KiB over {CONNECTIONS} connections:")?;
    writeln!(out, "  resident at rest           {:8.1} MiB", idle as f64 / 1024.0)?;
    writeln!(out, "  resident, {STREAMS} streams at most {:6.1} MiB", streaming as f64 / 1024.0)?;
    writeln!(out, "  resident afterwards        {:8.1} MiB", setup.sidecar.resident_kib()? as f64 / 1024.0)?;
    writeln!(out, "  CPU per request            {per_request:8.1} µs")?;
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
        let (direct, through) = (direct.value_at_quantile(quantile), through.value_at_quantile(quantile));
        writeln!(
            out,
            "  latency {name}: {direct} µs to the gateway, {through} µs through the sidecar: {} µs more",
            through.saturating_sub(direct)
        )?;
    }
    Ok(())
}

impl Setup {
    fn start(binary: &Path) -> anyhow::Result<Self> {
        let mock = Process::start(LOAD_CPU, &std::env::current_exe()?, &["mock"])?;
        let (files, mut operator, issuer) = (tempfile::tempdir()?, FakeOperator::start(), TokenIssuer::new());
        let path = |name: &str| files.path().join(name).display().to_string();
        let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        let token = issuer.token("default", "bench");
        for (name, text) in
            [("tls.crt", pair.cert.pem()), ("tls.key", pair.signing_key.serialize_pem()), ("token", token.clone())]
        {
            fs::write(path(name), text)?;
        }
        let [plain, tls, admin, listen, probes] = free_addresses()?;
        let (operator_url, operator_ca) = (format!("https://{}", operator.address), operator.ca.display().to_string());
        let operator_token = operator.token.display().to_string();
        let gateway = Process::start_quiet(
            SUBJECT_CPU,
            binary.to_str().context("path")?,
            &[
                "serve",
                "--operator",
                &operator_url,
                "--operator-ca",
                &operator_ca,
                "--token-file",
                &operator_token,
                "--listen",
                &plain,
                "--listen-tls",
                &tls,
                "--admin",
                &admin,
                "--tls-cert",
                &path("tls.crt"),
                "--tls-key",
                &path("tls.key"),
                "--allow-loopback-upstreams",
                "--no-access-log",
            ],
            &format!("http://{plain}"),
        )?;
        let (stream, _) = operator.accept();
        stream.say(FromOperator::ServiceAccountIssuer(issuer.told()));
        stream.tell(None, &catalog(&mock.url)?, 1);
        bytes::eventually("the gateway is configured", || is_ready(&admin));
        let sidecar = Process::start_quiet(
            SUBJECT_CPU,
            binary.to_str().context("path")?,
            &[
                "sidecar",
                "--gateway",
                &format!("https://{tls}"),
                "--gateway-ca",
                &path("tls.crt"),
                "--token-file",
                &path("token"),
                "--listen",
                &listen,
                "--admin",
                &probes,
            ],
            &format!("http://{listen}"),
        )?;
        bytes::eventually("the sidecar is ready", || is_ready(&probes));
        Ok(Self { gateway, sidecar, token, _operator: operator, _mock: mock, _files: files })
    }

    fn load(
        &self,
        runtime: &Runtime,
        subject: &Process,
        requests: u64,
        latency: &mut Histogram<u64>,
    ) -> anyhow::Result<()> {
        let outcome = runtime.block_on(load::run(&self.workload(subject, false, requests, CONNECTIONS)))?;
        anyhow::ensure!(outcome.failures == 0, "{} of {requests} requests failed", outcome.failures);
        latency.add(outcome.latency)?;
        Ok(())
    }

    /// The most memory while so many streams are open, in KiB.
    fn streaming(&self, runtime: &Runtime) -> anyhow::Result<u64> {
        let is_over = Arc::new(AtomicBool::new(false));
        std::thread::scope(|scope| {
            let watching = scope.spawn(|| {
                let mut most = 0;
                while !is_over.load(Ordering::Relaxed) {
                    most = self.sidecar.resident_kib()?.max(most);
                    std::thread::sleep(Duration::from_millis(5));
                }
                Ok::<_, anyhow::Error>(most)
            });
            let streaming = runtime.block_on(load::run(&self.workload(&self.sidecar, true, 10 * STREAMS, STREAMS)));
            is_over.store(true, Ordering::Relaxed);
            let most = watching.join().map_err(|_| anyhow::anyhow!("the watch panicked"))?;
            anyhow::ensure!(streaming?.failures == 0, "streams failed");
            most
        })
    }

    fn workload(&self, subject: &Process, stream: bool, requests: u64, connections: u64) -> Workload {
        Workload {
            url: format!("{}/v1/chat/completions", subject.url),
            token: Some(self.token.clone()),
            model: if stream { format!("chunks-{CHUNKS}") } else { "whole".to_owned() },
            stream,
            requests,
            connections,
        }
    }
}

fn is_ready(admin: &str) -> bool {
    let Ok(admin) = admin.parse() else { return false };
    std::net::TcpStream::connect(admin).is_ok() && bytes::status(&bytes::get(admin, "/readyz")) == "200"
}

/// Addresses that were free a moment ago.
fn free_addresses() -> anyhow::Result<[String; 5]> {
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(TcpListener::bind("127.0.0.1:0")?);
    }
    let found: Result<Vec<_>, _> = held.iter().map(TcpListener::local_addr).collect();
    let texts: Vec<_> = found?.iter().map(ToString::to_string).collect();
    texts.try_into().map_err(|_| anyhow::anyhow!("five addresses"))
}

fn catalog(mock: &str) -> anyhow::Result<Catalog> {
    let text = format!(
        "apiVersion: routeapi.dev/v1alpha1\nkind: AIProvider\nmetadata: {{name: mock}}\n\
         spec: {{type: OpenAI, baseURL: {mock}/v1}}\n---\n\
         apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {{name: all}}\n\
         spec: {{model: \"*\", upstreams: [{{name: mock, providerRef: {{name: mock}}}}]}}\n---\n\
         apiVersion: routeapi.dev/v1alpha1\nkind: ApiToken\nmetadata: {{name: bench}}\n\
         spec: {{models: [\"*\"], secretKeys: None, subjects: [{{serviceAccountName: bench}}]}}\n"
    );
    let mut objects = Manifests::default();
    for document in yaml::read(&text)? {
        objects.add(&document.value).map_err(|problem| anyhow::anyhow!("{problem:?}"))?;
    }
    let options = Options { addresses: AddressPolicy::ClusterAndLoopback.into(), ..Options::default() };
    Ok(Catalog::of(&compile(&objects.finish(), &options).snapshot)?)
}
