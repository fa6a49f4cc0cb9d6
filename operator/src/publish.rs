//! Compiles the index whenever it has changed, and publishes the result to all sessions.
//!
//! A burst of changes is one compilation: after the first change it waits until there was none for `quiet`, but never longer
//! than `max`. Nothing is published before every kind was listed once, so data planes never get a partial state. Every replica
//! publishes; equal objects give an equal revision on all of them.

mod history;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
pub use history::History;
use routeapi_channel::{
    Catalog, Key, Kind, Revision, Snapshot,
    frame::{FromOperator, MAX_LINE},
};
use routeapi_compile::{Compiled, Detail, Options, Verdict};
use routeapi_crds::condition::{ConditionType, Decision, Reason};
use tokio::{sync::watch, time};
use tracing::{error, info, warn};

use crate::{
    index::{ExcludedObject, Index, View},
    settings::Settings,
    telemetry::Metrics,
};

/// One compiled state. It contains provider keys, so `Debug` shows its revision only.
pub struct Publication {
    /// Snapshot and verdicts. The verdict of an excluded object is about its newest version.
    pub compiled: Compiled,
    /// Objects that are unreadable or over the limits.
    pub excluded: BTreeMap<Key, ExcludedObject>,
    /// The snapshot as a set of resources.
    pub catalog: Arc<Catalog>,
    /// The revision of `catalog`.
    pub revision: Revision,
    /// The highest resourceVersion seen, by plural name of the kind.
    pub min_resource_versions: BTreeMap<String, u64>,
    /// The `put` line of each resource, serialized once for all streams.
    lines: BTreeMap<Key, Bytes>,
    selectorless: OnceLock<Option<Arc<Self>>>,
    selectorless_revision: Arc<OnceLock<Revision>>,
}

/// Publishes compiled states; none until every kind was listed.
#[derive(Debug)]
pub struct Publisher {
    current: watch::Sender<Option<Arc<Publication>>>,
    history: History,
    quiet: Duration,
    max: Duration,
    options: Options,
    readable_secrets: Vec<String>,
}

// === impl Publisher ===

impl Publisher {
    /// A publisher that has published nothing.
    pub fn new(settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            current: watch::Sender::new(None),
            history: History::default(),
            quiet: settings.debounce_quiet.into(),
            max: settings.debounce_max.into(),
            options: Options {
                addresses: settings.addresses(),
                publishers: settings.publishers(),
                workload_identity: settings.workload_identity(),
                partial: false,
            },
            readable_secrets: settings.provider_namespaces(),
        })
    }

    /// The current publication, and every later one.
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<Publication>>> {
        self.current.subscribe()
    }

    /// A recently published state, if it is still known.
    pub fn state(&self, revision: &Revision) -> Option<Arc<Catalog>> {
        self.history.resolve(revision)
    }

    /// The recently published states.
    pub fn history(&self) -> History {
        self.history.clone()
    }

    /// Compiles and publishes until aborted.
    pub async fn run(self: Arc<Self>, index: Arc<Index>, metrics: Arc<Metrics>) {
        let mut changed = index.changed();
        if index.ready().wait_for(|ready| *ready).await.is_err() {
            return;
        }
        loop {
            changed.mark_unchanged();
            let started = Instant::now();
            let view = index.view();
            let previous = self.current.borrow().clone();
            let (options, readable) = (self.options.clone(), self.readable_secrets.clone());
            let compile = move || Publication::of(view, previous.as_deref(), &options, &readable);
            match tokio::task::spawn_blocking(compile).await {
                Ok(Ok(publication)) => self.publish(publication, started.elapsed(), &metrics),
                Ok(Err(error)) => error!(%error, "cannot serialize a resource; the previous state stays in force"),
                Err(error) => error!(%error, "compilation failed; the previous state stays in force"),
            }
            if changed.changed().await.is_err() {
                return;
            }
            self.debounce(&mut changed).await;
        }
    }

    async fn debounce(&self, changed: &mut watch::Receiver<u64>) {
        let end = time::Instant::now() + self.max;
        while let Ok(Ok(())) = time::timeout_at(end.min(time::Instant::now() + self.quiet), changed.changed()).await {
            if time::Instant::now() >= end {
                return;
            }
        }
    }

    fn publish(&self, next: Publication, took: Duration, metrics: &Metrics) {
        metrics.compiled(took, &next.compiled.verdicts);
        let previous = self.current.borrow().clone();
        let differs = previous.as_ref().is_none_or(|previous| previous.revision != next.revision);
        if differs {
            let diff = routeapi_channel::diff::Diff::between_catalogs(
                previous.as_ref().map_or(&Catalog::default(), |previous| &previous.catalog),
                &next.catalog,
            );
            let (put, del, millis) = (diff.put.len(), diff.del.len(), took.as_millis());
            info!(revision = %next.revision, resources = next.catalog.len(), put, del, millis, "published");
            metrics.published();
            self.history.push(
                next.revision.clone(),
                Arc::clone(&next.catalog),
                Arc::clone(&next.selectorless_revision),
            );
        }
        self.current.send_replace(Some(Arc::new(next)));
    }
}

