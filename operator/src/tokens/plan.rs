//! What a token's Secret and status ask for. Pure.
//!
//! The Secret is the truth about the current value; `status.keys` is what data planes go by. So the value of our own
//! Secret is always among the keys, keys that were made after it are leftovers of a crash (nobody ever saw their value),
//! and keys that were made before it end after the overlap.
//!
//! An imported value that may not stand for a token stands for none. A Secret that is being deleted changes nothing yet.
//! A Secret that was deleted, or whose value was spoilt, means: new value, and the old one ends at once. A Secret that is
//! not ours is never written to; labelled for import, its value is taken over as it is. If an imported value changes, the
//! old one ends after the overlap if `rotation` is set, else at once.

use std::time::Duration;

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use routeapi_channel::{
    Secret,
    token_format::{self, Reading, Unusable},
};
use routeapi_crds::v1alpha1::{ApiToken, KeyStatus};

use super::refusal::Refusal;

/// Keys that a status admits.
const MOST_KEYS: usize = 4;

/// A token's Secret as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// There is none.
    Absent,
    /// Somebody else's: whose, as far as it says.
    Foreign(Option<Owner>),
    /// Somebody else's, meant to be taken over.
    Import(Import),
    /// Ours or meant to be taken over, and being deleted: what holds it.
    Terminating(Vec<String>),
    /// Ours.
    Ours(Ours),
}

/// What controls a Secret that is not this token's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Another ApiToken, by its name.
    Token(String),
    /// A token of this very name that was deleted. Kubernetes deletes its Secret too.
    Predecessor,
    /// Something else, by kind and name.
    Other(String, String),
}

/// The value of a Secret that is meant to be taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Import {
    /// There is none under the key `token`.
    Missing,
    /// It may not stand for a token.
    Unusable(Unusable),
    /// It may.
    Value(Secret),
}

/// A Secret of the operator's own making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ours {
    /// What a write must name.
    pub resource_version: Option<String>,
    /// The value under the key `token`.
    pub value: Option<Secret>,
    /// The key that the value was written for.
    pub key_id: Option<String>,
    /// The `rotation.revision` that it was written for.
    pub revision: Option<i32>,
    /// Whether everything else in it is as it should be.
    pub fresh: bool,
}

/// The part of a status that the token task writes.
#[derive(Clone, Debug, PartialEq)]
pub struct Keys {
    /// Keys that stand for the token.
    pub keys: Vec<KeyStatus>,
    /// The revision that was carried out last.
    pub rotation_revision: Option<i32>,
}

/// What to do with the Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is as it should be, or not ours to touch.
    Nothing,
    /// Write it again with the same value.
    Refresh,
    /// A new value.
    Mint,
}

/// What is said about the Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It holds the current key.
    Ready,
    /// Its first value, or the value after a deletion, is being made.
    Minting,
    /// It is somebody else's: whose, as far as it says.
    NotOwned(Option<Owner>),
    /// It is meant to be taken over but has no value.
    KeyMissing,
    /// It is meant to be taken over but its value may not stand for a token.
    KeyUnusable(Unusable),
    /// It is being deleted, and these finalizers hold it.
    Terminating(Vec<String>),
    /// The API server does not take what should be written.
    Refused(Refusal),
}

/// All of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What `status.keys` should hold (before minting).
    pub keys: Keys,
    /// What to do.
    pub next: Next,
    /// What to say.
    pub finding: Finding,
}

/// Decides.
pub fn plan(token: &ApiToken, held: &Held, now: Timestamp) -> Plan {
    let mut keys = Keys::of(token);
    let none = |rotation_revision| Keys { keys: Vec::new(), rotation_revision };
    match held {
        Held::Absent => Plan { keys: none(keys.rotation_revision), next: Next::Mint, finding: Finding::Minting },
        Held::Foreign(owner) => {
            let finding = Finding::NotOwned(owner.clone());
            Plan { keys: none(keys.rotation_revision), next: Next::Nothing, finding }
        }
        Held::Import(Import::Missing) => {
            Plan { keys: none(keys.rotation_revision), next: Next::Nothing, finding: Finding::KeyMissing }
        }
        Held::Import(Import::Unusable(why)) => {
            Plan { keys: none(keys.rotation_revision), next: Next::Nothing, finding: Finding::KeyUnusable(*why) }
        }
        // What apps have goes on working until the Secret is gone.
        Held::Terminating(holders) => {
            Plan { keys, next: Next::Nothing, finding: Finding::Terminating(holders.clone()) }
        }
        Held::Import(Import::Value(value)) => {
            let sha256 = token_format::sha256(value.expose());
            keys.settle(&token_format::id_of_hash(&sha256), &sha256, import_overlap(token), now);
            keys.rotation_revision = wanted_revision(token);
            Plan { keys, next: Next::Nothing, finding: Finding::Ready }
        }
        Held::Ours(ours) => own(token, ours, keys, now),
    }
}

