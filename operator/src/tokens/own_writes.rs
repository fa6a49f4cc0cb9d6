//! The keys that were written to each token's status last, and in which version: the watch returns them a moment later, and
//! what it returns is nothing new.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use routeapi_channel::ObjectId;
use routeapi_crds::v1alpha1::ApiToken;

use super::plan::Keys;

/// The last writes. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct OwnWrites(Arc<Mutex<HashMap<ObjectId, OwnWrite>>>);

#[derive(Clone, Debug)]
struct OwnWrite {
    version: Option<u64>,
    keys: Keys,
}

// === impl OwnWrites ===

impl OwnWrites {
    /// Keys are about to be written: the watch may return them before the API server answers.
    pub fn begins(&self, id: &ObjectId, keys: &Keys) {
        self.lock().insert(id.clone(), OwnWrite { version: None, keys: keys.clone() });
    }

    /// Keys were written; the resulting resourceVersion.
    pub fn written(&self, id: &ObjectId, version: Option<&str>, keys: &Keys) {
        let version = version.and_then(|version| version.parse().ok());
        self.lock().insert(id.clone(), OwnWrite { version, keys: keys.clone() });
    }

    /// The keys that were written last.
    pub fn keys(&self, id: &ObjectId) -> Option<Keys> {
        self.lock().get(id).map(|write| write.keys.clone())
    }

    /// Whether something was written to a token that this version of it lacks.
    pub fn is_newer(&self, id: &ObjectId, known: &ApiToken) -> bool {
        let known = known.metadata.resource_version.as_ref().and_then(|version| version.parse::<u64>().ok());
        let written = self.lock().get(id).and_then(|write| write.version);
        written.is_some_and(|written| known.is_none_or(|known| known < written))
    }

    /// Forgets a token that was deleted, or that the watch has returned.
    pub fn forget(&self, id: &ObjectId) {
        self.lock().remove(id);
    }

    /// Forgets all tokens.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectId, OwnWrite>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_from_before_a_write_is_older() {
        let token = |version: &str| {
            let object = serde_json::json!({"apiVersion": "routeapi.dev/v1alpha1", "kind": "ApiToken",
                "metadata": {"name": "a", "namespace": "shop", "resourceVersion": version}, "spec": {"models": ["*"]}});
            serde_json::from_value::<ApiToken>(object).unwrap()
        };
        let (writes, id) = (OwnWrites::default(), ObjectId::new("shop", "a"));
        assert!(!writes.is_newer(&id, &token("9")), "nothing was written");
        let keys = Keys { keys: Vec::new(), rotation_revision: Some(1) };
        writes.written(&id, Some("10"), &keys);
        assert!(writes.is_newer(&id, &token("9")));
        assert!(!writes.is_newer(&id, &token("10")) && !writes.is_newer(&id, &token("11")));
        assert_eq!(writes.keys(&id), Some(keys));
        writes.forget(&id);
        assert_eq!(writes.keys(&id), None);
    }
}
