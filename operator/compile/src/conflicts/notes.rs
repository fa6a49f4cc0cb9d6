//! The notes about a claim in the `Accepted` conditions of both routes. Names of objects stay within their namespace: beyond
//! it a reader learns that there is another AIRoute, not which.

use routeapi_crds::{condition::Reason, value::ModelPattern};

use super::claims::{ClaimOutcome, Claimant, ModelClaims, PublishedClaim};
use crate::{namespace_set::NamespaceSet, pattern_index::PatternIndex, verdict::SpecError};

impl<'a> ModelClaims<'a> {
    /// Why a route whose model is taken is not accepted.
    pub(super) fn conflict(&self, holder: usize, claimant: &Claimant<'_>, pattern: &ModelPattern) -> SpecError {
        let id = pattern.to_string();
        let message = format!("spec.model: {id:?} is already claimed by {}", self.describe(holder, claimant));
        SpecError::new(Reason::ModelConflict, message)
    }

    /// Notes the outcome of one claim, unless the route simply has it.
    pub(super) fn note_outcome(
        &mut self,
        index: usize,
        position: usize,
        pattern: &ModelPattern,
        own: ClaimOutcome,
        published: ClaimOutcome,
    ) {
        let Some(claimant) = self.claimants.get(index) else { return };
        let field = field(position);
        let id = pattern.to_string();
        let mut sentences = Vec::new();
        let mut holders = Vec::new();
        let everywhere = matches!(published, ClaimOutcome::NotApplicable | ClaimOutcome::Lost(_));
        match own {
            ClaimOutcome::Lost(holder) if everywhere => {
                let other = self.describe(holder, claimant);
                sentences.push(format!("{field}: {id:?} is skipped: already claimed by {other}"));
                holders.push(holder);
            }
            ClaimOutcome::Lost(holder) => {
                let other = self.describe(holder, claimant);
                sentences.push(format!("{field}: for tokens of this namespace, {id:?} is already claimed by {other}"));
                holders.push(holder);
            }
            ClaimOutcome::Yielded(holder) => {
                let other = self.describe(holder, claimant);
                sentences
                    .push(format!("{field}: {id:?} is served by {other} until this AIRoute has a usable upstream"));
            }
            ClaimOutcome::NotApplicable | ClaimOutcome::Won | ClaimOutcome::PartlyWon => {}
        }
        match published {
            ClaimOutcome::Lost(holder) if !matches!(own, ClaimOutcome::Lost(_)) => {
                let other = self.describe(holder, claimant);
                sentences.push(format!("{field}: {id:?} is not published: already claimed by {other}"));
                holders.push(holder);
            }
            ClaimOutcome::Yielded(holder) if !matches!(own, ClaimOutcome::Yielded(_)) => {
                let other = self.describe(holder, claimant);
                sentences
                    .push(format!("{field}: {id:?} is published by {other} until this AIRoute has a usable upstream"));
            }
            ClaimOutcome::PartlyWon => sentences.push(format!(
                "{field}: {id:?} is published to some of the allowed namespaces only: for the others it is already \
                 claimed by another AIRoute"
            )),
            ClaimOutcome::NotApplicable | ClaimOutcome::Won | ClaimOutcome::Lost(_) | ClaimOutcome::Yielded(_) => {}
        }
        holders.into_iter().for_each(|holder| self.note_contested(holder, index, pattern));
        if let Some(notes) = self.notes.get_mut(index) {
            notes.sentences.extend(sentences);
        }
    }

    /// Notes with the holder of a pattern, once, that another route claims it too.
    pub(super) fn note_contested(&mut self, holder: usize, loser: usize, pattern: &ModelPattern) {
        let (Some(has), Some(wants)) = (self.claimants.get(holder), self.claimants.get(loser)) else { return };
        let other = self.describe(loser, has);
        let id = if has.namespace() == wants.namespace() || has.patterns().any(|(_, own)| own == pattern) {
            format!("{:?}", pattern.to_string())
        } else {
            "an ID under one of this route's prefixes".to_owned()
        };
        if let Some(notes) = self.notes.get_mut(holder).filter(|notes| !notes.contested) {
            notes.contested = true;
            notes.sentences.push(format!("{id} is also claimed by {other}; this AIRoute takes precedence"));
        }
    }

    /// Notes with routes that shadow published ones in their own namespace, and with those published ones.
    pub(super) fn note_shadows(&mut self) {
        let claimants = self.claimants;
        let mut own: PatternIndex<'a, usize> = PatternIndex::default();
        for (&(_, pattern), &by) in &self.own {
            if claimants.get(by).is_some_and(|claimant| claimant.usable) {
                own.insert(pattern, by);
            }
        }
        for (index, claimant) in claimants.iter().enumerate().filter(|(_, claimant)| claimant.usable) {
            let mut sentences = Vec::new();
            if let Some((field, id)) = self.shadows_published(index, claimant) {
                sentences.push(format!(
                    "{field}: for tokens of this namespace, {id:?} overrides an AIRoute that another namespace publishes"
                ));
            }
            if let Some(id) = self.shadowed_elsewhere(index, claimant, &own) {
                sentences.push(format!("another namespace overrides {id:?}, or IDs under it, for its own tokens"));
            }
            if let Some(notes) = self.notes.get_mut(index) {
                notes.sentences.extend(sentences);
            }
        }
    }

    /// The first pattern that tokens of the route's own namespace would otherwise find published.
    fn shadows_published(&self, index: usize, claimant: &Claimant<'_>) -> Option<(String, String)> {
        let namespace = claimant.namespace();
        let published = |claim: &PublishedClaim| {
            claim.audience.contains(namespace)
                && self.claimants.get(claim.by).is_some_and(|holder| holder.namespace() != namespace)
        };
        let shadows = |pattern: &ModelPattern| {
            self.own.get(&(namespace, pattern)) == Some(&index) && self.published.overlapping(pattern).any(published)
        };
        let found = claimant.patterns().find(|(_, pattern)| shadows(pattern));
        found.map(|(position, pattern)| (field(position), pattern.to_string()))
    }

    /// The first published pattern that tokens of another namespace do not reach, since theirs has its own.
    fn shadowed_elsewhere(
        &self,
        index: usize,
        claimant: &Claimant<'_>,
        own: &PatternIndex<'_, usize>,
    ) -> Option<String> {
        let shadowed = |pattern: &ModelPattern, audience: &NamespaceSet| {
            own.overlapping(pattern).any(|&by| {
                let other = self.claimants.get(by).map(Claimant::namespace);
                other.is_some_and(|other| other != claimant.namespace() && audience.contains(other))
            })
        };
        let claims = |pattern| self.published.equal(pattern).iter().find(|claim| claim.by == index);
        let found = claimant
            .patterns()
            .find(|&(_, pattern)| claims(pattern).is_some_and(|claim| shadowed(pattern, &claim.audience)));
        found.map(|(_, pattern)| pattern.to_string())
    }

    /// Another claimant as the reader may see it: objects of other namespaces are not named.
    fn describe(&self, other: usize, reader: &Claimant<'_>) -> String {
        match self.claimants.get(other) {
            Some(other) if other.namespace() == reader.namespace() => format!("AIRoute {}", other.id),
            _ => "an AIRoute in another namespace".to_owned(),
        }
    }
}

/// The field of the pattern at this position: the model is 0, the aliases follow.
fn field(position: usize) -> String {
    position.checked_sub(1).map_or_else(|| "spec.model".to_owned(), |alias| format!("spec.aliases[{alias}]"))
}
