//! Decides what a token's Secret and `status.keys` should contain. Pure.
//!
//! The Secret determines the current key; data planes use `status.keys`. So the value of a managed Secret is always among the
//! keys, keys that were issued after it are left over from a crash (their values were never published), and keys that were issued
//! before it end after the overlap.
//!
//! An invalid imported value is not a key. A Secret that is being deleted changes nothing yet. If a Secret was deleted or its
//! value is damaged, a new key is issued and the old one ends immediately. A Secret with another owner is never written; if it
//! is labelled for import, its value is used as it is. If an imported value changes, the old one ends after the overlap if
//! `rotation` is set, else immediately.

use std::time::Duration;

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use routeapi_channel::{
    Secret,
    token_format::{self, ImportError, Reading},
};
use routeapi_crds::{
    condition::{self, ConditionType, Status},
    v1alpha1::{ApiToken, KeyStatus},
};

use super::write_failure::WriteFailure;

/// Maximum number of `status.keys` in the schema.
const MAX_KEYS: usize = 4;

/// A token's Secret as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundSecret {
    /// It does not exist.
    Missing,
    /// It is not owned by the token; its controller, if it has one.
    NotOwned(Option<Owner>),
    /// It is not owned by the token and labelled for import.
    Import(Import),
    /// It is owned by the token or labelled for import, and being deleted; its finalizers.
    Terminating(Vec<String>),
    /// It is owned by the token.
    Managed(ManagedSecret),
    /// The token has no API key, so nobody looked.
    NotRequired,
}

/// The controller of a Secret that the token does not own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Another ApiToken; its name.
    Token(String),
    /// A deleted token of the same name, whose Secret Kubernetes deletes too.
    Predecessor,
    /// Another object; its kind and name.
    Other(String, String),
}

/// The value of a Secret that is labelled for import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Import {
    /// It has no key `token`.
    Missing,
    /// The value is not valid as an API key.
    Invalid(ImportError),
    /// A valid API key.
    Value(Secret),
}

/// A Secret that the token owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedSecret {
    /// The resourceVersion, which a write must name.
    pub resource_version: Option<String>,
    /// The value under the key `token`.
    pub value: Option<Secret>,
    /// ID of the key that was written, from an annotation.
    pub key_id: Option<String>,
    /// `rotation.revision` when it was written, from an annotation.
    pub revision: Option<i32>,
    /// Whether everything else in it is as desired.
    pub up_to_date: bool,
}

/// The part of a status that the token controller writes.
#[derive(Clone, Debug, PartialEq)]
pub struct Keys {
    /// The valid keys.
    pub keys: Vec<KeyStatus>,
    /// The revision of the last completed rotation.
    pub rotation_revision: Option<i32>,
}

/// What to do with the Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretAction {
    /// Nothing: it is as desired, or not managed by the operator.
    None,
    /// Write it again with the same key.
    Refresh,
    /// Issue a new key.
    Issue,
}

/// The state of a token's Secret, for its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretState {
    /// It contains the current key.
    Ready,
    /// A first key, or one after a deletion, is being issued.
    Issuing,
    /// It is not owned by the token; its controller, if it has one.
    NotOwned(Option<Owner>),
    /// It is labelled for import but has no value.
    KeyMissing,
    /// It is labelled for import but its value is invalid.
    KeyInvalid(ImportError),
    /// It is being deleted and waits for these finalizers.
    Terminating(Vec<String>),
    /// The API server refused a write.
    WriteFailed(WriteFailure),
    /// The token has no API key.
    NotRequired,
}

/// The result.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The desired `status.keys`, before a new key is issued.
    pub keys: Keys,
    /// What to do with the Secret.
    pub action: SecretAction,
    /// The state of the Secret.
    pub state: SecretState,
}

