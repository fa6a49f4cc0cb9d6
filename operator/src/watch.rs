//! One guarded watch per kind and namespace into the index.
//!
//! Guarded: an object that cannot be decoded is handed on as broken and never stops the stream. A watch that fails is
//! started again with back-off, forever; what it missed comes with the next list.

use std::{collections::BTreeSet, pin::pin, sync::Arc, time::Duration};

use futures_util::TryStreamExt;
use k8s_openapi::{
    ClusterResourceScope, NamespaceResourceScope,
    api::core::v1::{ConfigMap, Namespace, Secret},
};
use kube::{
    Api, Client, Resource,
    api::ListParams,
    core::error_boundary::DeserializeGuard,
    runtime::{
        WatchStreamExt,
        utils::{Backoff, ResetTimerBackoff},
        watcher,
        watcher::Event,
    },
};
use routeapi_channel::{Key, Kind};
use routeapi_crds::v1alpha1::{AIProvider, AIRoute, ApiToken};
use tokio::{task::JoinSet, time};
use tracing::{debug, warn};

use crate::{
    index::{Index, Indexed, Scope, id_of},
    parts::Parts,
    settings::Settings,
    telemetry::Metrics,
};

/// Helm keeps whole releases in Secrets of this type; none of them is a credential.
const NOT_HELM: &str = "type!=helm.sh/release.v1";

/// Objects in one answer of a list. What is in flight and being read at a time is bounded by this many of the largest
/// objects that an API server takes, 1.5 MiB each.
const PAGE: u32 = 32;

/// How soon an object that has come within its namespace's bounds is tried again if it cannot be read.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// The waits between starts of a watch that fails: doubling from the first to the longest, and from the start again once
/// it has been well for a while. The usual longest wait, half a minute, would be added to every outage.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(4);
const WELL: Duration = Duration::from_secs(30);

/// See [`FIRST_WAIT`].
#[derive(Debug, Default)]
struct Waits {
    failures: u32,
}

/// What all watches share.
#[derive(Clone)]
struct Watches {
    client: Client,
    index: Arc<Index>,
    metrics: Arc<Metrics>,
}

/// How soon a watch that fails is started again.
pub fn backoff() -> impl Backoff {
    ResetTimerBackoff::new(Waits::default(), WELL)
}

/// Every watch that these settings ask for, before any has started.
pub fn scopes(settings: &Settings) -> Vec<Scope> {
    let ours = [AIProvider::PLURAL, AIRoute::PLURAL, ApiToken::PLURAL];
    let theirs = [Secret::PLURAL, ConfigMap::PLURAL];
    let all = |plurals: &[&'static str], namespaces: &[Option<String>]| -> Vec<Scope> {
        let pairs = plurals.iter().flat_map(|plural| namespaces.iter().map(move |it| (*plural, it.clone())));
        pairs.map(|(plural, namespace)| Scope { plural, namespace }).collect()
    };
    let mut scopes = all(&ours, &watched(settings));
    scopes.extend(all(&theirs, &provider_namespaces(settings)));
    scopes.push(Scope { plural: Namespace::PLURAL, namespace: None });
    scopes
}

/// Starts them. They run until aborted.
pub fn start(tasks: &mut JoinSet<()>, settings: &Settings, parts: &Parts) {
    let watches =
        Watches { client: parts.client.clone(), index: Arc::clone(&parts.index), metrics: Arc::clone(&parts.metrics) };
    let config = watcher::Config::default().page_size(PAGE);
    let ours = match &settings.selector {
        Some(selector) => config.clone().labels(selector),
        None => config.clone(),
    };
    for namespace in watched(settings) {
        tasks.spawn(watches.clone().in_namespace::<AIProvider>(namespace.clone(), ours.clone()));
        tasks.spawn(watches.clone().in_namespace::<AIRoute>(namespace.clone(), ours.clone()));
        tasks.spawn(watches.clone().in_namespace::<ApiToken>(namespace, ours.clone()));
    }
    for namespace in provider_namespaces(settings) {
        tasks.spawn(watches.clone().in_namespace::<Secret>(namespace.clone(), config.clone().fields(NOT_HELM)));
        tasks.spawn(watches.clone().in_namespace::<ConfigMap>(namespace, config.clone()));
    }
    tasks.spawn(watches.clone().read_wanted());
    tasks.spawn(watches.in_cluster::<Namespace>(config));
}

fn watched(settings: &Settings) -> Vec<Option<String>> {
    match settings.watch_namespaces.as_slice() {
        [] => vec![None],
        named => named.iter().cloned().map(Some).collect(),
    }
}

fn provider_namespaces(settings: &Settings) -> Vec<Option<String>> {
    settings.provider_namespaces().into_iter().map(Some).collect()
}

// === impl Watches ===

impl Watches {
    async fn in_namespace<K>(self, namespace: Option<String>, config: watcher::Config)
    where
        K: Indexed + Resource<Scope = NamespaceResourceScope>,
    {
        let api = match &namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        self.run::<K>(api, namespace, config).await;
    }

