//! Configuration from the operator: keeps one stream open, puts in force what comes, and says so.
//!
//! Losing the operator changes nothing for traffic: the last state stays in force without a time limit, a metric tells
//! its age, and attempts go on with growing waits. [`session`] decides, [`connect`] does the I/O, this file joins them.

pub mod backoff;
pub mod connect;
pub mod lines;
pub mod session;

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::BodyExt;
use routeapi_channel::frame::{self, FromDataPlane, FromOperator, Line, MAX_LINE, PART, RejectedKey};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use self::{
    backoff::Backoff,
    connect::{ConnectError, Connection, Operator},
    lines::{Lines, TooLong},
    session::{Effect, ProtocolError, Session, Target},
};
use super::{
    install::Installer,
    last_good,
    store::{Link, Origin},
};
use crate::{clock, live::Rejections, spawn::Spawner, upstream::AddressRules};

/// The operator pings every ten seconds; after three missed ones the connection is dead.
const SILENCE: Duration = Duration::from_secs(35);

/// How often the operator is told of rejected keys at most.
const TELL_REJECTIONS: Duration = Duration::from_secs(1);

/// Who subscribes, and to whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the operator is.
    pub operator: Operator,
    /// This pod's name, for messages.
    pub pod: String,
    /// Differs for each start of the process.
    pub instance: String,
    /// Where the last good state is kept, if anywhere.
    pub state: Option<PathBuf>,
    /// Where upstreams may be.
    pub addresses: AddressRules,
}

