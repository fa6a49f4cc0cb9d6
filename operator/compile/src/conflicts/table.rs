//! Who claims which pattern and who holds it, in the order in which claims are decided.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use routeapi_crds::value::ModelPattern;

use super::claims::{Claimant, Claimed, Decision, Place, PublishedClaim};
use crate::{pattern_index::PatternIndex, verdict::SpecError};

/// Every claimant, with what was decided about it last.
#[derive(Default)]
pub(super) struct Table {
    states: BTreeMap<Place, State>,
    /// Who wants a pattern in a namespace, whether or not they got it.
    wanted: OwnPatterns,
    /// Who wants to publish a pattern.
    to_publish: PatternIndex<Place, ()>,
    /// Who holds a pattern in a namespace: one at most, once all is decided.
    own: OwnPatterns,
    /// Who publishes a pattern.
    pub published: PatternIndex<Place, PublishedClaim>,
    /// The usable ones among those who hold a pattern in a namespace, by namespace.
    pub usable: PatternIndex<(String, Place), ()>,
    /// By the route that holds something: those that lost it to that route, with the first pattern they lost.
    losers: BTreeMap<Place, BTreeMap<Place, ModelPattern>>,
}

/// One claimant.
pub(super) struct State {
    pub claimant: Claimant,
    /// What it got, and is told; nothing before the first decision.
    pub claimed: Result<Claimed, SpecError>,
    /// Sentences about its own claims.
    pub sentences: Vec<String>,
    losses: Vec<(Place, ModelPattern)>,
}

/// What a change makes necessary.
#[derive(Default)]
pub(super) struct Consequences {
    /// Routes whose claims are to be decided.
    pub due: BTreeSet<Place>,
    /// Routes whose notes may be others.
    pub noted: BTreeSet<Place>,
    /// Patterns that usable routes hold in their namespace, or do not hold any more.
    own: BTreeSet<ModelPattern>,
    /// Patterns that are published otherwise than before.
    published: BTreeSet<ModelPattern>,
}

/// Places by namespace and pattern.
#[derive(Default)]
struct OwnPatterns(HashMap<String, HashMap<ModelPattern, Vec<Place>>>);

// === impl Table ===

impl Table {
    pub fn get(&self, place: &Place) -> Option<&State> {
        self.states.get(place)
    }

    pub fn get_mut(&mut self, place: &Place) -> Option<&mut State> {
        self.states.get_mut(place)
    }

    /// The route that holds a pattern in a namespace before this one is decided.
    pub fn holder(&self, namespace: &str, pattern: &ModelPattern, before: &Place) -> Option<&Place> {
        self.own.get(namespace, pattern).first().filter(|first| *first < before)
    }

    /// The first that lost something to this route, and what.
    pub fn first_loser(&self, holder: &Place) -> Option<(&Place, &ModelPattern)> {
        self.losers.get(holder)?.first_key_value()
    }

    /// Adds a claimant, or replaces the one at its place; what that one holds is held until it is decided anew.
    pub fn put(&mut self, claimant: Claimant, consequences: &mut Consequences) {
        let place = claimant.place.clone();
        let known = self.states.remove(&place);
        if let Some(known) = &known {
            self.want_no_more(&known.claimant);
        }
        for (_, pattern) in claimant.patterns() {
            self.wanted.insert(claimant.namespace(), pattern, &place);
            if claimant.publishes() {
                self.to_publish.insert(pattern, place.clone(), ());
            }
        }
        let state = match known {
            Some(known) => State { claimant, ..known },
            None => State { claimant, claimed: Ok(Claimed::default()), sentences: Vec::new(), losses: Vec::new() },
        };
        self.states.insert(place.clone(), state);
        consequences.due.insert(place);
    }

    /// Removes a claimant and all that it holds.
    pub fn remove(&mut self, place: &Place, consequences: &mut Consequences) {
        let nothing =
            Decision { claimed: Ok(Claimed::default()), published: vec![], sentences: vec![], losses: vec![] };
        self.decided(place, nothing, consequences);
        if let Some(state) = self.states.remove(place) {
            self.want_no_more(&state.claimant);
        }
        // Those that lost to it are decided anew, since it holds nothing.
        self.losers.remove(place);
        consequences.due.remove(place);
        consequences.noted.remove(place);
    }

    /// Stores what was decided about a claimant. What it held and holds not in the same way any more concerns those after it.
    pub fn decided(&mut self, place: &Place, decision: Decision, consequences: &mut Consequences) {
        let Decision { claimed, published, sentences, losses } = decision;
        let Some(state) = self.states.get_mut(place) else { return };
        let before = std::mem::replace(&mut state.claimed, claimed.clone());
        let lost_before = std::mem::replace(&mut state.losses, losses.clone());
        state.sentences = sentences;
        consequences.noted.insert(place.clone());
        let (before, after) = (before.unwrap_or_default(), claimed.unwrap_or_default());
        self.hold_own(place, &before.models, &after.models, consequences);
        let was_published = before.published.into_iter().map(|published| published.model).collect();
        self.hold_published(place, was_published, published, consequences);
        if lost_before != losses {
            self.lose(place, lost_before, losses, consequences);
        }
    }

