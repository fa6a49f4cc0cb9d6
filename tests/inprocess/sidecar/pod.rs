//! A pod: a sidecar with a token file, and what is seen of it.

use std::{net::SocketAddr, path::PathBuf, thread::JoinHandle, time::Duration};

use routeapi_dataplane::{
    app::ShutdownTimeouts,
    sidecar::{CONNECT_TIMEOUT, GatewayCa, GatewayUrl, Settings, Sidecar},
};
use routeapi_tests::{
    bytes::{self, eventually},
    files::write,
    gateway::Lines,
    upstream::Upstream,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// The token of pods that call the scripted gateway.
pub const POD_TOKEN: &str = "token-of-the-pod";

/// A pod's sidecar. Dropping it ends it at once.
pub struct Pod {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub token: PathBuf,
    records: Lines,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
    _directory: TempDir,
}

impl Pod {
    /// Beside a scripted gateway.
    pub fn beside(gateway: &Upstream) -> Self {
        Self::beside_with(gateway, |_| {})
    }

    /// The same with other settings.
    pub fn beside_with(gateway: &Upstream, change: impl FnOnce(&mut Settings)) -> Self {
        let ca = GatewayCa::from_pem(gateway.ca_pem().unwrap()).unwrap();
        Self::start(&gateway.url(), ca, POD_TOKEN, change)
    }

    /// Any.
    pub fn start(gateway: &str, ca: GatewayCa, token: &str, change: impl FnOnce(&mut Settings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        write(&file, token);
        let (records, any) = (Lines::default(), ([127, 0, 0, 1], 0).into());
        let mut settings = Settings {
            listen: any,
            admin: any,
            gateway: GatewayUrl::read(gateway, false).unwrap(),
            ca,
            token: file.clone(),
            connect: CONNECT_TIMEOUT,
            shutdown: ShutdownTimeouts { delay: Duration::ZERO, timeout: Duration::from_secs(20), on_signals: false },
            access_log: Some(Box::new(records.clone())),
        };
        change(&mut settings);
        let sidecar = Sidecar::bind(settings).unwrap();
        let (address, admin, stop) = (sidecar.address, sidecar.admin, CancellationToken::new());
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || sidecar.run(&stopped).unwrap());
        Self { address, admin, token: file, records, stop, thread: Some(thread), _directory: directory }
    }

    /// The readiness probe's answer.
    pub fn readiness(&self) -> (String, String) {
        let answer = bytes::get(self.admin, "/readyz");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        (bytes::status(&answer).to_owned(), body.to_owned())
    }

    /// Waits until the readiness probe says this.
    pub fn is_ready(&self, status: &str) {
        eventually(&format!("readiness is {status}"), || self.readiness().0 == status);
    }

    /// Waits until it has noticed that its connections are gone.
    pub fn has_no_connection(&self) {
        let open = || self.metric("routeapi_sidecar_gateway_connections_open");
        eventually("the connections are gone", || open() == "0");
    }

    pub fn metric(&self, name: &str) -> String {
        bytes::metric(self.admin, name)
    }

    /// The access log, when it has this many lines.
    pub fn records(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} requests are recorded"), || self.records.records().len() >= count);
        self.records.records()
    }

    /// Begins the end, as SIGTERM does.
    pub fn shut_down(&self) {
        self.stop.cancel();
    }

    /// Waits for the end.
    pub fn join(mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
