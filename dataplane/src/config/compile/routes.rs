//! Routes: their upstreams with price, timeouts, health and a client each.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use routeapi_channel::{
    ObjectId,
    snapshot::{self, Namespace, Route as Told},
};
use routeapi_crds::value::{HeartbeatMode, Translation};
use routeapi_protocol::{dialect::Family, host, report::Mode};

use super::{
    features, price,
    providers::{Compiled, Transport},
};
use crate::{
    config::runtime::{Fallback, Heartbeat, Route, Timeouts, Upstream},
    state::SharedState,
    upstream::{Client, Host},
};

pub fn compile(
    id: &ObjectId,
    told: &Told,
    providers: &HashMap<ObjectId, Compiled>,
    namespaces: &Arc<BTreeMap<String, Namespace>>,
    state: &SharedState,
) -> Result<Route, String> {
    let mut upstreams = Vec::with_capacity(told.upstreams.len());
    for upstream in &told.upstreams {
        let provider = providers
            .get(&upstream.provider)
            .ok_or_else(|| format!("upstream {:?}: provider {} is not usable", upstream.name, upstream.provider))?;
        upstreams.push(Arc::new(one(id, upstream, provider, state)?));
    }
    upstreams.sort_by_key(|upstream| upstream.priority);
    Ok(Route {
        id: id.clone(),
        models: told.models.clone(),
        owned_by: told.owned_by.clone(),
        listed: told.listed,
        created: told.created,
        allowed: told.allowed_namespaces.clone(),
        namespaces: Arc::clone(namespaces),
        mode: match told.translation {
            Translation::Default => Mode::Default,
            Translation::Strict => Mode::Strict,
            Translation::Lenient => Mode::Lenient,
        },
        upstreams,
        balancing: told.load_balancing,
        fallback: Fallback {
            conditions: told.fallback.conditions.iter().copied().collect(),
            max_attempts: told.fallback.max_attempts.max(1),
            max_retry_after: told.fallback.max_retry_after.into(),
        },
        heartbeat: Heartbeat {
            on: told.heartbeat.mode != HeartbeatMode::Never,
            before_content: told.heartbeat.mode == HeartbeatMode::Always,
            every: told.heartbeat.interval.map(Into::into),
        },
        problem: told.problem.clone(),
        budget: state.budget(id),
    })
}

/// The connections to a provider.
fn host(transport: &Transport, connect: Duration, state: &SharedState) -> Result<Arc<Host>, String> {
    let pool = state.clients().pool(&transport.trust, connect).map_err(|error| error.to_string())?;
    pool.host(transport.base.scheme(), transport.base.authority()).map_err(|error| error.to_string())
}

fn one(
    route: &ObjectId,
    told: &snapshot::Upstream,
    provider: &Compiled,
    state: &SharedState,
) -> Result<Upstream, String> {
    // Taken apart, so that a field that is forgotten here does not compile.
    let snapshot::Upstream {
        name,
        provider: provider_id,
        model,
        priority,
        weight,
        capabilities,
        price: said,
        max_output_tokens,
        unsupported,
        timeouts,
    } = told;
    // Whoever writes a route may be somebody else than the owner of the provider's key.
    if let Some(model) = model.as_deref().filter(|_| provider.provider.family == Family::Gemini) {
        host::check(model).map_err(|error| format!("upstream {name:?}: {error}"))?;
    }
    let timeouts = Timeouts {
        connect: timeouts.connect.into(),
        first_content: timeouts.first_content.into(),
        stream_idle: timeouts.stream_idle.into(),
        request: timeouts.request.into(),
    };
    let client = match &provider.transport {
        None => Client::Echo,
        Some(transport) => Client::Http {
            base: transport.base.clone(),
            credential: transport.credential.clone(),
            additions: Arc::clone(&transport.additions),
            proxy: state.clients().proxy_for(&transport.trust, &transport.base.uri()),
            host: host(transport, timeouts.connect, state)
                .map_err(|error| format!("upstream {name:?}: provider {provider_id}: {error}"))?,
        },
    };
    let key = (provider_id.clone(), model.clone());
    let (health, load, learned) = (state.health(&key), state.load(&key), state.learned(&key));
    health.configure(provider.eviction);
    learned.configure(provider.spec);
    Ok(Upstream {
        name: name.clone(),
        provider: Arc::clone(&provider.provider),
        model: model.clone(),
        priority: *priority,
        weight: *weight,
        foreign: provider_id.namespace() != route.namespace(),
        capabilities: capabilities.iter().copied().collect(),
        price: said.as_ref().map(price),
        max_output: max_output_tokens.map(u64::from),
        unsupported: features(unsupported),
        timeouts,
        client,
        health,
        load,
        learned,
    })
}
