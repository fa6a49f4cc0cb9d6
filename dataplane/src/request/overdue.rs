//! Ends answers whose time is over while nobody pulls them.

use std::{sync::Arc, time::Duration};

use super::{deliveries::Sweep, gateway::Gateway};
use crate::clock;

/// Longest time between two sweeps.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Sweeps over all answers under way again and again, for as long as the process lives.
pub async fn end_overdue(gateway: Arc<Gateway>) {
    let client_write = gateway.settings.client_write;
    let every = (client_write / 4).clamp(Duration::from_millis(10), SWEEP_INTERVAL);
    let mut known = gateway.config.current();
    loop {
        tokio::time::sleep(every).await;
        let current = gateway.config.current();
        let changed = (!Arc::ptr_eq(&current, &known)).then_some(&*current);
        let is_shut_down = gateway.drain.is_expired();
        gateway.deliveries.sweep(Sweep { now: clock::mono(), is_shut_down, client_write, changed }).await;
        known = current;
    }
}
