//! What one route gets, given what those before it hold.

use routeapi_channel::snapshot::{Published, Reach};
use routeapi_crds::value::ModelPattern;

use super::{
    claims::{ClaimOutcome, Claimant, Claimed, Decision, Place, PublishedClaim},
    notes,
    table::Table,
};
use crate::{namespace_set::NamespaceSet, verdict::SpecError};

/// Decides the claims of a route on its model and aliases. One whose model is taken wherever it is meant to be used holds
/// nothing, so that its aliases stay free for others.
pub(super) fn decide(table: &Table, claimant: &Claimant) -> Decision {
    let others = claimant.others();
    let mut draft = Draft::default();
    draft.claimed.not_granted = !claimant.granted && !others.is_empty();
    for (position, pattern) in claimant.patterns() {
        let repeated = draft.claimed.published.iter().any(|published| published.model == *pattern);
        if repeated || draft.claimed.models.contains(pattern) {
            continue;
        }
        let own = outcome_in_namespace(table, claimant, pattern);
        let (published, audience) = if claimant.publishes() {
            outcome_among_publishers(table, claimant, pattern)
        } else {
            (ClaimOutcome::NotApplicable, None)
        };
        if position == 0
            && let Some(holder) = holder_everywhere(own, published)
        {
            draft.lose(holder, pattern);
            return draft.refused(notes::conflict(holder, claimant, pattern));
        }
        let said = notes::outcome(claimant, position, pattern, own, published);
        draft.sentences.extend(said.sentences);
        said.holders.into_iter().for_each(|holder| draft.lose(holder, pattern));
        if own == ClaimOutcome::Won {
            draft.claimed.models.push(pattern.clone());
        }
        if let Some(audience) = audience {
            let reach = reach(claimant, &audience);
            draft.claimed.published.push(Published { model: pattern.clone(), reach });
            if claimant.place.usable() {
                let delegates = claimant.delegates.clone();
                draft.published.push((pattern.clone(), PublishedClaim { audience, delegates }));
            }
        }
    }
    draft.accepted()
}

/// A decision in the making.
#[derive(Default)]
struct Draft {
    claimed: Claimed,
    published: Vec<(ModelPattern, PublishedClaim)>,
    sentences: Vec<String>,
    losses: Vec<(Place, ModelPattern)>,
}

// === impl Draft ===

impl Draft {
    /// Notes to whom a pattern was lost; of those lost to one route the first.
    fn lose(&mut self, holder: &Place, pattern: &ModelPattern) {
        if !self.losses.iter().any(|(other, _)| other == holder) {
            self.losses.push((holder.clone(), pattern.clone()));
        }
    }

    fn accepted(self) -> Decision {
        let Self { claimed, published, sentences, losses } = self;
        Decision { claimed: Ok(claimed), published, sentences, losses }
    }

    fn refused(self, error: SpecError) -> Decision {
        Decision { claimed: Err(error), published: Vec::new(), sentences: Vec::new(), losses: self.losses }
    }
}

/// The outcome among routes of the claimant's own namespace.
fn outcome_in_namespace<'a>(table: &'a Table, claimant: &Claimant, pattern: &ModelPattern) -> ClaimOutcome<'a> {
    if !claimant.audience.contains(claimant.namespace()) {
        return ClaimOutcome::NotApplicable;
    }
    match table.holder(claimant.namespace(), pattern, &claimant.place) {
        None => ClaimOutcome::Won,
        Some(holder) => behind(claimant, holder),
    }
}

/// The outcome among publishers, and the namespaces that the claim reaches, if any.
fn outcome_among_publishers<'a>(
    table: &'a Table,
    claimant: &Claimant,
    pattern: &'a ModelPattern,
) -> (ClaimOutcome<'a>, Option<NamespaceSet>) {
    // Its own namespace counts among those a claim keeps from others, since tokens there find the route first.
    let mut left = claimant.audience.clone();
    let mut beyond = claimant.others();
    let mut first = None;
    let protects = |(holder, claim): &&(Place, PublishedClaim)| {
        let delegates = claim.delegates.as_ref().is_some_and(|to| to.contains(claimant.namespace()));
        holder.id().namespace() != claimant.namespace() && !delegates
    };
    let equal = table.published.equal(pattern).iter();
    let earlier = equal.chain(table.published.broader(pattern).filter(protects));
    for (holder, claim) in earlier.filter(|(holder, _)| *holder < claimant.place) {
        left = left.minus(&claim.audience);
        let rest = left.clone().without(claimant.namespace());
        if rest != beyond {
            first.get_or_insert(holder);
        }
        beyond = rest;
    }
    match (beyond.is_empty(), first) {
        (true, Some(holder)) => (behind(claimant, holder), None),
        (false, Some(_)) => (ClaimOutcome::PartlyWon, Some(left)),
        (_, None) => (ClaimOutcome::Won, Some(left)),
    }
}

fn behind<'a>(claimant: &Claimant, holder: &'a Place) -> ClaimOutcome<'a> {
    if holder.precedes(&claimant.place) { ClaimOutcome::Lost(holder) } else { ClaimOutcome::Yielded(holder) }
}

/// The holder of a model that the claimant gets nowhere.
fn holder_everywhere<'a>(own: ClaimOutcome<'a>, published: ClaimOutcome<'a>) -> Option<&'a Place> {
    match (own, published) {
        (ClaimOutcome::Lost(holder), ClaimOutcome::Lost(_) | ClaimOutcome::NotApplicable)
        | (ClaimOutcome::NotApplicable, ClaimOutcome::Lost(holder)) => Some(holder),
        _ => None,
    }
}

/// The part of the route's own audience that a claim has kept.
fn reach(claimant: &Claimant, kept: &NamespaceSet) -> Reach {
    if kept.clone().without(claimant.namespace()) == claimant.others() {
        return Reach::Whole;
    }
    match kept {
        NamespaceSet::Only(names) => Reach::Only(names.clone()),
        NamespaceSet::AllExcept(names) => Reach::Except(names.clone()),
    }
}
