//! Condition types and reasons, and how a condition is merged into the list in an object's status.
//!
//! No decisions are made here. Types and reasons are Gateway API's where it has one with the same meaning.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::{Schema, SchemaGenerator, json_schema};

/// Longest message in bytes; [`set`] cuts longer ones. The schema admits 32768 characters; an object has up to six
/// conditions, and `kubectl describe` prints them all.
const MAX_MESSAGE: usize = 4096;

/// The `type` of a condition. All are positive: `True` is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// The spec is valid and does not conflict with an older object.
    Accepted,
    /// All references of the spec exist and are permitted.
    ResolvedRefs,
    /// The token's Secret contains the current key.
    SecretReady,
    /// The upstream accepts the provider's key. Absent until it has rejected one.
    CredentialsAccepted,
    /// Every connected data-plane pod has acknowledged this generation.
    Programmed,
    /// All of the above except CredentialsAccepted, which depends on the vendor.
    Ready,
}

/// The `status` of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// The condition is met.
    True,
    /// The condition is not met.
    False,
    /// Not determined yet, or not determinable at the moment.
    Unknown,
}

/// The `reason` of a condition, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Accepted: true.
    Accepted,
    /// Not processed yet.
    Pending,
    /// A field has an invalid value.
    InvalidConfig,
    /// Older objects of the namespace use up its limits.
    NamespaceFull,
    /// An AIRoute that takes precedence serves the model.
    ModelConflict,
    /// The AIRoute serves tokens of its own namespace only: the namespace may not publish models to others.
    NotPublished,
    /// The key belongs to an older ApiToken.
    KeyConflict,
    /// Its ServiceAccounts belong to older ApiTokens.
    SubjectConflict,
    /// ResolvedRefs: true.
    ResolvedRefs,
    /// The Secret does not exist.
    SecretNotFound,
    /// The Secret exists, but does not have the key.
    SecretKeyMissing,
    /// The value in the Secret is not usable.
    SecretKeyInvalid,
    /// The ConfigMap does not exist.
    ConfigMapNotFound,
    /// The ConfigMap exists, but does not have the key.
    ConfigMapKeyMissing,
    /// The value in the ConfigMap is not usable.
    ConfigMapKeyInvalid,
    /// The ConfigMap or Secret with certificates does not exist.
    CertificateNotFound,
    /// It exists but has no usable certificate under the key, or a private key that does not match the certificate.
    CertificateInvalid,
    /// The AIProvider does not exist.
    ProviderNotFound,
    /// The AIProvider exists but is itself not accepted or has unresolved references.
    ProviderNotReady,
    /// The other namespace does not permit the reference.
    RefNotPermitted,
    /// The AIProvider does not offer the model to routes of other namespaces.
    ModelNotOffered,
    /// The AIProvider does not have the API that the AIRoute selects.
    EndpointNotOffered,
    /// SecretReady: true.
    SecretReady,
    /// SecretReady: true, because the token has no API key.
    SecretNotRequired,
    /// A Secret of that name exists and is not owned by the token.
    SecretNotOwned,
    /// The token is being issued or rotated.
    Minting,
    /// The token's Secret is being deleted and waits for finalizers.
    SecretTerminating,
    /// The token's Secret is immutable.
    SecretImmutable,
    /// The API server rejects the token's Secret as invalid.
    SecretInvalid,
    /// The API server forbids writing the token's Secret: a missing permission, or an admission plugin.
    Forbidden,
    /// A ResourceQuota does not allow another Secret.
    QuotaExceeded,
    /// An admission policy or webhook denied the token's Secret.
    AdmissionDenied,
    /// The token's namespace is being deleted.
    NamespaceTerminating,
    /// Another client keeps changing the token's Secret or status.
    Conflict,
    /// The API server fails or does not respond.
    ApiServerError,
    /// Whoever issues tokens refuses one to the provider's identity.
    CredentialsRejected,
    /// CredentialsAccepted: true.
    CredentialsAccepted,
    /// The upstream responds with 401 or 403 to the provider's key.
    RejectedByUpstream,
    /// Programmed: true.
    Programmed,
    /// Some data-plane pods have not acknowledged it yet.
    Propagating,
    /// A data-plane pod rejected it.
    Rejected,
    /// No data-plane pod is connected.
    NoDataPlane,
    /// Ready: true.
    Ready,
    /// The token has expired.
    Expired,
    /// The token is suspended.
    Suspended,
}

/// A condition without the times and the generation that [`set`] adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Type of the condition.
    pub type_: ConditionType,
    /// Status of the condition.
    pub status: Status,
    /// Reason for programs.
    pub reason: Reason,
    /// Explanation for people, with the path of the field that caused it. Empty if there is nothing to add.
    pub message: String,
}

// === impl Decision ===

impl Decision {
    /// True, without a message.
    pub fn yes(type_: ConditionType, reason: Reason) -> Self {
        Self { type_, status: Status::True, reason, message: String::new() }
    }

    /// True, with a message.
    pub fn yes_but(type_: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self { type_, status: Status::True, reason, message: message.into() }
    }

    /// False.
    pub fn no(type_: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self { type_, status: Status::False, reason, message: message.into() }
    }

    /// Unknown.
    pub fn unknown(type_: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self { type_, status: Status::Unknown, reason, message: message.into() }
    }

    /// Whether the status is True.
    pub fn holds(&self) -> bool {
        self.status == Status::True
    }
}

/// Merges a decision into a list of conditions: one per type; `lastTransitionTime` changes only with the status.
/// Returns whether anything changed, so that an unchanged status need not be written.
pub fn set(conditions: &mut Vec<Condition>, decision: &Decision, generation: Option<i64>, now: &Time) -> bool {
    let mut next = Condition {
        last_transition_time: now.clone(),
        message: message(decision),
        observed_generation: generation,
        reason: decision.reason.to_string(),
        status: decision.status.to_string(),
        type_: decision.type_.to_string(),
    };
    let Some(current) = conditions.iter_mut().find(|condition| condition.type_ == next.type_) else {
        conditions.push(next);
        return true;
    };
    if current.status == next.status {
        next.last_transition_time = current.last_transition_time.clone();
    }
    let changed = *current != next;
    *current = next;
    changed
}

/// A decision's message as [`set`] writes it.
pub fn message(decision: &Decision) -> String {
    shorten(&decision.message, MAX_MESSAGE)
}

/// One condition of a list.
pub fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    let name = type_.to_string();
    conditions.iter().find(|condition| condition.type_ == name)
}

/// Schema of the standard list of conditions, with bounds, and without the long descriptions of the generated type.
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

/// Text of at most `most` bytes; a longer one is cut between characters and ends with an ellipsis.
pub fn shorten(text: &str, most: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most.saturating_sub(MARK.len())).rev().find(|end| text.is_char_boundary(*end));
    format!("{}{MARK}", end.and_then(|end| text.get(..end)).unwrap_or_default())
}

// === each variant is written as its own name ===

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
    fn the_transition_time_changes_only_with_the_status() {
        let (first, second, third) =
            (at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"), at("2026-01-03T00:00:00Z"));
        let mut conditions = Vec::new();
        let good = Decision::yes(ConditionType::Accepted, Reason::Accepted);
        assert!(set(&mut conditions, &good, Some(1), &first));
        assert!(!set(&mut conditions, &good, Some(1), &second), "nothing changed");
        assert!(set(&mut conditions, &good, Some(2), &second), "the generation changed");
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
