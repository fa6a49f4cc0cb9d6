//! What leaves the process about a request that has ended: one record, and what metrics count of it.

use std::{borrow::Cow, sync::Arc};

use routeapi_metering::{Affinity, AttemptRecord, Usage, UsageRecord};
use routeapi_protocol::report::Warning;

use super::{attempts::AttemptLog, facts::Facts, usage};
use crate::{
    clock::{self, Now},
    request::{context::Context, gateway::Gateway, outcome::RequestOutcome, printable::printable, warnings},
    telemetry::{
        RequestRecord,
        metrics::{RequestFacts, WarningKind},
    },
};

/// Most characters of a path in a record.
const MAX_PATH_CHARS: usize = 512;
/// Most characters of a method in a record; registered ones have 17 at most.
const MAX_METHOD_CHARS: usize = 32;

/// The record of a request that has ended like this. Takes from facts and attempts what nobody else needs.
pub(super) fn make(
    context: &Context,
    facts: &mut Facts,
    attempts: &mut AttemptLog,
    outcome: RequestOutcome,
    now: Now,
) -> RequestRecord {
    let usage = usage_record(context, facts, attempts, outcome, now);
    let client = facts.take_client();
    RequestRecord {
        usage,
        // Whoever connected is recorded where the client is.
        peer: client.address.is_some().then(|| context.peer.to_string()),
        client_address: client.address.map(|address| address.to_string()),
        user_agent_original: client.user_agent,
        enduser_id: client.end_user,
        k8s_pod_name: facts.caller().and_then(|caller| Some(caller.pod.as_ref()?.pod.as_str().into())),
        method: printable(context.method.as_str(), MAX_METHOD_CHARS),
        path: printable(&context.path, MAX_PATH_CHARS),
        trace_id: context.trace.as_ref().map(|trace| trace.trace_id.clone()),
        span_id: context.trace.as_ref().map(|trace| trace.span_id.clone()),
        response_bytes: facts.response_bytes(),
        warnings: warnings::list(attempts.warnings()),
        message: facts.take_message(),
        truncated: false,
    }
}

fn usage_record(
    context: &Context,
    facts: &Facts,
    attempts: &mut AttemptLog,
    outcome: RequestOutcome,
    now: Now,
) -> UsageRecord {
    let records = attempts.take_records();
    let mut usage = Usage::default();
    records.iter().for_each(|attempt| usage.add(attempt.usage));
    let began = context.now.mono;
    UsageRecord {
        id: context.id.clone(),
        time_unix_ms: context.now.unix_ms,
        duration_ms: clock::millis(began, now.mono),
        first_content_ms: attempts.first_content().map(|at| clock::millis(began, at)),
        token: facts.caller().map(|caller| caller.token.id.to_string()),
        key_id: facts.caller().map(|caller| caller.token.key_id.clone()),
        route: facts.route().map(|route| route.id.to_string()),
        model: facts.shape().map(|shape| shape.model.clone()).filter(|model| !model.is_empty()),
        operation: facts.shape().map(|shape| Cow::Borrowed(shape.operation.name())),
        stream: facts.shape().is_some_and(|shape| shape.stream),
        status: facts.status(),
        outcome: outcome.outcome,
        error: outcome.error.map(Cow::Borrowed),
        usage,
        usage_source: usage::weakest(&records),
        affinity: affinity(facts, &records),
        cost_nano_usd: records.iter().fold(0, |sum: u64, attempt| sum.saturating_add(attempt.cost_nano_usd)),
        attempts: records,
    }
}

/// Whether the request's session stayed where it belongs; none for requests that no upstream was tried for.
fn affinity(facts: &Facts, attempts: &[AttemptRecord]) -> Option<Affinity> {
    let (home, last) = (facts.home()?, attempts.last()?);
    let upstream = home.upstream.name.clone();
    Some(Affinity {
        key: home.key.clone(),
        kept: last.upstream == upstream,
        upstream,
        session: home.session.short_hash(),
    })
}

/// Counts a record in the metrics and hands it to whoever keeps records.
pub(super) fn report(gateway: &Gateway, record: RequestRecord, facts: &Facts, attempts: &AttemptLog) {
    let metrics = &gateway.metrics;
    if let Some(shape) = facts.shape() {
        for warning in attempts.warnings() {
            let kind = match warning {
                Warning::Adapted { .. } => WarningKind::Adapted,
                // Nothing of the client's was touched.
                Warning::Defaulted { .. } | Warning::Estimated { .. } => continue,
                // What is beyond the bound counts once: the counter says how often fields were lost, not how many.
                Warning::Dropped { .. } | Warning::More { .. } => WarningKind::Dropped,
            };
            metrics.warned(shape.operation.name(), kind);
        }
    }
    let has_affinity = facts.route().is_some_and(|route| route.affinity.is_some());
    let labels = facts.shape().map(|shape| RequestFacts {
        operation: shape.operation.gen_ai_operation(),
        providers: attempts.providers(),
        has_affinity,
    });
    metrics.ended(&record.usage, labels);
    if !facts.is_probe() {
        gateway.records.record(&Arc::new(record));
    }
}
