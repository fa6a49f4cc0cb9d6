//! Who answers for a model id when several AIRoutes name it. The rules, with examples, are in `docs/models.md`.
//!
//! Two questions are kept apart. Tokens of a route's own namespace see the routes of that namespace first: of two equal
//! patterns the older route has it, `gpt-*` and `gpt-4o` live side by side. Tokens of other namespaces see what
//! publishers publish to them: there a pattern also protects the ids under it from routes of other namespaces that come
//! later, unless it delegates to them. A route without a usable upstream protects nothing and hides nobody.
//!
//! Precedence is rank of the namespace, then age, then name, and is worked out here alone: a data plane finds the exact
//! id or the longest prefix among what each route has won.

mod notes;

use std::collections::BTreeMap;

use routeapi_channel::{
    ObjectId,
    snapshot::{Published, Reach},
};
use routeapi_crds::{v1alpha1::AIRouteSpec, value::ModelPattern};

use self::notes::Notes;
use crate::{audience::Audience, overlaps::Overlaps, publishers::Rank, verdict::Problem};

/// A route with what its claims depend on.
pub(crate) struct Claimant<'a> {
    pub id: &'a ObjectId,
    pub spec: &'a AIRouteSpec,
    /// Seconds since 1970.
    pub created: i64,
    /// Whether an upstream takes requests.
    pub usable: bool,
    /// Whose tokens may use it.
    pub audience: Audience,
    /// Whether a selector says whose. It publishes then whoever matches today, so that a namespace which comes to match
    /// changes no route.
    pub selects: bool,
    /// Whose routes may publish ids under its prefixes.
    pub delegates: Option<Audience>,
    /// None if its namespace may not publish.
    pub rank: Option<Rank>,
}

/// What a route has now.
#[derive(Debug, Default)]
pub(crate) struct Won {
    /// Patterns for tokens of its own namespace.
    pub models: Vec<ModelPattern>,
    /// Patterns for tokens of other namespaces.
    pub published: Vec<Published>,
    /// What is worth knowing, in words; empty if it got all and meets nobody.
    pub note: String,
    /// Whether tokens of other namespaces were meant to use it and its own namespace has no grant for that.
    pub not_granted: bool,
}

/// Where one pattern of one route stands in one of the two views.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The route is not open to anyone in this view.
    Absent,
    Won,
    /// To others for some namespaces.
    WonPartly,
    /// The claimant that has it comes first.
    Lost(usize),
    /// The claimant that has it comes later, but has a usable upstream.
    Yielded(usize),
}

/// A pattern that a route publishes, with whom it still reaches.
struct Claim {
    by: usize,
    audience: Audience,
}

/// Who holds what so far.
struct Holders<'a> {
    claimants: &'a [Claimant<'a>],
    /// Place of each claimant in precedence.
    place: Vec<usize>,
    own: BTreeMap<(&'a str, &'a ModelPattern), usize>,
    published: Overlaps<'a, Claim>,
    notes: Vec<Notes>,
}

/// Settles every claim. One answer per claimant, in their order.
pub(crate) fn settle(claimants: &[Claimant<'_>]) -> Vec<Result<Won, Problem>> {
    let mut order: Vec<usize> = (0..claimants.len()).collect();
    order.sort_by_key(|&index| claimants.get(index).map(|it| (it.rank.unwrap_or(Rank::MAX), it.created, it.id)));
    let mut holders = Holders::new(claimants, &order);
    let mut answers: Vec<Option<Result<Won, Problem>>> = claimants.iter().map(|_| None).collect();
    for usable in [true, false] {
        for &index in &order {
            let Some(claimant) = claimants.get(index).filter(|it| it.usable == usable) else { continue };
            let won = holders.claim(index, claimant);
            if let Some(answer) = answers.get_mut(index) {
                *answer = Some(won);
            }
        }
    }
    holders.mark_shadows();
    let notes = std::mem::take(&mut holders.notes);
    answers
        .into_iter()
        .zip(notes)
        .map(|(answer, notes)| {
            answer.unwrap_or_else(|| Ok(Won::default())).map(|won| Won { note: notes.text(), ..won })
        })
        .collect()
}

impl Claimant<'_> {
    fn namespace(&self) -> &str {
        self.id.namespace()
    }

    fn patterns(&self) -> impl Iterator<Item = (usize, &ModelPattern)> {
        std::iter::once(&self.spec.model).chain(&self.spec.aliases).enumerate()
    }

    /// Namespaces beside its own that it is meant for.
    fn others(&self) -> Audience {
        self.audience.clone().without(self.namespace())
    }

    fn delegates_to(&self, namespace: &str) -> bool {
        self.delegates.as_ref().is_some_and(|it| it.contains(namespace))
    }
}