// === impl Publication ===

impl fmt::Debug for Publication {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Publication").field("revision", &self.revision).finish_non_exhaustive()
    }
}

impl Publication {
    /// Compiles a view. Shares unchanged resources with the previous publication.
    fn of(
        view: View,
        previous: Option<&Self>,
        options: &Options,
        readable_secrets: &[String],
    ) -> Result<Self, serde_json::Error> {
        let mut compiled = routeapi_compile::compile(&view.objects, options);
        for (key, excluded) in &view.excluded {
            compiled.verdicts.insert(key.clone(), unreadable(key.kind, excluded));
        }
        explain_hidden_secrets(&mut compiled, readable_secrets);
        Self::from_compiled(compiled, view, previous)
    }

    fn from_compiled(mut compiled: Compiled, view: View, previous: Option<&Self>) -> Result<Self, serde_json::Error> {
        let all = Catalog::of(&compiled.snapshot)?;
        let (mut catalog, mut lines) = (Catalog::default(), BTreeMap::new());
        for (key, entry) in all.iter() {
            let unchanged = previous.filter(|previous| previous.catalog.get(key) == Some(entry));
            let shared = unchanged.and_then(|previous| Some((previous.catalog.get(key)?, previous.lines.get(key)?)));
            let (entry, line) = match shared {
                Some((entry, line)) => (entry.clone(), line.clone()),
                None => (
                    entry.clone(),
                    line(&FromOperator::Put {
                        t: key.kind,
                        id: key.id.clone(),
                        v: entry.version.clone(),
                        body: Arc::clone(&entry.body),
                    })?,
                ),
            };
            if line.len() > MAX_LINE {
                exclude_oversized(&mut compiled, key, line.len());
                continue;
            }
            catalog.insert(key.clone(), entry);
            lines.insert(key.clone(), line);
        }
        let revision = catalog.revision();
        Ok(Self {
            compiled,
            excluded: view.excluded,
            catalog: Arc::new(catalog),
            revision,
            min_resource_versions: view.min_resource_versions,
            lines,
            selectorless: OnceLock::new(),
            selectorless_revision: Arc::default(),
        })
    }

    /// The revision of this state for data planes without selectors, once [`Self::selectorless`] was called.
    pub fn selectorless_revision(&self) -> Arc<OnceLock<Revision>> {
        Arc::clone(&self.selectorless_revision)
    }

    /// This state for data planes without selectors; none if it is the same for them. Computed on the first call.
    pub fn selectorless(&self) -> Option<Arc<Self>> {
        let make = || {
            let snapshot = self.compiled.snapshot.without_selectors()?;
            let mut selectorless = Self::of_snapshot(snapshot).ok()?;
            selectorless.min_resource_versions = self.min_resource_versions.clone();
            let _ = self.selectorless_revision.set(selectorless.revision.clone()); // set here only, so it is empty
            Some(Arc::new(selectorless))
        };
        self.selectorless.get_or_init(make).clone()
    }

