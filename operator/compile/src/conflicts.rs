//! Decides which AIRoute answers for a model ID that several claim. The rules, with examples, are in `docs/models.md`.
//!
//! Two questions are kept apart. Tokens of a route's own namespace see the routes of that namespace first: of two equal
//! patterns the older route has it, `gpt-*` and `gpt-4o` live side by side. Tokens of other namespaces see what
//! publishers publish to them: there a pattern also protects the IDs under it from newer routes of other namespaces,
//! unless it delegates to them. A route without a usable upstream protects nothing and shadows no other route.
//!
//! Precedence is rank of the namespace, then age, then name, and is decided here alone: a data plane finds the exact ID or
//! the longest prefix among what each route has claimed.

mod claims;
mod notes;

use std::collections::BTreeMap;

use routeapi_channel::snapshot::{Published, Reach};
use routeapi_crds::value::ModelPattern;

use self::claims::{ClaimOutcome, ModelClaims, Notes, PublishedClaim};
pub(crate) use self::claims::{Claimant, Claimed};
use crate::{namespace_set::NamespaceSet, pattern_index::PatternIndex, publishers::Rank, verdict::SpecError};

/// Decides every claim. One result per claimant, in their order.
pub(crate) fn resolve(claimants: &[Claimant<'_>]) -> Vec<Result<Claimed, SpecError>> {
    let mut order: Vec<usize> = (0..claimants.len()).collect();
    order.sort_by_key(|&index| {
        let claimant = claimants.get(index);
        claimant.map(|claimant| (claimant.rank.unwrap_or(Rank::MAX), claimant.created, claimant.id))
    });
    let mut claims = ModelClaims::new(claimants, &order);
    let mut results: Vec<Option<Result<Claimed, SpecError>>> = claimants.iter().map(|_| None).collect();
    for usable in [true, false] {
        for &index in &order {
            let Some(claimant) = claimants.get(index).filter(|claimant| claimant.usable == usable) else { continue };
            let claimed = claims.claim(index, claimant);
            if let Some(result) = results.get_mut(index) {
                *result = Some(claimed);
            }
        }
    }
    claims.note_shadows();
    let notes = std::mem::take(&mut claims.notes);
    results
        .into_iter()
        .zip(notes)
        .map(|(result, notes)| {
            let result = result.unwrap_or_else(|| Ok(Claimed::default()));
            result.map(|claimed| Claimed { note: notes.sentences.join("; "), ..claimed })
        })
        .collect()
}

impl<'a> ModelClaims<'a> {
    fn new(claimants: &'a [Claimant<'a>], order: &[usize]) -> Self {
        let mut positions = vec![0; claimants.len()];
        for (position, &index) in order.iter().enumerate() {
            if let Some(slot) = positions.get_mut(index) {
                *slot = position;
            }
        }
        let notes = claimants.iter().map(|_| Notes::default()).collect();
        Self { claimants, position: positions, own: BTreeMap::new(), published: PatternIndex::default(), notes }
    }

    /// Claims the model and aliases of a route. One whose model is taken wherever it is meant to be used holds nothing,
    /// so that its aliases stay free for others.
    fn claim(&mut self, index: usize, claimant: &'a Claimant<'a>) -> Result<Claimed, SpecError> {
        let others = claimant.others();
        let mut claimed = Claimed { not_granted: claimant.rank.is_none() && !others.is_empty(), ..Claimed::default() };
        let publishes = claimant.rank.is_some() && (claimant.selects || !others.is_empty());
        for (position, pattern) in claimant.patterns() {
            let repeated = claimed.published.iter().any(|published| published.model == *pattern);
            if repeated || claimed.models.contains(pattern) {
                continue;
            }
            let own = self.outcome_in_namespace(index, claimant, pattern);
            let (published, audience) = if publishes {
                self.outcome_among_publishers(index, claimant, pattern)
            } else {
                (ClaimOutcome::NotApplicable, None)
            };
            if position == 0
                && let Some(holder) = holder_everywhere(own, published)
            {
                self.note_contested(holder, index, pattern);
                return Err(self.conflict(holder, claimant, pattern));
            }
            self.note_outcome(index, position, pattern, own, published);
            if own == ClaimOutcome::Won {
                self.own.insert((claimant.namespace(), pattern), index);
                claimed.models.push(pattern.clone());
            }
            if let Some(audience) = audience {
                claimed.published.push(Published { model: pattern.clone(), reach: reach(claimant, &audience) });
                if claimant.usable {
                    self.published.insert(pattern, PublishedClaim { by: index, audience });
                }
            }
        }
        Ok(claimed)
    }

    /// The outcome among routes of the claimant's own namespace.
    fn outcome_in_namespace(&self, index: usize, claimant: &Claimant<'_>, pattern: &ModelPattern) -> ClaimOutcome {
        if !claimant.audience.contains(claimant.namespace()) {
            return ClaimOutcome::NotApplicable;
        }
        match self.own.get(&(claimant.namespace(), pattern)) {
            None => ClaimOutcome::Won,
            Some(&holder) => self.behind(index, holder),
        }
    }

    /// The outcome among publishers, and the namespaces that the claim reaches, if any.
    fn outcome_among_publishers(
        &self,
        index: usize,
        claimant: &Claimant<'_>,
        pattern: &ModelPattern,
    ) -> (ClaimOutcome, Option<NamespaceSet>) {
        // Its own namespace counts among those a claim keeps from others, since tokens there find the route first.
        let mut left = claimant.audience.clone();
        let mut beyond = claimant.others();
        let mut first = None;
        let protects = |claim: &&PublishedClaim| {
            self.claimants.get(claim.by).is_some_and(|holder| {
                holder.namespace() != claimant.namespace() && !holder.delegates_to(claimant.namespace())
            })
        };
        let equal = self.published.equal(pattern).iter();
        for claim in equal.chain(self.published.broader(pattern).filter(protects)) {
            left = left.minus(&claim.audience);
            let rest = left.clone().without(claimant.namespace());
            if rest != beyond {
                first.get_or_insert(claim.by);
            }
            beyond = rest;
        }
        match (beyond.is_empty(), first) {
            (true, Some(holder)) => (self.behind(index, holder), None),
            (false, Some(_)) => (ClaimOutcome::PartlyWon, Some(left)),
            (_, None) => (ClaimOutcome::Won, Some(left)),
        }
    }

    fn behind(&self, index: usize, holder: usize) -> ClaimOutcome {
        let takes_precedence = self.position.get(holder) < self.position.get(index);
        if takes_precedence { ClaimOutcome::Lost(holder) } else { ClaimOutcome::Yielded(holder) }
    }
}

/// The holder of a model that the claimant gets nowhere.
fn holder_everywhere(own: ClaimOutcome, published: ClaimOutcome) -> Option<usize> {
    match (own, published) {
        (ClaimOutcome::Lost(holder), ClaimOutcome::Lost(_) | ClaimOutcome::NotApplicable)
        | (ClaimOutcome::NotApplicable, ClaimOutcome::Lost(holder)) => Some(holder),
        _ => None,
    }
}

/// The part of the route's own audience that a claim has kept.
fn reach(claimant: &Claimant<'_>, kept: &NamespaceSet) -> Reach {
    if kept.clone().without(claimant.namespace()) == claimant.others() {
        return Reach::Whole;
    }
    match kept {
        NamespaceSet::Only(names) => Reach::Only(names.clone()),
        NamespaceSet::AllExcept(names) => Reach::Except(names.clone()),
    }
}

#[cfg(test)]
mod tests;
