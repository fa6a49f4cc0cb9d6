//! The real gateway in this process, on free ports: as `routeapi run` starts it ([`Gateway::local`]) or as `routeapi
//! serve` does in a pod ([`Gateway::serve`]). What it says of itself is read the way people read it: the access log, the
//! admin listener's metrics and configuration.

use crate::{client, files, wait};
use http::Uri;
use routeapi_dataplane::app::{App, Files, Running, Settings, ShutdownTimeouts, Source};
use routeapi_dataplane::config::local::{Loaded, Loader, problem::ManifestProblem, values::Values};
use routeapi_dataplane::config::subscribe::{self, connect::Operator};
use routeapi_dataplane::limits::SharedLimits;
use routeapi_dataplane::request::RequestSettings;
use routeapi_dataplane::server::Limits;
use routeapi_dataplane::upstream::{AddressPolicy, CloudEnvironment, ConnectionLifetimes, Egress};
use serde_json::Value;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a gateway may take for what it should do at once.
const SOON: Duration = Duration::from_secs(20);

/// A running gateway. Dropping it ends it without patience.
pub struct Gateway {
    running: Running,
    records: Lines,
    manifests: Option<files::Files>,
}

/// What `routeapi serve` is told of the operator.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Port of the operator on this machine.
    pub port: u16,
    /// File with the operator's CA.
    pub ca: PathBuf,
    /// File with the pod's ServiceAccount token.
    pub token: PathBuf,
    /// Where the last good configuration is kept.
    pub state: PathBuf,
    /// The pod's name.
    pub pod: String,
}

/// Settings of the process that are not the defaults'.
#[derive(Debug, Default)]
pub struct Setup {
    /// Bounds on requests.
    pub requests: RequestSettings,
    /// Bounds on connections.
    pub limits: Limits,
    /// Ways out of the network.
    pub egress: Egress,
    /// The identity at clouds that its environment gives it.
    pub cloud: CloudEnvironment,
    /// How long connections to upstreams are kept.
    pub upstreams: ConnectionLifetimes,
    /// Where limits are counted together with other gateways.
    pub limit_store: Option<SharedLimits>,
    /// Where usage is kept; none for nowhere.
    pub ledger: Option<routeapi_ledger::Settings>,
}

impl Gateway {
    /// A gateway for these manifests. Upstreams on loopback are allowed.
    ///
    /// # Panics
    /// When the manifests have problems.
    pub fn local(manifests: &str) -> Self {
        Self::local_with(manifests, RequestSettings::default())
    }

    /// The same with other bounds on requests.
    ///
    /// # Panics
    /// As [`Gateway::local`].
    pub fn local_with(manifests: &str, requests: RequestSettings) -> Self {
        Self::local_as(manifests, Setup { requests, ..Setup::default() })
    }

    /// The same with other settings of the process.
    ///
    /// # Panics
    /// As [`Gateway::local`].
    pub fn local_as(manifests: &str, setup: Setup) -> Self {
        let files = files::Files::new(manifests);
        let source = source(&files, |_| {});
        Self { manifests: Some(files), ..Self::start(source, setup) }
    }

    /// A gateway that an operator on this machine configures. Its upstreams are on loopback, which is refused in a cluster
    /// unless `--allow-loopback-upstreams` says otherwise.
    pub fn serve(subscription: &Subscription) -> Self {
        let source = Source::Operator(subscribe::Settings {
            operator: Operator {
                url: format!("https://localhost:{}", subscription.port).parse::<Uri>().unwrap(),
                ca: subscription.ca.clone(),
                token: subscription.token.clone(),
            },
            pod: subscription.pod.clone(),
            instance: format!("{}-{}", subscription.pod, std::process::id()),
            state: Some(subscription.state.clone()),
            addresses: AddressPolicy::ClusterAndLoopback.into(),
        });
        Self::start(source, Setup::default())
    }

