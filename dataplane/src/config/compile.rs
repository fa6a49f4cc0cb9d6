//! Snapshot → the tables a request reads, and what they change in the state that outlives them. What cannot be compiled is
//! reported and left out; the rest stands.
//!
//! Pure: the state is looked at and nothing in it is changed, so that a configuration can be judged without being put in
//! force.

mod providers;
mod routes;
mod tokens;

use std::{collections::BTreeSet, sync::Arc};

use routeapi_channel::{Key, Kind, ObjectId, Revision, Snapshot, catalog::Unreadable, snapshot};
use routeapi_crds::value::{NanoUsd, RequestFeature};
use routeapi_metering::{Price, Share};
use routeapi_protocol::{
    dialect::Operation,
    direct::Direct,
    limits::{Feature, Features},
};

use super::runtime::Runtime;
use crate::state::{StateChanges, View};

/// Compiles a configuration beside this state. `share` is this process's part of every token's limits. To put the tables in
/// force, apply the changes first.
pub fn compile(
    snapshot: &Snapshot,
    revision: &Revision,
    state: View<'_>,
    share: Share,
) -> (Runtime, StateChanges, Vec<Unreadable>) {
    // Taken apart, so that a kind that is forgotten here does not compile.
    let Snapshot { providers, routes, tokens, namespaces } = snapshot;
    let (mut draft, mut refused) = (state.draft(), Vec::new());
    let providers = providers::compile(providers, &mut draft, &mut refused);
    let mut runtime = Runtime { revision: Some(revision.clone()), ..Runtime::default() };
    let other = Operation::Direct(Direct::Unlisted);
    runtime.has_other_paths = providers.values().any(|compiled| compiled.provider.operations.contains(&other));
    let namespaces = Arc::new(namespaces.clone());
    for (id, route) in routes {
        match routes::compile(id, route, &providers, &namespaces, &mut draft) {
            Ok(compiled) => {
                let compiled = Arc::new(compiled);
                runtime.names.insert(&compiled, &route.published);
                runtime.routes.push(compiled);
            }
            Err(message) => refused.push(unreadable(Kind::Route, id, message)),
        }
    }
    for (id, token) in tokens {
        match tokens::compile(id, token, &mut draft, share) {
            Ok(keys) => runtime.tokens.extend(keys),
            Err(message) => refused.push(unreadable(Kind::Token, id, message)),
        }
    }
    (runtime, draft.finish(), refused)
}

fn price(told: &snapshot::Price) -> Price {
    let snapshot::Price { input_per_million, output_per_million, cached_input_per_million, cache_write_per_million } =
        *told;
    let nanos = |amount: NanoUsd| u64::try_from(amount.get()).unwrap_or(0);
    let input = nanos(input_per_million);
    Price {
        input,
        output: nanos(output_per_million),
        cached_input: cached_input_per_million.map_or(input, nanos),
        cache_write: cache_write_per_million.map_or(input, nanos),
    }
}

fn features(told: &BTreeSet<RequestFeature>) -> Features {
    let feature = |told: &RequestFeature| match told {
        RequestFeature::Temperature => Feature::Temperature,
        RequestFeature::TopP => Feature::TopP,
        RequestFeature::TopK => Feature::TopK,
        RequestFeature::Penalties => Feature::Penalties,
        RequestFeature::Seed => Feature::Seed,
        RequestFeature::LogitBias => Feature::LogitBias,
        RequestFeature::LogProbs => Feature::LogProbs,
        RequestFeature::Stop => Feature::Stop,
        RequestFeature::ReasoningEffort => Feature::ReasoningEffort,
        RequestFeature::ParallelToolCalls => Feature::ParallelToolCalls,
        RequestFeature::StrictSchemas => Feature::StrictSchemas,
        RequestFeature::StreamOptions => Feature::StreamOptions,
        RequestFeature::ServiceTier => Feature::ServiceTier,
        RequestFeature::User => Feature::User,
    };
    told.iter().map(feature).collect()
}

fn unreadable(kind: Kind, id: &ObjectId, message: String) -> Unreadable {
    Unreadable { key: Key { kind, id: id.clone() }, message }
}

#[cfg(test)]
mod tests;
