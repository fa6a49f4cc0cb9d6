//! Keys that were minted and are not in their Secrets yet. As long as the request is the same, a retry writes the same key, so
//! there is nothing new to publish however often the API server refuses it.
//!
//! They are in memory only. A restarted operator mints new ones, and `plan` removes the old ones.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use routeapi_channel::{ObjectId, token_format::Minted};
use routeapi_crds::v1alpha1::ApiToken;

use super::plan::{self, FoundSecret};

/// Why a key is needed. Another request gets another key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRequest {
    uid: Option<String>,
    secret: String,
    /// ID of the key that it replaces; none if there is no valid one.
    replaces: Option<String>,
    revision: Option<i32>,
}

/// A key that is not in its Secret yet.
#[derive(Clone, Debug)]
pub struct PendingKey {
    request: KeyRequest,
    /// The key.
    pub minted: Minted,
    /// When it was minted, in whole seconds, as in a status.
    pub issued: Timestamp,
    /// Whether data planes had time to acknowledge it.
    pub announced: bool,
}

/// The pending keys of all tokens. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct PendingKeys(Arc<Mutex<BTreeMap<ObjectId, PendingKey>>>);

// === impl KeyRequest ===

impl KeyRequest {
    /// The request of a token with this Secret.
    pub fn of(token: &ApiToken, found: &FoundSecret) -> Self {
        Self {
            uid: token.metadata.uid.clone(),
            secret: token.secret_name(),
            replaces: plan::current(found).map(str::to_owned),
            revision: plan::requested_revision(token),
        }
    }
}

// === impl PendingKeys ===

impl PendingKeys {
    /// The key for a request; `mint` makes one if there is none yet.
    ///
    /// # Errors
    /// Those of `mint`.
    pub fn resume<E>(
        &self,
        id: &ObjectId,
        request: KeyRequest,
        now: Timestamp,
        mint: impl FnOnce() -> Result<Minted, E>,
    ) -> Result<PendingKey, E> {
        let mut pending_keys = self.lock();
        if let Some(pending) = pending_keys.get(id).filter(|pending| pending.request == request) {
            return Ok(pending.clone());
        }
        let issued = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let pending_key = PendingKey { request, minted: mint()?, issued, announced: false };
        pending_keys.insert(id.clone(), pending_key.clone());
        Ok(pending_key)
    }

    /// Records that data planes had time to acknowledge a key.
    pub fn announced(&self, id: &ObjectId) {
        if let Some(pending_key) = self.lock().get_mut(id) {
            pending_key.announced = true;
        }
    }

    /// Forgets a key that was written, is no longer needed, or may have been written although the write failed.
    pub fn forget(&self, id: &ObjectId) {
        self.lock().remove(id);
    }

    /// Forgets all keys.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectId, PendingKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use routeapi_channel::token_format::{self, ENTROPY};
    use serde_json::json;

    use super::*;

    fn token(uid: &str, revision: u32) -> ApiToken {
        let object = json!({"apiVersion": "routeapi.dev/v1alpha1", "kind": "ApiToken",
            "metadata": {"name": "a", "namespace": "shop", "uid": uid},
            "spec": {"models": ["*"], "rotation": {"revision": revision}}});
        serde_json::from_value(object).unwrap()
    }

    fn resume(pending_keys: &PendingKeys, request: KeyRequest, seed: u8) -> PendingKey {
        let make = || Ok::<_, Infallible>(token_format::mint(&[seed; ENTROPY]));
        let now = Timestamp::from_millisecond(1_800_000_000_700).unwrap();
        pending_keys.resume(&ObjectId::new("shop", "a"), request, now, make).unwrap()
    }

    #[test]
    fn the_same_wish_is_the_same_value_and_another_is_another() {
        let pending_keys = PendingKeys::default();
        let request = KeyRequest::of(&token("u", 0), &FoundSecret::Missing);
        let first = resume(&pending_keys, request.clone(), 1);
        assert_eq!(first.issued.as_millisecond(), 1_800_000_000_000, "whole seconds");
        let again = resume(&pending_keys, request.clone(), 2);
        assert_eq!((again.minted.sha256, again.issued), (first.minted.sha256.clone(), first.issued));
        for other in [token("u", 1), token("another", 0)] {
            let other = resume(&pending_keys, KeyRequest::of(&other, &FoundSecret::Missing), 3);
            assert_ne!(other.minted.sha256, first.minted.sha256);
        }
        pending_keys.forget(&ObjectId::new("shop", "a"));
        assert_ne!(resume(&pending_keys, request, 4).minted.sha256, first.minted.sha256);
    }

    #[test]
    fn a_key_is_announced_once() {
        let pending_keys = PendingKeys::default();
        let request = KeyRequest::of(&token("u", 0), &FoundSecret::Missing);
        assert!(!resume(&pending_keys, request.clone(), 1).announced);
        pending_keys.announced(&ObjectId::new("shop", "a"));
        assert!(resume(&pending_keys, request, 1).announced);
    }
}
