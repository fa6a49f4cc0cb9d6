//! Which upstreams may serve the call, in which order, and until when. No I/O, and no look at what a protocol can
//! express: that is asked of each upstream when its turn comes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use routeapi_crds::value::{Capability, FallbackCondition};
use routeapi_protocol::request::{Needs, ParsedRequest};

use super::{admit, context::Context, refusal::Refusal};
use crate::{
    clock,
    config::{
        runtime::{Route, Token, Upstream},
        terms::Terms,
    },
    upstream::balance,
};

/// The way ahead.
pub(super) struct Plan {
    /// What the model id means.
    pub route: Arc<Route>,
    /// In the order in which they are to be tried; those left out for now come last.
    pub upstreams: Vec<Arc<Upstream>>,
    /// When the whole request ends.
    pub deadline: Instant,
}

impl Plan {
    /// Whether this failure leads on to another upstream.
    pub(super) fn triggers_fallback(&self, condition: FallbackCondition) -> bool {
        self.route.fallback.conditions.contains(&condition)
    }
}

/// Orders the upstreams that may serve this model to this token and have what the call needs, for a tenant.
pub(super) fn plan(
    route: &Arc<Route>,
    (requested_model, needs): (&str, Needs),
    token: &Token,
    tenant: &str,
    context: &Context,
) -> Result<Plan, Refusal> {
    let id = || route.id.to_string();
    if route.upstreams.iter().all(|upstream| upstream.weight == 0) {
        let why = match route.upstreams.as_slice() {
            [] => "none of its upstreams can be used; its ResolvedRefs condition says why",
            _ => "every upstream that can be used has weight 0",
        };
        return Err(Refusal::RouteBroken { route: id(), why });
    }
    let model = || admit::clip(requested_model);
    let taking = route.upstreams.iter().filter(|upstream| upstream.weight > 0);
    let mut offered = taking.filter_map(|upstream| Some((upstream, upstream.terms(requested_model)?))).peekable();
    if offered.peek().is_none() {
        return Err(Refusal::ModelNotOffered { route: id(), model: model() });
    }
    let mut affordable = offered.filter(|(_, terms)| terms.priced || !token.denies_unpriced).peekable();
    if affordable.peek().is_none() {
        return Err(Refusal::Unpriced { token: token.id.to_string(), model: model() });
    }
    let needed = needed_capabilities(needs);
    let mut random = Random(context.seed);
    let can_all = |terms: &Terms<'_>| needed.iter().all(|need| terms.can(*need));
    let capable: Vec<_> = affordable.filter(|(_, terms)| can_all(terms)).map(|(it, _)| Arc::clone(it)).collect();
    let selection = balance::Selection { strategy: route.balancing, now: clock::mono(), tenant };
    let upstreams = balance::order(&capable, selection, |below| random.below(below));
    let timeout = upstreams.iter().map(|upstream| upstream.timeouts.request).max();
    let Some(timeout) = timeout else {
        return Err(Refusal::NotCapable { route: id(), needs: capability_names(&needed) });
    };
    // A deadline too far for the clock is none: a century will do.
    let century = Duration::from_secs(3_155_760_000);
    let deadline = context.now.mono.checked_add(timeout.min(century)).unwrap_or(context.now.mono);
    Ok(Plan { route: Arc::clone(route), upstreams, deadline })
}

/// What a call needs and an upstream lacks on these terms, as an AIRoute writes it; empty if it lacks nothing.
pub fn lacking(terms: &Terms<'_>, request: &ParsedRequest) -> String {
    capability_names(
        &needed_capabilities(request.needs()).into_iter().filter(|need| !terms.can(*need)).collect::<Vec<_>>(),
    )
}

/// Whether an upstream, as it is configured now, can serve this model to this token for a call that needs this.
pub(super) fn serves(upstream: &Upstream, requested_model: &str, needs: Needs, token: &Token) -> bool {
    let terms = upstream.terms(requested_model).filter(|terms| terms.priced || !token.denies_unpriced);
    upstream.weight > 0 && terms.is_some_and(|terms| needed_capabilities(needs).iter().all(|need| terms.can(*need)))
}

fn needed_capabilities(needs: Needs) -> Vec<Capability> {
    let all = [
        (needs.streaming, Capability::Streaming),
        (needs.tools, Capability::Tools),
        (needs.parallel_tools, Capability::ParallelTools),
        (needs.json_mode, Capability::JSONMode),
        (needs.json_schema, Capability::JSONSchema),
        (needs.vision, Capability::Vision),
        (needs.audio, Capability::Audio),
        (needs.documents, Capability::Documents),
        (needs.reasoning, Capability::Reasoning),
        (needs.embeddings, Capability::Embeddings),
        (needs.prompt_caching, Capability::PromptCaching),
    ];
    all.into_iter().filter_map(|(need, capability)| need.then_some(capability)).collect()
}

/// As they are written in an AIRoute.
fn capability_names(needed: &[Capability]) -> String {
    let word = |capability: &Capability| serde_json::to_value(capability).ok()?.as_str().map(str::to_owned);
    needed.iter().filter_map(word).collect::<Vec<_>>().join(", ")
}

/// SplitMix64: spreads load, guards nothing.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).checked_rem(bound).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_use_airoute_names() {
        let needs = Needs { tools: true, json_schema: true, ..Needs::default() };
        assert_eq!(capability_names(&needed_capabilities(needs)), "Tools, JSONSchema");
    }

    #[test]
    fn random_numbers_stay_below_their_bound_and_spread() {
        let mut random = Random(7);
        let mut seen = [0; 3];
        for _ in 0..3_000 {
            seen[usize::try_from(random.below(3)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|&count| (850..1_150).contains(&count)), "{seen:?}");
        assert_eq!(random.below(0), 0);
    }
}
