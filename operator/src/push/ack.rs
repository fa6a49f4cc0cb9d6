//! What each connected data plane has in force.
//!
//! Sessions of this replica report here; what other replicas report is merged in, so that the lease holder sees every
//! pod. A pod that reconnects replaces its older entry, wherever that was. Two answers come out: [`Standing`], for
//! statuses, and [`Fleet`], which tells data planes how many of them share a limit.
//!
//! A pod that left goes on serving what it had, and comes back with that: for [`AWAY`] it stands in the way of calling a
//! resource programmed that it did not have. The fleet shrinks late too: a pod whose stream broke goes on serving with its share, so its share is given to others only
//! after [`LINGER`]. For the same reason pods that come back to a restarted operator keep the share they have until the
//! others had time to come back too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use routeapi_channel::{Catalog, Key, ObjectId, Revision, Version, frame::RejectedKey};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// How long a pod that left is still counted.
pub const LINGER: Duration = Duration::from_secs(10);

/// How long a pod that left without a resource is waited for. Most are back within a second.
pub const AWAY: Duration = Duration::from_secs(5);

/// How long after its start an operator waits for pods to come back before it changes their shares.
pub const SETTLE: Duration = Duration::from_secs(5);

/// Which pod it is, for people; its uid is the key everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodName {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// What one pod has in force, as replicas tell each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodReport {
    /// Tells pods of the same name apart.
    pub uid: String,
    /// Who it is.
    pub pod: PodName,
    /// Milliseconds since 1970 when its stream opened: the newest stream counts.
    pub since: i64,
    /// The last state it acknowledged.
    pub revision: Option<Revision>,
    /// What it refused of that state.
    pub refused: Vec<Refusal>,
    /// Providers whose key their vendor rejects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected_keys: Vec<RejectedKey>,
}

/// A resource that a pod could not use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Which.
    #[serde(flatten)]
    pub key: Key,
    /// In which version.
    pub version: Version,
    /// Why, in the pod's words.
    pub message: String,
}

/// All that is known now.
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
    left: BTreeMap<String, Left>,
}

/// A pod whose stream ended.
#[derive(Debug)]
struct Left {
    at: Instant,
    pod: PodName,
    revision: Option<Revision>,
}

/// The data planes that share limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// Uids in order; the place is the rank.
    pub uids: Vec<String>,
    /// Whether pods had time to come back since the operator's start.
    pub settled: bool,
}

/// How far a state has got, for the status of objects.
#[derive(Debug, Default)]
pub struct Standing {
    /// Pods that are connected.
    pub connected: usize,
    /// Pods that are somewhere, with nothing known of what they have.
    pub strangers: usize,
    groups: Vec<(Option<Arc<Catalog>>, Vec<PodName>)>,
    away: Vec<(Option<Arc<Catalog>>, PodName)>,
    refused: BTreeMap<Key, Vec<(PodName, Version, String)>>,
    rejected_keys: BTreeMap<ObjectId, Vec<(PodName, RejectedKey)>>,
}

/// A provider's key that its vendor rejects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRejection {
    /// The status of the answers: 401 or 403.
    pub status: u16,
    /// Since when, in seconds since 1970.
    pub since: i64,
    /// The pods that were answered so.
    pub pods: Names,
}

/// How far one resource has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Pods that have it in force.
    pub acknowledged: usize,
    /// Pods that are connected.
    pub connected: usize,
    /// Connected pods that have neither acknowledged nor refused it.
    pub missing: Names,
    /// Pods that were connected a moment ago and did not have it.
    pub away: usize,
    /// Those of them whose names are known.
    pub away_names: Names,
    /// The first refusal of this version, with the names of the pods that refused it.
    pub rejection: Option<String>,
}

/// Pods, the first few by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    first: Vec<String>,
    more: usize,
}

// === impl AckBook ===

