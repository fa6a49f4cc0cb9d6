//! Routes: their upstreams with price, patience, health and a client each.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use routeapi_channel::{
    ObjectId,
    snapshot::{self, Namespace, Route as Told},
};
use routeapi_crds::value::{HeartbeatMode, Translation};
use routeapi_protocol::{dialect::Family, report::Mode, upstream_path};

use super::{price, providers::Compiled};
use crate::{
    config::runtime::{Fallback, Heartbeat, Route, Timeouts, Upstream},
    live::Live,
    upstream::Client,
};

pub fn compile(
    id: &ObjectId,
    told: &Told,
    providers: &HashMap<ObjectId, Compiled>,
    namespaces: &Arc<BTreeMap<String, Namespace>>,
    live: &Live,
) -> Result<Route, String> {
    let mut upstreams = Vec::with_capacity(told.upstreams.len());
    for upstream in &told.upstreams {
        let provider = providers
            .get(&upstream.provider)
            .ok_or_else(|| format!("upstream {:?}: provider {} is not usable", upstream.name, upstream.provider))?;
        upstreams.push(Arc::new(one(id, upstream, provider, live)?));
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
        budget: live.budget(id),
    })
}

fn one(route: &ObjectId, told: &snapshot::Upstream, provider: &Compiled, live: &Live) -> Result<Upstream, String> {
    // Whoever writes a route may be somebody else than the owner of the provider's key.
    if let Some(model) = told.model.as_deref().filter(|_| provider.provider.family == Family::Gemini) {
        upstream_path::check(model).map_err(|error| format!("upstream {:?}: {error}", told.name))?;
    }
    let timeouts = Timeouts {
        connect: told.timeouts.connect.into(),
        first_content: told.timeouts.first_content.into(),
        stream_idle: told.timeouts.stream_idle.into(),
        request: told.timeouts.request.into(),
    };
    let client = match &provider.transport {
        None => Client::Echo,
        Some(transport) => Client::Http {
            base: transport.base.clone(),
            credential: transport.credential.clone(),
            additions: Arc::clone(&transport.additions),
            proxy: live.clients().proxy_for(&transport.trust, &transport.base.uri()),
            pool: live
                .clients()
                .pool(&transport.trust, timeouts.connect)
                .map_err(|error| format!("upstream {:?}: provider {}: {error}", told.name, told.provider))?,
        },
    };
    let key = (told.provider.clone(), told.model.clone());
    let (health, load, learned) = (live.health(&key), live.load(&key), live.learned(&key));
    health.configure(provider.eviction);
    learned.configure(provider.spec);
    Ok(Upstream {
        name: told.name.clone(),
        provider: Arc::clone(&provider.provider),
        model: told.model.clone(),
        priority: told.priority,
        weight: told.weight,
        foreign: told.provider.namespace() != route.namespace(),
        capabilities: told.capabilities.iter().copied().collect(),
        price: told.price.as_ref().map(price),
        timeouts,
        client,
        health,
        load,
        learned,
    })
}
