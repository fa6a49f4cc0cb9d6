//! On which terms an upstream serves a model: what it costs, whether that is known, what it can do and what it takes.
//!
//! Price and abilities belong to whoever owns the provider. A route of the provider's own namespace may say otherwise; one
//! of another namespace can raise the price and narrow the abilities. What a model takes any route can only narrow. The model
//! that counts is the one that is sent.

use routeapi_crds::value::Capability;
use routeapi_metering::Price;
use routeapi_protocol::{host::Surfaces, limits::ModelLimits};

use super::runtime::Upstream;

/// The terms for one model.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// What usage is charged at.
    pub price: Option<Price>,
    /// Whether that is a price that the provider's owner knows of.
    pub priced: bool,
    /// What the model takes, beside the built-in table.
    pub limits: ModelLimits,
    /// The vendor's model that it is, where its id does not say so.
    pub base_model: Option<&'a str>,
    /// All of them must hold; an empty one always does.
    capabilities: [&'a [Capability]; 2],
}

impl Upstream {
    /// The terms for a model that a client asks for. None if the provider does not offer it to this route.
    pub fn terms(&self, requested: &str) -> Option<Terms<'_>> {
        let offers = &self.provider.offers;
        let sent = self.model.as_deref().unwrap_or(requested);
        let offer = offers.by_model.matching(sent).next();
        if self.foreign && offers.closed && offer.is_none() {
            return None;
        }
        let (stated_price, can) = offer.map_or((None, &[][..]), |offer| (offer.price, &*offer.capabilities));
        let stated = offer.and_then(|offer| offer.unsupported);
        let limits = ModelLimits {
            stated_max_output: offer.and_then(|offer| offer.max_output),
            route_max_output: self.max_output,
            is_stated: stated.is_some(),
            unsupported: stated.unwrap_or_default().or(self.unsupported),
            capabilities_stated: !can.is_empty() || !self.capabilities.is_empty(),
            efforts: offer.and_then(|offer| offer.efforts),
            chat_limit: None,
            closed: Surfaces::NONE,
        };
        let base_model = offer.and_then(|offer| offer.base_model.as_deref());
        Some(if self.foreign {
            let price = match (stated_price, self.price) {
                (Some(stated_price), Some(own)) => Some(higher(&stated_price, &own)),
                (stated_price, own) => stated_price.or(own),
            };
            Terms {
                price,
                priced: stated_price.is_some() || offers.free,
                limits,
                base_model,
                capabilities: [can, &self.capabilities],
            }
        } else {
            let price = self.price.or(stated_price);
            let capabilities = if self.capabilities.is_empty() { can } else { &self.capabilities };
            Terms {
                price,
                priced: price.is_some() || offers.free,
                limits,
                base_model,
                capabilities: [capabilities, &[]],
            }
        })
    }
}

impl Upstream {
    /// What the model that a client asks for takes here, beside the built-in table, and which row of the table is meant if
    /// its own id does not say so.
    pub fn takes(&self, requested: &str) -> (ModelLimits, Option<&str>) {
        self.terms(requested).map(|terms| (terms.limits, terms.base_model)).unwrap_or_default()
    }
}

/// The higher of two prices for each kind of token.
fn higher(one: &Price, other: &Price) -> Price {
    Price {
        input: one.input.max(other.input),
        output: one.output.max(other.output),
        cached_input: one.cached_input.max(other.cached_input),
        cache_write: one.cache_write.max(other.cache_write),
    }
}

impl Terms<'_> {
    /// Whether a model can do this.
    pub fn can(&self, need: Capability) -> bool {
        self.capabilities.iter().all(|some| some.is_empty() || some.contains(&need))
    }
}
