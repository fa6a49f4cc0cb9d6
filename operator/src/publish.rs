//! Compiles the index whenever it changed, and hands the result to everyone who waits for it.
//!
//! A burst of changes is one compilation: after the first change it waits until nothing came for `quiet`, but never
//! longer than `max`. Nothing is published before every kind was listed once, so a data plane is never told of a
//! partial state. Every replica publishes; equal objects give an equal revision on all of them.

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
    index::{Broken, Index, View},
    settings::Settings,
    telemetry::Metrics,
};

/// One compiled state. Its lines carry upstream keys, so `Debug` shows its name only.
pub struct Publication {
    /// Snapshot and verdicts. Verdicts of unreadable objects are those of their newest version.
    pub compiled: Compiled,
    /// The unreadable ones.
    pub broken: BTreeMap<Key, Broken>,
    /// The snapshot taken apart.
    pub catalog: Arc<Catalog>,
    /// Its name.
    pub revision: Revision,
    /// The highest resourceVersion seen per kind.
    pub floor: BTreeMap<String, u64>,
    /// Each resource's `put` line, serialised once for all streams.
    lines: BTreeMap<Key, Bytes>,
    plain: OnceLock<Option<Arc<Self>>>,
    plain_revision: Arc<OnceLock<Revision>>,
}

