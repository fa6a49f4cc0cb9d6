//! Routes: their upstreams with price, timeouts, health and a client each.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use http::HeaderName;
use routeapi_channel::{
    ObjectId,
    snapshot::{self, Namespace, Route as Told},
};
use routeapi_crds::value::{HeartbeatMode, Translation, UpstreamApi};
use routeapi_protocol::{
    dialect::{Family, Operation},
    host,
    report::Mode,
};

use super::{
    providers::Compiled,
    values::{features, price},
};
use crate::{
    config::runtime::{Affinity, Fallback, Heartbeat, Route, Timeouts, Upstream},
    state::Draft,
    upstream::Client,
};

pub fn compile(
    id: &ObjectId,
    told: &Told,
    providers: &HashMap<ObjectId, Arc<Compiled>>,
    namespaces: &Arc<BTreeMap<String, Namespace>>,
    draft: &mut Draft<'_>,
) -> Result<Route, String> {
    // Taken apart, so that a field that is forgotten here does not compile.
    let Told {
        models,
        published: _,
        owned_by,
        listed,
        created,
        allowed_namespaces,
        translation,
        upstreams: told,
        load_balancing,
        affinity,
        fallback,
        heartbeat,
        problem,
    } = told;
    let mut upstreams = Vec::with_capacity(told.len());
    for upstream in told {
        let provider = providers
            .get(&upstream.provider)
            .ok_or_else(|| format!("upstream {:?}: provider {} is not usable", upstream.name, upstream.provider))?;
        upstreams.push(Arc::new(one(id, upstream, provider, draft)?));
    }
    upstreams.sort_by_key(|upstream| upstream.priority);
    Ok(Route {
        id: id.clone(),
        models: models.clone(),
        owned_by: owned_by.clone(),
        listed: *listed,
        created: *created,
        allowed: allowed_namespaces.clone(),
        namespaces: Arc::clone(namespaces),
        mode: match translation {
            Translation::Default => Mode::Default,
            Translation::Strict => Mode::Strict,
            Translation::Lenient => Mode::Lenient,
        },
        upstreams,
        balancing: *load_balancing,
        affinity: affinity.as_ref().map(self::affinity).transpose()?,
        fallback: self::fallback(fallback),
        heartbeat: self::heartbeat(*heartbeat),
        problem: problem.clone(),
        budget: draft.budget(id),
    })
}

fn affinity(told: &snapshot::Affinity) -> Result<Affinity, String> {
    Ok(match told {
        snapshot::Affinity::Session => Affinity::Session,
        snapshot::Affinity::Header(name) => {
            Affinity::Header(HeaderName::try_from(name).map_err(|error| format!("affinity: header {name:?}: {error}"))?)
        }
    })
}

fn fallback(told: &snapshot::Fallback) -> Fallback {
    let snapshot::Fallback { conditions, max_attempts, max_retry_after } = told;
    Fallback {
        conditions: conditions.iter().copied().collect(),
        max_attempts: (*max_attempts).max(1),
        max_retry_after: (*max_retry_after).into(),
    }
}

fn heartbeat(told: snapshot::Heartbeat) -> Heartbeat {
    let snapshot::Heartbeat { mode, interval } = told;
    Heartbeat {
        on: mode != HeartbeatMode::Never,
        before_content: mode == HeartbeatMode::Always,
        every: interval.map(Into::into),
    }
}

fn timeouts(told: snapshot::Timeouts) -> Timeouts {
    let snapshot::Timeouts { connect, first_content, stream_idle, request } = told;
    Timeouts {
        connect: connect.into(),
        first_content: first_content.into(),
        stream_idle: stream_idle.into(),
        request: request.into(),
    }
}

/// The operations that an upstream is called on: all that its provider has, but for the one of OpenAI's two for generating text
/// that the route does not want.
fn operations(all: &[Operation], api: UpstreamApi) -> Vec<Operation> {
    let unwanted = match api {
        UpstreamApi::Auto => None,
        UpstreamApi::ChatCompletions => Some(Operation::Responses),
        UpstreamApi::Responses => Some(Operation::ChatCompletions),
    };
    all.iter().copied().filter(|operation| Some(*operation) != unwanted).collect()
}

fn one(
    route: &ObjectId,
    told: &snapshot::Upstream,
    provider: &Compiled,
    draft: &mut Draft<'_>,
) -> Result<Upstream, String> {
    // Taken apart, so that a field that is forgotten here does not compile.
    let snapshot::Upstream {
        name,
        provider: provider_id,
        model,
        api,
        priority,
        weight,
        capabilities,
        price: said,
        max_output_tokens,
        unsupported,
        timeouts,
    } = told;
    // Whoever writes a route may be somebody else than the owner of the provider's key.
    if let Some(model) =
        model.as_deref().filter(|_| matches!(provider.provider.family, Family::Gemini | Family::Bedrock))
    {
        host::check(model).map_err(|error| format!("upstream {name:?}: {error}"))?;
    }
    let timeouts = self::timeouts(*timeouts);
    let client = match &provider.transport {
        None => Client::Echo,
        Some(transport) => Client::Http {
            base: transport.base.clone(),
            credentials: Arc::clone(&transport.credentials),
            additions: Arc::clone(&transport.additions),
            proxy: draft.proxy_for(&transport.trust, &transport.base),
            host: draft
                .host(&transport.trust, timeouts.connect, &transport.base)
                .map_err(|error| format!("upstream {name:?}: provider {provider_id}: {error}"))?,
        },
    };
    let key = (provider_id.clone(), model.clone());
    let (health, load) = (draft.health(&key, provider.eviction), draft.load(&key));
    let learned = draft.learned(&key, provider.spec);
    Ok(Upstream {
        name: name.clone(),
        operations: operations(&provider.provider.operations, *api),
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
