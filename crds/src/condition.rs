//! The words of a status: condition types and reasons, and how a condition is written into a list.
//!
//! No decisions are made here. Types and reasons follow Gateway API where it has a word for the thing.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::{Schema, SchemaGenerator, json_schema};

/// The longest message that the schema admits, in bytes; [`set`] cuts longer ones.
const MAX_MESSAGE: usize = 4096;

/// What a condition is about. All are positive: `True` is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// The spec makes sense and conflicts with nothing older.
    Accepted,
    /// What the spec refers to was found and may be used.
    ResolvedRefs,
    /// The token's Secret holds the current key.
    SecretReady,
    /// The upstream takes the provider's key. There once it did not.
    CredentialsAccepted,
    /// Every connected data-plane pod has acknowledged this generation.
    Programmed,
    /// All of the above but CredentialsAccepted, which is about the vendor.
    Ready,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody has looked yet, or nobody can tell.
    Unknown,
}

/// Why a condition has its status, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Accepted: true.
    Accepted,
    /// Not looked at yet.
    Pending,
    /// A field has a value that cannot work.
    InvalidConfig,
    /// Older objects of the namespace take up what it may hold.
    NamespaceFull,
    /// The model belongs to an AIRoute that comes first.
    ModelConflict,
    /// The AIRoute serves tokens of its own namespace only: the namespace may not publish models to others.
    NotPublished,
    /// The key belongs to an older ApiToken.
    KeyConflict,
    /// This version cannot speak to providers of this type.
    UnsupportedType,
    /// ResolvedRefs: true.
    ResolvedRefs,
    /// The Secret does not exist.
    SecretNotFound,
    /// The Secret exists, its key does not.
    SecretKeyMissing,
    /// The Secret's key holds nothing usable.
    SecretKeyInvalid,
    /// The ConfigMap does not exist.
    ConfigMapNotFound,
    /// The ConfigMap exists, its key does not.
    ConfigMapKeyMissing,
    /// The ConfigMap's key holds nothing usable.
    ConfigMapKeyInvalid,
    /// The ConfigMap or Secret with certificates does not exist.
    CertificateNotFound,
    /// It exists but holds no usable certificate under the key, or a private key that does not belong to it.
    CertificateInvalid,
    /// The AIProvider does not exist.
    ProviderNotFound,
    /// The AIProvider exists but cannot be used itself.
    ProviderNotReady,
    /// The other namespace does not agree.
    RefNotPermitted,
    /// The AIProvider does not offer the model to routes of other namespaces.
    ModelNotOffered,
    /// SecretReady: true.
    SecretReady,
    /// A Secret of that name exists and is not ours.
    SecretNotOwned,
    /// The token is being issued or rotated.
    Minting,
    /// The token's Secret is being deleted, and finalizers hold it.
    SecretTerminating,
    /// The token's Secret is immutable.
    SecretImmutable,
    /// The API server finds the token's Secret invalid.
    SecretInvalid,
    /// The API server forbids writing the token's Secret: a missing permission, or an admission plugin.
    Forbidden,
    /// A ResourceQuota leaves no room for the token's Secret.
    QuotaExceeded,
    /// An admission policy or webhook denied the token's Secret.
    AdmissionDenied,
    /// The token's namespace is being deleted.
    NamespaceTerminating,
    /// Somebody else keeps changing the token's Secret or status.
    Conflict,
    /// The API server fails or does not answer.
    ApiServerError,
    /// CredentialsAccepted: true.
    CredentialsAccepted,
    /// The upstream answers 401 or 403 to the provider's key.
    RejectedByUpstream,
    /// Programmed: true.
    Programmed,
    /// Some data-plane pods have not answered yet.
    Propagating,
    /// A data-plane pod refused it.
    Rejected,
    /// No data-plane pod is connected.
    NoDataPlane,
    /// Ready: true.
    Ready,
    /// The token's time is over.
    Expired,
    /// The token is suspended.
    Suspended,
}

/// One condition, decided but not yet written: no times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What it is about.
    pub type_: ConditionType,
    /// Whether it holds.
    pub status: Status,
    /// Why, for programs.
    pub reason: Reason,
    /// Why, for people; names the field path when one is to blame. Empty when there is nothing to add.
    pub message: String,
}

// === impl Decision ===

impl Decision {
    /// It holds.
    pub fn yes(type_: ConditionType, reason: Reason) -> Self {
        Self { type_, status: Status::True, reason, message: String::new() }
    }

