//! When the number of pods in an AIRoute's status is updated although no condition changed.
//!
//! Pods come and go all day, which must not cause bursts of writes. Counts that differ from the status are written once they are
//! stable for [`STABLE_FOR`], and not before pods had time to reconnect to a new leader. So a lasting change costs one patch
//! per AIRoute, and a rollout of ten pods one by one at most twenty. These writes together are limited to 20 per second by
//! `WriteLimiter`, which reserves half of its burst for conditions: 1,000 routes are up to date after some 50 s. Other kinds
//! have no counts.

use std::{collections::BTreeMap, time::Duration};

use routeapi_channel::Key;
use routeapi_crds::v1alpha1::DataPlaneStatus;
use tokio::time::Instant;

use super::decide::ACK_GRACE;
use crate::push::ack::Progress;

/// How long counts have to be stable before they are written: longer than a pod takes to reconnect.
pub const STABLE_FOR: Duration = Duration::from_secs(2);

/// `status.dataPlane` of an AIRoute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodCounts {
    acknowledged: i32,
    connected: i32,
}

/// Counts that differ from the status, and since when they are stable.
#[derive(Debug, Default)]
pub struct PendingCounts(BTreeMap<Key, (PodCounts, Instant)>);

impl PendingCounts {
    /// How long until these counts should be written; none if the status has them. `leading_for`: how long this replica has been
    /// the leader.
    pub fn due(
        &mut self,
        key: &Key,
        (desired, current): (PodCounts, PodCounts),
        leading_for: Duration,
        now: Instant,
    ) -> Option<Duration> {
        if desired == current {
            self.0.remove(key);
            return None;
        }
        let pending = self.0.entry(key.clone()).or_insert((desired, now));
        if pending.0 != desired {
            *pending = (desired, now);
        }
        Some(STABLE_FOR.saturating_sub(now.duration_since(pending.1)).max(ACK_GRACE.saturating_sub(leading_for)))
    }

    /// Forgets a deleted object.
    pub fn forget(&mut self, key: &Key) {
        self.0.remove(key);
    }
}

impl PodCounts {
    /// The number of connected pods.
    pub fn connected(self) -> Option<usize> {
        usize::try_from(self.connected).ok()
    }
}

impl From<&Progress> for PodCounts {
    fn from(progress: &Progress) -> Self {
        let count = |number| i32::try_from(number).unwrap_or(i32::MAX);
        Self { acknowledged: count(progress.acknowledged), connected: count(progress.connected) }
    }
}

impl From<&DataPlaneStatus> for PodCounts {
    fn from(current: &DataPlaneStatus) -> Self {
        Self { acknowledged: current.acknowledged, connected: current.connected }
    }
}

impl From<PodCounts> for DataPlaneStatus {
    fn from(PodCounts { acknowledged, connected }: PodCounts) -> Self {
        Self { summary: format!("{acknowledged}/{connected}"), acknowledged, connected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use routeapi_channel::{Kind, ObjectId};

    const LONG: Duration = Duration::from_secs(3600);

    fn key() -> Key {
        Key { kind: Kind::Route, id: ObjectId::new("ai", "a") }
    }

    const fn counts(acknowledged: i32, connected: i32) -> PodCounts {
        PodCounts { acknowledged, connected }
    }

    #[tokio::test]
    async fn counts_are_written_when_they_are_stable() {
        let (start, mut pending) = (Instant::now(), PendingCounts::default());
        let at = |ms| start + Duration::from_millis(ms);
        let mut due = |desired, ms| pending.due(&key(), (desired, counts(2, 2)), LONG, at(ms));
        assert_eq!(due(counts(2, 2), 0), None);
        assert_eq!(due(counts(2, 3), 1_000), Some(STABLE_FOR));
        assert_eq!(due(counts(3, 3), 1_500), Some(STABLE_FOR), "they moved on");
        assert_eq!(due(counts(3, 3), 2_500), Some(Duration::from_secs(1)));
        assert_eq!(due(counts(3, 3), 3_500), Some(Duration::ZERO));
        assert_eq!(due(counts(2, 2), 3_600), None, "back where they were");
        assert_eq!(due(counts(3, 3), 3_700), Some(STABLE_FOR), "and it counts from anew");
    }

    #[tokio::test]
    async fn a_new_leader_waits_for_pods_to_reconnect() {
        let (now, mut pending) = (Instant::now(), PendingCounts::default());
        let leading_for = Duration::from_secs(3);
        assert_eq!(pending.due(&key(), (counts(0, 0), counts(2, 2)), leading_for, now), Some(Duration::from_secs(7)));
    }
}
