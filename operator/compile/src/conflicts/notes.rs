//! What the conditions of both sides say about a claim. Names of objects stay within their namespace: beyond it a reader
//! learns that there is another AIRoute, not which.

use routeapi_crds::{condition::Reason, value::ModelPattern};

use super::{Claimant, Holders, Standing};
use crate::{audience::Audience, overlaps::Overlaps, verdict::Problem};

/// Sentences about one route, in the order in which they come up.
#[derive(Debug, Default)]
pub(super) struct Notes {
    sentences: Vec<String>,
    /// Whether it has been said that others want what this route has.
    contested: bool,
}

impl Notes {
    pub fn text(&self) -> String {
        self.sentences.join("; ")
    }
}

impl<'a> Holders<'a> {
    /// The refusal of a route whose model is taken.
    pub(super) fn conflict(&self, holder: usize, claimant: &Claimant<'_>, pattern: &ModelPattern) -> Problem {
        let message = format!("spec.model: {:?} belongs to {}", pattern.to_string(), self.name(holder, claimant));
        Problem::new(Reason::ModelConflict, message)
    }

    /// Says what became of one pattern, if that is not simply that the route has it.
    pub(super) fn remark(
        &mut self,
        index: usize,
        position: usize,
        pattern: &ModelPattern,
        own: Standing,
        abroad: Standing,
    ) {
        let Some(claimant) = self.claimants.get(index) else { return };
        let field = field(position);
        let id = pattern.to_string();
        let mut sentences = Vec::new();
        let mut contested = Vec::new();
        let everywhere = matches!(abroad, Standing::Absent | Standing::Lost(_));
        match own {
            Standing::Lost(holder) if everywhere => {
                let holder_name = self.name(holder, claimant);
                sentences.push(format!("{field}: {id:?} is skipped: already claimed by {holder_name}"));
                contested.push(holder);
            }
            Standing::Lost(holder) => {
                let name = self.name(holder, claimant);
                sentences.push(format!("{field}: {id:?} belongs to {name} for tokens of this namespace"));
                contested.push(holder);
            }
            Standing::Yielded(holder) => {
                let name = self.bare_name(holder, claimant);
                sentences.push(format!("{field}: {id:?} is served by {name} while this one has no usable upstream"));
            }
            Standing::Absent | Standing::Won | Standing::WonPartly => {}
        }
        match abroad {
            Standing::Lost(holder) if !matches!(own, Standing::Lost(_)) => {
                let name = self.name(holder, claimant);
                sentences.push(format!("{field}: {id:?} is not published: it belongs to {name}"));
                contested.push(holder);
            }
            Standing::Yielded(holder) if !matches!(own, Standing::Yielded(_)) => {
                let name = self.bare_name(holder, claimant);
                sentences.push(format!("{field}: {id:?} is published by {name} while this one has no usable upstream"));
            }
            Standing::WonPartly => sentences.push(format!(
                "{field}: {id:?} is published to some of the allowed namespaces only: for the others it belongs to \
                 another AIRoute, which takes precedence"
            )),
            Standing::Absent | Standing::Won | Standing::Lost(_) | Standing::Yielded(_) => {}
        }
        contested.into_iter().for_each(|holder| self.contested(holder, index, pattern));
        if let Some(notes) = self.notes.get_mut(index) {
            notes.sentences.extend(sentences);
        }
    }

    /// Tells the one who has a pattern, once, that another wanted it.
    pub(super) fn contested(&mut self, holder: usize, loser: usize, pattern: &ModelPattern) {
        let (Some(has), Some(wants)) = (self.claimants.get(holder), self.claimants.get(loser)) else { return };
        let who = self.bare_name(loser, has);
        let id = if has.namespace() == wants.namespace() || has.patterns().any(|(_, own)| own == pattern) {
            format!("{:?}", pattern.to_string())
        } else {
            "an id under one of this route's prefixes".to_owned()
        };
        if let Some(notes) = self.notes.get_mut(holder).filter(|notes| !notes.contested) {
            notes.contested = true;
            notes.sentences.push(format!("{id} is also named by {who}, which comes later and does not get it"));
        }
    }

    /// Tells routes that go before published ones in their own namespace, and those published ones.
    pub(super) fn mark_shadows(&mut self) {
        let claimants = self.claimants;
        let mut own: Overlaps<'a, usize> = Overlaps::default();
        for (&(_, pattern), &by) in &self.own {
            if claimants.get(by).is_some_and(|it| it.usable) {
                own.insert(pattern, by);
            }
        }
        for (index, claimant) in claimants.iter().enumerate().filter(|(_, it)| it.usable) {
            let mut sentences = Vec::new();
            if let Some((field, id)) = self.goes_before(index, claimant) {
                sentences.push(format!(
                    "{field}: for tokens of this namespace {id:?} goes before an AIRoute that another namespace publishes"
                ));
            }
            if let Some(id) = self.stays_behind(index, claimant, &own) {
                sentences.push(format!(
                    "tokens of another namespace use an AIRoute of their own for {id:?} or ids under it"
                ));
            }
            if let Some(notes) = self.notes.get_mut(index) {
                notes.sentences.extend(sentences);
            }
        }
    }

    /// The first pattern that tokens of the route's own namespace would otherwise find published.
    fn goes_before(&self, index: usize, claimant: &Claimant<'_>) -> Option<(String, String)> {
        let namespace = claimant.namespace();
        let published = |claim: &super::Claim| {
            claim.audience.contains(namespace)
                && self.claimants.get(claim.by).is_some_and(|it| it.namespace() != namespace)
        };
        let shadows = |pattern: &ModelPattern| {
            self.own.get(&(namespace, pattern)) == Some(&index) && self.published.meeting(pattern).any(published)
        };
        let found = claimant.patterns().find(|(_, pattern)| shadows(pattern));
        found.map(|(position, pattern)| (field(position), pattern.to_string()))
    }

    /// The first published pattern that tokens of another namespace do not reach, since theirs has its own.
    fn stays_behind(&self, index: usize, claimant: &Claimant<'_>, own: &Overlaps<'_, usize>) -> Option<String> {
        let shadowed = |pattern: &ModelPattern, audience: &Audience| {
            own.meeting(pattern).any(|&by| {
                let other = self.claimants.get(by).map(Claimant::namespace);
                other.is_some_and(|it| it != claimant.namespace() && audience.contains(it))
            })
        };
        let claims = |pattern| self.published.equal(pattern).iter().find(|claim| claim.by == index);
        let found = claimant
            .patterns()
            .find(|&(_, pattern)| claims(pattern).is_some_and(|claim| shadowed(pattern, &claim.audience)));
        found.map(|(_, pattern)| pattern.to_string())
    }

    /// The winner as the loser may see it: what another namespace holds is not its business.
    fn name(&self, winner: usize, loser: &Claimant<'_>) -> String {
        format!("{}, which takes precedence", self.bare_name(winner, loser))
    }

    fn bare_name(&self, other: usize, reader: &Claimant<'_>) -> String {
        match self.claimants.get(other) {
            Some(other) if other.namespace() == reader.namespace() => format!("AIRoute {}", other.id),
            _ => "an AIRoute in another namespace".to_owned(),
        }
    }
}

fn field(position: usize) -> String {
    position.checked_sub(1).map_or_else(|| "spec.model".to_owned(), |alias| format!("spec.aliases[{alias}]"))
}