    /// It holds, with something worth knowing.
    pub fn yes_but(type_: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self { type_, status: Status::True, reason, message: message.into() }
    }

    /// It does not hold.
    pub fn no(type_: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self { type_, status: Status::False, reason, message: message.into() }
    }

    /// It cannot be told yet.
    pub fn unknown(type_: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self { type_, status: Status::Unknown, reason, message: message.into() }
    }

    /// Whether the condition holds.
    pub fn holds(&self) -> bool {
        self.status == Status::True
    }
}

/// Writes a decision into a list of conditions: one per type, `lastTransitionTime` kept unless the status flips.
/// Returns whether anything changed, so that a status that says the same again need not be written.
pub fn set(conditions: &mut Vec<Condition>, decision: &Decision, generation: Option<i64>, now: &Time) -> bool {
    let mut next = Condition {
        last_transition_time: now.clone(),
        message: message(decision),
        observed_generation: generation,
        reason: decision.reason.to_string(),
        status: decision.status.to_string(),
        type_: decision.type_.to_string(),
    };
    let Some(held) = conditions.iter_mut().find(|held| held.type_ == next.type_) else {
        conditions.push(next);
        return true;
    };
    if held.status == next.status {
        next.last_transition_time = held.last_transition_time.clone();
    }
    let changed = *held != next;
    *held = next;
    changed
}

/// A decision's message as [`set`] writes it.
pub fn message(decision: &Decision) -> String {
    shorten(&decision.message, MAX_MESSAGE)
}

/// One condition of a list.
pub fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    let name = type_.to_string();
    conditions.iter().find(|held| held.type_ == name)
}

/// The standard list of conditions, with bounds and without the page of prose that the generated type carries.
pub(crate) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 8,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": { "type": "string", "maxLength": 316 },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"] },
                "reason": { "type": "string", "minLength": 1, "maxLength": 1024 },
                "message": { "type": "string", "maxLength": 32768 },
                "lastTransitionTime": { "type": "string", "format": "date-time" },
                "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0 }
            }
        }
    })
}

/// Text of at most this many bytes, cut at a character and marked with an ellipsis if it was longer.
pub fn shorten(text: &str, most: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most.saturating_sub(MARK.len())).rev().find(|end| text.is_char_boundary(*end));
    format!("{}{MARK}", end.and_then(|end| text.get(..end)).unwrap_or_default())
}

// === the words as written: each variant's own name ===

impl fmt::Display for ConditionType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, out)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, out)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        serde_json::from_value(text.into()).unwrap()
    }

    #[test]
    fn the_transition_time_moves_only_when_the_status_flips() {
        let (first, second, third) =
            (at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"), at("2026-01-03T00:00:00Z"));
        let mut conditions = Vec::new();
        let good = Decision::yes(ConditionType::Accepted, Reason::Accepted);
        assert!(set(&mut conditions, &good, Some(1), &first));
        assert!(!set(&mut conditions, &good, Some(1), &second), "nothing new");
        assert!(set(&mut conditions, &good, Some(2), &second), "a new generation is news");
        assert_eq!(conditions[0].last_transition_time, first);
        let bad = Decision::no(ConditionType::Accepted, Reason::ModelConflict, "spec.model: taken");
        assert!(set(&mut conditions, &bad, Some(2), &third));
        assert_eq!(conditions.len(), 1);
        assert_eq!(conditions[0].last_transition_time, third);
        assert_eq!((conditions[0].status.as_str(), conditions[0].reason.as_str()), ("False", "ModelConflict"));
        assert_eq!(find(&conditions, ConditionType::Accepted).unwrap().message, "spec.model: taken");
        assert!(find(&conditions, ConditionType::Ready).is_none());
    }

    #[test]
    fn a_message_longer_than_the_schema_admits_is_cut_at_a_character() {
        let mut conditions = Vec::new();
        let long = Decision::no(ConditionType::Ready, Reason::Rejected, "é".repeat(40_000));
        set(&mut conditions, &long, None, &at("2026-01-01T00:00:00Z"));
        assert!((MAX_MESSAGE - 1..=MAX_MESSAGE).contains(&conditions[0].message.len()));
        assert!(conditions[0].message.ends_with("é…"));
        assert_eq!(shorten("short", 5), "short");
        assert_eq!(shorten("longer", 5), "lo…");
    }
}
