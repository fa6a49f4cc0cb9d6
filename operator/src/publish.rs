//! Compiles what has changed in the index whenever something has, and publishes the result to all sessions.
//!
//! A burst of changes is one compilation: after the first change it waits until there was none for `quiet`, but never longer
//! than `max`. Nothing is published before every kind was listed once, so data planes never get a partial state. Every replica
//! publishes; equal objects give an equal revision on all of them.

mod compilation;
mod history;
mod publication;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

pub use compilation::Compilation;
pub use history::History;
pub use publication::Publication;
use routeapi_channel::{
    Catalog, Key, Revision,
    diff::Diff,
    shared_map::{Difference, SharedMap},
};
use routeapi_compile::{Options, Verdict};
use tokio::{sync::watch, time};
use tracing::{error, info};

use crate::{index::Index, settings::Settings, telemetry::Metrics};

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
        // None after a failure: then everything is compiled anew.
        let mut compilation = None;
        loop {
            changed.mark_unchanged();
            let started = Instant::now();
            let view = index.take_changes(compilation.is_none());
            let mut current = match compilation.take() {
                Some(current) => current,
                None => Compilation::new(self.options.clone(), self.readable_secrets.clone()),
            };
            let before = current.work();
            let compile = move || current.publication(view).map(|publication| (current, publication));
            match tokio::task::spawn_blocking(compile).await {
                Ok(Ok((current, publication))) => {
                    let took = started.elapsed();
                    metrics.compiled(took, current.work() - before);
                    compilation = Some(current);
                    self.publish(publication, took, &metrics);
                }
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
        let previous = self.current.borrow().clone();
        let none = Publication::default();
        let before = previous.as_deref().unwrap_or(&none);
        before.verdicts.differences(&next.verdicts, |difference| {
            let (Difference::Put(key, _) | Difference::Del(key)) = difference;
            let accepted =
                |verdicts: &SharedMap<Key, Arc<Verdict>>| verdicts.get(key).map(|verdict| verdict.accepted());
            metrics.object_changed(key.kind, accepted(&before.verdicts), accepted(&next.verdicts));
        });
        if previous.is_none() || before.revision != next.revision {
            let diff = Diff::between_catalogs(&before.catalog, &next.catalog);
            let (put, del, millis) = (diff.put.len(), diff.del.len(), took.as_millis());
            info!(revision = %next.revision, resources = next.catalog.len(), put, del, millis, "published");
            metrics.published();
            self.history.push(next.revision.clone(), Arc::clone(&next.catalog), next.selectorless_revision());
        }
        self.current.send_replace(Some(Arc::new(next)));
    }
}

#[cfg(test)]
mod tests;
