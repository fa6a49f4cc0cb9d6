//! Settlements of a limit store, from the first to the last: sent beside the traffic, and what is left at the end.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Runtime;

use crate::{
    limits::{LimitBackend, LimitStore, Settler},
    spawn::Spawner,
};

/// For the last settlements, of the time that shutdown keeps for what comes after the last words.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Before settling begins again after a panic.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// The last part of a process's life that settles; nothing if limits are counted in this process.
pub(super) struct Settling(Option<Settler>);

/// Where the limits of tokens are counted.
pub(super) fn backend(store: Option<Arc<dyn LimitStore>>) -> LimitBackend {
    store.map_or(LimitBackend::InProcess, |store| LimitBackend::Shared(store, Settler::default()))
}

impl Settling {
    /// Sends settlements beside the traffic. Begins again after a panic: nothing is lost by it.
    pub(super) fn start(backend: &LimitBackend, traffic: &Runtime, spawner: &Spawner) -> Self {
        let settler = backend.settler().cloned();
        if let Some(settler) = settler.clone() {
            let spawner = spawner.clone();
            traffic.spawn(async move {
                loop {
                    spawner.guard("settler", settler.run()).await;
                    tokio::time::sleep(RESTART_DELAY).await;
                }
            });
        }
        Self(settler)
    }

    /// Sends the last settlements, when every reservation has ended with its request.
    pub(super) fn finish(self, control: &Runtime) {
        let Some(settler) = self.0 else { return };
        let left = control.block_on(settler.flush(SETTLE_TIMEOUT));
        if left > 0 {
            tracing::warn!(
                reservations = left,
                "the limit store did not accept the last settlements; it counts these reservations as used in full"
            );
        }
    }
}
