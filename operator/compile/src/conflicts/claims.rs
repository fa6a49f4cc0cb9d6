//! The claims of AIRoutes on model IDs, and which route has which ID so far.

use std::collections::BTreeMap;

use routeapi_channel::{ObjectId, snapshot::Published};
use routeapi_crds::{v1alpha1::AIRouteSpec, value::ModelPattern};

use crate::{namespace_set::NamespaceSet, pattern_index::PatternIndex, publishers::Rank};

/// A route with everything its claims depend on.
pub(crate) struct Claimant<'a> {
    pub id: &'a ObjectId,
    pub spec: &'a AIRouteSpec,
    /// Creation time in seconds since 1970.
    pub created: i64,
    /// Whether an upstream takes requests.
    pub usable: bool,
    /// Namespaces whose tokens may use the route.
    pub audience: NamespaceSet,
    /// Whether `allowedTokens` is a selector. Such a route publishes even if no namespace matches today, so that a
    /// namespace that comes to match changes no route.
    pub selects: bool,
    /// Namespaces whose routes may publish IDs under its prefixes.
    pub delegates: Option<NamespaceSet>,
    /// Precedence of its namespace among publishers; none if it may not publish.
    pub rank: Option<Rank>,
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
pub(super) enum ClaimOutcome {
    /// The route is not available to any token there.
    NotApplicable,
    Won,
    /// Another route has it for some of the namespaces.
    PartlyWon,
    /// The claimant with this index takes precedence.
    Lost(usize),
    /// The claimant with this index is newer, but has a usable upstream.
    Yielded(usize),
}

/// A published pattern, with the namespaces it still reaches.
pub(super) struct PublishedClaim {
    /// Index of the claimant.
    pub by: usize,
    pub audience: NamespaceSet,
}

/// Sentences about one route, in the order in which they come up.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub sentences: Vec<String>,
    /// Whether a note already mentions another route that claims the same.
    pub contested: bool,
}

/// Which route has which model ID or prefix so far.
pub(super) struct ModelClaims<'a> {
    pub claimants: &'a [Claimant<'a>],
    /// Position of each claimant in the order of precedence.
    pub position: Vec<usize>,
    /// Holder of each pattern, by namespace.
    pub own: BTreeMap<(&'a str, &'a ModelPattern), usize>,
    pub published: PatternIndex<'a, PublishedClaim>,
    pub notes: Vec<Notes>,
}

// === impl Claimant ===

impl Claimant<'_> {
    pub(super) fn namespace(&self) -> &str {
        self.id.namespace()
    }

    /// The model (0) and the aliases (from 1).
    pub(super) fn patterns(&self) -> impl Iterator<Item = (usize, &ModelPattern)> {
        std::iter::once(&self.spec.model).chain(&self.spec.aliases).enumerate()
    }

    /// Namespaces other than its own whose tokens may use it.
    pub(super) fn others(&self) -> NamespaceSet {
        self.audience.clone().without(self.namespace())
    }

    pub(super) fn delegates_to(&self, namespace: &str) -> bool {
        self.delegates.as_ref().is_some_and(|namespaces| namespaces.contains(namespace))
    }
}
