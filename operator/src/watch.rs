//! One watch per kind and namespace, into the index.
//!
//! Lists come in large pages, unless a page is larger than it may be ([`page_limit`]).
//!
//! An object that cannot be decoded is passed on as such and never stops the stream. A failed watch is restarted with back-off,
//! forever; what it missed comes with the next list.

mod page_limit;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

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
        utils::{Backoff as KubeBackoff, ResetTimerBackoff},
        watcher,
        watcher::Event,
    },
};
use routeapi_channel::{Key, Kind};
use routeapi_crds::v1alpha1::{AIProvider, AIRoute, ApiToken};
use tokio::{task::JoinSet, time};
use tracing::{debug, warn};

use crate::{
    backoff::Backoff,
    context::Context,
    index::{Index, Indexed, Scope, id_of},
    settings::Settings,
    telemetry::Metrics,
};

/// Helm keeps whole releases in Secrets of this type; none of them is a credential.
const NOT_HELM: &str = "type!=helm.sh/release.v1";

/// Objects per page of a list: fifteen thousand take thirty requests.
const PAGE_SIZE: u32 = 500;

/// The same once a page was too large. It limits the memory for one response: the largest objects that the API server accepts
/// have 1.5 MiB.
const SMALL_PAGE_SIZE: u32 = 32;

/// How often reading an object again is retried after its namespace came within its limits.
const REREAD_INTERVAL: Duration = Duration::from_secs(1);

/// Restarts of a failed watch. The usual maximum, half a minute, would be added to every outage of the API server.
const RESTART: Backoff = Backoff { first: Duration::from_millis(500), max: Duration::from_secs(4) };

/// A watch that has run this long starts again with the first delay.
const RESET_AFTER: Duration = Duration::from_secs(30);

/// Counts failures for [`RESTART`].
#[derive(Debug, Default)]
struct WatchBackoff {
    failures: u32,
}

/// What all watches share.
#[derive(Clone)]
struct Watches {
    client: Client,
    /// For lists in large pages.
    limited: Client,
    index: Arc<Index>,
    metrics: Arc<Metrics>,
}

/// The back-off of a failed watch.
pub fn backoff() -> impl KubeBackoff {
    ResetTimerBackoff::new(WatchBackoff::default(), RESET_AFTER)
}

/// The scopes of all watches with these settings.
pub fn scopes(settings: &Settings) -> Vec<Scope> {
    let ours = [AIProvider::PLURAL, AIRoute::PLURAL, ApiToken::PLURAL];
    let theirs = [Secret::PLURAL, ConfigMap::PLURAL];
    let all = |plurals: &[&'static str], namespaces: &[Option<String>]| -> Vec<Scope> {
        let pairs =
            plurals.iter().flat_map(|plural| namespaces.iter().map(move |namespace| (*plural, namespace.clone())));
        pairs.map(|(plural, namespace)| Scope { plural, namespace }).collect()
    };
    let mut scopes = all(&ours, &watched(settings));
    scopes.extend(all(&theirs, &provider_namespaces(settings)));
    scopes.push(Scope { plural: Namespace::PLURAL, namespace: None });
    scopes
}

