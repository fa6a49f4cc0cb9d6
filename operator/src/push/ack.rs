//! What each connected data plane has in force.
//!
//! Sessions of this replica report here; reports of other replicas are merged in, so that the leader sees every pod. A pod that
//! reconnects replaces its older entry, at whichever replica that was. There are two results: [`AckSummary`], for statuses,
//! and [`Fleet`], which tells data planes how many of them share a limit.
//!
//! A pod that disconnected still serves what it has, and reconnects with that: for [`RECONNECT_GRACE`] a resource that it does
//! not have is not reported as programmed. It also keeps its share of the limits, which others get only after
//! [`SHARE_RELEASE_DELAY`]. For the same reason, pods that reconnect to a restarted operator keep their share until the others
//! had time to reconnect too.

mod summary;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use routeapi_channel::{Catalog, Key, Revision, Version, frame::RejectedKey};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::pod_name::PodName;
pub use summary::{AckSummary, KeyRejection, Membership, PodNames, Progress};

/// How long a disconnected pod keeps its share of limits. Data planes reconnect within a few seconds, also after a restart of
/// the operator.
pub const SHARE_RELEASE_DELAY: Duration = Duration::from_secs(10);

/// How long a disconnected pod without a resource delays `Programmed`. Most reconnect within a second.
pub const RECONNECT_GRACE: Duration = Duration::from_secs(5);

/// How long an operator waits after its start for pods to reconnect before it changes their shares.
pub const STARTUP_GRACE: Duration = Duration::from_secs(5);

/// What one pod has in force, in the form that replicas exchange. Replicas of the previous version must be able to read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodReport {
    /// UID of the pod.
    pub uid: String,
    /// Name of the pod.
    pub pod: PodName,
    /// Time when its stream opened in milliseconds since 1970. Of several streams the newest counts.
    pub since: i64,
    /// The revision that it acknowledged last.
    pub revision: Option<Revision>,
    /// The resources of that state that it rejected.
    pub refused: Vec<RejectedResource>,
    /// Providers whose key the vendor rejects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected_keys: Vec<RejectedKey>,
}

/// A resource that a pod rejected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedResource {
    /// The resource.
    #[serde(flatten)]
    pub key: Key,
    /// The rejected version.
    pub version: Version,
    /// The reason, as the pod reported it.
    pub message: String,
}

/// The reports of all pods.
#[derive(Debug)]
pub struct AckBook {
    pods: Mutex<Pods>,
    changed: watch::Sender<u64>,
    fleet: watch::Sender<Arc<Fleet>>,
    started: Instant,
}

#[derive(Debug, Default)]
struct Pods {
    local: BTreeMap<String, PodReport>,
    peers: BTreeMap<String, Vec<PodReport>>,
    disconnected: BTreeMap<String, DisconnectedPod>,
}

/// A pod whose stream ended.
#[derive(Debug)]
struct DisconnectedPod {
    at: Instant,
    pod: PodName,
    revision: Option<Revision>,
}

/// The data planes that share limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// UIDs in ascending order; the index is the rank.
    pub uids: Vec<String>,
    /// Whether pods had time to reconnect since the operator's start.
    pub stable: bool,
}

// === impl AckBook ===

