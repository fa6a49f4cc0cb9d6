//! How a process ends: stop being ready, wait until nobody sends new connections, stop taking them, let answers finish,
//! end what does not, and exit before the pod is killed.

use std::{future, time::Duration};

use routeapi_process::exit_after;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::server::Drain;

/// How long each stage of the end lasts.
#[derive(Clone, Copy, Debug)]
pub struct ShutdownTimeouts {
    /// From the signal until no new connections are taken: load balancers need it to notice.
    pub delay: Duration,
    /// From then until streams that still run are ended.
    pub timeout: Duration,
    /// Whether SIGTERM and SIGINT end the process; a second one at once.
    pub on_signals: bool,
}

/// For the terminal errors of streams that were ended to reach their clients.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The same after a second signal.
const FORCED_CLOSE_TIMEOUT: Duration = Duration::from_millis(250);

/// For what comes after the last words: records of cut requests, settling, the logs. Whatever waits longer is cut by the
/// exit.
const EXIT_TIMEOUT: Duration = Duration::from_millis(2_750);

/// How long the process goes on after a second signal at most.
const FORCED_EXIT_TIMEOUT: Duration = Duration::from_secs(1);

/// Waits for the end to be asked for, then goes through it.
pub(crate) async fn run(
    shutdown: ShutdownTimeouts,
    stop: &CancellationToken,
    drain: &Drain,
    connections: &TaskTracker,
) {
    let mut signals = Signals::new(shutdown.on_signals);
    tokio::select! {
        () = stop.cancelled() => {}
        () = signals.next() => {}
    }
    if shutdown.on_signals {
        exit_after(shutdown.delay + shutdown.timeout + CLOSE_TIMEOUT + EXIT_TIMEOUT);
    }
    let close_timeout = tokio::select! {
        () = drain_gracefully(shutdown, drain, connections) => CLOSE_TIMEOUT,
        () = drain.expired() => CLOSE_TIMEOUT,
        () = signals.next() => {
            tracing::warn!("second signal: exiting at once");
            exit_after(FORCED_EXIT_TIMEOUT);
            FORCED_CLOSE_TIMEOUT
        }
    };
    drain.expire();
    connections.close();
    if timeout(close_timeout, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "closing connections that are still open");
    }
}

async fn drain_gracefully(shutdown: ShutdownTimeouts, drain: &Drain, connections: &TaskTracker) {
    tracing::info!(delay_ms = shutdown.delay.as_millis(), "shutting down: not ready, still accepting connections");
    drain.start();
    tokio::time::sleep(shutdown.delay).await;
    tracing::info!(
        open = connections.len(),
        timeout_ms = shutdown.timeout.as_millis(),
        "no longer accepting connections; waiting for answers to finish"
    );
    drain.close();
    connections.close();
    if timeout(shutdown.timeout, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "drain timeout: ending the streams that are left");
    }
}

/// SIGTERM and SIGINT.
struct Signals(Vec<tokio::signal::unix::Signal>);

impl Signals {
    fn new(wanted: bool) -> Self {
        let kinds = [SignalKind::terminate(), SignalKind::interrupt()];
        let caught = kinds
            .into_iter()
            .filter(|_| wanted)
            .filter_map(|kind| signal(kind).inspect_err(|error| tracing::warn!(%error, "cannot handle a signal")).ok());
        Self(caught.collect())
    }

    async fn next(&mut self) {
        let all: Vec<_> = self.0.iter_mut().map(|signal| Box::pin(signal.recv())).collect();
        if all.is_empty() {
            future::pending::<()>().await;
        }
        futures_util::future::select_all(all).await;
    }
}
