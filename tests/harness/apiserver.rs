//! A real etcd and kube-apiserver on free loopback ports, in a directory that goes away.
//!
//! What is real: CRDs with their schema and CEL rules, defaulting, RBAC, server-side apply, watches, Leases, admission,
//! bound ServiceAccount tokens and TokenReview. What is not there: controllers (no garbage collection, no default
//! ServiceAccounts: [`ApiServer::namespace`] makes them) and nodes (Pods stay objects).
//!
//! One server is shared by all tests of a binary, each in namespaces of its own:
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use routeapi_tests::apiserver::ApiServer;
//! let api = ApiServer::shared().await;
//! let namespace = api.namespace("shop").await?;          // shop-1, with its default ServiceAccount
//! let client = api.client().await?;                      // admin; one per test, since it lives on the test's runtime
//! api.kubectl(&["-n", &namespace, "get", "secrets"]).await?;
//! let pod = api.pod(&namespace, "default").await?;       // a Pod object without a node
//! let token = pod.token("routeapi-config").await?;       // bound to it: TokenReview names pod and uid
//! # Ok(()) }
//! ```
//!
//! A test that stops or kills parts starts its own: [`ApiServer::start`].

mod objects;
mod pki;

pub use objects::FakePod;

use crate::process::{Child, Program};
use crate::{tools, wait};
use anyhow::{Context, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use pki::Pki;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// How long a start may take: a cold disk and a busy machine included.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The issuer that the server writes into ServiceAccount tokens.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// etcd and kube-apiserver. Dropping it kills both and removes their directory.
#[derive(Debug)]
pub struct ApiServer {
    dir: tempfile::TempDir,
    pki: Pki,
    url: String,
    etcd_url: String,
    etcd: Mutex<Option<Child>>,
    server: Mutex<Option<Child>>,
    port: u16,
    /// Flags of kube-apiserver beside those that every test needs.
    flags: Vec<String>,
    names: AtomicU32,
    service_account_keys: Mutex<ServiceAccountKeys>,
}

/// The keys of ServiceAccount tokens.
#[derive(Debug)]
struct ServiceAccountKeys {
    /// Tokens are signed with it.
    signing: PathBuf,
    /// Tokens may be signed with any of these.
    public: Vec<PathBuf>,
}

/// From when until when an API server was starting.
static STARTING: Mutex<Vec<[String; 2]>> = Mutex::new(Vec::new());

/// Whether an API server was starting when a line was logged that begins with its time: before it is ready, it forbids what
/// it has not read yet that people may do.
pub fn was_starting(line: &str) -> bool {
    STARTING.lock().unwrap().iter().any(|[from, to]| (from.as_str()..=to.as_str()).contains(&line))
}

/// The time, as lines of a log begin with it.
fn timestamp() -> String {
    let mut text = String::new();
    let _ = SystemTime.format_time(&mut Writer::new(&mut text)); // a String takes everything
    text
}

impl ApiServer {
    /// The server that all tests of this binary share; started by the first who asks.
    ///
    /// # Panics
    /// When it does not start; the end of its log is in the message.
    pub async fn shared() -> &'static Self {
        static SHARED: tokio::sync::OnceCell<ApiServer> = tokio::sync::OnceCell::const_new();
        SHARED.get_or_init(|| async { Self::start().await.expect("the API server starts") }).await
    }

    /// Starts a server of its own, and waits until it is ready to serve.
    ///
    /// # Errors
    /// When the programs cannot be had, or are not ready within a minute.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// The same with further flags of kube-apiserver.
    ///
    /// # Errors
    /// As [`ApiServer::start`].
    pub async fn start_with(flags: &[&str]) -> Result<Self> {
        remove_leftovers();
        let mut last = None;
        // A free port is found by asking the kernel and letting go of it: another process may be quicker.
        for _ in 0..3 {
            match Self::try_start(flags).await {
                Ok(server) => return Ok(server),
                Err(e) => last = Some(e),
            }
        }
        Err(last.expect("three attempts were made"))
    }

    async fn try_start(flags: &[&str]) -> Result<Self> {
        let prefix = format!("{DIRECTORY_PREFIX}{}-", std::process::id());
        let dir = tempfile::Builder::new().prefix(&prefix).tempdir()?;
        let pki = Pki::create(dir.path())?;
        let (etcd_port, port) = (free_port()?, free_port()?);
        let url = format!("https://127.0.0.1:{port}");
        let admin = pki.kubeconfig_for_user(&url, "admin", Some("system:masters"))?;
        std::fs::write(dir.path().join("kubeconfig"), admin)?;
        let service_account_keys = ServiceAccountKeys {
            signing: pki.service_account_key.clone(),
            public: vec![pki.service_account_public.clone()],
        };
        let server = Self {
            service_account_keys: Mutex::new(service_account_keys),
            pki,
            url,
            etcd_url: format!("http://127.0.0.1:{etcd_port}"),
            etcd: Mutex::new(None),
            server: Mutex::new(None),
            port,
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            dir,
            names: AtomicU32::new(0),
        };
        server.start_etcd()?;
        server.start_apiserver().await?;
        server.ensure_service_account("default", "default").await?;
        Ok(server)
    }

    /// The server's base URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A kubeconfig file for the admin.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    /// Writes a kubeconfig file for the bearer of `token` (a ServiceAccount's), to run a program with that account's
    /// own rights.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn kubeconfig_for(&self, name: &str, token: &str) -> Result<PathBuf> {
        let path = self.dir.path().join(format!("kubeconfig-{name}"));
        std::fs::write(&path, self.pki.kubeconfig_for_token(&self.url, token))?;
        Ok(path)
    }

    /// A client of a person, whom the server knows by a client certificate. Without a role it may do nothing.
    ///
    /// # Errors
    /// As [`ApiServer::client`].
    pub async fn client_of_user(&self, user: &str) -> Result<kube::Client> {
        let path = self.dir.path().join(format!("kubeconfig-{user}"));
        std::fs::write(&path, self.pki.kubeconfig_for_user(&self.url, user, None)?)?;
        client_of(&path).await
    }

    /// The server's directory: certificates, logs; free for the test's own files too.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// An admin's client, on the runtime of the caller.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read.
    pub async fn client(&self) -> Result<kube::Client> {
        client_of(&self.kubeconfig()).await
    }

    /// A client with the rights of the bearer of `token`.
    ///
    /// # Errors
    /// As [`ApiServer::client`].
    pub async fn client_for(&self, name: &str, token: &str) -> Result<kube::Client> {
        client_of(&self.kubeconfig_for(name, token)?).await
    }

    /// Runs kubectl as the admin; its stdout.
    ///
    /// # Errors
    /// When it exits with a status other than 0: its stderr.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.kubectl_with_input(args, "").await
    }

    /// As [`ApiServer::kubectl`], with text on stdin (`kubectl apply -f -`).
    ///
    /// # Errors
    /// As [`ApiServer::kubectl`].
    pub async fn kubectl_with_input(&self, args: &[&str], input: &str) -> Result<String> {
        use tokio::io::AsyncWriteExt as _;
        let mut child = tokio::process::Command::new(tools::control_plane("kubectl")?)
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", self.dir.path()) // its discovery cache must not outlive the server
            .args(args)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = child.stdin.take().context("stdin was asked for")?;
        let fed = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = child.wait_with_output().await?;
        if !output.status.success() {
            bail!("kubectl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        fed?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Kills the API server as a crash does. etcd keeps running.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill(&self) -> Result<()> {
        self.server.lock().unwrap().take().context("the API server is not running")?.kill()
    }

    /// Stops the API server with SIGTERM and waits; how long that took. It ends its watches in order.
    ///
    /// # Errors
    /// When it is not running, or still runs after 70 s (it lets requests in flight finish for up to 60).
    pub fn stop(&self) -> Result<Duration> {
        let started = Instant::now();
        let child = self.server.lock().unwrap().take().context("the API server is not running")?;
        child.terminate(Duration::from_secs(70))?;
        Ok(started.elapsed())
    }

    /// Starts the API server again on the same port with the same data, and waits until it is ready; how long it took.
    ///
    /// # Errors
    /// When it is not ready within a minute.
    pub async fn restart(&self) -> Result<Duration> {
        let running = self.server.lock().unwrap().take();
        drop(running);
        self.start_apiserver().await
    }

    /// Starts the API server again with a new key for ServiceAccount tokens. Those that were signed with keys before stay
    /// valid.
    ///
    /// # Errors
    /// As [`ApiServer::restart`].
    pub async fn rotate_service_account_key(&self) -> Result<Duration> {
        let (signing, public) = Pki::service_account_key(self.dir.path(), &format!("sa-{}", self.unique()))?;
        {
            let mut keys = self.service_account_keys.lock().unwrap();
            keys.signing = signing;
            keys.public.push(public);
        }
        self.restart().await
    }

    /// Freezes the API server: connections stay open, nothing is answered.
    ///
    /// # Errors
    /// When it is not running.
    pub fn pause(&self) -> Result<()> {
        self.server.lock().unwrap().as_ref().context("the API server is not running")?.pause()
    }

    /// Ends [`ApiServer::pause`].
    ///
    /// # Errors
    /// When it is not running.
    pub fn resume(&self) -> Result<()> {
        self.server.lock().unwrap().as_ref().context("the API server is not running")?.resume()
    }

    /// A number that no other call on this server gets, for names.
    pub fn unique(&self) -> u32 {
        self.names.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn start_etcd(&self) -> Result<()> {
        let client = &self.etcd_url;
        let program = Program::new(tools::control_plane("etcd")?, self.dir.path().join("etcd.log")).args([
            format!("--data-dir={}", self.dir.path().join("etcd").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            "--listen-peer-urls=http://127.0.0.1:0".into(),
            "--unsafe-no-fsync".into(),
        ]);
        *self.etcd.lock().unwrap() = Some(Child::start(&program)?);
        Ok(())
    }

    async fn start_apiserver(&self) -> Result<Duration> {
        let began = timestamp();
        let took = self.start_until_ready().await;
        STARTING.lock().unwrap().push([began, timestamp()]);
        took
    }

    async fn start_until_ready(&self) -> Result<Duration> {
        let started = Instant::now();
        *self.server.lock().unwrap() = Some(Child::start(&self.program()?)?);
        // One client per look: a connection that was refused must not be remembered.
        loop {
            let ready = match self.client().await {
                Ok(client) => client.request_text(http::Request::get("/readyz").body(Vec::new())?).await,
                Err(e) => bail!("no client for the API server: {e:#}"),
            };
            if ready.is_ok_and(|text| text.trim() == "ok") {
                return Ok(started.elapsed());
            }
            self.still_starting(started)?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn still_starting(&self, started: Instant) -> Result<()> {
        for (name, slot) in [("etcd", &self.etcd), ("kube-apiserver", &self.server)] {
            let child = slot.lock().unwrap();
            let child = child.as_ref().context("it was started")?;
            if let Some(status) = child.exited()? {
                bail!("{name} ended while starting ({status}):\n{}", child.log_tail(20));
            }
            if started.elapsed() > START_LIMIT {
                bail!("not ready after {START_LIMIT:?}; {name} says:\n{}", child.log_tail(20));
            }
        }
        Ok(())
    }

    fn program(&self) -> Result<Program> {
        let pki = &self.pki;
        let keys = self.service_account_keys.lock().unwrap();
        let public = keys.public.iter().map(|key| format!("--service-account-key-file={}", key.display()));
        let program = Program::new(tools::control_plane("kube-apiserver")?, self.dir.path().join("kube-apiserver.log"));
        Ok(program.args(
            [
                format!("--etcd-servers={}", self.etcd_url),
                "--bind-address=127.0.0.1".into(),
                format!("--secure-port={}", self.port),
                // Nobody is told of an address: loopback is refused as one, and there are no nodes that would use it.
                "--advertise-address=192.0.2.1".into(),
                "--endpoint-reconciler-type=none".into(),
                "--service-cluster-ip-range=10.96.0.0/16".into(),
                "--authorization-mode=Node,RBAC".into(),
                "--enable-admission-plugins=NodeRestriction".into(),
                "--allow-privileged=true".into(),
                format!("--cert-dir={}", self.dir.path().display()),
                format!("--client-ca-file={}", pki.ca.display()),
                format!("--tls-cert-file={}", pki.server_certificate.display()),
                format!("--tls-private-key-file={}", pki.server_key.display()),
                format!("--service-account-issuer={ISSUER}"),
                format!("--service-account-signing-key-file={}", keys.signing.display()),
                "--profiling=false".into(),
                "--event-ttl=1h".into(),
            ]
            .into_iter()
            .chain(self.flags.iter().cloned())
            .chain(public),
        ))
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        // The server first: without etcd it would spend its last moments retrying.
        drop(self.server.lock().unwrap().take());
        drop(self.etcd.lock().unwrap().take());
    }
}

pub(crate) async fn client_of(kubeconfig: &Path) -> Result<kube::Client> {
    let config = Kubeconfig::read_from(kubeconfig)?;
    let mut config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    config.proxy_url = None; // the server is on loopback, whatever the environment says
    Ok(kube::Client::try_from(config)?)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

const DIRECTORY_PREFIX: &str = "routeapi-apiserver-";

/// Removes directories of test binaries that are gone: the shared server is a static, which is never dropped.
fn remove_leftovers() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|n| n.strip_prefix(DIRECTORY_PREFIX)).and_then(|n| n.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = std::fs::remove_dir_all(entry.path()); // another test binary may be removing it as well
        }
    }
}

/// Waits until `check` on the server gives a value. See [`wait::until`].
pub use wait::until;