/// Decides what a token's Secret and `status.keys` should contain.
pub fn plan(token: &ApiToken, found: &FoundSecret, now: Timestamp) -> Plan {
    let mut keys = Keys::of(token);
    let none = |rotation_revision| Keys { keys: Vec::new(), rotation_revision };
    match found {
        FoundSecret::Missing => {
            Plan { keys: none(keys.rotation_revision), action: SecretAction::Issue, state: SecretState::Issuing }
        }
        FoundSecret::NotRequired => {
            Plan { keys: none(None), action: SecretAction::None, state: SecretState::NotRequired }
        }
        FoundSecret::NotOwned(owner) => {
            let state = SecretState::NotOwned(owner.clone());
            Plan { keys: none(keys.rotation_revision), action: SecretAction::None, state }
        }
        FoundSecret::Import(Import::Missing) => {
            Plan { keys: none(keys.rotation_revision), action: SecretAction::None, state: SecretState::KeyMissing }
        }
        FoundSecret::Import(Import::Invalid(why)) => Plan {
            keys: none(keys.rotation_revision),
            action: SecretAction::None,
            state: SecretState::KeyInvalid(*why),
        },
        // The key of running apps works until the Secret is deleted.
        FoundSecret::Terminating(finalizers) => {
            Plan { keys, action: SecretAction::None, state: SecretState::Terminating(finalizers.clone()) }
        }
        FoundSecret::Import(Import::Value(value)) => {
            let sha256 = token_format::sha256(value.expose());
            keys.make_current(&token_format::id_of_hash(&sha256), &sha256, import_overlap(token), now);
            keys.rotation_revision = requested_revision(token);
            Plan { keys, action: SecretAction::None, state: SecretState::Ready }
        }
        FoundSecret::Managed(secret) => plan_managed(token, secret, keys, now),
    }
}

fn plan_managed(token: &ApiToken, secret: &ManagedSecret, mut keys: Keys, now: Timestamp) -> Plan {
    let Some((id, sha256)) = secret.value.as_ref().and_then(|value| valid_key(value, secret.key_id.as_deref())) else {
        keys.keys.clear();
        return Plan { keys, action: SecretAction::Issue, state: SecretState::Issuing };
    };
    keys.make_current(&id, &sha256, overlap(token), now);
    let completed = keys.rotation_revision.max(secret.revision);
    keys.rotation_revision = completed.or_else(|| requested_revision(token));
    let requested = requested_revision(token) > keys.rotation_revision;
    let expired = next_rotation(token, &keys).is_some_and(|at| at <= now);
    let action = match (requested || expired, secret.up_to_date) {
        (true, _) => SecretAction::Issue,
        (false, false) => SecretAction::Refresh,
        (false, true) => SecretAction::None,
    };
    Plan { keys, action, state: SecretState::Ready }
}

/// Whether a token's status says that its Secret has the current key and that nothing is to be done before something falls
/// due. Its Secret may have been changed since, which is noticed in its turn.
pub fn is_settled(token: &ApiToken) -> bool {
    let keys = Keys::of(token);
    let conditions = token.status.as_ref().map(|status| &*status.conditions).unwrap_or_default();
    let ready = condition::find(conditions, ConditionType::SecretReady);
    let current = keys.keys.iter().filter(|key| key.not_after_time.is_none()).count();
    let written = |ready: &Condition| {
        ready.status == Status::True.to_string() && ready.observed_generation == token.metadata.generation
    };
    token.metadata.deletion_timestamp.is_none()
        && ready.is_some_and(written)
        && current == 1
        && keys.rotation_revision == requested_revision(token)
}

/// ID of the key in a managed Secret, if its value is undamaged.
pub fn current(found: &FoundSecret) -> Option<&str> {
    let FoundSecret::Managed(secret) = found else { return None };
    secret
        .key_id
        .as_deref()
        .filter(|id| secret.value.as_ref().is_some_and(|value| valid_key(value, Some(id)).is_some()))
}

/// ID and hash of a value that is the key that was written.
fn valid_key(value: &Secret, key_id: Option<&str>) -> Option<(String, String)> {
    match token_format::read(value.expose()) {
        Reading::Minted { id } if key_id == Some(id) => Some((id.to_owned(), token_format::sha256(value.expose()))),
        Reading::Minted { .. } | Reading::Damaged { .. } | Reading::Foreign => None,
    }
}