    fn hold_own(
        &mut self,
        place: &Place,
        before: &[ModelPattern],
        after: &[ModelPattern],
        consequences: &mut Consequences,
    ) {
        let namespace = place.id().namespace();
        for pattern in before.iter().filter(|pattern| !after.contains(pattern)) {
            self.own.remove(namespace, pattern, place);
            self.usable.remove(pattern, &(namespace.to_owned(), place.clone()));
        }
        for pattern in after.iter().filter(|pattern| !before.contains(pattern)) {
            self.own.insert(namespace, pattern, place);
            if place.usable() {
                self.usable.insert(pattern, (namespace.to_owned(), place.clone()), ());
            }
        }
        let differs = |one: &[ModelPattern], other: &[ModelPattern]| {
            one.iter().filter(|pattern| !other.contains(pattern)).cloned().collect::<Vec<_>>()
        };
        for pattern in differs(before, after).into_iter().chain(differs(after, before)) {
            let behind = self.wanted.get(namespace, &pattern).iter().filter(|other| *other > place);
            consequences.due.extend(behind.cloned());
            if place.usable() {
                consequences.own.insert(pattern);
            }
        }
    }

    fn hold_published(
        &mut self,
        place: &Place,
        before: Vec<ModelPattern>,
        after: Vec<(ModelPattern, PublishedClaim)>,
        consequences: &mut Consequences,
    ) {
        let mut changed = Vec::new();
        for pattern in before.into_iter().filter(|pattern| !after.iter().any(|(other, _)| other == pattern)) {
            self.published.remove(&pattern, place);
            changed.push(pattern);
        }
        for (pattern, claim) in after {
            if self.published.get(&pattern, place) != Some(&claim) {
                self.published.insert(&pattern, place.clone(), claim);
                changed.push(pattern);
            }
        }
        for pattern in changed.into_iter().filter(|_| place.usable()) {
            let behind = self.to_publish.covered(&pattern).filter(|(other, ())| other > place);
            consequences.due.extend(behind.map(|(other, ())| other.clone()));
            consequences.published.insert(pattern);
        }
    }

    fn lose(
        &mut self,
        place: &Place,
        before: Vec<(Place, ModelPattern)>,
        after: Vec<(Place, ModelPattern)>,
        consequences: &mut Consequences,
    ) {
        for (holder, _) in before {
            if let Some(losers) = self.losers.get_mut(&holder) {
                losers.remove(place);
                if losers.is_empty() {
                    self.losers.remove(&holder);
                }
            }
            consequences.noted.insert(holder);
        }
        for (holder, pattern) in after {
            self.losers.entry(holder.clone()).or_default().insert(place.clone(), pattern);
            consequences.noted.insert(holder);
        }
    }

    fn want_no_more(&mut self, claimant: &Claimant) {
        for (_, pattern) in claimant.patterns() {
            self.wanted.remove(claimant.namespace(), pattern, &claimant.place);
            self.to_publish.remove(pattern, &claimant.place);
        }
    }

    /// Adds the routes whose notes about shadows may be others, now that all is decided.
    pub fn shadows(&self, consequences: &mut Consequences) {
        let Consequences { noted, own, published, .. } = consequences;
        for pattern in std::mem::take(published) {
            noted.extend(self.usable.all_overlapping(&pattern).map(|((_, place), ())| place.clone()));
        }
        for pattern in std::mem::take(own) {
            noted.extend(self.published.all_overlapping(&pattern).map(|(place, _)| place.clone()));
        }
    }
}

// === impl OwnPatterns ===

impl OwnPatterns {
    fn get(&self, namespace: &str, pattern: &ModelPattern) -> &[Place] {
        self.0.get(namespace).and_then(|patterns| patterns.get(pattern)).map_or(&[], Vec::as_slice)
    }

    fn insert(&mut self, namespace: &str, pattern: &ModelPattern, place: &Place) {
        let patterns = match self.0.get_mut(namespace) {
            Some(patterns) => patterns,
            None => self.0.entry(namespace.to_owned()).or_default(),
        };
        let places = patterns.entry(pattern.clone()).or_default();
        if let Err(at) = places.binary_search(place) {
            places.insert(at, place.clone());
        }
    }

    fn remove(&mut self, namespace: &str, pattern: &ModelPattern, place: &Place) {
        let Some(patterns) = self.0.get_mut(namespace) else { return };
        let Some(places) = patterns.get_mut(pattern) else { return };
        places.retain(|other| other != place);
        if places.is_empty() {
            patterns.remove(pattern);
            if patterns.is_empty() {
                self.0.remove(namespace);
            }
        }
    }
}
