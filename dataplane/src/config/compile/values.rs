//! Values of the snapshot that objects of several kinds have.

use std::collections::BTreeSet;

use routeapi_channel::{Key, Kind, ObjectId, catalog::Unreadable, snapshot};
use routeapi_crds::value::{NanoUsd, ReasoningEffort, RequestFeature};
use routeapi_metering::Price;
use routeapi_protocol::{
    ir::{Effort, Efforts},
    limits::{Feature, Features},
};

/// A price, in billionths of a dollar per million tokens.
pub fn price(told: &snapshot::Price) -> Price {
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

/// What a request may not have.
pub fn features(told: &BTreeSet<RequestFeature>) -> Features {
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
        RequestFeature::Verbosity => Feature::Verbosity,
        RequestFeature::Metadata => Feature::Metadata,
        RequestFeature::PromptCacheKey => Feature::PromptCacheKey,
        RequestFeature::Store => Feature::Store,
        RequestFeature::WebSearch => Feature::WebSearch,
    };
    told.iter().map(feature).collect()
}

/// The efforts that a model takes.
pub fn efforts(told: &BTreeSet<ReasoningEffort>) -> Efforts {
    let effort = |told: &ReasoningEffort| match told {
        ReasoningEffort::None => Effort::None,
        ReasoningEffort::Minimal => Effort::Minimal,
        ReasoningEffort::Low => Effort::Low,
        ReasoningEffort::Medium => Effort::Medium,
        ReasoningEffort::High => Effort::High,
        ReasoningEffort::XHigh => Effort::XHigh,
        ReasoningEffort::Max => Effort::Max,
    };
    told.iter().map(effort).collect()
}

/// An object that is left out.
pub fn unreadable(kind: Kind, id: &ObjectId, message: String) -> Unreadable {
    Unreadable { key: Key { kind, id: id.clone() }, message }
}
