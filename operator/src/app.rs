//! The wiring: what runs, in which order it starts and stops. No decisions.
//!
//! Both ports are bound before anything runs, so that a wrong address fails the start and tests may ask for port 0. On
//! shutdown, streams end first (data planes go to another replica at once), then the lease is let go.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
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
    connections::Places,
    index::Index,
    lease::Election,
    parts::Parts,
    preflight::{self, herald::Herald},
    publish::Publisher,
    push::{self, Push, ack::AckBook, auth::Authenticator, peers::Peers, session::Sources},
    settings::Settings,
    status::Statuses,
    telemetry::Metrics,
    tls::{self, Certificates, keeper::Keeper},
    tokens::Tokens,
    watch,
};

/// How long an orderly stop may take.
const STOP: Duration = Duration::from_secs(8);

/// A running operator. Dropping it stops it at once, as a crash would: the lease is not let go.
#[derive(Debug)]
pub struct Operator {
    /// Where data planes connect.
    pub config: SocketAddr,
    /// Where probes and metrics are.
    pub admin: SocketAddr,
    /// Counters, for tests.
    pub metrics: Arc<Metrics>,
    leader: channel::Receiver<bool>,
    shutdown: CancellationToken,
    orderly: JoinSet<()>,
    others: JoinSet<()>,
}

/// Starts an operator.
///
/// # Errors
/// When a port cannot be bound.
pub async fn start(settings: Settings, client: Client) -> anyhow::Result<Operator> {
    let bind = |what: &str, at: SocketAddr| {
        let listener = routeapi_process::bind(at).and_then(TcpListener::from_std);
        listener.with_context(|| format!("{what} {at}"))
    };
    let push_listener = bind("--listen", settings.listen)?;
    let admin_listener = bind("--admin", settings.admin)?;
    let (config, admin_at) = (push_listener.local_addr()?, admin_listener.local_addr()?);

    let shutdown = CancellationToken::new();
    let parts = Parts {
        index: Index::bounded(watch::scopes(&settings), settings.namespace_bounds()),
        publisher: Publisher::new(&settings),
        acks: AckBook::new(),
        metrics: Arc::default(),
        client,
    };
    let certificates: Arc<Certificates> = Arc::default();
    let election = Election::new(&settings, &parts.client);
    let leader = election.leader();
    let crds = channel::Sender::new(Some("the cluster's CRDs were not looked at yet".to_owned()));

    let mut orderly = JoinSet::new();
    orderly.spawn(election.run(shutdown.clone()));
    let tls = TlsAcceptor::from(tls::server(&certificates)?);
    orderly.spawn(push::serve(push_of(&settings, &parts, &shutdown), push_listener, tls));

    let admin = Admin {
        index: Arc::clone(&parts.index),
        certificates: certificates.ready(),
        crds: crds.subscribe(),
        metrics: Arc::clone(&parts.metrics),
    };
    let tokens = Tokens::new(&settings, &parts);
    let statuses = Statuses::new(&settings, &parts, tokens.findings());
    let keeper = Keeper::new(&settings, &parts.client, Arc::clone(&certificates), leader.clone());
    let mut others = JoinSet::new();
    others.spawn(admin::serve(Arc::new(admin), admin_listener, shutdown.clone()));
    let herald = Herald::new(&settings, &parts.client);
    others.spawn(preflight::run(parts.client.clone(), herald, crds));
    others.spawn(keeper.run());
    others.spawn(Arc::clone(&parts.publisher).run(Arc::clone(&parts.index), Arc::clone(&parts.metrics)));
    others.spawn(peers_of(&settings, &parts, certificates).run());
    others.spawn(tokens.run(leader.clone()));
    others.spawn(statuses.run(leader.clone()));
    watch::start(&mut others, &settings, &parts);

    info!(%config, admin = %admin_at, identity = settings.identity, "started");
    Ok(Operator { config, admin: admin_at, metrics: parts.metrics, leader, shutdown, orderly, others })
}

/// Runs an operator until `stop` completes, then stops it in order.
///
/// # Errors
/// When it cannot start.
pub async fn run(settings: Settings, client: Client, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let operator = start(settings, client).await?;
    stop.await;
    operator.stop().await;
    Ok(())
}

fn push_of(settings: &Settings, parts: &Parts, shutdown: &CancellationToken) -> Arc<Push> {
    Arc::new(Push {
        sources: Sources {
            publications: parts.publisher.subscribe(),
            history: parts.publisher.history(),
            lists: Arc::new(Semaphore::new(push::session::LISTS)),
            acks: Arc::clone(&parts.acks),
            metrics: Arc::clone(&parts.metrics),
            shutdown: shutdown.clone(),
        },
        authenticator: Authenticator::new(parts.client.clone()),
        data_planes: settings.data_planes.clone(),
        operator: settings.operator.clone(),
        places: Places::new(push::LIMITS),
        waits: push::Waits::default(),
    })
}

fn peers_of(settings: &Settings, parts: &Parts, certificates: Arc<Certificates>) -> Peers {
    Peers {
        service: settings.peers.clone(),
        token_file: settings.peer_token_file.clone(),
        server_name: settings.dns_names().into_iter().next().unwrap_or_default(),
        certificates,
        acks: Arc::clone(&parts.acks),
    }
}

// === impl Operator ===

impl Operator {
    /// Whether this replica writes.
    pub fn leader(&self) -> channel::Receiver<bool> {
        self.leader.clone()
    }

    /// Stops in order: streams end, the lease is let go.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        let stopped = time::timeout(STOP, async { while self.orderly.join_next().await.is_some() {} }).await;
        if stopped.is_err() {
            warn!("not everything stopped in time");
        }
        self.others.shutdown().await;
        info!("stopped");
    }
}
