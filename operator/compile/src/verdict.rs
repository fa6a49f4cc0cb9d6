//! What is said about one object: decisions that become conditions, and the status fields that belong to them.

use routeapi_crds::{
    condition::{ConditionType, Decision, Reason},
    v1alpha1::UpstreamStatus,
};

/// What is said about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The generation of the spec that was judged.
    pub generation: Option<i64>,
    /// `Accepted`, and for AIProviders and AIRoutes `ResolvedRefs`.
    pub decisions: Vec<Decision>,
    /// What else the status of this kind shows.
    pub detail: Detail,
}

/// What the status of each kind shows beside conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Of an AIProvider.
    Provider {
        /// AIRoutes that name this provider and that it admits, whether or not they serve.
        attached_routes: i32,
    },
    /// Of an AIRoute.
    Route {
        /// Every upstream in the order written.
        upstreams: Vec<UpstreamStatus>,
    },
    /// Of an ApiToken.
    Token {
        /// Seconds since 1970 after which it is not ready.
        expires: Option<i64>,
        /// Not ready, by wish.
        suspended: bool,
    },
}

/// Why something cannot be used; becomes a decision of the object that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub reason: Reason,
    pub message: String,
}

// === impl Verdict ===

impl Verdict {
    /// One of the decisions.
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
                Decision::no(ConditionType::Ready, Reason::Suspended, "spec.state: Suspended")
            }
            Detail::Token { expires: Some(end), .. } if end <= now => {
                Decision::no(ConditionType::Ready, Reason::Expired, "spec.expirationTime: is past")
            }
            Detail::Token { .. } | Detail::Provider { .. } | Detail::Route { .. } => {
                Decision::yes(ConditionType::Ready, Reason::Ready)
            }
        }
    }
}

// === impl Problem ===

impl Problem {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    pub fn decision(&self, type_: ConditionType) -> Decision {
        Decision::no(type_, self.reason, self.message.clone())
    }
}

/// `Accepted` from what was found wrong, if anything.
pub(crate) fn accepted(problem: Option<&Problem>) -> Decision {
    problem.map_or_else(
        || Decision::yes(ConditionType::Accepted, Reason::Accepted),
        |problem| problem.decision(ConditionType::Accepted),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_says_what_stands_in_the_way_first() {
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
