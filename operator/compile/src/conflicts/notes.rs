//! The notes about a claim in the `Accepted` conditions of both routes. Names of objects stay within their namespace: beyond
//! it a reader learns that there is another AIRoute, not which.

use routeapi_channel::ObjectId;
use routeapi_crds::{condition::Reason, value::ModelPattern};

use super::{
    claims::{ClaimOutcome, Claimant, Place, PublishedClaim},
    table::{State, Table},
};
use crate::verdict::SpecError;

/// What is to be said of the outcome of one claim.
#[derive(Default)]
pub(super) struct Said<'a> {
    /// To the claimant.
    pub sentences: Vec<String>,
    /// Who is told that the claimant wanted it as well.
    pub holders: Vec<&'a Place>,
}

/// Why a route whose model is taken is not accepted.
pub(super) fn conflict(holder: &Place, claimant: &Claimant, pattern: &ModelPattern) -> SpecError {
    let id = pattern.to_string();
    let message = format!("spec.model: {id:?} is already claimed by {}", describe(holder, claimant.place.id()));
    SpecError::new(Reason::ModelConflict, message)
}

/// The outcome of one claim, unless the route simply has it.
pub(super) fn outcome<'a>(
    claimant: &Claimant,
    position: usize,
    pattern: &ModelPattern,
    own: ClaimOutcome<'a>,
    published: ClaimOutcome<'a>,
) -> Said<'a> {
    let (field, id) = (field(position), pattern.to_string());
    let mut said = Said::default();
    let everywhere = matches!(published, ClaimOutcome::NotApplicable | ClaimOutcome::Lost(_));
    match own {
        ClaimOutcome::Lost(holder) => {
            let other = describe(holder, claimant.place.id());
            said.sentences.push(if everywhere {
                format!("{field}: {id:?} is skipped: already claimed by {other}")
            } else {
                format!("{field}: for tokens of this namespace, {id:?} is already claimed by {other}")
            });
            said.holders.push(holder);
        }
        ClaimOutcome::Yielded(holder) => {
            let other = describe(holder, claimant.place.id());
            said.sentences
                .push(format!("{field}: {id:?} is served by {other} until this AIRoute has a usable upstream"));
        }
        ClaimOutcome::NotApplicable | ClaimOutcome::Won | ClaimOutcome::PartlyWon => {}
    }
    match published {
        ClaimOutcome::Lost(holder) if !matches!(own, ClaimOutcome::Lost(_)) => {
            let other = describe(holder, claimant.place.id());
            said.sentences.push(format!("{field}: {id:?} is not published: already claimed by {other}"));
            said.holders.push(holder);
        }
        ClaimOutcome::Yielded(holder) if !matches!(own, ClaimOutcome::Yielded(_)) => {
            let other = describe(holder, claimant.place.id());
            said.sentences
                .push(format!("{field}: {id:?} is published by {other} until this AIRoute has a usable upstream"));
        }
        ClaimOutcome::PartlyWon => said.sentences.push(format!(
            "{field}: {id:?} is published to some of the allowed namespaces only: for the others it is already \
             claimed by another AIRoute"
        )),
        ClaimOutcome::NotApplicable | ClaimOutcome::Won | ClaimOutcome::Lost(_) | ClaimOutcome::Yielded(_) => {}
    }
    said
}

/// All that is said to a route that is accepted, once all claims are decided.
pub(super) fn note(table: &Table, state: &State) -> String {
    let mut sentences = state.sentences.clone();
    let claimant = &state.claimant;
    if let Some((loser, pattern)) = table.first_loser(&claimant.place) {
        sentences.push(contested(claimant, loser, pattern));
    }
    if claimant.place.usable() {
        if let Some((field, id)) = shadows_published(table, state) {
            sentences.push(format!(
                "{field}: for tokens of this namespace, {id:?} overrides an AIRoute that another namespace publishes"
            ));
        }
        if let Some(id) = shadowed_elsewhere(table, claimant) {
            sentences.push(format!("another namespace overrides {id:?}, or IDs under it, for its own tokens"));
        }
    }
    sentences.join("; ")
}

/// What the holder of a pattern is told, once, of the first other route that claims it too.
fn contested(holder: &Claimant, loser: &Place, pattern: &ModelPattern) -> String {
    let other = describe(loser, holder.place.id());
    let known = holder.namespace() == loser.id().namespace() || holder.patterns().any(|(_, own)| own == pattern);
    let id = if known {
        format!("{:?}", pattern.to_string())
    } else {
        "an ID under one of this route's prefixes".to_owned()
    };
    format!("{id} is also claimed by {other}; this AIRoute takes precedence")
}

/// The first pattern that tokens of the route's own namespace would otherwise find published.
fn shadows_published(table: &Table, state: &State) -> Option<(String, String)> {
    let (namespace, claimed) = (state.claimant.namespace(), state.claimed.as_ref().ok()?);
    let published = |(holder, claim): &(Place, PublishedClaim)| {
        claim.audience.contains(namespace) && holder.id().namespace() != namespace
    };
    let shadows = |pattern: &ModelPattern| {
        claimed.models.contains(pattern) && table.published.overlapping(pattern).any(published)
    };
    let found = state.claimant.patterns().find(|(_, pattern)| shadows(pattern));
    found.map(|(position, pattern)| (field(position), pattern.to_string()))
}

/// The first published pattern that tokens of another namespace do not reach, since theirs has its own.
fn shadowed_elsewhere(table: &Table, claimant: &Claimant) -> Option<String> {
    let shadowed = |pattern: &ModelPattern, claim: &PublishedClaim| {
        let elsewhere =
            |((other, _), ()): &((String, Place), ())| other != claimant.namespace() && claim.audience.contains(other);
        table.usable.overlapping(pattern).any(elsewhere)
    };
    let claim = |pattern| table.published.get(pattern, &claimant.place);
    let found = claimant.patterns().find(|&(_, pattern)| claim(pattern).is_some_and(|claim| shadowed(pattern, claim)));
    found.map(|(_, pattern)| pattern.to_string())
}

/// Another route as the reader may see it: objects of other namespaces are not named.
fn describe(other: &Place, reader: &ObjectId) -> String {
    if other.id().namespace() == reader.namespace() {
        format!("AIRoute {}", other.id())
    } else {
        "an AIRoute in another namespace".to_owned()
    }
}

/// The field of the pattern at this position: the model is 0, the aliases follow.
fn field(position: usize) -> String {
    position.checked_sub(1).map_or_else(|| "spec.model".to_owned(), |alias| format!("spec.aliases[{alias}]"))
}
