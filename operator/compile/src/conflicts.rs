//! Who owns a model id when several AIRoutes name it: the oldest, then the first by namespace and name.
//!
//! A route whose `model` is taken is not accepted and holds nothing, so its aliases stay free for others. A taken alias
//! costs the route that alias alone. Only equal patterns conflict: `gpt-*` and `gpt-4o` live side by side, and the
//! longest match decides per request.

use std::collections::BTreeMap;

use routeapi_channel::ObjectId;
use routeapi_crds::{condition::Reason, v1alpha1::AIRouteSpec, value::ModelPattern};

use crate::verdict::Problem;

/// Who holds which pattern so far. Routes must claim in the order of their age.
#[derive(Default)]
pub(crate) struct Holders<'a> {
    held: BTreeMap<&'a ModelPattern, &'a ObjectId>,
}

/// What a route holds now.
pub(crate) struct Won {
    /// Its model first, then the aliases that were free.
    pub models: Vec<ModelPattern>,
    /// Which aliases it did not get and why, in words; empty if it got all.
    pub note: String,
}

impl<'a> Holders<'a> {
    /// Claims the model and aliases of a route.
    pub fn claim(&mut self, id: &'a ObjectId, spec: &'a AIRouteSpec) -> Result<Won, Problem> {
        if let Some(winner) = self.held.get(&spec.model) {
            let message = format!("spec.model: {:?} belongs to {}", spec.model.to_string(), name(winner, id));
            return Err(Problem::new(Reason::ModelConflict, message));
        }
        self.held.insert(&spec.model, id);
        let mut won = Won { models: vec![spec.model.clone()], note: String::new() };
        for (index, alias) in spec.aliases.iter().enumerate() {
            let winner = *self.held.entry(alias).or_insert(id);
            if winner == id && !won.models.contains(alias) {
                won.models.push(alias.clone());
            } else if winner != id {
                let separator = if won.note.is_empty() { "" } else { "; " };
                won.note += &format!(
                    "{separator}spec.aliases[{index}]: {:?} is left out, it belongs to {}",
                    alias.to_string(),
                    name(winner, id)
                );
            }
        }
        Ok(won)
    }
}

/// The winner as the loser may see it: what another namespace holds is not its business.
fn name(winner: &ObjectId, loser: &ObjectId) -> String {
    if winner.namespace() == loser.namespace() {
        format!("AIRoute {winner}, which came first")
    } else {
        "an AIRoute in another namespace, which came first".to_owned()
    }
}
