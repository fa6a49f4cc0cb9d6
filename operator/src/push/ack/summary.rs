//! How far a state has been rolled out, for the status of objects.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use routeapi_channel::{Catalog, Key, Kind, ObjectId, Version, frame::RejectedKey};

use super::super::pod_name::PodName;

/// How far states have been rolled out, for the status of objects.
#[derive(Debug, Default)]
pub struct AckSummary {
    /// Number of connected pods.
    pub connected: usize,
    /// Number of pods that probably exist although they are not connected, with an unknown state.
    pub unaccounted: usize,
    /// Connected pods by the state they have in force; none if that is unknown.
    pub(super) groups: Vec<(Option<Arc<Catalog>>, Vec<PodName>)>,
    pub(super) recently_disconnected: Vec<(Option<Arc<Catalog>>, PodName)>,
    pub(super) rejected: BTreeMap<Key, Vec<(PodName, Version, String)>>,
    pub(super) rejected_keys: BTreeMap<ObjectId, Vec<(PodName, RejectedKey)>>,
}

/// Which pods there are, as far as it matters to the status of every object.
#[derive(Debug, PartialEq, Eq)]
pub struct Membership {
    connected: usize,
    unaccounted: usize,
    /// Connected pods, and whether it is known what they have.
    pods: BTreeSet<(bool, String)>,
    recently_disconnected: Vec<String>,
}

/// A provider's key that the vendor rejects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRejection {
    /// HTTP status of the rejection: 401 or 403; with a message, that of whoever issues tokens.
    pub status: u16,
    /// Time of the first rejection in seconds since 1970.
    pub since: i64,
    /// The words of whoever refuses a token to the provider's identity; none if the upstream rejects a key.
    pub message: Option<String>,
    /// The pods that report it.
    pub pods: PodNames,
}

/// How far one version of a resource has been rolled out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Number of pods that have it in force.
    pub acknowledged: usize,
    /// Number of connected pods.
    pub connected: usize,
    /// Connected pods that have neither acknowledged nor rejected it.
    pub missing: PodNames,
    /// Number of pods without it that disconnected recently.
    pub recently_disconnected: usize,
    /// The names of those, as far as they are known.
    pub recently_disconnected_names: PodNames,
    /// The message of the first pod that rejected it, with the names of all that did.
    pub rejection: Option<String>,
}

/// Names of pods; displays the first three and the number of others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodNames {
    first: Vec<String>,
    more: usize,
}

// === impl AckSummary ===

impl AckSummary {
    /// The progress of one version of a resource.
    pub fn of(&self, key: &Key, version: &Version) -> Progress {
        let rejections = self.rejected.get(key).map_or(&[][..], Vec::as_slice);
        let rejections: Vec<_> = rejections.iter().filter(|(_, rejected, _)| rejected == version).collect();
        let has = |catalog: &Option<Arc<Catalog>>| {
            catalog.as_ref().and_then(|catalog| catalog.get(key)).is_some_and(|entry| entry.version == *version)
        };
        let received: usize = self.groups.iter().filter(|(catalog, _)| has(catalog)).map(|(_, pods)| pods.len()).sum();
        let rejected_by = |pod: &PodName| rejections.iter().any(|(by, ..)| by == pod);
        let without = self.groups.iter().filter(|(catalog, _)| !has(catalog)).flat_map(|(_, pods)| pods);
        let disconnected = self.recently_disconnected.iter().filter(|(catalog, _)| !has(catalog));
        let disconnected: Vec<_> = disconnected.map(|(_, pod)| pod).collect();
        let rejection = rejections.first().map(|(pod, _, message)| {
            let others = PodNames::of(rejections.iter().skip(1).map(|(pod, ..)| pod));
            let others = if others.is_empty() { String::new() } else { format!(" (also rejected by {others})") };
            format!("pod {pod}: {message}{others}")
        });
        Progress {
            acknowledged: received.saturating_sub(rejections.len()),
            connected: self.connected,
            missing: PodNames::of(without.filter(|pod| !rejected_by(pod))),
            recently_disconnected: disconnected.len().max(self.unaccounted),
            recently_disconnected_names: PodNames::of(disconnected),
            rejection,
        }
    }

    /// Whether every connected pod has this version of a resource in force.
    pub fn all_have(&self, key: &Key, version: &Version) -> bool {
        let has = |catalog: &Option<Arc<Catalog>>| {
            catalog.as_ref().and_then(|catalog| catalog.get(key)).is_some_and(|entry| entry.version == *version)
        };
        let rejections = self.rejected.get(key).into_iter().flatten();
        self.groups.iter().all(|(catalog, _)| has(catalog)) && !rejections.into_iter().any(|(_, of, _)| of == version)
    }

    /// Which pods there are.
    pub fn membership(&self) -> Membership {
        let named = |(state, pods): &'_ (Option<Arc<Catalog>>, Vec<PodName>)| {
            let known = state.is_some();
            pods.iter().map(|pod| (known, pod.to_string())).collect::<Vec<_>>()
        };
        Membership {
            connected: self.connected,
            unaccounted: self.unaccounted,
            pods: self.groups.iter().flat_map(named).collect(),
            recently_disconnected: self.recently_disconnected.iter().map(|(_, pod)| pod.to_string()).collect(),
        }
    }

    /// The resources that pods reject, and the providers whose keys are rejected.
    pub fn rejected_resources(&self) -> BTreeSet<Key> {
        let providers = self.rejected_keys.keys().map(|id| Key { kind: Kind::Provider, id: id.clone() });
        self.rejected.keys().cloned().chain(providers).collect()
    }

    /// Whether connected pods report that this provider's key is rejected.
    pub fn key_rejection(&self, provider: &ObjectId) -> Option<KeyRejection> {
        let reports = self.rejected_keys.get(provider)?;
        // What an identity is refused for says more than what follows from it.
        let (_, first) = reports.iter().min_by_key(|(_, key)| (key.message.is_none(), key.since))?;
        let alike = reports.iter().filter(|(_, key)| key.message.is_some() == first.message.is_some());
        let pods = PodNames::of(alike.map(|(pod, _)| pod));
        Some(KeyRejection { status: first.status, since: first.since, message: first.message.clone(), pods })
    }
}

impl PodNames {
    /// How many are named: enough to start looking.
    const MAX_NAMED: usize = 3;

    /// The names of these pods, sorted.
    pub fn of<'a>(pods: impl IntoIterator<Item = &'a PodName>) -> Self {
        let mut first: Vec<_> = pods.into_iter().map(PodName::to_string).collect();
        first.sort_unstable();
        let more = first.len().saturating_sub(Self::MAX_NAMED);
        first.truncate(Self::MAX_NAMED);
        Self { first, more }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }
}

impl fmt::Display for PodNames {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.first.join(", "))?;
        match self.more {
            0 => Ok(()),
            more => write!(out, " and {more} more"),
        }
    }
}

impl Progress {
    /// Whether there is a connected pod, and every one has it.
    pub fn complete(&self) -> bool {
        self.connected > 0 && self.acknowledged == self.connected
    }
}
