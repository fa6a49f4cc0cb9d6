//! Wiring, in order and without decisions: bind every listener, put the first configuration in force, then run. `main` and
//! tests start the same thing; tests use port 0.
//!
//! Two runtimes on two threads: one with a worker per core for traffic, one single-threaded for the admin listener and
//! the source of configuration, so that neither keeps the other waiting.

mod settling;
pub(crate) mod shutdown;
mod source;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use http::{Request, Response};
use hyper::body::Incoming;
use prometheus_client::registry::Registry;
use tokio::runtime::{Builder, Runtime};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{settling::Settling, source::Configure};
pub use self::{
    shutdown::ShutdownTimeouts,
    source::{Files, OnReload, Source},
};
use crate::{
    admin::{Admin, Watchdog},
    clock,
    config::{
        install::Installer,
        runtime,
        store::{Link, Store},
    },
    descriptors::{self, Descriptors},
    limits::SharedLimits,
    model_lists,
    request::{self, Gateway, RequestSettings, ResponseBody},
    server::{
        self, Capacity, Drain, Handle, Limits, Server, accept,
        tls::{Tls, TlsError, TlsFiles},
    },
    spawn::Spawner,
    state::SharedState,
    telemetry::{AccessLog, Metrics, RecordSink, Traffic, UsageLedger},
    upstream::{
        self, AddressPolicy, AddressRules, CloudEnvironment, ConnectionLifetimes, Egress, InvalidTrust, Renewal,
        TokenClient,
    },
};

/// Everything that can be chosen about a process.
pub struct Settings {
    /// Plain traffic.
    pub listen: SocketAddr,
    /// TLS traffic, if any.
    pub listen_tls: Option<(SocketAddr, TlsFiles)>,
    /// Admin.
    pub admin: SocketAddr,
    /// Where configuration comes from.
    pub source: Source,
    /// What clients may do to connections.
    pub limits: Limits,
    /// What clients may do with requests.
    pub requests: RequestSettings,
    /// How connections to upstreams leave the network. The operator's stream is never proxied.
    pub egress: Egress,
    /// The identity at clouds that the process's environment gives it.
    pub cloud: CloudEnvironment,
    /// How long connections to upstreams are kept.
    pub upstreams: ConnectionLifetimes,
    /// In which the limits of tokens are counted together with other processes; none for in this one, each pod its share.
    pub limit_store: Option<SharedLimits>,
    /// How to end.
    pub shutdown: ShutdownTimeouts,
    /// Threads for traffic; none for one per core.
    pub workers: Option<usize>,
    /// Where the access log goes; none for nowhere.
    pub access_log: Option<Box<dyn io::Write + Send>>,
    /// Where usage is kept on disk; none for nowhere.
    pub ledger: Option<routeapi_ledger::Settings>,
}

