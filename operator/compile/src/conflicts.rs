//! Decides which AIRoute answers for a model ID that several claim. The rules, with examples, are in `docs/models.md`.
//!
//! Two questions are kept apart. Tokens of a route's own namespace see the routes of that namespace first: of two equal
//! patterns the older route has it, `gpt-*` and `gpt-4o` live side by side. Tokens of other namespaces see what
//! publishers publish to them: there a pattern also protects the IDs under it from newer routes of other namespaces,
//! unless it delegates to them. A route without a usable upstream protects nothing and shadows no other route.
//!
//! Precedence is rank of the namespace, then age, then name, and is decided here alone: a data plane finds the exact ID or
//! the longest prefix among what each route has claimed.
//!
//! Claims are decided in the order of [`Place`], each by what those before it hold. So when a route changes, it is decided
//! anew, and after it those that want what it has come to hold or holds no more, in the same order: each once, and no others.

mod claims;
mod decide;
mod notes;
mod table;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use routeapi_channel::ObjectId;

pub(crate) use self::claims::{Claimant, Claimed, Place};
use self::table::{Consequences, State, Table};
use crate::verdict::SpecError;

/// The claims of all routes, as they change.
#[derive(Default)]
pub(crate) struct Claims {
    table: Table,
    places: HashMap<ObjectId, Place>,
}

impl Claims {
    /// Decides the claims of routes that are new or changed, and of those that this concerns; none for a route that is gone or
    /// claims nothing. Returns the routes that get something else than before, or are told something else.
    pub fn update(&mut self, changes: Vec<(ObjectId, Option<Claimant>)>) -> BTreeSet<ObjectId> {
        let mut consequences = Consequences::default();
        for (id, claimant) in changes {
            self.replace(id, claimant, &mut consequences);
        }
        let mut before = BTreeMap::new();
        while let Some(place) = consequences.due.pop_first() {
            let Some(state) = self.table.get(&place) else { continue };
            before.insert(place.clone(), state.claimed.clone());
            let decision = decide::decide(&self.table, &state.claimant);
            self.table.decided(&place, decision, &mut consequences);
        }
        self.table.shadows(&mut consequences);
        let noted = std::mem::take(&mut consequences.noted);
        noted
            .into_iter()
            .filter(|place| self.tell(place, before.remove(place)))
            .map(|place| place.id().clone())
            .collect()
    }

    /// What a route got, and is told; none for one that claims nothing.
    pub fn of(&self, id: &ObjectId) -> Option<&Result<Claimed, SpecError>> {
        self.table.get(self.places.get(id)?).map(|state| &state.claimed)
    }

    fn replace(&mut self, id: ObjectId, claimant: Option<Claimant>, consequences: &mut Consequences) {
        let place = claimant.as_ref().map(|claimant| claimant.place.clone());
        let known = match &place {
            Some(place) => self.places.insert(id, place.clone()),
            None => self.places.remove(&id),
        };
        if let Some(known) = known.filter(|known| Some(known) != place.as_ref()) {
            self.table.remove(&known, consequences);
        }
        if let Some(claimant) = claimant {
            self.table.put(claimant, consequences);
        }
    }

    /// Tells a route what there is to say. Whether it got or is told something else than before; `before`: what that was, if
    /// it was decided since.
    fn tell(&mut self, place: &Place, before: Option<Result<Claimed, SpecError>>) -> bool {
        let Some(state) = self.table.get(place) else { return false };
        let note = if state.claimed.is_ok() { notes::note(&self.table, state) } else { String::new() };
        let Some(State { claimed, .. }) = self.table.get_mut(place) else { return false };
        let before = before.unwrap_or_else(|| claimed.clone());
        if let Ok(claimed) = claimed {
            claimed.note = note;
        }
        *claimed != before
    }
}

#[cfg(test)]
mod tests;