    fn start(source: Source, setup: Setup) -> Self {
        let Setup { requests, limits, egress, cloud, upstreams, limit_store, ledger } = setup;
        let records = Lines::default();
        let running = App::start(Settings {
            limits,
            requests,
            egress,
            cloud,
            upstreams,
            limit_store,
            ledger,
            workers: Some(2),
            access_log: Some(Box::new(records.clone())),
            ..settings(source)
        })
        .unwrap();
        Self { running, records, manifests: None }
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.running.gateway
    }

    /// Where its admin listener is.
    pub fn admin(&self) -> SocketAddr {
        self.running.admin
    }

    /// Puts other manifests in force, and waits until they are.
    ///
    /// # Panics
    /// When an operator configures it, or when they are not in force in time.
    pub async fn apply(&self, manifests: &str) {
        let files = self.manifests.as_ref().expect("a gateway of local manifests");
        let revision = || self.running.store.current().revision.clone();
        let before = revision();
        files.replace(manifests);
        wait::until_true("the changed manifests are in force", SOON, || revision() != before).await;
    }

    /// The gateway's own parts.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// The access log so far, a value per line.
    pub fn records(&self) -> Vec<Value> {
        let bytes = self.records.0.lock().unwrap();
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }

    /// The access log once it has at least so many lines.
    pub async fn records_of(&self, count: usize) -> Vec<Value> {
        wait::until_true("requests are recorded", SOON, || self.records().len() >= count).await;
        self.records()
    }

    /// The metrics page, read.
    pub async fn metrics(&self) -> Metrics {
        Metrics(self.ask("/metrics").await.1)
    }

    /// The configuration in force, redacted.
    pub async fn config(&self) -> Value {
        serde_json::from_str(&self.ask("/config").await.1).unwrap()
    }

    /// Waits until the readiness probe passes.
    pub async fn ready(&self) {
        let look = || async { (self.ask("/readyz").await.0 == 200).then_some(()) };
        wait::until("the gateway is ready", SOON, look).await;
    }

    /// Ends it as SIGTERM does, and waits until it is gone.
    pub async fn stop(self) {
        self.running.shutdown();
        self.running.done().await;
    }

    async fn ask(&self, path: &str) -> (u16, String) {
        client::get(self.running.admin, path).await
    }
}

/// Settings of a gateway on free ports of this machine, with everything else as by default.
pub fn settings(source: Source) -> Settings {
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    Settings {
        listen: any,
        listen_tls: None,
        admin: any,
        source,
        limits: Limits::default(),
        requests: RequestSettings::default(),
        egress: Egress::default(),
        cloud: CloudEnvironment::default(),
        upstreams: ConnectionLifetimes::default(),
        limit_store: None,
        shutdown: ShutdownTimeouts { delay: Duration::ZERO, timeout: Duration::from_secs(2), on_signals: false },
        workers: Some(1),
        access_log: None,
        ledger: None,
    }
}

/// Manifests of a file as a gateway's source, with someone who listens for reloads.
///
/// # Panics
/// When the manifests have problems.
pub fn source(
    files: &files::Files,
    on_reload: impl FnMut(Result<&Loaded, &[ManifestProblem]>) + Send + 'static,
) -> Source {
    let mut loader = Loader::new(vec![files.path.clone()], Values::random()).unwrap();
    let loaded = loader.load(&|_| None);
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    Source::Files(Box::new(Files { loader, loaded, on_reload: Box::new(on_reload) }))
}

/// Starts a gateway of a file of manifests, after `change` of its settings.
///
/// # Panics
/// As [`source`].
pub fn start(files: &files::Files, change: impl FnOnce(&mut Settings)) -> Running {
    let mut settings = settings(source(files, |_| {}));
    change(&mut settings);
    App::start(settings).unwrap()
}

/// A page of series in the text form of OpenMetrics.
#[derive(Clone, Debug)]
pub struct Metrics(pub String);

impl Metrics {
    /// The sum of every series of this name that has these labels; 0 when there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let labelled = |line: &&str| labels.iter().all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")));
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        self.0.lines().filter(of_name).filter(labelled).filter_map(value).sum()
    }
}

/// An access log that is kept.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// The complete records so far.
    pub fn records(&self) -> Vec<Value> {
        let bytes = self.0.lock().unwrap().clone();
        bytes.split_inclusive(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
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
