//! The result for one object: decisions that become conditions, and other fields of its status.

use routeapi_crds::{
    condition::{ConditionType, Decision, Reason},
    v1alpha1::UpstreamStatus,
};

/// The result for one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The generation of the spec that was compiled.
    pub generation: Option<i64>,
    /// `Accepted`, and for AIProviders and AIRoutes `ResolvedRefs`.
    pub decisions: Vec<Decision>,
    /// Other status fields of the kind.
    pub detail: Detail,
}

/// The status fields of each kind other than conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Fields of an AIProvider's status.
    Provider {
        /// Number of AIRoutes that refer to this provider and that it admits, whether or not they are ready.
        attached_routes: i32,
    },
    /// Fields of an AIRoute's status.
    Route {
        /// Every upstream in the order written.
        upstreams: Vec<UpstreamStatus>,
    },
    /// Of an ApiToken.
    Token {
        /// Seconds since 1970 after which it is not ready.
        expires: Option<i64>,
        /// Whether `spec.state` is `Suspended`.
        suspended: bool,
    },
}

/// Why a spec or one of its references is not usable; becomes a condition that is false.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SpecError {
    pub reason: Reason,
    pub message: String,
}

// === impl Verdict ===

impl Verdict {
    /// The decision of this type, if there is one.
    pub fn decision(&self, type_: ConditionType) -> Option<&Decision> {
        self.decisions.iter().find(|decision| decision.type_ == type_)
    }

    /// Whether the object was accepted.
    pub fn accepted(&self) -> bool {
        self.decision(ConditionType::Accepted).is_some_and(Decision::holds)
    }

    /// The summary condition: true if every decision here and every further one (`SecretReady`, `Programmed`) holds and
    /// the object is neither suspended nor expired at `now` (seconds since 1970). Otherwise it has the status, reason
    /// and message of the first that does not.
    pub fn ready(&self, further: &[Decision], now: i64) -> Decision {
        if let Some(cause) = self.decisions.iter().chain(further).find(|decision| !decision.holds()) {
            return Decision { type_: ConditionType::Ready, ..cause.clone() };
        }
        match self.detail {
            Detail::Token { suspended: true, .. } => {
                Decision::no(ConditionType::Ready, Reason::Suspended, "spec.state is Suspended")
            }
            Detail::Token { expires: Some(end), .. } if end <= now => {
                Decision::no(ConditionType::Ready, Reason::Expired, "spec.expirationTime is in the past")
            }
            Detail::Token { .. } | Detail::Provider { .. } | Detail::Route { .. } => {
                Decision::yes(ConditionType::Ready, Reason::Ready)
            }
        }
    }
}

// === impl SpecError ===

impl SpecError {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    pub fn decision(&self, type_: ConditionType) -> Decision {
        Decision::no(type_, self.reason, self.message.clone())
    }
}

/// The `Accepted` condition.
pub(crate) fn accepted(error: Option<&SpecError>) -> Decision {
    error.map_or_else(
        || Decision::yes(ConditionType::Accepted, Reason::Accepted),
        |error| error.decision(ConditionType::Accepted),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_repeats_the_first_condition_that_is_not_true() {
        let verdict = |detail| Verdict { generation: Some(1), decisions: vec![accepted(None)], detail };
        let token = |expires, suspended| verdict(Detail::Token { expires, suspended });
        let waiting = Decision::unknown(ConditionType::Programmed, Reason::Propagating, "1/3 pods");
        assert!(token(None, false).ready(&[], 0).holds());
        assert!(token(Some(11), false).ready(&[], 10).holds());
        assert_eq!(token(Some(10), false).ready(&[], 10).reason, Reason::Expired);
        assert_eq!(token(None, true).ready(&[], 10).reason, Reason::Suspended);
        let ready = token(None, true).ready(std::slice::from_ref(&waiting), 10);
        assert_eq!(ready, Decision { type_: ConditionType::Ready, ..waiting });
    }
}
