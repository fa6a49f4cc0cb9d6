//! `spec.models` of a provider, and what it means for the routes that use it. The data plane applies the same rules to the
//! model of each request; here they are applied in advance, as far as the model is known.

use std::collections::BTreeSet;

use routeapi_channel::snapshot::{Price, Provider, ProviderModel};
use routeapi_crds::{
    condition::Reason,
    v1alpha1::{self, AIProviderSpec},
    value::{ModelPattern, ProviderType},
};

use crate::verdict::SpecError;

/// The list for the snapshot.
pub(crate) fn build(spec: &AIProviderSpec) -> Vec<ProviderModel> {
    // Destructured, so that a forgotten field does not compile.
    let build_one = |model: &v1alpha1::ProviderModel| {
        let v1alpha1::ProviderModel { model, base_model, price, capabilities, max_output_tokens, unsupported, efforts } =
            model;
        ProviderModel {
            model: model.clone(),
            base_model: base_model.clone(),
            price: price.as_ref().map(build_price),
            capabilities: capabilities.iter().copied().collect(),
            max_output_tokens: *max_output_tokens,
            unsupported: unsupported.as_ref().map(|features| features.iter().copied().collect()),
            efforts: efforts.iter().copied().collect(),
        }
    };
    spec.models.iter().map(build_one).collect()
}

/// Checks what only an API server enforces.
pub(crate) fn check(spec: &AIProviderSpec) -> Result<(), SpecError> {
    let mut seen = BTreeSet::new();
    let duplicate = spec.models.iter().enumerate().find(|(_, model)| !seen.insert(&model.model));
    duplicate.map_or(Ok(()), |(index, model)| {
        let message = format!("spec.models[{index}].model: {:?} is listed twice", model.model.to_string());
        Err(SpecError::new(Reason::InvalidConfig, message))
    })
}

/// Whether a route of another namespace may use the one model that it always sends.
pub(crate) fn permits(provider: &Provider, upstream: &v1alpha1::Upstream) -> bool {
    let Some(model) = &upstream.model else { return true };
    provider.models.is_empty() || entry(provider, model).is_some()
}

/// The models, as they are sent, that an upstream may be asked for and that have no price.
pub(crate) fn unpriced<'a>(
    provider: &Provider,
    upstream: &v1alpha1::Upstream,
    foreign: bool,
    patterns: impl Iterator<Item = &'a ModelPattern>,
) -> BTreeSet<String> {
    if provider.type_ == ProviderType::Echo || (!foreign && upstream.price.is_some()) {
        return BTreeSet::new();
    }
    let has_price = |model: &str| entry(provider, model).is_some_and(|entry| entry.price.is_some());
    if let Some(model) = &upstream.model {
        return [model].into_iter().filter(|model| !has_price(model)).cloned().collect();
    }
    let lacks = |pattern: &&ModelPattern| match pattern {
        ModelPattern::Exact(id) => !has_price(id),
        ModelPattern::Prefix(prefix) => {
            let within = |entry: &&ProviderModel| text(&entry.model).starts_with(prefix.as_str());
            let closed = foreign && !provider.models.is_empty();
            // IDs under the prefix that no narrower entry covers.
            let rest = covering(provider, prefix).map_or(closed, |entry| entry.price.is_some());
            !rest || provider.models.iter().filter(within).any(|entry| entry.price.is_none())
        }
    };
    patterns.filter(lacks).map(ToString::to_string).collect()
}

/// Whether a price of the route is below the provider's own, which then applies.
pub(crate) fn undercuts(provider: &Provider, upstream: &v1alpha1::Upstream) -> bool {
    let provider_price = upstream.model.as_ref().and_then(|model| entry(provider, model)?.price);
    let (Some(provider_price), Some(route_price)) = (provider_price, upstream.price.as_ref().map(build_price)) else {
        return false;
    };
    let parts = |price: &Price| {
        let or_input = |part: Option<_>| part.unwrap_or(price.input_per_million);
        [
            price.input_per_million,
            price.output_per_million,
            or_input(price.cached_input_per_million),
            or_input(price.cache_write_per_million),
        ]
    };
    parts(&route_price).iter().zip(parts(&provider_price)).any(|(route, provider)| *route < provider)
}

/// The provider's output limit of the one model that is always sent, if it is below the route's.
pub(crate) fn smaller_output(provider: &Provider, upstream: &v1alpha1::Upstream) -> Option<u32> {
    let limit = entry(provider, upstream.model.as_ref()?)?.max_output_tokens?;
    upstream.max_output_tokens.is_some_and(|route| route > limit).then_some(limit)
}

pub(crate) fn build_price(price: &v1alpha1::Price) -> Price {
    let v1alpha1::Price { input_per_million, output_per_million, cached_input_per_million, cache_write_per_million } =
        *price;
    Price { input_per_million, output_per_million, cached_input_per_million, cache_write_per_million }
}

/// The entry of a model: by its exact ID, else by the longest prefix.
fn entry<'a>(provider: &'a Provider, model: &str) -> Option<&'a ProviderModel> {
    let exact = |entry: &&ProviderModel| matches!(&entry.model, ModelPattern::Exact(id) if id == model);
    provider.models.iter().find(exact).or_else(|| covering(provider, model))
}

/// The entry with the longest prefix that covers this text and everything that begins with it.
fn covering<'a>(provider: &'a Provider, text: &str) -> Option<&'a ProviderModel> {
    let prefixes = provider.models.iter().filter_map(|entry| match &entry.model {
        ModelPattern::Prefix(prefix) if text.starts_with(prefix.as_str()) => Some((prefix.len(), entry)),
        ModelPattern::Prefix(_) | ModelPattern::Exact(_) => None,
    });
    prefixes.max_by_key(|(length, _)| *length).map(|(_, entry)| entry)
}

fn text(pattern: &ModelPattern) -> &str {
    match pattern {
        ModelPattern::Exact(text) | ModelPattern::Prefix(text) => text,
    }
}