/// `rotation.revision` of the spec. Without `rotation` it is 0, as in a new `rotation`.
pub fn requested_revision(token: &ApiToken) -> Option<i32> {
    let revision = token.spec.rotation.as_ref().map_or(0, |rotation| rotation.revision);
    i32::try_from(revision).ok()
}

/// How long an old key is valid after a rotation.
pub fn overlap(token: &ApiToken) -> Duration {
    token.spec.rotation.as_ref().map_or(Duration::from_secs(24 * 3600), |rotation| rotation.overlap.into())
}

fn import_overlap(token: &ApiToken) -> Duration {
    token.spec.rotation.as_ref().map_or(Duration::ZERO, |rotation| rotation.overlap.into())
}

/// When the next rotation is due, if there is an interval.
pub fn next_rotation(token: &ApiToken, keys: &Keys) -> Option<Timestamp> {
    let interval: Duration = token.spec.rotation.as_ref()?.interval?.into();
    let current = keys.keys.iter().filter(|key| key.not_after_time.is_none()).map(|key| key.issued_time.0).max()?;
    current.checked_add(interval).ok()
}

/// The time until a rotation or the end of an overlap, if there is one.
pub fn due(token: &ApiToken, keys: &Keys, now: Timestamp) -> Option<Duration> {
    let ends = keys.keys.iter().filter_map(|key| key.not_after_time.as_ref()).map(|end| end.0);
    let first = ends.chain(next_rotation(token, keys)).min()?;
    // A status has whole seconds: a reconciliation that is slightly early would find nothing to do.
    Some(Duration::try_from(first.duration_since(now)).unwrap_or_default() + Duration::from_millis(20))
}

/// When an overlap ends. A status has whole seconds, so it is rounded up; otherwise apps would get less than promised. Without an
/// overlap it ends now.
fn end(overlap: Duration, now: Timestamp) -> Timestamp {
    if overlap.is_zero() {
        return now;
    }
    let whole = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Ceil);
    now.checked_add(overlap).and_then(|end| end.round(whole)).unwrap_or(Timestamp::MAX)
}

// === impl Keys ===

impl Keys {
    /// The keys in a token's status.
    pub fn of(token: &ApiToken) -> Self {
        let status = token.status.as_ref();
        Self {
            keys: status.map(|status| status.keys.clone()).unwrap_or_default(),
            rotation_revision: status.and_then(|status| status.rotation_revision),
        }
    }

    /// Adds a key, replacing one with the same ID; if there are too many, removes the one that ends first.
    pub fn add(&mut self, key: KeyStatus) {
        self.keys.retain(|known| known.id != key.id);
        while self.keys.len() >= MAX_KEYS {
            let ends = |key: &KeyStatus| key.not_after_time.as_ref().map(|end| end.0);
            let first = self.keys.iter().enumerate().min_by_key(|(_, key)| ends(key).unwrap_or(Timestamp::MAX));
            let Some((at, _)) = first else { break };
            self.keys.remove(at);
        }
        self.keys.push(key);
    }

    /// Lets every other key end after the overlap, and removes those that have ended.
    pub fn retire_others(&mut self, current: &str, overlap: Duration, now: Timestamp) {
        let end = end(overlap, now);
        for key in self.keys.iter_mut().filter(|key| key.id != current && key.not_after_time.is_none()) {
            key.not_after_time = Some(Time(end));
        }
        self.keys.retain(|key| key.not_after_time.as_ref().is_none_or(|end| end.0 > now));
    }

    /// Makes this key the current one, and removes what a crash has left over.
    fn make_current(&mut self, id: &str, sha256: &str, overlap: Duration, now: Timestamp) {
        let known = self.keys.iter_mut().find(|key| key.sha256 == sha256);
        let issued = if let Some(known) = known {
            known.not_after_time = None;
            known.issued_time.0
        } else {
            self.keys.retain(|key| key.id != id);
            let key = KeyStatus {
                id: id.to_owned(),
                sha256: sha256.to_owned(),
                issued_time: Time(now),
                not_after_time: None,
            };
            self.add(key);
            now
        };
        self.keys.retain(|key| key.sha256 == sha256 || key.issued_time.0 <= issued);
        self.retire_others(id, overlap, now);
    }
}

#[cfg(test)]
mod tests;
