//! One compiled state, as sessions and statuses see it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
};

use routeapi_channel::{
    Catalog, Entry, Key, Kind, Revision, Snapshot, frame::FromOperator, shared_map::SharedMap, snapshot::Token,
};
use routeapi_compile::Verdict;

use crate::index::ExcludedObject;

/// One compiled state; shares what it has in common with others. It contains provider keys, so `Debug` shows its revision only.
#[derive(Default)]
pub struct Publication {
    /// The verdict of each object; that of an excluded one is about its newest version.
    pub verdicts: SharedMap<Key, Arc<Verdict>>,
    /// Objects that are unreadable or over the limits.
    pub excluded: BTreeMap<Key, ExcludedObject>,
    /// What data planes get.
    pub catalog: Arc<Catalog>,
    /// The revision of `catalog`.
    pub revision: Revision,
    /// The highest resourceVersion seen, by plural name of the kind.
    pub min_resource_versions: BTreeMap<String, u64>,
    selectorless: OnceLock<Option<Arc<Self>>>,
    selectorless_revision: Arc<OnceLock<Revision>>,
}

// === impl Publication ===

impl fmt::Debug for Publication {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Publication").field("revision", &self.revision).finish_non_exhaustive()
    }
}

impl Publication {
    /// A state.
    pub fn new(
        catalog: Catalog,
        verdicts: SharedMap<Key, Arc<Verdict>>,
        excluded: BTreeMap<Key, ExcludedObject>,
        min_resource_versions: BTreeMap<String, u64>,
    ) -> Self {
        let revision = catalog.revision();
        Self { verdicts, excluded, catalog: Arc::new(catalog), revision, min_resource_versions, ..Self::default() }
    }

    /// The revision of this state for data planes without selectors, once [`Self::selectorless`] was called.
    pub fn selectorless_revision(&self) -> Arc<OnceLock<Revision>> {
        Arc::clone(&self.selectorless_revision)
    }

    /// This state for data planes without selectors; none if it is the same for them. Computed on the first call.
    pub fn selectorless(&self) -> Option<Arc<Self>> {
        let make = || {
            let (snapshot, _) = self.catalog.decode();
            let mut selectorless = Self::of_snapshot(&snapshot.without_selectors()?).ok()?;
            selectorless.min_resource_versions = self.min_resource_versions.clone();
            let _ = self.selectorless_revision.set(selectorless.revision.clone()); // set here only, so it is empty
            Some(Arc::new(selectorless))
        };
        self.selectorless.get_or_init(make).clone()
    }

    /// A snapshot without verdicts.
    ///
    /// # Errors
    /// When the snapshot does not serialize, which does not happen.
    pub fn of_snapshot(snapshot: &Snapshot) -> Result<Self, serde_json::Error> {
        let catalog = Catalog::of(snapshot)?;
        Ok(Self { revision: catalog.revision(), catalog: Arc::new(catalog), ..Self::default() })
    }

    /// The `put` frame of a resource of this state.
    pub fn put_frame(&self, key: &Key) -> Option<FromOperator> {
        self.catalog.get(key).map(|entry| put_frame(key, entry))
    }

    /// Whether this state contains a key of a token.
    pub fn has_token_key(&self, token: &routeapi_channel::ObjectId, key_id: &str) -> bool {
        let entry = self.catalog.get(&Key { kind: Kind::Token, id: token.clone() });
        let token = entry.and_then(|entry| entry.read::<Token>().ok());
        token.is_some_and(|token| token.keys.iter().any(|key| key.id == key_id))
    }
}

/// The frame that sends a resource.
pub fn put_frame(key: &Key, entry: &Entry) -> FromOperator {
    FromOperator::Put { t: key.kind, id: key.id.clone(), v: entry.version.clone(), body: Arc::clone(&entry.body) }
}
