//! Who has what only one ApiToken can have: a key, a ServiceAccount. The oldest that claims it has it, so that it is never
//! undefined whose limits a request counts against.

use std::{borrow::Cow, collections::HashMap};

use routeapi_channel::ObjectId;

/// A token's place in the order in which things are given away: creation time and ID.
pub(crate) type Precedence = (i64, ObjectId);

/// All that is claimed, with those that claim it, the oldest first.
#[derive(Default)]
pub(crate) struct Owners(HashMap<Box<str>, Vec<Precedence>>);

impl Owners {
    /// Adds what a token claims. Returns the other tokens that claim some of it.
    pub fn add<'a>(&mut self, claims: impl Iterator<Item = Cow<'a, str>>, place: &Precedence) -> Vec<ObjectId> {
        let mut rivals = Vec::new();
        for claim in claims {
            match self.0.get_mut(&*claim) {
                None => drop(self.0.insert(claim.into(), vec![place.clone()])),
                Some(claimants) => {
                    if let Err(at) = claimants.binary_search(place) {
                        rivals.extend(claimants.iter().map(|(_, id)| id.clone()));
                        claimants.insert(at, place.clone());
                    }
                }
            }
        }
        rivals
    }

    /// Takes away what a token claimed. Returns the other tokens that claim some of it.
    pub fn remove<'a>(&mut self, claims: impl Iterator<Item = Cow<'a, str>>, place: &Precedence) -> Vec<ObjectId> {
        let mut rivals = Vec::new();
        for claim in claims {
            let Some(claimants) = self.0.get_mut(&*claim) else { continue };
            claimants.retain(|claimant| claimant != place);
            rivals.extend(claimants.iter().map(|(_, id)| id.clone()));
            if claimants.is_empty() {
                self.0.remove(&*claim);
            }
        }
        rivals
    }

    /// The token that has it.
    pub fn owner(&self, claim: &str) -> Option<&ObjectId> {
        self.0.get(claim)?.first().map(|(_, id)| id)
    }
}
