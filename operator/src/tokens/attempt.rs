//! Values that were made and are not in their Secrets yet. As long as the same is wished for, a retry writes the same
//! value: nothing new to publish, however often the API server refuses it.
//!
//! They are kept in memory only. An operator that starts makes new ones, and `plan` clears up after the old.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use routeapi_channel::{ObjectId, token_format::Minted};
use routeapi_crds::v1alpha1::ApiToken;

use super::plan::{self, Held};

/// What a new value is wanted for. Another wish is another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    uid: Option<String>,
    secret: String,
    /// The key that it comes after; none if there is no usable one.
    instead_of: Option<String>,
    revision: Option<i32>,
}

/// A value on its way into a Secret.
#[derive(Clone, Debug)]
pub struct Attempt {
    wish: Wish,
    /// The value.
    pub minted: Minted,
    /// When it was made, in whole seconds, as a status keeps it.
    pub issued: Timestamp,
    /// Whether data planes had their time to acknowledge it.
    pub announced: bool,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Attempts(Arc<Mutex<BTreeMap<ObjectId, Attempt>>>);

// === impl Wish ===

impl Wish {
    /// What this token and its Secret ask for.
    pub fn of(token: &ApiToken, held: &Held) -> Self {
        Self {
            uid: token.metadata.uid.clone(),
            secret: token.secret_name(),
            instead_of: plan::current(held).map(str::to_owned),
            revision: plan::wanted_revision(token),
        }
    }
}

// === impl Attempts ===

impl Attempts {
    /// The value that was made for a wish, or one that `make` makes now.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn resume<E>(
        &self,
        id: &ObjectId,
        wish: Wish,
        now: Timestamp,
        make: impl FnOnce() -> Result<Minted, E>,
    ) -> Result<Attempt, E> {
        let mut attempts = self.lock();
        if let Some(held) = attempts.get(id).filter(|held| held.wish == wish) {
            return Ok(held.clone());
        }
        let issued = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let attempt = Attempt { wish, minted: make()?, issued, announced: false };
        attempts.insert(id.clone(), attempt.clone());
        Ok(attempt)
    }

    /// Data planes had their time.
    pub fn announced(&self, id: &ObjectId) {
        if let Some(attempt) = self.lock().get_mut(id) {
            attempt.announced = true;
        }
    }

    /// It is written, no longer wanted, or may have been written although that failed.
    pub fn forget(&self, id: &ObjectId) {
        self.lock().remove(id);
    }

    /// Forgets all.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectId, Attempt>> {
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

    fn resume(attempts: &Attempts, wish: Wish, seed: u8) -> Attempt {
        let make = || Ok::<_, Infallible>(token_format::mint(&[seed; ENTROPY]));
        let now = Timestamp::from_millisecond(1_800_000_000_700).unwrap();
        attempts.resume(&ObjectId::new("shop", "a"), wish, now, make).unwrap()
    }

    #[test]
    fn the_same_wish_is_the_same_value_and_another_is_another() {
        let attempts = Attempts::default();
        let wish = Wish::of(&token("u", 0), &Held::Absent);
        let first = resume(&attempts, wish.clone(), 1);
        assert_eq!(first.issued.as_millisecond(), 1_800_000_000_000, "whole seconds");
        let again = resume(&attempts, wish.clone(), 2);
        assert_eq!((again.minted.sha256, again.issued), (first.minted.sha256.clone(), first.issued));
        for other in [token("u", 1), token("another", 0)] {
            let other = resume(&attempts, Wish::of(&other, &Held::Absent), 3);
            assert_ne!(other.minted.sha256, first.minted.sha256);
        }
        attempts.forget(&ObjectId::new("shop", "a"));
        assert_ne!(resume(&attempts, wish, 4).minted.sha256, first.minted.sha256);
    }

    #[test]
    fn a_value_is_announced_once() {
        let attempts = Attempts::default();
        let wish = Wish::of(&token("u", 0), &Held::Absent);
        assert!(!resume(&attempts, wish.clone(), 1).announced);
        attempts.announced(&ObjectId::new("shop", "a"));
        assert!(resume(&attempts, wish, 1).announced);
    }
}
