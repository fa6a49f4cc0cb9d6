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
    last_good::{LastGood, Writer},
    store::{Link, Origin},
};
use crate::{clock, spawn::Spawner, state::RejectedKeys, upstream::AddressRules};

/// The operator pings every ten seconds; after three missed ones the connection is dead.
const READ_TIMEOUT: Duration = Duration::from_secs(35);

/// How often the operator is told of rejected keys at most.
const REJECTED_KEYS_INTERVAL: Duration = Duration::from_secs(1);

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
struct StreamProgress {
    /// When the operator took the stream, if it did.
    opened: Option<Instant>,
    /// Whether a state came.
    committed: bool,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error("the operator closed the stream")]
    Closed,
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("nothing received for {} s", READ_TIMEOUT.as_secs())]
    Silent,
    #[error("the stream broke: {0}")]
    Broken(#[from] hyper::Error),
    #[error(transparent)]
    Line(#[from] TooLong),
    #[error("cannot parse a frame: {0}")]
    Frame(#[from] serde_json::Error),
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

impl StreamError {
    /// With what to look at, where that helps.
    fn with_hint(&self, operator: &Operator) -> String {
        match self {
            Self::Connect(error) => format!("{}: {error}; {}", operator.url, error.hint()),
            other => other.to_string(),
        }
    }
}

/// Subscribes for as long as it is polled.
pub async fn run(settings: Settings, installer: Arc<Installer>, mut session: Session, spawner: Spawner) {
    let mut backoff = Backoff::default();
    let mut last_good = settings.state.clone().map(|directory| Writer::new(directory, installer.catalog()));
    loop {
        let mut progress = StreamProgress::default();
        let stream = run_stream(&settings, &installer, &mut session, &spawner, &mut progress, &mut last_good);
        let Err(ended) = stream.await;
        if let Some(last_good) = &mut last_good {
            last_good.flush().await;
        }
        let reason = ended.with_hint(&settings.operator);
        backoff.ended(progress.opened.map(|at| at.elapsed()).unwrap_or_default(), progress.committed);
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
async fn run_stream(
    settings: &Settings,
    installer: &Installer,
    session: &mut Session,
    spawner: &Spawner,
    progress: &mut StreamProgress,
    last_good: &mut Option<Writer>,
) -> Result<std::convert::Infallible, StreamError> {
    let Connection { to_operator, mut from_operator, features } = connect::connect(&settings.operator, spawner).await?;
    send_frames(&to_operator, vec![session.hello(&settings.pod, &settings.instance, features)]).await?;
    progress.opened = Some(Instant::now());
    installer.store().set_link(Link::Up { since: clock::now() });
    tracing::info!(operator = %settings.operator.url, "connected to the operator");
    let mut lines = Lines::new(MAX_LINE);
    let mut last = Instant::now();
    let mut rejected_keys = installer.rejected_keys().changed();
    rejected_keys.mark_changed();
    let mut report_from = last;
    loop {
        let waiting = session.deadline().map_or(last + READ_TIMEOUT, Instant::from_std);
        let deadline = waiting.min(last + READ_TIMEOUT);
        let unwritten = last_good.as_ref().and_then(Writer::due);
        let frame = tokio::select! {
            frame = from_operator.frame() => frame.ok_or(StreamError::Closed)??,
            () = changed(&mut rejected_keys, report_from), if features.credentials && progress.committed => {
                report_from = Instant::now() + REJECTED_KEYS_INTERVAL;
                send_frames(&to_operator, vec![rejected_keys_frame(installer.rejected_keys())]).await?;
                continue;
            }
            () = until(unwritten) => {
                if let Some(last_good) = last_good {
                    last_good.flush().await;
                }
                continue;
            }
            () = tokio::time::sleep_until(deadline) => {
                if last.elapsed() >= READ_TIMEOUT {
                    return Err(StreamError::Silent);
                }
                if let Some(target) = session.due(Instant::now().into_std()) {
                    tracing::warn!(revision = %target.revision, "no newer state has arrived; applying the older one");
                    install(installer, session, target, &to_operator, (last_good, last)).await?;
                }
                continue;
            }
        };
        last = Instant::now();
        for line in lines.push(frame.data_ref().map(Bytes::as_ref).unwrap_or_default())? {
            let frame: FromOperator = match frame::read(&line)? {
                Line::Frame(frame) => frame,
                Line::Unknown(name) => {
                    tracing::debug!(name, "ignoring a frame that this version does not know");
                    continue;
                }
            };
            match session.receive(frame, Instant::now().into_std())? {
                Effect::None => {}
                Effect::Send(frames) => send_frames(&to_operator, frames).await?,
                Effect::Install(target) => {
                    progress.committed = true;
                    install(installer, session, target, &to_operator, (last_good, last)).await?;
                }
                Effect::Share(share) => installer.share(share),
                Effect::ResponseIdKeys(keys) => installer.stored_ids().set(&keys),
                Effect::ServiceAccountIssuer(issuer) => {
                    let is_new = installer.service_accounts().set(issuer) && installer.store().is_configured();
                    if let Some(last_good) = last_good.as_mut().filter(|_| is_new) {
                        last_good.keep(in_force(installer, session), last).await;
                    }
                }
                Effect::Deferred(_) => {
                    tracing::warn!(
                        "the operator replica lags behind the configuration in force; waiting for a newer state"
                    );
                }
            }
        }
    }
}

/// Completes at this time; never without one.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Completes when something has changed, and not before that moment.
async fn changed(rejected_keys: &mut watch::Receiver<u64>, from: Instant) {
    tokio::time::sleep_until(from).await;
    if rejected_keys.changed().await.is_err() {
        // Nobody is left to change anything.
        std::future::pending::<()>().await;
    }
}

fn rejected_keys_frame(rejected_keys: &RejectedKeys) -> FromDataPlane {
    let key = |(provider, rejection): (_, crate::state::KeyRejection)| RejectedKey {
        provider,
        status: rejection.status,
        since: rejection.since,
        message: rejection.message,
    };
    FromDataPlane::Credentials { rejected: rejected_keys.list().into_iter().take(PART).map(key).collect() }
}

async fn install(
    installer: &Installer,
    session: &mut Session,
    target: Target,
    to_operator: &mpsc::Sender<FromDataPlane>,
    (last_good, now): (&mut Option<Writer>, Instant),
) -> Result<(), StreamError> {
    let refused = installer.install(&target.catalog, &target.revision, Origin::Operator);
    for problem in &refused {
        tracing::error!(%problem, "resource rejected; its previous version stays in force");
    }
    tracing::info!(revision = %target.revision, resources = target.catalog.len(), refused = refused.len(), "configuration in force");
    let verdict = session.installed(target, installer.catalog(), &refused);
    send_frames(to_operator, verdict).await?;
    if let Some(last_good) = last_good {
        last_good.keep(in_force(installer, session), now).await;
    }
    Ok(())
}

/// What a restart begins with.
fn in_force(installer: &Installer, session: &Session) -> LastGood {
    let issuer = installer.service_accounts().issuer();
    LastGood { catalog: installer.catalog(), floor: session.floor().clone(), issuer }
}

async fn send_frames(to_operator: &mpsc::Sender<FromDataPlane>, frames: Vec<FromDataPlane>) -> Result<(), StreamError> {
    for frame in frames {
        to_operator.send(frame).await.map_err(|_| StreamError::Closed)?;
    }
    Ok(())
}
