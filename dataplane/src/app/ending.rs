//! How a process ends: stop being ready, wait until nobody sends new connections, stop taking them, let answers finish,
//! end what does not, and be gone before anybody loses patience.

use std::{future, time::Duration};

use routeapi_process::exit_after;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Ending;
use crate::server::Drain;

/// For the terminal errors of streams that were ended to reach their clients.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The same after a second signal.
const LAST_WORDS_AT_ONCE: Duration = Duration::from_millis(250);

/// For what comes after the last words: records of cut requests, the logs. Whatever waits longer is cut by the exit.
const AFTERWARDS: Duration = Duration::from_millis(2_750);

/// How long the process goes on after a second signal at most.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Waits for the end to be asked for, then goes through it.
pub(super) async fn end(ending: Ending, stop: &CancellationToken, drain: &Drain, connections: &TaskTracker) {
    let mut signals = Signals::new(ending.on_signals);
    tokio::select! {
        () = stop.cancelled() => {}
        () = signals.next() => {}
    }
    if ending.on_signals {
        exit_after(ending.delay + ending.timeout + LAST_WORDS + AFTERWARDS);
    }
    let last_words = tokio::select! {
        () = gently(ending, drain, connections) => LAST_WORDS,
        () = drain.expired() => LAST_WORDS,
        () = signals.next() => {
            tracing::warn!("a second signal: ending at once");
            exit_after(AT_ONCE);
            LAST_WORDS_AT_ONCE
        }
    };
    drain.expire();
    connections.close();
    if timeout(last_words, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections are cut");
    }
}

async fn gently(ending: Ending, drain: &Drain, connections: &TaskTracker) {
    tracing::info!(delay_ms = ending.delay.as_millis(), "ending: not ready any more, still accepting");
    drain.start();
    tokio::time::sleep(ending.delay).await;
    tracing::info!(
        open = connections.len(),
        timeout_ms = ending.timeout.as_millis(),
        "no new connections; waiting for answers to finish"
    );
    drain.close();
    connections.close();
    if timeout(ending.timeout, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "the deadline has passed: ending the streams that still run");
    }
}

/// SIGTERM and SIGINT.
struct Signals(Vec<tokio::signal::unix::Signal>);

impl Signals {
    fn new(wanted: bool) -> Self {
        let kinds = [SignalKind::terminate(), SignalKind::interrupt()];
        let caught = kinds.into_iter().filter(|_| wanted).filter_map(|kind| {
            signal(kind).inspect_err(|error| tracing::warn!(%error, "a signal cannot be caught")).ok()
        });
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
