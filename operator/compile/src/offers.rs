//! What a provider's owner says about its models, and what that means for a route that uses them. The data plane
//! applies the same rules to the model of each request; here is said in advance what can be said.

use std::collections::BTreeSet;

use routeapi_channel::snapshot::{Price, Provider, ProviderModel};
use routeapi_crds::{
    condition::Reason,
    v1alpha1::{self, AIProviderSpec},
    value::{ModelPattern, ProviderType},
};

use crate::verdict::Problem;

/// The list for the snapshot.
pub(crate) fn build(spec: &AIProviderSpec) -> Vec<ProviderModel> {
    // Taken apart, so that a field that is forgotten here does not compile.
    let one = |stated: &v1alpha1::ProviderModel| {
        let v1alpha1::ProviderModel { model, price: said, capabilities, max_output_tokens, unsupported } = stated;
        ProviderModel {
            model: model.clone(),
            price: said.as_ref().map(price),
            capabilities: capabilities.iter().copied().collect(),
            max_output_tokens: *max_output_tokens,
            unsupported: unsupported.as_ref().map(|features| features.iter().copied().collect()),
        }
    };
    spec.models.iter().map(one).collect()
}

/// What the schema says only where an API server enforces it.
pub(crate) fn check(spec: &AIProviderSpec) -> Result<(), Problem> {
    let mut seen = BTreeSet::new();
    let twice = spec.models.iter().enumerate().find(|(_, model)| !seen.insert(&model.model));
    twice.map_or(Ok(()), |(index, model)| {
        let message = format!("spec.models[{index}].model: {:?} is listed twice", model.model.to_string());
        Err(Problem::new(Reason::InvalidConfig, message))
    })
}

/// Whether a route of another namespace may use the one model that it always sends.
pub(crate) fn permits(provider: &Provider, upstream: &v1alpha1::Upstream) -> bool {
    let Some(model) = &upstream.model else { return true };
    provider.models.is_empty() || offer(provider, model).is_some()
}

/// Which of the models that an upstream may be asked for have no price, as they are sent.
pub(crate) fn unpriced<'a>(
    provider: &Provider,
    upstream: &v1alpha1::Upstream,
    foreign: bool,
    patterns: impl Iterator<Item = &'a ModelPattern>,
) -> BTreeSet<String> {
    if provider.type_ == ProviderType::Echo || (!foreign && upstream.price.is_some()) {
        return BTreeSet::new();
    }
    let has_price = |model: &str| offer(provider, model).is_some_and(|offer| offer.price.is_some());
    if let Some(model) = &upstream.model {
        return [model].into_iter().filter(|model| !has_price(model)).cloned().collect();
    }
    let lacks = |pattern: &&ModelPattern| match pattern {
        ModelPattern::Exact(id) => !has_price(id),
        ModelPattern::Prefix(prefix) => {
            let within = |offer: &&ProviderModel| text(&offer.model).starts_with(prefix.as_str());
            let closed = foreign && !provider.models.is_empty();
            // Ids under the prefix that no narrower entry speaks of.
            let rest = covering(provider, prefix).map_or(closed, |offer| offer.price.is_some());
            !rest || provider.models.iter().filter(within).any(|offer| offer.price.is_none())
        }
    };
    patterns.filter(lacks).map(ToString::to_string).collect()
}

/// Whether a price is of no use because the provider's own is higher.
pub(crate) fn undercuts(provider: &Provider, upstream: &v1alpha1::Upstream) -> bool {
    let said = upstream.model.as_ref().and_then(|model| offer(provider, model)?.price);
    let (Some(said), Some(own)) = (said, upstream.price.as_ref().map(price)) else { return false };
    let parts = |price: &Price| {
        let or_input = |part: Option<_>| part.unwrap_or(price.input_per_million);
        [
            price.input_per_million,
            price.output_per_million,
            or_input(price.cached_input_per_million),
            or_input(price.cache_write_per_million),
        ]
    };
    parts(&own).iter().zip(parts(&said)).any(|(own, said)| *own < said)
}

/// The provider's own output limit of the one model that is always sent, if the route's is of no use beside it.
pub(crate) fn smaller_output(provider: &Provider, upstream: &v1alpha1::Upstream) -> Option<u32> {
    let said = offer(provider, upstream.model.as_ref()?)?.max_output_tokens?;
    upstream.max_output_tokens.is_some_and(|own| own > said).then_some(said)
}

pub(crate) fn price(price: &v1alpha1::Price) -> Price {
    Price {
        input_per_million: price.input_per_million,
        output_per_million: price.output_per_million,
        cached_input_per_million: price.cached_input_per_million,
        cache_write_per_million: price.cache_write_per_million,
    }
}

/// What is said about a model: by its id, else by the longest prefix.
fn offer<'a>(provider: &'a Provider, model: &str) -> Option<&'a ProviderModel> {
    let exact = |offer: &&ProviderModel| matches!(&offer.model, ModelPattern::Exact(id) if id == model);
    provider.models.iter().find(exact).or_else(|| covering(provider, model))
}

/// The longest prefix that holds this text and everything that begins with it.
fn covering<'a>(provider: &'a Provider, text: &str) -> Option<&'a ProviderModel> {
    let prefixes = provider.models.iter().filter_map(|offer| match &offer.model {
        ModelPattern::Prefix(prefix) if text.starts_with(prefix.as_str()) => Some((prefix.len(), offer)),
        ModelPattern::Prefix(_) | ModelPattern::Exact(_) => None,
    });
    prefixes.max_by_key(|(length, _)| *length).map(|(_, offer)| offer)
}

fn text(pattern: &ModelPattern) -> &str {
    match pattern {
        ModelPattern::Exact(text) | ModelPattern::Prefix(text) => text,
    }
}
