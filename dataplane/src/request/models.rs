//! The models that a caller may use, in the shape its SDK reads: what a call would be answered by, and nothing else. What
//! it may not use does not exist for it; a wildcard is never listed, but a model under one can be asked for by name.

use http::request::Parts;
use routeapi_protocol::{
    inbound::ModelList,
    models::{self, ModelEntry, Paging},
};

use super::{access, caller::Caller, printable::clip_model, refusal::Refusal};
use crate::config::runtime::{Route, Runtime};

/// Who owns a model where the route names nobody.
const OWNER: &str = "routeapi";

/// The list.
pub(super) fn list(runtime: &Runtime, caller: &Caller, kind: ModelList, head: &Parts) -> Vec<u8> {
    let named = runtime.models(caller.token.id.namespace());
    let shown = named.into_iter().filter(|(id, route)| route.listed && caller.token.may_name(id));
    let entries: Vec<ModelEntry<'_>> = shown.map(|(id, route)| entry(route, id)).collect();
    models::list(kind, &entries, &Paging::from_query(head.uri.query()))
}

/// One of them.
pub(super) fn get(runtime: &Runtime, caller: &Caller, kind: ModelList, id: &str) -> Result<Vec<u8>, Refusal> {
    let route = access::visible(runtime, caller, id)?;
    if !route.serves() || !caller.token.may_name(id) {
        return Err(Refusal::UnknownModel { model: clip_model(id) });
    }
    Ok(models::get(kind, entry(route, id)))
}

fn entry<'a>(route: &'a Route, id: &'a str) -> ModelEntry<'a> {
    ModelEntry { id, owned_by: route.owned_by.as_deref().unwrap_or(OWNER), created: route.created }
}
