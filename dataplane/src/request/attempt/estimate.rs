//! An answer of the gateway's own, where a client asks how long its prompt is and no upstream can say.

use std::sync::Arc;

use routeapi_protocol::{
    dialect::OperationKind,
    problem::ProblemKind,
    report::{Mode, Warning},
};

use crate::request::{
    answer::Answer, failure::Failure, offload::DeadlinePassed, plan::Plan, read::ReadRequest, refusal::Refusal,
    settle::Guard,
};

/// What an estimate stands in the place of, in warnings.
const FIELD: &str = "input_tokens";

/// The answer in the place of this refusal, if there can be one. A route that lets nothing go gets no estimate: clients that
/// are told 404 estimate by themselves.
pub(super) async fn in_place_of(
    refusal: Refusal,
    (plan, read): (&Plan, &Arc<ReadRequest>),
    guard: &mut Guard,
) -> Result<Answer, Refusal> {
    let counts = read.request.operation().kind() == OperationKind::CountTokens;
    if !counts || plan.route.mode == Mode::Strict || !nobody_counts(&refusal) {
        return Err(refusal);
    }
    let Some(account) = guard.facts.caller().map(|caller| Arc::clone(&caller.token.account)) else {
        return Err(refusal);
    };
    let (gateway, request) = (Arc::clone(guard.gateway()), Arc::clone(read));
    // Never in place, however small: the first count unpacks the vocabulary.
    let counting = gateway.offload.run(&account, usize::MAX, plan.deadline, move || request.request.estimated_count());
    let Ok(Some(body)) = counting.await.map_err(|DeadlinePassed| ()) else { return Err(refusal) };
    guard.attempts.warn_only(Warning::Estimated { field: FIELD.into() });
    Ok(Answer::local(body, plan.deadline))
}

/// Whether the upstreams have no counter, as far as is known or as they say themselves.
fn nobody_counts(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::NoLane { .. } => true,
        Refusal::Upstream(failure) => has_no_such_path(failure) || failure.unsupported.surface,
        _ => false,
    }
}

/// A server without the path answers 404, or 405 and 501 where it knows the path and not the method. A model that it does
/// not know is another matter.
fn has_no_such_path(failure: &Failure) -> bool {
    let status = failure.problem.status;
    (status == 404 && failure.problem.kind == ProblemKind::NotFound) || status == 405 || status == 501
}