impl AckBook {
    /// No reports yet; [`STARTUP_GRACE`] starts now.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            pods: Mutex::default(),
            changed: watch::Sender::new(0),
            fleet: watch::Sender::default(),
            started: Instant::now(),
        })
    }

    /// Records that a stream opened; forgets an older one of the same pod. Returns the time that identifies the stream, which is
    /// later than that of any older one.
    pub fn connected(&self, mut report: PodReport) -> i64 {
        let mut pods = self.lock();
        let older = pods.newest_reports().get(&report.uid).map(|report| report.since + 1);
        report.since = older.unwrap_or_default().max(report.since);
        let since = report.since;
        pods.disconnected.remove(&report.uid);
        pods.local.insert(report.uid.clone(), report);
        self.publish_changes(pods);
        since
    }

    /// Whether no newer stream of the same pod has opened, here or at another replica.
    pub fn is_newest(&self, uid: &str, since: i64) -> bool {
        let pods = self.lock();
        let mut reports = pods.local.get(uid).into_iter().chain(pods.peers.values().flatten());
        reports.all(|report| report.uid != uid || report.since <= since)
    }

    /// Records an acknowledgement on the stream that opened at `since`.
    pub fn acknowledged(&self, uid: &str, since: i64, revision: &Revision, rejected: Vec<RejectedResource>) {
        let mut pods = self.lock();
        if let Some(report) = pods.local.get_mut(uid).filter(|report| report.since == since) {
            report.revision = Some(revision.clone());
            report.refused = rejected;
        }
        drop(pods);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Records rejected provider keys that were reported on the stream that opened at `since`.
    pub fn rejected_keys(&self, uid: &str, since: i64, rejected: Vec<RejectedKey>) {
        let mut pods = self.lock();
        let report = pods.local.get_mut(uid).filter(|report| report.since == since);
        if let Some(report) = report.filter(|report| report.rejected_keys != rejected) {
            report.rejected_keys = rejected;
            self.publish_changes(pods);
        }
    }

    /// Records the end of the stream that opened at `since`.
    pub fn disconnected(&self, uid: &str, since: i64) {
        let mut pods = self.lock();
        if pods.local.get(uid).is_some_and(|report| report.since == since)
            && let Some(PodReport { pod, revision, .. }) = pods.local.remove(uid)
        {
            pods.disconnected.insert(uid.to_owned(), DisconnectedPod { at: Instant::now(), pod, revision });
        }
        self.publish_changes(pods);
    }

    /// Records the reports of another replica; none if it is unreachable.
    pub fn set_peer_reports(&self, peer: &str, reports: Option<Vec<PodReport>>) {
        let mut pods = self.lock();
        let before = match reports {
            Some(reports) => pods.peers.insert(peer.to_owned(), reports),
            None => pods.peers.remove(peer),
        };
        if pods.peers.get(peer) == before.as_ref() {
            return;
        }
        let at = Instant::now();
        for PodReport { uid, pod, revision, .. } in before.unwrap_or_default() {
            if !pods.newest_reports().contains_key(&uid) {
                pods.disconnected.insert(uid, DisconnectedPod { at, pod, revision });
            }
        }
        self.publish_changes(pods);
    }

    /// The other replicas with reports.
    pub fn known_peers(&self) -> Vec<String> {
        self.lock().peers.keys().cloned().collect()
    }

    /// Forgets pods that disconnected more than [`SHARE_RELEASE_DELAY`] ago. To be called regularly.
    pub fn expire_disconnected(&self) {
        let mut pods = self.lock();
        let now = Instant::now();
        pods.disconnected.retain(|_, pod| now.duration_since(pod.at) < SHARE_RELEASE_DELAY);
        let fleet = Arc::new(self.fleet_of(&pods));
        drop(pods);
        self.set_fleet(fleet);
    }

    /// The reports of this replica's pods, for other replicas.
    pub fn local_reports(&self) -> Vec<PodReport> {
        self.lock().local.values().cloned().collect()
    }

    /// Changes with every acknowledgement, connect and disconnect.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The data planes that share limits.
    pub fn fleet(&self) -> watch::Receiver<Arc<Fleet>> {
        self.fleet.subscribe()
    }

    /// The progress of rollouts. `resolve` finds a state by its revision.
    pub fn summary(&self, resolve: impl Fn(&Revision) -> Option<Arc<Catalog>>) -> AckSummary {
        let pods = self.lock();
        let connected = pods.newest_reports();
        let mut by_revision: BTreeMap<Option<&Revision>, Vec<PodName>> = BTreeMap::new();
        let mut summary = AckSummary { connected: connected.len(), ..AckSummary::default() };
        for report in connected.values() {
            by_revision.entry(report.revision.as_ref()).or_default().push(report.pod.clone());
            for key in
                report.rejected_keys.iter().filter(|key| matches!(key.status, 401 | 403) || key.message.is_some())
            {
                summary.rejected_keys.entry(key.provider.clone()).or_default().push((report.pod.clone(), key.clone()));
            }
            for resource in &report.refused {
                let rejected = summary.rejected.entry(resource.key.clone()).or_default();
                rejected.push((report.pod.clone(), resource.version.clone(), resource.message.clone()));
            }
        }
        summary.groups = by_revision.into_iter().map(|(revision, pods)| (revision.and_then(&resolve), pods)).collect();
        let recently =
            |uid: &String, pod: &DisconnectedPod| pod.at.elapsed() < RECONNECT_GRACE && !connected.contains_key(uid);
        summary.recently_disconnected = pods
            .disconnected
            .iter()
            .filter(|(uid, pod)| recently(uid, pod))
            .map(|(_, pod)| (pod.revision.as_ref().and_then(&resolve), pod.pod.clone()))
            .collect();
        summary
    }

    fn publish_changes(&self, pods: MutexGuard<'_, Pods>) {
        let fleet = Arc::new(self.fleet_of(&pods));
        drop(pods);
        self.set_fleet(fleet);
        self.changed.send_modify(|count| *count += 1);
    }

    fn fleet_of(&self, pods: &Pods) -> Fleet {
        let uids: BTreeSet<_> = pods.newest_reports().into_keys().chain(pods.disconnected.keys().cloned()).collect();
        Fleet { uids: uids.into_iter().collect(), stable: self.started.elapsed() >= STARTUP_GRACE }
    }

    fn set_fleet(&self, fleet: Arc<Fleet>) {
        self.fleet.send_if_modified(|current| {
            let differs = *current != fleet;
            *current = fleet;
            differs
        });
    }

    fn lock(&self) -> MutexGuard<'_, Pods> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Pods ===

impl Pods {
    /// Each pod once, by its newest stream.
    fn newest_reports(&self) -> BTreeMap<String, &PodReport> {
        let mut newest: BTreeMap<String, &PodReport> = BTreeMap::new();
        for report in self.local.values().chain(self.peers.values().flatten()) {
            let known = newest.entry(report.uid.clone()).or_insert(report);
            if report.since > known.since {
                *known = report;
            }
        }
        newest
    }
}

#[cfg(test)]
mod tests;
