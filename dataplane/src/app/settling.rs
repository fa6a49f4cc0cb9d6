//! Settlements of a limit store, from the first to the last: sent beside the traffic, and what is left at the end.

use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::runtime::Runtime;

use crate::{
    limits::{LimitBackend, SharedLimits},
    spawn::Spawner,
};

/// For the last settlements, of the time that shutdown keeps for what comes after the last words.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Before settling begins again after a panic.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// The last part of a process's life that settles; nothing if limits are counted in this process.
pub(super) struct Settling(Option<SharedLimits>);

/// Where the limits of tokens are counted.
pub(super) fn backend(shared: Option<SharedLimits>, registry: &mut Registry) -> LimitBackend {
    let Some(shared) = shared else { return LimitBackend::InProcess };
    shared.register(registry);
    LimitBackend::Shared(shared)
}

impl Settling {
    /// Keeps the store reachable and sends settlements, beside the traffic. Begins again after a panic: nothing is lost by
    /// it.
    pub(super) fn start(backend: &LimitBackend, traffic: &Runtime, spawner: &Spawner) -> Self {
        let shared = backend.shared().cloned();
        if let Some(SharedLimits { store, settler, .. }) = shared.clone() {
            let spawner = spawner.clone();
            traffic.spawn(async move {
                loop {
                    let running = async { tokio::join!(store.run(), settler.run()) };
                    spawner.guard("limit store", running).await;
                    tokio::time::sleep(RESTART_DELAY).await;
                }
            });
        }
        Self(shared)
    }

    /// Sends the last settlements, when every reservation has ended with its request.
    pub(super) fn finish(self, control: &Runtime) {
        let Some(SharedLimits { store, settler, .. }) = self.0 else { return };
        // Its connection has ended with the runtime in which it was opened.
        let left = control.block_on(async {
            tokio::select! {
                left = settler.flush(SETTLE_TIMEOUT) => left,
                () = store.run() => 0,
            }
        });
        if left > 0 {
            tracing::warn!(
                reservations = left,
                "the limit store did not accept the last settlements; it gives these reservations back"
            );
        }
    }
}
