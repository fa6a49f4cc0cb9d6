//! The claims of AIRoutes on model IDs: who claims what, in which order they are decided, and what a route got.

use std::sync::Arc;

use routeapi_channel::{ObjectId, snapshot::Published};
use routeapi_crds::{v1alpha1::AIRoute, value::ModelPattern};

use crate::{namespace_set::NamespaceSet, publishers::Rank, verdict::SpecError};

/// A route with everything its claims depend on.
pub(crate) struct Claimant {
    pub place: Place,
    pub object: Arc<AIRoute>,
    /// Namespaces whose tokens may use the route.
    pub audience: NamespaceSet,
    /// Whether `allowedTokens` is a selector. Such a route publishes even if no namespace matches today, so that a
    /// namespace that comes to match changes no route.
    pub selects: bool,
    /// Namespaces whose routes may publish IDs under its prefixes.
    pub delegates: Option<NamespaceSet>,
    /// Whether its namespace may publish.
    pub granted: bool,
}

/// A route's place in the order in which claims are decided: those with a usable upstream first, then by precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    unusable: bool,
    precedence: Precedence,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Precedence {
    rank: Rank,
    created: i64,
    id: ObjectId,
}

/// What a route may answer to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claimed {
    /// Patterns for tokens of its own namespace.
    pub models: Vec<ModelPattern>,
    /// Patterns for tokens of other namespaces.
    pub published: Vec<Published>,
    /// Part of the `Accepted` message; empty if it got every claim and overlaps with no other route.
    pub note: String,
    /// Whether `allowedTokens` names other namespaces although its own namespace may not publish.
    pub not_granted: bool,
}

/// The outcome of one claim, either among routes of the same namespace or among publishers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ClaimOutcome<'a> {
    /// The route is not available to any token there.
    NotApplicable,
    Won,
    /// Another route has it for some of the namespaces.
    PartlyWon,
    /// The route at this place takes precedence.
    Lost(&'a Place),
    /// The route at this place is newer, but has a usable upstream.
    Yielded(&'a Place),
}

/// A published pattern, with what it means for the claims after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublishedClaim {
    /// The namespaces it still reaches.
    pub audience: NamespaceSet,
    /// [`Claimant::delegates`] of the route.
    pub delegates: Option<NamespaceSet>,
}

/// What was decided about a route's claims.
pub(super) struct Decision {
    /// Without notes about other routes.
    pub claimed: Result<Claimed, SpecError>,
    /// What it publishes if it is usable, as those after it see it.
    pub published: Vec<(ModelPattern, PublishedClaim)>,
    /// Sentences about its own claims.
    pub sentences: Vec<String>,
    /// The routes it lost to, each with the first pattern that it lost.
    pub losses: Vec<(Place, ModelPattern)>,
}

// === impl Claimant ===

impl Claimant {
    pub(super) fn namespace(&self) -> &str {
        self.place.id().namespace()
    }

    /// The model (0) and the aliases (from 1).
    pub(super) fn patterns(&self) -> impl Iterator<Item = (usize, &ModelPattern)> {
        let spec = &self.object.spec;
        std::iter::once(&spec.model).chain(&spec.aliases).enumerate()
    }

    /// Namespaces other than its own whose tokens may use it.
    pub(super) fn others(&self) -> NamespaceSet {
        self.audience.clone().without(self.namespace())
    }

    /// Whether tokens of other namespaces may find it.
    pub(super) fn publishes(&self) -> bool {
        self.granted && (self.selects || !self.others().is_empty())
    }
}

// === impl Place ===

impl Place {
    /// Of a route with or without a usable upstream. `rank`: of its namespace among publishers; `created`: in seconds since 1970.
    pub fn new(usable: bool, rank: Option<Rank>, created: i64, id: ObjectId) -> Self {
        let precedence = Precedence { rank: rank.unwrap_or(Rank::MAX), created, id };
        Self { unusable: !usable, precedence }
    }

    /// The route.
    pub fn id(&self) -> &ObjectId {
        &self.precedence.id
    }

    /// Whether it has an upstream that takes requests.
    pub(super) fn usable(&self) -> bool {
        !self.unusable
    }

    /// Whether it takes precedence over another one, usable or not.
    pub(super) fn precedes(&self, other: &Self) -> bool {
        self.precedence < other.precedence
    }
}
