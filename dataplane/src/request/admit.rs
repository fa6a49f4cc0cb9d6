//! May this caller make this call, now: the model is known and open to it, its own list holds it, and its limits have
//! room. What is granted is held as a reservation until the request is settled.
//!
//! A route that the caller's namespace may not see does not exist for it. Decides nothing about upstreams.

use std::sync::Arc;

use routeapi_metering::Estimate;
use routeapi_protocol::request::ParsedRequest;

use super::{access::permitted, caller::Caller, gateway::RequestSettings, refusal::Refusal};
use crate::{
    clock::Now,
    config::runtime::{Route, Runtime},
    limits::Reservation,
};

/// Granted.
pub(super) struct Admission {
    /// What the model id means.
    pub route: Arc<Route>,
    /// What may be used; settle it.
    pub reservation: Reservation,
}

/// Decides whether the call goes on.
pub(super) async fn admit(
    runtime: &Runtime,
    caller: &Caller,
    request: &ParsedRequest,
    settings: &RequestSettings,
    now: Now,
) -> Result<Admission, Refusal> {
    let route = permitted(runtime, caller, request.model())?;
    let estimate = worst_case(route, request, settings);
    let reservation = caller.token.account.reserve(now.unix_ms, estimate).await?;
    route.budget.request();
    Ok(Admission { route: Arc::clone(route), reservation })
}

/// The most that the call is expected to use, at the dearest of the route's upstreams. Where the client sets no bound on
/// the answer, a usual length is assumed: the true one is settled afterwards.
fn worst_case(route: &Route, request: &ParsedRequest, settings: &RequestSettings) -> Estimate {
    let input = request.estimated_input_tokens();
    let output = most_output(request, settings);
    let prices = route.upstreams.iter().filter_map(|upstream| upstream.terms(request.model())?.price);
    let spend = prices.map(|price| price.worst_case(input, output)).max();
    Estimate {
        tokens: input.saturating_add(output),
        spend: spend.unwrap_or(0),
        is_single: request.allowance().candidates == 1,
    }
}

/// The most output tokens that the call is expected to use. Embeddings, counts and the like have none.
pub(crate) fn most_output(request: &ParsedRequest, settings: &RequestSettings) -> u64 {
    if request.operation().bills_output() { request.allowance().tokens(settings.assumed_output_tokens) } else { 0 }
}