    /// A snapshot without verdicts, for tests of sessions.
    ///
    /// # Errors
    /// When the snapshot does not serialize, which does not happen.
    pub fn of_snapshot(snapshot: routeapi_channel::Snapshot) -> Result<Self, serde_json::Error> {
        let view = View {
            objects: routeapi_compile::Objects::default(),
            excluded: BTreeMap::new(),
            min_resource_versions: BTreeMap::new(),
        };
        Self::from_compiled(Compiled { snapshot, ..Compiled::default() }, view, None)
    }

    /// The `put` line of a resource of this state.
    pub fn put_line(&self, key: &Key) -> Option<&Bytes> {
        self.lines.get(key)
    }

    /// Whether this state contains a key of a token.
    pub fn has_token_key(&self, token: &routeapi_channel::ObjectId, key_id: &str) -> bool {
        let tokens = &self.compiled.snapshot.tokens;
        tokens.get(token).is_some_and(|token| token.keys.iter().any(|key| key.id == key_id))
    }
}

/// Excludes a resource that does not fit into a line: it would end every data plane's stream, again after each reconnect.
fn exclude_oversized(compiled: &mut Compiled, key: &Key, bytes: usize) {
    let Snapshot { providers, routes, tokens, namespaces } = &mut compiled.snapshot;
    match key.kind {
        Kind::Provider => drop(providers.remove(&key.id)),
        Kind::Route => drop(routes.remove(&key.id)),
        Kind::Token => drop(tokens.remove(&key.id)),
        Kind::Namespace => drop(namespaces.remove(key.id.namespace())),
        Kind::Unknown(_) => {}
    }
    let message = format!("takes {bytes} bytes when sent to data planes; at most {MAX_LINE} are possible");
    warn!(resource = %format!("{} {}", key.kind, key.id), bytes, "resource too large to be sent");
    if let Some(verdict) = compiled.verdicts.get_mut(key) {
        verdict.decisions.retain(|decision| decision.type_ != ConditionType::Accepted);
        verdict.decisions.insert(0, Decision::no(ConditionType::Accepted, Reason::InvalidConfig, message));
    }
}

/// A frame as a line.
///
/// # Errors
/// When it does not serialize, which does not happen.
pub fn line(frame: &FromOperator) -> Result<Bytes, serde_json::Error> {
    let mut text = serde_json::to_vec(frame)?;
    text.push(b'\n');
    Ok(text.into())
}

fn unreadable(kind: Kind, excluded: &ExcludedObject) -> Verdict {
    let (reason, message) = if excluded.over_limit {
        (Reason::NamespaceFull, excluded.message.clone())
    } else {
        (Reason::InvalidConfig, format!("this version cannot read the object: {}", excluded.message))
    };
    let detail = match kind {
        Kind::Provider => Detail::Provider { attached_routes: 0 },
        Kind::Route => Detail::Route { upstreams: Vec::new() },
        Kind::Token | Kind::Namespace | Kind::Unknown(_) => Detail::Token { expires: None, suspended: false },
    };
    let decisions = vec![Decision::no(ConditionType::Accepted, reason, message)];
    Verdict { generation: excluded.generation, decisions, detail }
}

/// A Secret that the operator may not read looks like one that does not exist: the message must not ask to create it.
fn explain_hidden_secrets(compiled: &mut Compiled, readable: &[String]) {
    let allowed = readable.join(", ");
    for (key, verdict) in &mut compiled.verdicts {
        let namespace = key.id.namespace();
        let hidden = key.kind == Kind::Provider && !readable.iter().any(|name| name == namespace);
        let unresolved =
            |decision: &&mut Decision| matches!(decision.reason, Reason::SecretNotFound | Reason::CertificateNotFound);
        for decision in verdict.decisions.iter_mut().filter(unresolved).filter(|_| hidden) {
            let what = decision.message.split(" does not exist").next().unwrap_or_default();
            decision.message = format!(
                "{what} cannot be read: the operator reads Secrets and ConfigMaps in {allowed} only; add {namespace} to the \
             Helm value providerNamespaces"
            );
        }
    }
}

#[cfg(test)]
mod tests;