impl<'a> Holders<'a> {
    fn new(claimants: &'a [Claimant<'a>], order: &[usize]) -> Self {
        let mut place = vec![0; claimants.len()];
        for (position, &index) in order.iter().enumerate() {
            if let Some(slot) = place.get_mut(index) {
                *slot = position;
            }
        }
        let notes = claimants.iter().map(|_| Notes::default()).collect();
        Self { claimants, place, own: BTreeMap::new(), published: Overlaps::default(), notes }
    }

    /// Claims the model and aliases of a route. One whose model is taken wherever it is meant to be used holds nothing,
    /// so that its aliases stay free for others.
    fn claim(&mut self, index: usize, claimant: &'a Claimant<'a>) -> Result<Won, Problem> {
        let others = claimant.others();
        let mut won = Won { not_granted: claimant.rank.is_none() && !others.is_empty(), ..Won::default() };
        let publishes = claimant.rank.is_some() && (claimant.selects || !others.is_empty());
        for (position, pattern) in claimant.patterns() {
            if won.models.contains(pattern) || won.published.iter().any(|it| it.model == *pattern) {
                continue;
            }
            let own = self.own_standing(index, claimant, pattern);
            let (abroad, audience) =
                if publishes { self.standing_abroad(index, claimant, pattern) } else { (Standing::Absent, None) };
            if position == 0
                && let Some(holder) = taken(own, abroad)
            {
                self.contested(holder, index, pattern);
                return Err(self.conflict(holder, claimant, pattern));
            }
            self.remark(index, position, pattern, own, abroad);
            if own == Standing::Won {
                self.own.insert((claimant.namespace(), pattern), index);
                won.models.push(pattern.clone());
            }
            if let Some(audience) = audience {
                won.published.push(Published { model: pattern.clone(), reach: reach(claimant, &audience) });
                if claimant.usable {
                    self.published.insert(pattern, Claim { by: index, audience });
                }
            }
        }
        Ok(won)
    }

    /// Among routes of its own namespace.
    fn own_standing(&self, index: usize, claimant: &Claimant<'_>, pattern: &ModelPattern) -> Standing {
        if !claimant.audience.contains(claimant.namespace()) {
            return Standing::Absent;
        }
        match self.own.get(&(claimant.namespace(), pattern)) {
            None => Standing::Won,
            Some(&holder) => self.behind(index, holder),
        }
    }

    /// Among publishers, with whom it reaches if anyone.
    fn standing_abroad(
        &self,
        index: usize,
        claimant: &Claimant<'_>,
        pattern: &ModelPattern,
    ) -> (Standing, Option<Audience>) {
        // Its own namespace counts among those a claim keeps from others, since tokens there find the route first.
        let mut left = claimant.audience.clone();
        let mut beyond = claimant.others();
        let mut first = None;
        let protecting = |claim: &&Claim| {
            let holder = self.claimants.get(claim.by);
            holder.is_some_and(|it| it.namespace() != claimant.namespace() && !it.delegates_to(claimant.namespace()))
        };
        let equal = self.published.equal(pattern).iter();
        for claim in equal.chain(self.published.broader(pattern).filter(protecting)) {
            left = left.minus(&claim.audience);
            let rest = left.clone().without(claimant.namespace());
            if rest != beyond {
                first.get_or_insert(claim.by);
            }
            beyond = rest;
        }
        match (beyond.is_empty(), first) {
            (true, Some(holder)) => (self.behind(index, holder), None),
            (false, Some(_)) => (Standing::WonPartly, Some(left)),
            (_, None) => (Standing::Won, Some(left)),
        }
    }

    fn behind(&self, index: usize, holder: usize) -> Standing {
        if self.place.get(holder) < self.place.get(index) { Standing::Lost(holder) } else { Standing::Yielded(holder) }
    }
}

/// Who has a model that is not to be had in any view.
fn taken(own: Standing, abroad: Standing) -> Option<usize> {
    match (own, abroad) {
        (Standing::Lost(holder), Standing::Lost(_) | Standing::Absent) | (Standing::Absent, Standing::Lost(holder)) => {
            Some(holder)
        }
        _ => None,
    }
}

/// As much of the route's own audience as a claim has kept.
fn reach(claimant: &Claimant<'_>, kept: &Audience) -> Reach {
    if kept.clone().without(claimant.namespace()) == claimant.others() {
        return Reach::Whole;
    }
    match kept {
        Audience::Only(names) => Reach::Only(names.clone()),
        Audience::AllBut(names) => Reach::Except(names.clone()),
    }
}

#[cfg(test)]
mod tests;
