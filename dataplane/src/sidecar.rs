//! A gateway's address inside an app's pod: takes the app's requests on loopback, puts the pod's ServiceAccount token on them
//! and forwards them to the gateway. Holds no configuration and no key, and translates nothing.
//!
//! | file | decides |
//! |---|---|
//! | [`settings`] | where the gateway is |
//! | [`ca`], [`token`] | what is read from files: whom to trust, and as whom to call |
//! | [`forward`] | one request's way, and when it is sent again |
//! | [`head`], [`body`], [`answer`] | what goes on of it, in both directions |
//! | [`refusal`] | what is said in the gateway's place |
//! | [`reach`], [`admin`], [`record`] | what is told of all that |
//!
//! One thread does everything but writing logs. Here they are wired together, without decisions.

mod admin;
mod answer;
mod body;
mod ca;
mod forward;
mod head;
mod reach;
mod record;
mod refusal;
mod settings;
mod token;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use prometheus_client::registry::Registry;
use tokio::{runtime, sync::Notify};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    answer::AnswerBody,
    ca::GatewayCa,
    settings::{CONNECT_TIMEOUT, GatewayUrl, InvalidGateway, Settings},
};
use self::{
    forward::{Forwarder, Requests},
    reach::Reach,
    record::{Log, Metrics},
    token::TokenFile,
};
use crate::{
    app::{ShutdownTimeouts, StartError, shutdown},
    descriptors::{self, Descriptors},
    server::{self, Capacity, Drain, Limits, Server, accept},
    spawn::Spawner,
    upstream::{self, ConnectionLifetimes, Host, NamedServer, Windows},
};

/// All clients are in one pod and have one address.
const MAX_CONNECTIONS: usize = 4096;

/// Of header sections that have not come whole.
const MAX_PENDING_BYTES: usize = 4 << 20;

/// Threads for name lookups, which block; they end when there are none.
const MAX_LOOKUP_THREADS: usize = 2;

/// A stream's is as much as the app may leave unread; the connection's has room for a hundred such streams, so that they
/// stop no other.
const WINDOWS: Windows = Windows { stream: 64 << 10, connection: 100 * (64 << 10) };

/// For what is cut at the end to be noticed.
const END_TIMEOUT: Duration = Duration::from_millis(500);

/// A sidecar whose addresses are bound.
pub struct Sidecar {
    /// Where it takes requests.
    pub address: SocketAddr,
    /// Where its admin listener is.
    pub admin: SocketAddr,
    listeners: [TcpListener; 2],
    parts: Parts,
}

struct Parts {
    gateway: GatewayUrl,
    connect: Duration,
    host: Arc<Host>,
    token: Arc<TokenFile>,
    metrics: Arc<Metrics>,
    server_metrics: server::Metrics,
    descriptors: Descriptors,
    spawner: Spawner,
    limits: Limits,
    log: Option<Arc<Log>>,
    registry: Registry,
    shutdown: ShutdownTimeouts,
}

impl Sidecar {
    /// Binds its addresses and reads its files. A file that cannot be used is no error, since it may still come: it is
    /// logged, and said to whoever calls.
    ///
    /// # Errors
    /// When an address is taken or the system has no more threads.
    pub fn bind(settings: Settings) -> Result<Self, StartError> {
        let Settings { listen, admin, gateway, ca, token, connect, shutdown, access_log } = settings;
        let bind = |address| routeapi_process::bind(address).map_err(|error| StartError::Bind(address, error));
        let listeners = [bind(listen)?, bind(admin)?];
        let (mut registry, available) = (Registry::default(), descriptors::raise());
        let descriptors = Descriptors::default();
        descriptors.register(&mut registry, available);
        let metrics = Arc::new(Metrics::new(upstream::Metrics::new(descriptors.clone())));
        metrics.register(&mut registry);
        let server_metrics = server::Metrics::default();
        server_metrics.register(&mut registry);
        if let Err(error) = ca.roots() {
            tracing::error!(error, "the gateway cannot be verified");
        }
        let spawner = Spawner::new(metrics.panics.clone());
        let server = NamedServer {
            tls: ca.tls_source(),
            connect,
            lifetimes: ConnectionLifetimes::default(),
            windows: WINDOWS,
            metrics: metrics.gateway.clone(),
            spawner: spawner.clone(),
        };
        let host = server.host(&gateway.scheme, &gateway.authority).map_err(io::Error::other)?;
        let token = Arc::new(TokenFile::open(token, metrics.token_failures.clone()));
        let log = access_log.map(|out| Log::start(out, &metrics).map(Arc::new)).transpose()?;
        let limits = limits().within(available);
        Ok(Self {
            address: listeners[0].local_addr()?,
            admin: listeners[1].local_addr()?,
            listeners,
            parts: Parts {
                gateway,
                connect,
                host,
                token,
                metrics,
                server_metrics,
                descriptors,
                spawner,
                limits,
                log,
                registry,
                shutdown,
            },
        })
    }