impl AckBook {
    /// Of an operator that starts now.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            pods: Mutex::default(),
            changed: watch::Sender::new(0),
            fleet: watch::Sender::default(),
            started: Instant::now(),
        })
    }

    /// A stream opened. An older stream of the same pod is forgotten. Returns the time it goes by from now on, which is
    /// later than that of any older one.
    pub fn joined(&self, mut report: PodReport) -> i64 {
        let mut pods = self.lock();
        let older = pods.connected().get(&report.uid).map(|held| held.since + 1);
        report.since = older.unwrap_or_default().max(report.since);
        let since = report.since;
        pods.left.remove(&report.uid);
        pods.local.insert(report.uid.clone(), report);
        self.finish(pods);
        since
    }

    /// Whether no newer stream of the same pod opened, here or at another replica.
    pub fn is_newest(&self, uid: &str, since: i64) -> bool {
        self.lock().connected().get(uid).is_none_or(|held| held.since <= since)
    }

    /// A pod answered on the stream that opened at `since`.
    pub fn answered(&self, uid: &str, since: i64, revision: &Revision, refused: Vec<Refusal>) {
        let mut pods = self.lock();
        if let Some(report) = pods.local.get_mut(uid).filter(|report| report.since == since) {
            report.revision = Some(revision.clone());
            report.refused = refused;
        }
        self.finish(pods);
    }

    /// Which providers' keys are rejected, as a pod says on the stream that opened at `since`.
    pub fn rejected_keys(&self, uid: &str, since: i64, rejected: Vec<RejectedKey>) {
        let mut pods = self.lock();
        let held = pods.local.get_mut(uid).filter(|report| report.since == since);
        if let Some(report) = held.filter(|report| report.rejected_keys != rejected) {
            report.rejected_keys = rejected;
            self.finish(pods);
        }
    }

    /// The stream that opened at `since` ended.
    pub fn left(&self, uid: &str, since: i64) {
        let mut pods = self.lock();
        if pods.local.get(uid).is_some_and(|report| report.since == since)
            && let Some(PodReport { pod, revision, .. }) = pods.local.remove(uid)
        {
            pods.left.insert(uid.to_owned(), Left { at: Instant::now(), pod, revision });
        }
        self.finish(pods);
    }

    /// What another replica reports; none if it cannot be reached any more.
    pub fn peer(&self, peer: &str, reports: Option<Vec<PodReport>>) {
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
            if !pods.connected().contains_key(&uid) {
                pods.left.insert(uid, Left { at, pod, revision });
            }
        }
        self.finish(pods);
    }

    /// Which other replicas are known.
    pub fn known_peers(&self) -> Vec<String> {
        self.lock().peers.keys().cloned().collect()
    }

    /// Lets time pass: pods that left long ago are no longer counted.
    pub fn tick(&self) {
        let mut pods = self.lock();
        let now = Instant::now();
        pods.left.retain(|_, left| now.duration_since(left.at) < LINGER);
        let fleet = Arc::new(self.fleet_of(&pods));
        drop(pods);
        self.set_fleet(fleet);
    }

    /// The pods of this replica, for its peers.
    pub fn local(&self) -> Vec<PodReport> {
        self.lock().local.values().cloned().collect()
    }

    /// Moves with every answer, arrival and departure.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The data planes that share limits.
    pub fn fleet(&self) -> watch::Receiver<Arc<Fleet>> {
        self.fleet.subscribe()
    }

    /// How far states have got. `recall` finds a state by its name.
    pub fn standing(&self, recall: impl Fn(&Revision) -> Option<Arc<Catalog>>) -> Standing {
        let pods = self.lock();
        let connected = pods.connected();
        let mut by_revision: BTreeMap<Option<&Revision>, Vec<PodName>> = BTreeMap::new();
        let mut standing = Standing { connected: connected.len(), ..Standing::default() };
        for report in connected.values() {
            by_revision.entry(report.revision.as_ref()).or_default().push(report.pod.clone());
            for key in report.rejected_keys.iter().filter(|key| matches!(key.status, 401 | 403)) {
                standing.rejected_keys.entry(key.provider.clone()).or_default().push((report.pod.clone(), key.clone()));
            }
            for refusal in &report.refused {
                let refused = standing.refused.entry(refusal.key.clone()).or_default();
                refused.push((report.pod.clone(), refusal.version.clone(), refusal.message.clone()));
            }
        }
        standing.groups = by_revision.into_iter().map(|(revision, pods)| (revision.and_then(&recall), pods)).collect();
        let away = pods.left.iter().filter(|(uid, left)| left.at.elapsed() < AWAY && !connected.contains_key(*uid));
        let left = |left: &Left| (left.revision.as_ref().and_then(&recall), left.pod.clone());
        standing.away = away.map(|(_, it)| left(it)).collect();
        standing
    }

    fn finish(&self, pods: MutexGuard<'_, Pods>) {
        let fleet = Arc::new(self.fleet_of(&pods));
        drop(pods);
        self.set_fleet(fleet);
        self.changed.send_modify(|count| *count += 1);
    }

    fn fleet_of(&self, pods: &Pods) -> Fleet {
        let uids: BTreeSet<_> = pods.connected().into_keys().chain(pods.left.keys().cloned()).collect();
        Fleet { uids: uids.into_iter().collect(), settled: self.started.elapsed() >= SETTLE }
    }

    fn set_fleet(&self, fleet: Arc<Fleet>) {
        self.fleet.send_if_modified(|held| {
            let differs = *held != fleet;
            *held = fleet;
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
    fn connected(&self) -> BTreeMap<String, &PodReport> {
        let mut newest: BTreeMap<String, &PodReport> = BTreeMap::new();
        for report in self.local.values().chain(self.peers.values().flatten()) {
            let held = newest.entry(report.uid.clone()).or_insert(report);
            if report.since > held.since {
                *held = report;
            }
        }
        newest
    }
}

// === impl Standing ===

impl Standing {
    /// How far one version of a resource has got.
    pub fn of(&self, key: &Key, version: &Version) -> Progress {
        let refusals = self.refused.get(key).map_or(&[][..], Vec::as_slice);
        let refusals: Vec<_> = refusals.iter().filter(|(_, refused, _)| refused == version).collect();
        let has = |catalog: &Option<Arc<Catalog>>| {
            catalog.as_ref().and_then(|it| it.get(key)).is_some_and(|entry| entry.version == *version)
        };
        let told: usize = self.groups.iter().filter(|(catalog, _)| has(catalog)).map(|(_, pods)| pods.len()).sum();
        let refused_by = |pod: &PodName| refusals.iter().any(|(by, ..)| by == pod);
        let untold = self.groups.iter().filter(|(catalog, _)| !has(catalog)).flat_map(|(_, pods)| pods);
        let away: Vec<_> = self.away.iter().filter(|(catalog, _)| !has(catalog)).map(|(_, pod)| pod).collect();
        let rejection = refusals.first().map(|(pod, _, message)| {
            let others = Names::of(refusals.iter().skip(1).map(|(pod, ..)| pod));
            let others = if others.is_empty() { String::new() } else { format!(" (also refused by {others})") };
            format!("pod {pod}: {message}{others}")
        });
        Progress {
            acknowledged: told.saturating_sub(refusals.len()),
            connected: self.connected,
            missing: Names::of(untold.filter(|pod| !refused_by(pod))),
            away: away.len().max(self.strangers),
            away_names: Names::of(away),
            rejection,
        }
    }
}

impl Standing {
    /// Whether connected pods say that this provider's key is rejected.
    pub fn key_rejection(&self, provider: &ObjectId) -> Option<KeyRejection> {
        let told = self.rejected_keys.get(provider)?;
        let (_, first) = told.iter().min_by_key(|(_, key)| key.since)?;
        let pods = Names::of(told.iter().map(|(pod, _)| pod));
        Some(KeyRejection { status: first.status, since: first.since, pods })
    }
}

impl Names {
    /// How many are named.
    const FEW: usize = 3;

    /// In the order of their names.
    pub fn of<'a>(pods: impl IntoIterator<Item = &'a PodName>) -> Self {
        let mut first: Vec<_> = pods.into_iter().map(PodName::to_string).collect();
        first.sort_unstable();
        let more = first.len().saturating_sub(Self::FEW);
        first.truncate(Self::FEW);
        Self { first, more }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }
}

impl fmt::Display for Names {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.first.join(", "))?;
        match self.more {
            0 => Ok(()),
            more => write!(out, " and {more} more"),
        }
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

impl Progress {
    /// Whether every connected pod has it.
    pub fn complete(&self) -> bool {
        self.connected > 0 && self.acknowledged == self.connected
    }
}

#[cfg(test)]
mod tests;
