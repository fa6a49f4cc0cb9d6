//! The models that a caller may use, in the shape its SDK reads. What it may not use does not exist for it; a wildcard
//! is never listed, but a model under one can be asked for by name.

use http::request::Parts;
use routeapi_crds::value::ModelPattern;
use routeapi_protocol::{
    inbound::ModelList,
    models::{self, ModelEntry, Paging},
};

use super::{admit, identify::Caller, refusal::Refusal};
use crate::config::runtime::{Route, Runtime};

/// Who owns a model where the route names nobody.
const OWNER: &str = "routeapi";

/// The list.
pub(super) fn list(runtime: &Runtime, caller: &Caller, kind: ModelList, head: &Parts) -> Vec<u8> {
    let namespace = caller.token.id.namespace();
    let open = runtime.routes().filter(|route| route.listed && route.is_open_to(namespace));
    let mut entries: Vec<ModelEntry<'_>> = open
        .flat_map(|route| route.models.iter().map(move |pattern| (route, pattern)))
        .filter_map(|(route, pattern)| match pattern {
            ModelPattern::Exact(id) if caller.token.may_name(id) => Some(entry(route, id)),
            ModelPattern::Exact(_) | ModelPattern::Prefix(_) => None,
        })
        .collect();
    entries.sort_unstable_by_key(|entry| entry.id);
    models::list(kind, &entries, &Paging::from_query(head.uri.query()))
}

/// One of them.
pub(super) fn get(runtime: &Runtime, caller: &Caller, kind: ModelList, id: &str) -> Result<Vec<u8>, Refusal> {
    let route = admit::visible(runtime, caller, id)?;
    if !caller.token.may_name(id) {
        return Err(Refusal::UnknownModel { model: admit::clip(id) });
    }
    Ok(models::get(kind, entry(route, id)))
}

fn entry<'a>(route: &'a Route, id: &'a str) -> ModelEntry<'a> {
    ModelEntry { id, owned_by: route.owned_by.as_deref().unwrap_or(OWNER), created: route.created }
}
