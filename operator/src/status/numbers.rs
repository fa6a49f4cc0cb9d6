//! How many pods have a route, as `kubectl get airoute` shows it: when that is written again although no condition
//! changed its answer.
//!
//! Pods come and go all day, which is no news and must be no storm. Numbers that differ from those shown are written once
//! they have stood for [`STEADY`], and not before the pods of an operator that starts to write had time to come back. So a
//! change that lasts costs one patch per AIRoute, and ten pods that are rolled one by one at most twenty. All of them
//! together stay within `writer::Pace`, 20 per second, where they leave news half of the burst: 1,000 routes are right
//! again after some 50 s. Other kinds show no numbers.

use std::{collections::BTreeMap, time::Duration};

use routeapi_channel::Key;
use routeapi_crds::v1alpha1::DataPlaneStatus;
use tokio::time::Instant;

use super::decide::GRACE;
use crate::push::ack::Progress;

/// How long numbers have to stand before they are worth a write.
pub const STEADY: Duration = Duration::from_secs(2);

/// Of an AIRoute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pods {
    acknowledged: i32,
    connected: i32,
}

/// Numbers that differ from those shown, and since when they are what they are.
#[derive(Debug, Default)]
pub struct Unsaid(BTreeMap<Key, (Pods, Instant)>);

impl Unsaid {
    /// How long until these numbers should be written; none if they are what is shown. `led`: since when this replica has
    /// been the one that writes.
    pub fn due(&mut self, key: &Key, (wanted, shown): (Pods, Pods), led: Duration, now: Instant) -> Option<Duration> {
        if wanted == shown {
            self.0.remove(key);
            return None;
        }
        let held = self.0.entry(key.clone()).or_insert((wanted, now));
        if held.0 != wanted {
            *held = (wanted, now);
        }
        Some(STEADY.saturating_sub(now.duration_since(held.1)).max(GRACE.saturating_sub(led)))
    }

    /// Forgets objects that are gone.
    pub fn retain(&mut self, keep: impl Fn(&Key) -> bool) {
        self.0.retain(|key, _| keep(key));
    }
}

impl Pods {
    /// How many are connected.
    pub fn connected(self) -> Option<usize> {
        usize::try_from(self.connected).ok()
    }
}

impl From<&Progress> for Pods {
    fn from(progress: &Progress) -> Self {
        let count = |it| i32::try_from(it).unwrap_or(i32::MAX);
        Self { acknowledged: count(progress.acknowledged), connected: count(progress.connected) }
    }
}

impl From<&DataPlaneStatus> for Pods {
    fn from(shown: &DataPlaneStatus) -> Self {
        Self { acknowledged: shown.acknowledged, connected: shown.connected }
    }
}

impl From<Pods> for DataPlaneStatus {
    fn from(Pods { acknowledged, connected }: Pods) -> Self {
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

    const fn pods(acknowledged: i32, connected: i32) -> Pods {
        Pods { acknowledged, connected }
    }

    #[tokio::test]
    async fn numbers_are_due_when_they_have_stood_for_a_while() {
        let (start, mut unsaid) = (Instant::now(), Unsaid::default());
        let at = |ms| start + Duration::from_millis(ms);
        let mut due = |wanted, ms| unsaid.due(&key(), (wanted, pods(2, 2)), LONG, at(ms));
        assert_eq!(due(pods(2, 2), 0), None);
        assert_eq!(due(pods(2, 3), 1_000), Some(STEADY));
        assert_eq!(due(pods(3, 3), 1_500), Some(STEADY), "they moved on");
        assert_eq!(due(pods(3, 3), 2_500), Some(Duration::from_secs(1)));
        assert_eq!(due(pods(3, 3), 3_500), Some(Duration::ZERO));
        assert_eq!(due(pods(2, 2), 3_600), None, "back where they were");
        assert_eq!(due(pods(3, 3), 3_700), Some(STEADY), "and it counts from anew");
    }

    #[tokio::test]
    async fn who_starts_to_write_waits_for_pods_to_come_back() {
        let (now, mut unsaid) = (Instant::now(), Unsaid::default());
        let led = Duration::from_secs(3);
        assert_eq!(unsaid.due(&key(), (pods(0, 0), pods(2, 2)), led, now), Some(Duration::from_secs(7)));
    }
}
