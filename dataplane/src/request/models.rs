//! The models that a caller may use, in the shape its SDK reads: what a call would be answered by, and nothing else. What
//! it may not use does not exist for it. A wildcard is never listed; what its providers say that they offer under it is.

use std::{collections::BTreeMap, sync::Arc};

use http::request::Parts;
use routeapi_protocol::{
    inbound::ModelList,
    models::{self, ModelEntry, Paging, offered::OfferedModel},
};

use super::{access, caller::Caller, printable::clip_model, refusal::Refusal};
use crate::config::runtime::{Route, Runtime};

/// Who owns a model where the route names nobody.
const OWNER: &str = "routeapi";

/// Most models that providers add to a list.
const MAX_OFFERED: usize = 5_000;

/// What providers say that they offer under one prefix.
struct Offer<'a> {
    prefix: &'a str,
    route: &'a Arc<Route>,
    lists: Vec<Arc<[OfferedModel]>>,
}

/// The list.
pub(super) fn list(runtime: &Runtime, caller: &Caller, kind: ModelList, head: &Parts) -> Vec<u8> {
    let named = runtime.models(caller.token.id.namespace());
    let shown = named.into_iter().filter(|(id, route)| route.listed && caller.token.may_name(id));
    let mut entries: BTreeMap<&str, ModelEntry<'_>> = shown.map(|(id, route)| (id, entry(route, id))).collect();
    let offers = offers(runtime, caller);
    for (route, model) in offers.iter().flat_map(Offer::models).take(MAX_OFFERED) {
        if !entries.contains_key(model.id.as_str()) && is_answered_by(runtime, caller, route, &model.id) {
            entries.insert(&model.id, offered(route, model));
        }
    }
    let entries: Vec<ModelEntry<'_>> = entries.into_values().collect();
    models::list(kind, &entries, &Paging::from_query(head.uri.query()))
}

/// One of them.
pub(super) fn get(runtime: &Runtime, caller: &Caller, kind: ModelList, id: &str) -> Result<Vec<u8>, Refusal> {
    let route = access::visible(runtime, caller, id)?;
    if !route.serves() || !caller.token.may_name(id) {
        return Err(Refusal::UnknownModel { model: clip_model(id) });
    }
    let lists = lists(route);
    let known = lists.iter().flat_map(|list| list.iter()).find(|model| model.id == id);
    Ok(models::get(kind, known.map_or_else(|| entry(route, id), |model| offered(route, model))))
}

fn entry<'a>(route: &'a Route, id: &'a str) -> ModelEntry<'a> {
    let owned_by = route.owned_by.as_deref().unwrap_or(OWNER);
    ModelEntry { id, owned_by, created: route.created, ..ModelEntry::default() }
}

fn offered<'a>(route: &'a Route, model: &'a OfferedModel) -> ModelEntry<'a> {
    let OfferedModel { id, display_name, created, input_limit, output_limit } = model;
    ModelEntry {
        created: created.unwrap_or(route.created),
        display_name: display_name.as_deref(),
        input_limit: *input_limit,
        output_limit: *output_limit,
        ..entry(route, id)
    }
}

/// What is offered under the prefixes that the caller finds.
fn offers<'a>(runtime: &'a Runtime, caller: &Caller) -> Vec<Offer<'a>> {
    let prefixes = runtime.prefixes(caller.token.id.namespace()).filter(|(_, route)| route.listed);
    let mut offers: Vec<Offer<'_>> =
        prefixes.map(|(prefix, route)| Offer { prefix, route, lists: lists(route) }).collect();
    // Always the same ones, should there be too many.
    offers.sort_by_key(|offer| offer.prefix);
    offers
}

fn lists(route: &Route) -> Vec<Arc<[OfferedModel]>> {
    let upstreams = route.upstreams.iter().filter(|upstream| upstream.passes_models_on());
    upstreams.map(|upstream| upstream.provider.offered_models.known()).filter(|list| !list.is_empty()).collect()
}

impl<'a> Offer<'a> {
    fn models(&self) -> impl Iterator<Item = (&'a Arc<Route>, &OfferedModel)> {
        let models = self.lists.iter().flat_map(|list| list.iter());
        models.filter(|model| model.id.starts_with(self.prefix)).map(|model| (self.route, model))
    }
}

/// Whether a call for this model would reach an upstream of the route: another route may be closer, and a provider of
/// another namespace may keep some of its models to itself.
fn is_answered_by(runtime: &Runtime, caller: &Caller, route: &Arc<Route>, id: &str) -> bool {
    let found = runtime.route(caller.token.id.namespace(), id);
    let serves = || route.upstreams.iter().any(|upstream| upstream.passes_models_on() && upstream.terms(id).is_some());
    caller.token.may_name(id) && found.is_some_and(|found| Arc::ptr_eq(found, route)) && serves()
}
