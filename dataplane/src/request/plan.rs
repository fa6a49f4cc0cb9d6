//! Which upstreams may serve the call, in which order, and until when. No I/O, and no look at what a protocol can
//! express: that is asked of each upstream when its turn comes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use routeapi_crds::value::FallbackCondition;
use routeapi_protocol::request::Needs;

use super::{
    affinity::{NamedSession, SessionHome},
    capabilities::{capability_names, needed_capabilities},
    context::Context,
    printable::clip_model,
    refusal::Refusal,
    stored::StoredObject,
};
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
    /// Where its session stays, if it belongs to one.
    pub home: Option<Arc<SessionHome>>,
    /// The stored response or conversation that it refers to, if it does; the upstreams are then those that know it.
    pub stored: Option<Box<StoredObject>>,
}

impl Plan {
    /// Whether this failure leads on to another upstream.
    pub(super) fn triggers_fallback(&self, condition: FallbackCondition) -> bool {
        self.route.fallback.conditions.contains(&condition)
    }
}

/// Orders the upstreams that may serve this model to this token and have what the call needs, for a tenant and, where the
/// route keeps sessions together, a session. A call that refers to something stored goes to upstreams that know it.
pub(super) fn plan(
    route: &Arc<Route>,
    ((requested_model, needs), stored): ((&str, Needs), Option<Box<StoredObject>>),
    token: &Token,
    (tenant, session): (&str, Option<NamedSession>),
    context: &Context,
) -> Result<Plan, Refusal> {
    let id = || route.id.to_string();
    let issuers = stored.as_ref().map(|stored| stored.issuers(route)).transpose()?;
    // What goes on where it began, does so at an upstream that gets nothing new as well.
    let is_bound = issuers.is_some();
    if !is_bound && route.upstreams.iter().all(|upstream| upstream.weight == 0) {
        let why = match route.upstreams.as_slice() {
            [] => "none of its upstreams can be used; its ResolvedRefs condition says why",
            _ => "every upstream that can be used has weight 0",
        };
        return Err(Refusal::RouteBroken { route: id(), why });
    }
    let model = || clip_model(requested_model);
    let upstreams = issuers.as_ref().unwrap_or(&route.upstreams);
    let taking = upstreams.iter().filter(|upstream| is_bound || upstream.weight > 0);
    let mut offered = taking.filter_map(|upstream| Some((upstream, upstream.terms(requested_model)?))).peekable();
    if offered.peek().is_none() {
        return Err(Refusal::ModelNotOffered { route: id(), model: model() });
    }
    let mut affordable = offered.filter(|(_, terms)| terms.priced || !token.denies_unpriced).peekable();
    if affordable.peek().is_none() {
        return Err(Refusal::Unpriced { token: token.id.to_string(), model: model() });
    }
    let needed = needed_capabilities(needs);
    let can_all = |terms: &Terms<'_>| needed.iter().all(|need| terms.can(*need));
    let capable: Vec<_> = affordable.filter(|(_, terms)| can_all(terms)).map(|(it, _)| Arc::clone(it)).collect();
    let selection = balance::Selection {
        strategy: route.balancing,
        now: clock::mono(),
        tenant,
        session: session.as_ref().map(|named| named.session),
    };
    let upstreams = match is_bound {
        // Weights are about what could as well go elsewhere.
        true => capable.clone(),
        false => balance::order(&capable, selection, |below| fastrand::u64(..below.max(1))),
    };
    let timeout = upstreams.iter().map(|upstream| upstream.timeouts.request).max();
    let Some(timeout) = timeout else {
        return Err(Refusal::NotCapable { route: id(), needs: capability_names(&needed) });
    };
    // A deadline too far for the clock is none: a century will do.
    let century = Duration::from_secs(3_155_760_000);
    let deadline = context.now.mono.checked_add(timeout.min(century)).unwrap_or(context.now.mono);
    let home = session.and_then(|NamedSession { session, key }| {
        balance::home(&capable, session)
            .map(|upstream| Arc::new(SessionHome { key, session, upstream: Arc::clone(upstream) }))
    });
    Ok(Plan { route: Arc::clone(route), upstreams, deadline, home, stored })
}