/// Where publications are found. Empty until every kind was listed.
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
    /// With nothing published.
    pub fn new(settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            current: watch::Sender::new(None),
            history: History::default(),
            quiet: settings.debounce_quiet.into(),
            max: settings.debounce_max.into(),
            options: Options { addresses: settings.addresses(), publishers: settings.publishers(), partial: false },
            readable_secrets: settings.provider_namespaces(),
        })
    }

    /// The newest publication and those to come.
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<Publication>>> {
        self.current.subscribe()
    }

    /// A state that was published lately.
    pub fn recall(&self, revision: &Revision) -> Option<Arc<Catalog>> {
        self.history.meant(revision)
    }

    /// The states that were published lately.
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
                Ok(Err(error)) => error!(%error, "a resource does not serialise; the last state stays in force"),
                Err(error) => error!(%error, "compilation failed; the last state stays in force"),
            }
            if changed.changed().await.is_err() {
                return;
            }
            self.settle(&mut changed).await;
        }
    }

    async fn settle(&self, changed: &mut watch::Receiver<u64>) {
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
        let differs = previous.as_ref().is_none_or(|held| held.revision != next.revision);
        if differs {
            let diff = routeapi_channel::diff::Diff::between_catalogs(
                previous.as_ref().map_or(&Catalog::default(), |held| &held.catalog),
                &next.catalog,
            );
            let (put, del, millis) = (diff.put.len(), diff.del.len(), took.as_millis());
            info!(revision = %next.revision, resources = next.catalog.len(), put, del, millis, "published");
            metrics.published();
            self.history.push(next.revision.clone(), Arc::clone(&next.catalog), Arc::clone(&next.plain_revision));
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
    /// Compiles a view. What did not change since the previous publication is shared with it.
    fn of(
        view: View,
        previous: Option<&Self>,
        options: &Options,
        readable_secrets: &[String],
    ) -> Result<Self, serde_json::Error> {
        let mut compiled = routeapi_compile::compile(&view.objects, options);
        for (key, broken) in &view.broken {
            compiled.verdicts.insert(key.clone(), unreadable(key.kind, broken));
        }
        explain_hidden_secrets(&mut compiled, readable_secrets);
        Self::from_compiled(compiled, view, previous)
    }

    fn from_compiled(mut compiled: Compiled, view: View, previous: Option<&Self>) -> Result<Self, serde_json::Error> {
        let all = Catalog::of(&compiled.snapshot)?;
        let (mut catalog, mut lines) = (Catalog::default(), BTreeMap::new());
        for (key, entry) in all.iter() {
            let unchanged = previous.filter(|held| held.catalog.get(key) == Some(entry));
            let held = unchanged.and_then(|held| Some((held.catalog.get(key)?, held.lines.get(key)?)));
            let (entry, line) = match held {
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
                leave_out(&mut compiled, key, line.len());
                continue;
            }
            catalog.insert(key.clone(), entry);
            lines.insert(key.clone(), line);
        }
        let revision = catalog.revision();
        Ok(Self {
            compiled,
            broken: view.broken,
            catalog: Arc::new(catalog),
            revision,
            floor: view.floor,
            lines,
            plain: OnceLock::new(),
            plain_revision: Arc::default(),
        })
    }

    /// What this state is called by data planes that do not know selectors, once [`Self::plain`] was made.
    pub fn plain_revision(&self) -> Arc<OnceLock<Revision>> {
        Arc::clone(&self.plain_revision)
    }

    /// This state for data planes that do not know selectors; none if it is the same for them. Made when the first of them
    /// asks.
    pub fn plain(&self) -> Option<Arc<Self>> {
        let make = || {
            let snapshot = self.compiled.snapshot.without_selectors()?;
            let mut plain = Self::of_snapshot(snapshot).ok()?;
            plain.floor = self.floor.clone();
            let _ = self.plain_revision.set(plain.revision.clone()); // set here only, so it is empty
            Some(Arc::new(plain))
        };
        self.plain.get_or_init(make).clone()
    }

    /// Of a snapshot without verdicts, for those who look at what sessions send and not at where it comes from.
    ///
    /// # Errors
    /// When the snapshot does not serialise, which none does.
    pub fn of_snapshot(snapshot: routeapi_channel::Snapshot) -> Result<Self, serde_json::Error> {
        let view =
            View { objects: routeapi_compile::Objects::default(), broken: BTreeMap::new(), floor: BTreeMap::new() };
        Self::from_compiled(Compiled { snapshot, ..Compiled::default() }, view, None)
    }

    /// The `put` line of a resource of this state.
    pub fn put_line(&self, key: &Key) -> Option<&Bytes> {
        self.lines.get(key)
    }

    /// Whether this state knows a token's key.
    pub fn has_token_key(&self, token: &routeapi_channel::ObjectId, key_id: &str) -> bool {
        let tokens = &self.compiled.snapshot.tokens;
        tokens.get(token).is_some_and(|token| token.keys.iter().any(|key| key.id == key_id))
    }
}

/// A resource that does not fit into a line would end every data plane's stream, each time it comes back.
fn leave_out(compiled: &mut Compiled, key: &Key, bytes: usize) {
    let Snapshot { providers, routes, tokens, namespaces } = &mut compiled.snapshot;
    match key.kind {
        Kind::Provider => drop(providers.remove(&key.id)),
        Kind::Route => drop(routes.remove(&key.id)),
        Kind::Token => drop(tokens.remove(&key.id)),
        Kind::Namespace => drop(namespaces.remove(key.id.namespace())),
        Kind::Unknown(_) => {}
    }
    let message = format!("takes {bytes} bytes when it is sent to data planes; {MAX_LINE} are possible at most");
    warn!(resource = %format!("{} {}", key.kind, key.id), bytes, "too large to be sent");
    if let Some(verdict) = compiled.verdicts.get_mut(key) {
        verdict.decisions.retain(|it| it.type_ != ConditionType::Accepted);
        verdict.decisions.insert(0, Decision::no(ConditionType::Accepted, Reason::InvalidConfig, message));
    }
}

/// A frame as a line.
///
/// # Errors
/// None for the frames of this crate.
pub fn line(frame: &FromOperator) -> Result<Bytes, serde_json::Error> {
    let mut text = serde_json::to_vec(frame)?;
    text.push(b'\n');
    Ok(text.into())
}

fn unreadable(kind: Kind, broken: &Broken) -> Verdict {
    let (reason, message) = match broken.over {
        true => (Reason::NamespaceFull, broken.message.clone()),
        false => (Reason::InvalidConfig, format!("cannot be read by this version: {}", broken.message)),
    };
    let detail = match kind {
        Kind::Provider => Detail::Provider { attached_routes: 0 },
        Kind::Route => Detail::Route { upstreams: Vec::new() },
        Kind::Token | Kind::Namespace | Kind::Unknown(_) => Detail::Token { expires: None, suspended: false },
    };
    let decisions = vec![Decision::no(ConditionType::Accepted, reason, message)];
    Verdict { generation: broken.generation, decisions, detail }
}

/// A Secret that exists but may not be read looks like one that does not exist: the message must not ask for it to be made.
fn explain_hidden_secrets(compiled: &mut Compiled, readable: &[String]) {
    let allowed = readable.join(", ");
    for (key, verdict) in &mut compiled.verdicts {
        let namespace = key.id.namespace();
        let hidden = key.kind == Kind::Provider && !readable.iter().any(|it| it == namespace);
        let unresolved = |it: &&mut Decision| matches!(it.reason, Reason::SecretNotFound | Reason::CertificateNotFound);
        for decision in verdict.decisions.iter_mut().filter(unresolved).filter(|_| hidden) {
            let what = decision.message.split(" does not exist").next().unwrap_or_default();
            decision.message = format!(
                "{what} cannot be read: the operator may read Secrets and ConfigMaps in {allowed} only; add {namespace} to \
                 the Helm value providerNamespaces"
            );
        }
    }
}

#[cfg(test)]
mod tests;
