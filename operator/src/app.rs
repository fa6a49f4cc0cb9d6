//! The wiring: which tasks run, and in which order they start and stop. No decisions.
//!
//! Both ports are bound before anything runs, so that a wrong address fails the start and tests can use port 0. On shutdown,
//! streams end first (data planes connect to another replica at once), then the lease is released.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use kube::Client;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch as channel},
    task::JoinSet,
    time,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    admin::{self, Admin},
    connections::ConnectionLimiter,
    context::Context,
    index::Index,
    injection,
    lease::Election,
    preflight::{self, event_recorder::EventRecorder},
    publish::Publisher,
    push::{self, PushServer, ack::AckBook, auth::Authenticator, peers::Peers, session::SessionContext},
    settings::Settings,
    status::StatusWriter,
    telemetry::Metrics,
    tls::{self, Certificates, controller::CertificateController},
    tokens::TokenController,
    watch,
};

/// How long streams and the lease may take to end: less than `SHUTDOWN_DEADLINE` in `main`, and than the chart's grace
/// period of 30 s.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(8);

/// A running operator. Dropping it stops it immediately, as a crash would: the lease is not released.
#[derive(Debug)]
pub struct Operator {
    /// The address for data planes.
    pub config: SocketAddr,
    /// The address of the admin port.
    pub admin: SocketAddr,
    /// The address of the webhook that adds sidecars, if there is one.
    pub injection: Option<SocketAddr>,
    /// Counters and gauges, for tests.
    pub metrics: Arc<Metrics>,
    leader: channel::Receiver<bool>,
    shutdown: CancellationToken,
    /// Tasks that end by themselves on shutdown.
    graceful: JoinSet<()>,
    /// Tasks that are aborted after those.
    others: JoinSet<()>,
}

/// Starts an operator.
///
/// # Errors
/// When a port cannot be bound.
pub async fn start(settings: Settings, client: Client) -> anyhow::Result<Operator> {
    let bind = |flag: &str, at: SocketAddr| {
        let listener = routeapi_process::bind(at).and_then(TcpListener::from_std);
        listener.with_context(|| format!("cannot listen on {at} ({flag})"))
    };
    let push_listener = bind("--listen", settings.listen)?;
    let admin_listener = bind("--admin", settings.admin)?;
    let injection_listener = settings.sidecar.injection_listen.map(|at| bind("--injection-listen", at)).transpose()?;
    let (config, admin_at) = (push_listener.local_addr()?, admin_listener.local_addr()?);
    let injection_at = injection_listener.as_ref().map(TcpListener::local_addr).transpose()?;

    let shutdown = CancellationToken::new();
    let context = Context {
        index: Index::with_limits(watch::scopes(&settings), settings.namespace_limits()),
        publisher: Publisher::new(&settings),
        acks: AckBook::new(),
        metrics: Arc::default(),
        response_ids: Arc::default(),
        issuer: Arc::default(),
        client,
    };
    let certificates: Arc<Certificates> = Arc::default();
    let election = Election::new(&settings, &context.client);
    let leader = election.leader();
    let crds = channel::Sender::new(Some("CRDs not checked yet".to_owned()));

    let mut graceful = JoinSet::new();
    graceful.spawn(election.run(shutdown.clone()));
    let tls = TlsAcceptor::from(tls::server(&certificates, b"h2")?);
    graceful.spawn(push::serve(push_server(&settings, &context, &shutdown), push_listener, tls));

    let admin = Admin {
        index: Arc::clone(&context.index),
        certificates: certificates.ready(),
        crds: crds.subscribe(),
        metrics: Arc::clone(&context.metrics),
    };
    let tokens = TokenController::new(&settings, &context);
    let statuses = StatusWriter::new(&settings, &context, tokens.secret_states());
    let certificate_controller =
        CertificateController::new(&settings, &context, Arc::clone(&certificates), leader.clone());
    let mut others = JoinSet::new();
    if let Some(listener) = injection_listener {
        let tasks = (&mut graceful, &mut others);
        let stop = (listener, shutdown.clone());
        injection::start(tasks, (&settings, &context), (&certificates, leader.clone()), stop)?;
    }
    others.spawn(admin::serve(Arc::new(admin), admin_listener, shutdown.clone()));
    let events = EventRecorder::new(&settings, &context.client);
    others.spawn(preflight::run(context.client.clone(), events, crds));
    others.spawn(certificate_controller.run());
    others.spawn(Arc::clone(&context.publisher).run(Arc::clone(&context.index), Arc::clone(&context.metrics)));
    others.spawn(peers(&settings, &context, certificates).run());
    others.spawn(Arc::clone(&context.issuer).follow(context.client.clone()));
    others.spawn(tokens.run(leader.clone()));
    others.spawn(statuses.run(leader.clone()));
    watch::start(&mut others, &settings, &context);

    info!(%config, admin = %admin_at, identity = settings.identity, "started");
    let (admin, metrics) = (admin_at, context.metrics);
    Ok(Operator { config, admin, injection: injection_at, metrics, leader, shutdown, graceful, others })
}

/// Runs an operator until `stop` completes, then stops it gracefully.
///
/// # Errors
/// When it cannot start.
pub async fn run(settings: Settings, client: Client, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let operator = start(settings, client).await?;
    stop.await;
    operator.stop().await;
    Ok(())
}

fn push_server(settings: &Settings, context: &Context, shutdown: &CancellationToken) -> Arc<PushServer> {
    Arc::new(PushServer {
        sessions: SessionContext {
            publications: context.publisher.subscribe(),
            history: context.publisher.history(),
            response_ids: Arc::clone(&context.response_ids),
            issuer: Arc::clone(&context.issuer),
            lists: Arc::new(Semaphore::new(push::session::MAX_CONCURRENT_LISTS)),
            acks: Arc::clone(&context.acks),
            metrics: Arc::clone(&context.metrics),
            shutdown: shutdown.clone(),
        },
        authenticator: Authenticator::new(context.client.clone()),
        data_planes: settings.data_planes.clone(),
        operator: settings.operator.clone(),
        limiter: ConnectionLimiter::new(push::LIMITS),
        timeouts: push::Timeouts::default(),
    })
}

fn peers(settings: &Settings, context: &Context, certificates: Arc<Certificates>) -> Peers {
    Peers {
        service: settings.peers.clone(),
        token_file: settings.peer_token_file.clone(),
        server_name: settings.dns_names().into_iter().next().unwrap_or_default(),
        certificates,
        acks: Arc::clone(&context.acks),
    }
}

// === impl Operator ===

impl Operator {
    /// Whether this replica is the leader.
    pub fn leader(&self) -> channel::Receiver<bool> {
        self.leader.clone()
    }

    /// Stops gracefully: ends streams, then releases the lease.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        let stopped =
            time::timeout(SHUTDOWN_TIMEOUT, async { while self.graceful.join_next().await.is_some() {} }).await;
        if stopped.is_err() {
            warn!("shutdown timed out; the lease may not be released");
        }
        self.others.shutdown().await;
        info!("stopped");
    }
}
