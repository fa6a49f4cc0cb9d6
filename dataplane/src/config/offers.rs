//! What the owner of a provider says about its models.

use routeapi_crds::value::Capability;
use routeapi_metering::Price;
use routeapi_protocol::{ir::Efforts, limits::Features};

use super::patterns::Patterns;

/// What a provider says about its models.
#[derive(Debug, Default)]
pub struct ModelOffers {
    pub(super) by_model: Patterns<ModelOffer>,
    /// Whether routes of other namespaces may use the models that are listed and no others.
    pub(super) closed: bool,
    /// Whether nothing that it serves costs anything.
    pub(super) free: bool,
}

/// What a provider says about one model.
#[derive(Debug, Default)]
pub struct ModelOffer {
    pub(super) price: Option<Price>,
    /// Empty means everything.
    pub(super) capabilities: Vec<Capability>,
    /// Most output tokens.
    pub(super) max_output: Option<u64>,
    /// What it does not take; none leaves that to the built-in table.
    pub(super) unsupported: Option<Features>,
    /// The efforts that it takes; none leaves that to the built-in table.
    pub(super) efforts: Option<Efforts>,
    /// The vendor's model whose row of the built-in table counts; none for the one of its own id.
    pub(super) base_model: Option<String>,
}