    /// Serves, on this thread, until `stop` or a signal, and until what is in flight then has ended.
    ///
    /// # Errors
    /// When the system gives no event queue.
    pub fn run(self, stop: &CancellationToken) -> io::Result<()> {
        let runtime =
            runtime::Builder::new_current_thread().enable_all().max_blocking_threads(MAX_LOOKUP_THREADS).build()?;
        let Self { listeners, parts, .. } = self;
        let result = runtime.block_on(parts.run(listeners, stop));
        // Requests that are cut here are still recorded; the last holder of the log writes what is queued.
        runtime.shutdown_timeout(END_TIMEOUT);
        result
    }
}

impl Parts {
    async fn run(self, [plain, admin]: [TcpListener; 2], stop: &CancellationToken) -> io::Result<()> {
        let listener = |listener| tokio::net::TcpListener::from_std(listener);
        let (plain, admin) = (listener(plain)?, listener(admin)?);
        let (drain, connections) = (Drain::new(), TaskTracker::new());
        let unreachable = Arc::new(Notify::new());
        let reach = Arc::new(Reach::new(self.metrics.reachable.clone()));
        let requests = Requests(Arc::new(Forwarder {
            gateway: self.gateway.clone(),
            host: Arc::clone(&self.host),
            connect: self.connect,
            token: Arc::clone(&self.token),
            kept: Arc::default(),
            metrics: self.metrics,
            log: self.log,
            drain: drain.clone(),
            unreachable: Arc::clone(&unreachable),
        }));
        let pages = admin::Admin(Arc::new(admin::Parts {
            registry: self.registry,
            reach: Arc::clone(&reach),
            token: Arc::clone(&self.token),
            drain: drain.clone(),
        }));
        let server = Arc::new(Server {
            handler: requests,
            limits: self.limits.clone(),
            drain: drain.clone(),
            metrics: self.server_metrics,
            descriptors: self.descriptors.clone(),
            spawner: self.spawner.clone(),
            connections: connections.clone(),
        });
        // Answers until the very end, and its connections are no client's.
        let pages = Arc::new(Server {
            handler: pages,
            limits: self.limits.clone(),
            drain: Drain::new(),
            metrics: server::Metrics::default(),
            descriptors: self.descriptors,
            spawner: self.spawner.clone(),
            connections: TaskTracker::new(),
        });
        let capacity = || Capacity::new(&self.limits);
        self.spawner.spawn("accept", accept::accept(server, plain, None, capacity()));
        self.spawner.spawn("accept admin", accept::accept(pages, admin, None, capacity()));
        let token = self.token;
        self.spawner.spawn("token watch", async move { token.follow().await });
        let (gateway, host, connect) = (self.gateway, self.host, self.connect);
        self.spawner.spawn("reach the gateway", async move { reach.follow(gateway, host, connect, unreachable).await });
        shutdown::run(self.shutdown, stop, &drain, &connections).await;
        Ok(())
    }
}

/// What the app may do. Its connections are kept as long as it wants: there is no load to spread.
fn limits() -> Limits {
    Limits {
        connections: MAX_CONNECTIONS,
        connections_per_client: MAX_CONNECTIONS,
        requests: MAX_CONNECTIONS,
        pending_bytes: MAX_PENDING_BYTES,
        max_age: None,
        ..Limits::default()
    }
}