/// What became of one attempt.
#[derive(Debug, Default)]
struct Life {
    /// When the operator took the stream, if it did.
    opened: Option<Instant>,
    /// Whether a state came.
    committed: bool,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the operator closed the stream")]
    Closed,
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("nothing came for {} s", SILENCE.as_secs())]
    Silent,
    #[error("the stream broke: {0}")]
    Broken(#[from] hyper::Error),
    #[error(transparent)]
    Line(#[from] TooLong),
    #[error("a line is no frame: {0}")]
    Frame(#[from] serde_json::Error),
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

impl Ended {
    /// With what to look at, where that helps.
    fn explained(&self, operator: &Operator) -> String {
        match self {
            Self::Connect(error) => format!("{}: {error}; {}", operator.url, error.look_at()),
            other => other.to_string(),
        }
    }
}

/// Subscribes for as long as it is polled.
pub async fn run(settings: Settings, installer: Arc<Installer>, mut session: Session, spawner: Spawner) {
    let mut backoff = Backoff::default();
    loop {
        let mut life = Life::default();
        let Err(ended) = once(&settings, &installer, &mut session, &spawner, &mut life).await;
        let reason = ended.explained(&settings.operator);
        backoff.ended(life.opened.map(|at| at.elapsed()).unwrap_or_default(), life.committed);
        let wait = backoff.wait(fastrand::f64());
        // Once for each reason, so that the log of a pod that waits tells why it does now.
        let known = matches!(installer.store().link(), Link::Down { reason: Some(last), .. } if last == reason);
        if known {
            tracing::debug!(reason, wait_ms = wait.as_millis(), "no connection to the operator");
        } else if installer.store().is_configured() {
            tracing::warn!(reason, "not connected to the operator; the configuration in force stays");
        } else {
            tracing::warn!(reason, "not connected to the operator; not ready without a configuration");
        }
        let since = match installer.store().link() {
            Link::Down { since, .. } => since,
            Link::Local | Link::Up { .. } => clock::now(),
        };
        installer.store().set_link(Link::Down { since, reason: Some(reason) });
        tokio::time::sleep(wait).await;
    }
}

/// One connection, from hello to its end.
async fn once(
    settings: &Settings,
    installer: &Installer,
    session: &mut Session,
    spawner: &Spawner,
    life: &mut Life,
) -> Result<std::convert::Infallible, Ended> {
    let Connection { say, mut hear, features } = connect::connect(&settings.operator, spawner).await?;
    answer(&say, vec![session.hello(&settings.pod, &settings.instance, features)]).await?;
    life.opened = Some(Instant::now());
    installer.store().set_link(Link::Up { since: clock::now() });
    tracing::info!(operator = %settings.operator.url, "connected to the operator");
    let mut lines = Lines::new(MAX_LINE);
    let mut last = Instant::now();
    let mut rejections = installer.rejections().changed();
    rejections.mark_changed();
    let mut tell_from = last;
    loop {
        let waiting = session.deadline().map_or(last + SILENCE, Instant::from_std);
        let deadline = waiting.min(last + SILENCE);
        let frame = tokio::select! {
            frame = hear.frame() => frame.ok_or(Ended::Closed)??,
            () = changed(&mut rejections, tell_from), if features.credentials && life.committed => {
                tell_from = Instant::now() + TELL_REJECTIONS;
                answer(&say, vec![rejected_keys(installer.rejections())]).await?;
                continue;
            }
            () = tokio::time::sleep_until(deadline) => {
                if last.elapsed() >= SILENCE {
                    return Err(Ended::Silent);
                }
                if let Some(target) = session.due(Instant::now().into_std()) {
                    tracing::warn!(revision = %target.revision, "an older state has stayed the newest; taking it");
                    install(settings, installer, session, target, &say).await?;
                }
                continue;
            }
        };
        last = Instant::now();
        for line in lines.push(frame.data_ref().map(Bytes::as_ref).unwrap_or_default())? {
            let frame: FromOperator = match frame::read(&line)? {
                Line::Frame(frame) => frame,
                Line::Unknown(name) => {
                    tracing::debug!(name, "the operator says something that this version does not know");
                    continue;
                }
            };
            match session.receive(frame, Instant::now().into_std())? {
                Effect::None => {}
                Effect::Say(frames) => answer(&say, frames).await?,
                Effect::Install(target) => {
                    life.committed = true;
                    install(settings, installer, session, target, &say).await?;
                }
                Effect::Share(share) => installer.share(share),
                Effect::Deferred(_) => {
                    tracing::warn!("the operator replica is behind the state in force; waiting for a newer one");
                }
            }
        }
    }
}

/// Completes when something has changed, and not before that moment.
async fn changed(rejections: &mut watch::Receiver<u64>, from: Instant) {
    tokio::time::sleep_until(from).await;
    if rejections.changed().await.is_err() {
        // Nobody is left to change anything.
        std::future::pending::<()>().await;
    }
}

fn rejected_keys(rejections: &Rejections) -> FromDataPlane {
    let key = |(provider, rejection): (_, crate::live::Rejection)| RejectedKey {
        provider,
        status: rejection.status,
        since: rejection.since,
    };
    FromDataPlane::Credentials { rejected: rejections.list().into_iter().take(PART).map(key).collect() }
}

async fn install(
    settings: &Settings,
    installer: &Installer,
    session: &mut Session,
    target: Target,
    say: &mpsc::Sender<FromDataPlane>,
) -> Result<(), Ended> {
    let refused = installer.install(&target.catalog, &target.revision, Origin::Operator);
    for problem in &refused {
        tracing::error!(%problem, "a resource is refused, its previous version stays");
    }
    tracing::info!(revision = %target.revision, resources = target.catalog.len(), refused = refused.len(), "configuration in force");
    let in_force = installer.catalog();
    let verdict = session.installed(target, Arc::clone(&in_force), &refused);
    answer(say, verdict).await?;
    if let Some(directory) = &settings.state {
        last_good::save_soon(directory.clone(), in_force, session.floor().clone()).await;
    }
    Ok(())
}

async fn answer(say: &mpsc::Sender<FromDataPlane>, frames: Vec<FromDataPlane>) -> Result<(), Ended> {
    for frame in frames {
        say.send(frame).await.map_err(|_| Ended::Closed)?;
    }
    Ok(())
}