/// Why a process does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Bind(SocketAddr, io::Error),
    /// The serving certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The configuration does not serialise, which no snapshot does.
    #[error("the configuration cannot be put in force: {0}")]
    Catalog(#[from] serde_json::Error),
    /// The process's certificate authorities.
    #[error("cannot ask for tokens: {0}")]
    Trust(#[from] InvalidTrust),
    /// The usage ledger.
    #[error(transparent)]
    Ledger(#[from] routeapi_ledger::OpenError),
    /// Threads or their event queues.
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
}

/// A process that runs. Dropping it ends it at once.
pub struct Running {
    /// Where plain traffic is served.
    pub gateway: SocketAddr,
    /// Where TLS traffic is served, if it is.
    pub gateway_tls: Option<SocketAddr>,
    /// Where the admin listener is.
    pub admin: SocketAddr,
    /// What is in force.
    pub store: Arc<Store>,
    stop: CancellationToken,
    drain: Drain,
    done: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// Starts processes.
pub struct App;

/// Listeners, bound before anything runs.
struct Bound {
    gateway: TcpListener,
    gateway_tls: Option<(TcpListener, Arc<Tls>)>,
    admin: TcpListener,
}

/// What both runtimes need.
struct Shared {
    installer: Arc<Installer>,
    drain: Drain,
    spawner: Spawner,
    limits: Limits,
    server_metrics: server::Metrics,
    descriptors: Descriptors,
    connections: TaskTracker,
    watchdog: Watchdog,
}

#[derive(Clone)]
struct Requests(Arc<Gateway>);

impl Handle for Requests {
    type Body = ResponseBody;

    async fn handle(&self, peer: SocketAddr, request: Request<Incoming>) -> Response<ResponseBody> {
        request::handle(&self.0, peer, request).await
    }
}

impl App {
    /// Binds, configures and runs. Returns when connections are accepted.
    ///
    /// # Errors
    /// When an address is taken, the certificate is unusable or the system has no more threads.
    pub fn start(settings: Settings) -> Result<Running, StartError> {
        let mut registry = Registry::default();
        let traffic = Arc::new(Traffic::new(settings.requests.route_histograms));
        let metrics = Arc::new(Metrics::new(&mut registry, Arc::clone(&traffic)));
        let server_metrics = server::Metrics::default();
        server_metrics.register(&mut registry);
        let (descriptors, available) = (Descriptors::default(), descriptors::raise());
        descriptors.register(&mut registry, available);
        let limits = settings.limits.clone().within(available);
        let bound = bind(&settings, &server_metrics)?;
        let (gateway_at, admin_at) = (bound.gateway.local_addr()?, bound.admin.local_addr()?);
        let tls_at = bound.gateway_tls.as_ref().map(|(listener, _)| listener.local_addr()).transpose()?;

        let spawner = Spawner::new(metrics.panics());
        let upstream_metrics = upstream::Metrics::new(descriptors.clone());
        upstream_metrics.register(&mut registry);
        let limit_backend = settling::backend(settings.limit_store, &mut registry);
        let state = SharedState::new(addresses(&settings.source))
            .with_limit_backend(limit_backend.clone())
            .with_traffic(traffic)
            .with_egress(settings.egress)
            .with_connections(settings.upstreams, upstream_metrics.clone(), spawner.clone());
        let state = Arc::new(state);
        let renewal = renewal(&state, settings.cloud, upstream_metrics, &spawner)?;
        let shared = Shared {
            installer: Arc::new(installer(&settings.source, &state)),
            drain: Drain::new(),
            spawner,
            limits,
            server_metrics,
            descriptors,
            connections: TaskTracker::new(),
            watchdog: Watchdog::default(),
        };
        let source = Configure::first(settings.source, &shared.installer)?;
        let records = records(settings.access_log, settings.ledger, &metrics, &mut registry)?;
        let gateway = Arc::new(Gateway {
            config: Arc::clone(shared.installer.store()),
            metrics,
            records,
            drain: shared.drain.clone(),
            offload: request::Offload::default(),
            deliveries: request::Deliveries::default(),
            stored_ids: Arc::clone(state.stored_ids()),
            service_accounts: Arc::clone(state.service_accounts()),
            settings: settings.requests,
        });
        let admin =
            Admin::new(registry, Arc::clone(shared.installer.store()), shared.drain.clone(), shared.watchdog.clone());

        let traffic = traffic_runtime(settings.workers)?;
        let control = Builder::new_current_thread().enable_all().build()?;
        let (stop, done) = (CancellationToken::new(), CancellationToken::new());
        let mut running = Running {
            gateway: gateway_at,
            gateway_tls: tls_at,
            admin: admin_at,
            store: Arc::clone(shared.installer.store()),
            stop: stop.clone(),
            drain: shared.drain.clone(),
            done: done.clone(),
            thread: None,
        };
        let Bound { gateway: plain, gateway_tls, admin: admin_listener } = bound;
        serve(&traffic, &shared, Requests(Arc::clone(&gateway)), plain, gateway_tls)?;
        // Where the connections are driven.
        let places = Arc::clone(&state);
        traffic.spawn(upstream::follow(renewal, move || places.credentials()));
        traffic.spawn(async move { state.clients().sweep().await });
        let settling = Settling::start(&limit_backend, &traffic, &shared.spawner);
        let admin_listener = listener(&control, admin_listener)?;
        let thread = thread::Builder::new().name("control".to_owned()).spawn(move || {
            control.block_on(run_control(&shared, admin, admin_listener, source, stop, settings.shutdown));
            // Whatever is left after the last words is cut here; the records of cut requests are written by their guards.
            traffic.shutdown_timeout(Duration::from_millis(500));
            settling.finish(&control);
            control.shutdown_background();
            // The last holder of the access log and the ledger writes what is queued.
            drop(gateway);
            done.cancel();
        })?;
        running.thread = Some(thread);
        Ok(running)
    }
}

impl Running {
    /// Begins the end, as a signal would.
    pub fn shutdown(&self) {
        self.stop.cancel();
    }

    /// How far the end has come.
    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Resolves when everything has ended.
    pub async fn done(&self) {
        self.done.cancelled().await;
    }

    /// Waits, blocking, until everything has ended.
    pub fn join(mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the thread itself.
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.drain.expire();
        self.stop.cancel();
    }
}

/// What renews the tokens of identities.
fn renewal(
    state: &SharedState,
    cloud: CloudEnvironment,
    metrics: upstream::Metrics,
    spawner: &Spawner,
) -> Result<Renewal, InvalidTrust> {
    Ok(Renewal {
        client: Arc::new(TokenClient::new(state.clients(), cloud)?),
        rejected_keys: Arc::clone(state.rejected_keys()),
        metrics,
        spawner: spawner.clone(),
        changed: Arc::clone(state.credentials_changed()),
    })
}

/// Where records of finished requests go.
fn records(
    access_log: Option<Box<dyn io::Write + Send>>,
    ledger: Option<routeapi_ledger::Settings>,
    metrics: &Metrics,
    registry: &mut Registry,
) -> Result<Arc<dyn RecordSink>, StartError> {
    let mut sinks: Vec<Arc<dyn RecordSink>> = Vec::new();
    // First, so that at the end it does not wait for whoever reads the log.
    if let Some(settings) = ledger {
        let ledger = UsageLedger::open(settings)?;
        ledger.metrics().register(registry);
        sinks.push(Arc::new(ledger));
    }
    if let Some(out) = access_log {
        sinks.push(Arc::new(AccessLog::start(out, metrics.lost_lines())?));
    }
    Ok(Arc::new(sinks))
}

fn bind(settings: &Settings, metrics: &server::Metrics) -> Result<Bound, StartError> {
    let bind = |address: SocketAddr| routeapi_process::bind(address).map_err(|error| StartError::Bind(address, error));
    let gateway_tls = match &settings.listen_tls {
        Some((address, files)) => {
            let tls = Tls::load(files.clone(), metrics.clone())?;
            Some((bind(*address)?, Arc::new(tls)))
        }
        None => None,
    };
    Ok(Bound { gateway: bind(settings.listen)?, gateway_tls, admin: bind(settings.admin)? })
}

fn addresses(source: &Source) -> AddressRules {
    match source {
        Source::Files(_) => AddressRules::from(AddressPolicy::Workstation),
        Source::Operator(settings) => settings.addresses.clone(),
    }
}

fn installer(source: &Source, state: &Arc<SharedState>) -> Installer {
    let link = match source {
        Source::Files(_) => Link::Local,
        Source::Operator(_) => Link::Down { since: clock::now(), reason: None },
    };
    let store = Arc::new(Store::new(runtime::Runtime::default(), link));
    Installer::new(store, Arc::clone(state))
}

fn traffic_runtime(workers: Option<usize>) -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all().thread_name("traffic");
    if let Some(workers) = workers {
        builder.worker_threads(workers.max(1));
    }
    builder.build()
}

fn listener(runtime: &Runtime, listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    let _context = runtime.enter();
    tokio::net::TcpListener::from_std(listener)
}

fn serve(
    traffic: &Runtime,
    shared: &Shared,
    requests: Requests,
    plain: TcpListener,
    tls: Option<(TcpListener, Arc<Tls>)>,
) -> io::Result<()> {
    let capacity = Capacity::new(&shared.limits);
    let overdue = request::end_overdue(Arc::clone(&requests.0));
    let server = Arc::new(shared.server(requests));
    let plain = listener(traffic, plain)?;
    let _context = traffic.enter();
    shared.spawner.spawn("overdue answers", overdue);
    shared.spawner.spawn("accept", accept::accept(Arc::clone(&server), plain, None, Arc::clone(&capacity)));
    if let Some((socket, tls)) = tls {
        let socket = tokio::net::TcpListener::from_std(socket)?;
        let following = Arc::clone(&tls);
        shared.spawner.spawn("certificate watch", async move { following.follow().await });
        shared.spawner.spawn("accept TLS", accept::accept(server, socket, Some(tls), capacity));
    }
    shared.spawner.spawn("heartbeat", shared.watchdog.clone().run());
    shared.spawner.spawn("model lists", model_lists::follow(Arc::clone(shared.installer.store())));
    Ok(())
}

async fn run_control(
    shared: &Shared,
    admin: Admin,
    listener: tokio::net::TcpListener,
    source: Configure,
    stop: CancellationToken,
    shutdown: ShutdownTimeouts,
) {
    // Keeps answering until the very end, so that the end can be watched: it gets a drain of its own.
    // Nor does it count as a client: its own connections stay out of the series about theirs.
    let server = Arc::new(Server {
        drain: Drain::new(),
        connections: TaskTracker::new(),
        metrics: server::Metrics::default(),
        limits: Limits { cors: None, proxy_protocol: false, ..shared.limits.clone() },
        ..shared.server(admin)
    });
    let capacity = Capacity::new(&shared.limits);
    tokio::select! {
        () = shutdown::run(shutdown, &stop, &shared.drain, &shared.connections) => {}
        () = accept::accept(server, listener, None, capacity) => {}
        () = source.follow(Arc::clone(&shared.installer), shared.spawner.clone()) => {}
    }
}

impl Shared {
    fn server<H>(&self, handler: H) -> Server<H> {
        Server {
            handler,
            limits: self.limits.clone(),
            drain: self.drain.clone(),
            metrics: self.server_metrics.clone(),
            descriptors: self.descriptors.clone(),
            spawner: self.spawner.clone(),
            connections: self.connections.clone(),
        }
    }
}
