//! Which route answers a model id for a caller, and whether the caller's own list holds that model. A route that the
//! caller's namespace may not see does not exist for it.

use std::sync::Arc;

use super::{caller::Caller, printable::clip_model, refusal::Refusal};
use crate::config::runtime::{Route, Runtime};

/// The route of a model that this caller may use.
pub(super) fn permitted<'a>(runtime: &'a Runtime, caller: &Caller, model: &str) -> Result<&'a Arc<Route>, Refusal> {
    let route = visible(runtime, caller, model)?;
    if !caller.token.may_name(model) {
        return Err(Refusal::ModelNotAllowed { model: clip_model(model), token: caller.token.id.to_string() });
    }
    Ok(route)
}

/// The route that answers a model for this caller's namespace.
pub(super) fn visible<'a>(runtime: &'a Runtime, caller: &Caller, model: &str) -> Result<&'a Arc<Route>, Refusal> {
    runtime.route(caller.token.id.namespace(), model).ok_or_else(|| Refusal::UnknownModel { model: clip_model(model) })
}