/// Starts all watches. They run until aborted.
pub fn start(tasks: &mut JoinSet<()>, settings: &Settings, context: &Context) {
    let watches = Watches {
        client: context.client.clone(),
        limited: page_limit::limited(&context.client),
        index: Arc::clone(&context.index),
        metrics: Arc::clone(&context.metrics),
    };
    let config = watcher::Config::default();
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
    tasks.spawn(watches.clone().reread_admitted());
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
        let api = |client: &Client| match &namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let apis = [api(&self.limited), api(&self.client)];
        self.run::<K>(apis, namespace, config).await;
    }

    async fn in_cluster<K: Indexed + Resource<Scope = ClusterResourceScope>>(self, config: watcher::Config) {
        let apis = [Api::all(self.limited.clone()), Api::all(self.client.clone())];
        self.run::<K>(apis, None, config).await;
    }

    /// Reads objects again whose namespace came within its limits.
    async fn reread_admitted(self) {
        loop {
            let mut failed = Vec::new();
            for key in self.index.rereads().await {
                let read = match key.kind {
                    Kind::Provider => self.read::<AIProvider>(&key).await,
                    Kind::Route => self.read::<AIRoute>(&key).await,
                    Kind::Token => self.read::<ApiToken>(&key).await,
                    Kind::Namespace | Kind::Unknown(_) => Ok(()),
                };
                if let Err(error) = read {
                    debug!(object = %key.id, %error, "cannot read an object again, retrying");
                    failed.push(key);
                }
            }
            if !failed.is_empty() {
                time::sleep(REREAD_INTERVAL).await;
                self.index.requeue_rereads(failed);
            }
        }
    }

    async fn read<K>(&self, key: &Key) -> Result<(), kube::Error>
    where
        K: Indexed + Resource<Scope = NamespaceResourceScope>,
    {
        let api: Api<DeserializeGuard<K>> = Api::namespaced(self.client.clone(), key.id.namespace());
        // A list of one, for which the permission to list is enough. The watch reports one that was deleted.
        let one = ListParams::default().fields(&format!("metadata.name={}", key.id.name()));
        for object in api.list(&one).await?.items {
            self.index.apply_reread::<K>(object.0);
        }
        Ok(())
    }

    /// `apis`: with the limit of pages and without.
    async fn run<K: Indexed>(
        self,
        [large, small]: [Api<DeserializeGuard<K>>; 2],
        namespace: Option<String>,
        config: watcher::Config,
    ) {
        let scope = Scope { plural: K::PLURAL, namespace };
        let watch = |api: &Api<DeserializeGuard<K>>, page_size| {
            Box::pin(watcher(api.clone(), config.clone().page_size(page_size)).backoff(backoff()))
        };
        let mut pages = (&large, PAGE_SIZE);
        let mut events = watch(pages.0, pages.1);
        let mut ids = BTreeSet::new();
        loop {
            match events.try_next().await {
                Ok(Some(event)) => self.handle::<K>(event, &scope, &mut ids, &small).await,
                Ok(None) => return,
                Err(error) => {
                    self.metrics.watch_failed(K::PLURAL);
                    let namespace = scope.namespace.as_deref().unwrap_or("*");
                    warn!(kind = K::PLURAL, namespace, %error, "watch failed, restarting it");
                    let too_large = page_limit::may_be_exceeded(&error);
                    if too_large {
                        pages = (&small, SMALL_PAGE_SIZE);
                    }
                    if too_large || is_expired(&error) {
                        time::sleep(RESTART.first).await;
                        events = watch(pages.0, pages.1);
                    }
                }
            }
        }
    }

    async fn handle<K: Indexed>(
        &self,
        event: Event<DeserializeGuard<K>>,
        scope: &Scope,
        ids: &mut BTreeSet<routeapi_channel::ObjectId>,
        api: &Api<DeserializeGuard<K>>,
    ) {
        match event {
            Event::Init => {
                ids.clear();
                self.observe_list::<K>(api).await;
            }
            Event::InitApply(object) => {
                ids.insert(id_of(object.meta()));
                self.apply::<K>(object);
            }
            Event::Apply(object) => self.apply::<K>(object),
            Event::Delete(object) => self.index.delete::<K>(object.meta()),
            Event::InitDone => {
                debug!(kind = K::PLURAL, objects = ids.len(), "listed");
                self.index.listed::<K>(scope, &std::mem::take(ids));
            }
        }
    }

    /// Records the resourceVersion of a list that is requested now; the list of the watch is at least as new. The objects alone do
    /// not show how new it is: the last event may have been a deletion, and with a lower resourceVersion data planes would
    /// consider this state older.
    async fn observe_list<K: Indexed>(&self, api: &Api<DeserializeGuard<K>>) {
        if let Ok(list) = api.list_metadata(&ListParams::default().limit(1)).await {
            self.index.observe(K::PLURAL, list.metadata.resource_version.as_deref());
        }
    }

    fn apply<K: Indexed>(&self, object: DeserializeGuard<K>) {
        if let Err(broken) = &object.0 {
            let id = id_of(&broken.metadata);
            warn!(kind = K::PLURAL, object = %id, error = %broken.error, "cannot decode an object");
        }
        self.index.apply::<K>(object.0);
    }
}

/// Whether a watch was refused because its resourceVersion is too old: it would be refused again and again. One that expires
/// while it runs is listed anew by itself.
fn is_expired(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 410)
}

// === impl WatchBackoff ===

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        // With jitter, because replicas lose the same API server at the same time.
        let delay = RESTART.delay(self.failures, fastrand::f64());
        self.failures = self.failures.saturating_add(1);
        Some(delay)
    }
}

impl KubeBackoff for WatchBackoff {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests;