    async fn in_cluster<K: Indexed + Resource<Scope = ClusterResourceScope>>(self, config: watcher::Config) {
        let api = Api::all(self.client.clone());
        self.run::<K>(api, None, config).await;
    }

    /// Reads objects again that have come within their namespace's bounds.
    async fn read_wanted(self) {
        loop {
            let mut failed = Vec::new();
            for key in self.index.wanted().await {
                let read = match key.kind {
                    Kind::Provider => self.read::<AIProvider>(&key).await,
                    Kind::Route => self.read::<AIRoute>(&key).await,
                    Kind::Token => self.read::<ApiToken>(&key).await,
                    Kind::Namespace | Kind::Unknown(_) => Ok(()),
                };
                if let Err(error) = read {
                    debug!(object = %key.id, %error, "cannot be read again now");
                    failed.push(key);
                }
            }
            if !failed.is_empty() {
                time::sleep(READ_AGAIN).await;
                self.index.want_again(failed);
            }
        }
    }

    async fn read<K>(&self, key: &Key) -> Result<(), kube::Error>
    where
        K: Indexed + Resource<Scope = NamespaceResourceScope>,
    {
        let api: Api<DeserializeGuard<K>> = Api::namespaced(self.client.clone(), key.id.namespace());
        // By a list of one, for which the right to watch is enough. One that is gone will be told by its watch.
        let one = ListParams::default().fields(&format!("metadata.name={}", key.id.name()));
        for object in api.list(&one).await?.items {
            self.index.apply_wanted::<K>(object.0);
        }
        Ok(())
    }

    async fn run<K: Indexed>(self, api: Api<DeserializeGuard<K>>, namespace: Option<String>, config: watcher::Config) {
        let scope = Scope { plural: K::PLURAL, namespace };
        let mut events = pin!(watcher(api.clone(), config).backoff(backoff()));
        let mut seen = BTreeSet::new();
        loop {
            match events.try_next().await {
                Ok(Some(event)) => self.take::<K>(event, &scope, &mut seen, &api).await,
                Ok(None) => return,
                Err(error) => {
                    self.metrics.watch_failed(K::PLURAL);
                    let namespace = scope.namespace.as_deref().unwrap_or("*");
                    warn!(kind = K::PLURAL, namespace, %error, "watch failed, it will be started again");
                }
            }
        }
    }

    async fn take<K: Indexed>(
        &self,
        event: Event<DeserializeGuard<K>>,
        scope: &Scope,
        seen: &mut BTreeSet<routeapi_channel::ObjectId>,
        api: &Api<DeserializeGuard<K>>,
    ) {
        match event {
            Event::Init => {
                seen.clear();
                self.raise_floor::<K>(api).await;
            }
            Event::InitApply(object) => {
                seen.insert(id_of(object.meta()));
                self.apply::<K>(object);
            }
            Event::Apply(object) => self.apply::<K>(object),
            Event::Delete(object) => self.index.delete::<K>(object.meta()),
            Event::InitDone => {
                debug!(kind = K::PLURAL, objects = seen.len(), "listed");
                self.index.listed::<K>(scope, &std::mem::take(seen));
            }
        }
    }

    /// A list that follows is at least as new as one that is asked for now. Objects alone do not tell how new: the last
    /// event may have been a deletion, and a floor below it would make data planes take this state for an older one.
    async fn raise_floor<K: Indexed>(&self, api: &Api<DeserializeGuard<K>>) {
        if let Ok(list) = api.list_metadata(&ListParams::default().limit(1)).await {
            self.index.raise(K::PLURAL, list.metadata.resource_version.as_deref());
        }
    }

    fn apply<K: Indexed>(&self, object: DeserializeGuard<K>) {
        if let Err(broken) = &object.0 {
            let id = id_of(&broken.metadata);
            warn!(kind = K::PLURAL, object = %id, error = %broken.error, "object cannot be read");
        }
        self.index.apply::<K>(object.0);
    }
}

// === impl Waits ===

impl Iterator for Waits {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = FIRST_WAIT.saturating_mul(1 << self.failures.min(8)).min(LONGEST_WAIT);
        self.failures += 1;
        // Replicas that lost the same API server do not come back in step.
        let spread = u32::try_from(jiff::Timestamp::now().subsec_microsecond()).unwrap_or_default() % 256;
        Some(wait - wait / 1024 * spread)
    }
}

impl Backoff for Waits {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_never_end() {
        let mut waits = Waits::default();
        let seen: Vec<_> = waits.by_ref().take(100).collect();
        let within = |at: usize, most: Duration| (most * 3 / 4..=most).contains(&seen[at]);
        assert!(within(0, FIRST_WAIT) && within(1, FIRST_WAIT * 2) && within(99, LONGEST_WAIT), "{seen:?}");
        waits.reset();
        assert!(waits.next().unwrap() <= FIRST_WAIT);
    }
}