fn own(token: &ApiToken, ours: &Ours, mut keys: Keys, now: Timestamp) -> Plan {
    let Some((id, sha256)) = ours.value.as_ref().and_then(|value| intact(value, ours.key_id.as_deref())) else {
        keys.keys.clear();
        return Plan { keys, next: Next::Mint, finding: Finding::Minting };
    };
    keys.settle(&id, &sha256, overlap(token), now);
    let carried_out = keys.rotation_revision.max(ours.revision);
    keys.rotation_revision = carried_out.or_else(|| wanted_revision(token));
    let asked = wanted_revision(token) > keys.rotation_revision;
    let worn = next_rotation(token, &keys).is_some_and(|at| at <= now);
    let next = match (asked || worn, ours.fresh) {
        (true, _) => Next::Mint,
        (false, false) => Next::Refresh,
        (false, true) => Next::Nothing,
    };
    Plan { keys, next, finding: Finding::Ready }
}

/// The key that a Secret of ours holds, if its value is what was once written.
pub fn current(held: &Held) -> Option<&str> {
    let Held::Ours(ours) = held else { return None };
    ours.key_id.as_deref().filter(|id| ours.value.as_ref().is_some_and(|value| intact(value, Some(id)).is_some()))
}

/// Id and hash of a value that is what was once written.
fn intact(value: &Secret, key_id: Option<&str>) -> Option<(String, String)> {
    match token_format::read(value.expose()) {
        Reading::Minted { id } if key_id == Some(id) => Some((id.to_owned(), token_format::sha256(value.expose()))),
        Reading::Minted { .. } | Reading::Damaged { .. } | Reading::Foreign => None,
    }
}

/// The revision that the spec asks for. Without `rotation` it is 0, as in a new `rotation`.
pub fn wanted_revision(token: &ApiToken) -> Option<i32> {
    let revision = token.spec.rotation.as_ref().map_or(0, |rotation| rotation.revision);
    i32::try_from(revision).ok()
}

/// How long an old key goes on after a rotation.
pub fn overlap(token: &ApiToken) -> Duration {
    token.spec.rotation.as_ref().map_or(Duration::from_secs(24 * 3600), |rotation| rotation.overlap.into())
}

fn import_overlap(token: &ApiToken) -> Duration {
    token.spec.rotation.as_ref().map_or(Duration::ZERO, |rotation| rotation.overlap.into())
}

/// When the interval ends, if there is one.
pub fn next_rotation(token: &ApiToken, keys: &Keys) -> Option<Timestamp> {
    let interval: Duration = token.spec.rotation.as_ref()?.interval?.into();
    let current = keys.keys.iter().filter(|key| key.not_after_time.is_none()).map(|key| key.issued_time.0).max()?;
    current.checked_add(interval).ok()
}

/// How long until something of a token falls due.
pub fn due(token: &ApiToken, keys: &Keys, now: Timestamp) -> Option<Duration> {
    let ends = keys.keys.iter().filter_map(|key| key.not_after_time.as_ref()).map(|end| end.0);
    let first = ends.chain(next_rotation(token, keys)).min()?;
    // Seconds are all that a status keeps: a look that is a moment early would find nothing to do.
    Some(Duration::try_from(first.duration_since(now)).unwrap_or_default() + Duration::from_millis(20))
}

/// When an overlap ends. A status keeps whole seconds and cuts off the rest: rounded up, or apps would get less than was
/// promised. No overlap at all means now.
fn end(overlap: Duration, now: Timestamp) -> Timestamp {
    if overlap.is_zero() {
        return now;
    }
    let whole = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Ceil);
    now.checked_add(overlap).and_then(|end| end.round(whole)).unwrap_or(Timestamp::MAX)
}

// === impl Keys ===

impl Keys {
    /// As a status has them.
    pub fn of(token: &ApiToken) -> Self {
        let status = token.status.as_ref();
        Self {
            keys: status.map(|it| it.keys.clone()).unwrap_or_default(),
            rotation_revision: status.and_then(|it| it.rotation_revision),
        }
    }

    /// Adds a key in place of one of the same id, if there is one; if there are too many, the one that ends first goes.
    pub fn add(&mut self, key: KeyStatus) {
        self.keys.retain(|held| held.id != key.id);
        while self.keys.len() >= MOST_KEYS {
            let ends = |key: &KeyStatus| key.not_after_time.as_ref().map(|end| end.0);
            let first = self.keys.iter().enumerate().min_by_key(|(_, key)| ends(key).unwrap_or(Timestamp::MAX));
            let Some((at, _)) = first else { break };
            self.keys.remove(at);
        }
        self.keys.push(key);
    }

    /// Gives every other key an end.
    pub fn retire_others(&mut self, current: &str, overlap: Duration, now: Timestamp) {
        let end = end(overlap, now);
        for key in self.keys.iter_mut().filter(|key| key.id != current && key.not_after_time.is_none()) {
            key.not_after_time = Some(Time(end));
        }
        self.keys.retain(|key| key.not_after_time.as_ref().is_none_or(|end| end.0 > now));
    }

    /// Makes this key the current one, whatever a crash left behind.
    fn settle(&mut self, id: &str, sha256: &str, overlap: Duration, now: Timestamp) {
        let held = self.keys.iter_mut().find(|key| key.sha256 == sha256);
        let issued = if let Some(held) = held {
            held.not_after_time = None;
            held.issued_time.0
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
