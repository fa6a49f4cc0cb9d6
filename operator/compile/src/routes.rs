//! AIRoute → [`Route`]: the models it won, its usable upstreams, its patience.
//!
//! A route with some usable upstreams serves with those. One with none stays in the snapshot with its problem, so that
//! clients hear why instead of "no such model". One that is not accepted is left out.

use std::collections::{BTreeMap, BTreeSet};

use routeapi_channel::{
    ObjectId,
    snapshot::{Fallback, Price, Route, Timeouts, Upstream},
};
use routeapi_crds::{
    condition::{self, ConditionType, Decision, Reason},
    v1alpha1::{self, AIRoute, AIRouteSpec, UpstreamStatus, Visibility},
    value::Duration,
};

use crate::{
    conflicts::{Holders, Won},
    consent,
    objects::{self, Objects},
    providers::Providers,
    selectors::{self, Namespaces},
    verdict::{Detail, Problem, Verdict, accepted},
};

/// What the schema of an upstream's status admits, in bytes.
const MAX_UPSTREAM_MESSAGE: usize = 2048;

const CONNECT: Duration = Duration::from_secs(5);
const FIRST_CONTENT: Duration = Duration::from_secs(300);
const STREAM_IDLE: Duration = Duration::from_secs(300);
const REQUEST: Duration = Duration::from_secs(3600);

/// Every route and what became of it.
#[derive(Default)]
pub(crate) struct Routes {
    /// None if it was not accepted.
    pub judged: Vec<(ObjectId, Option<Route>, Verdict)>,
    /// Accepted routes per provider that they use.
    pub attached: BTreeMap<ObjectId, i32>,
}

/// A route's upstreams, followed to their providers.
struct Upstreams {
    usable: Vec<Upstream>,
    statuses: Vec<UpstreamStatus>,
    problems: Vec<Problem>,
}

pub(crate) fn compile(objects: &Objects, providers: &Providers, namespaces: &Namespaces<'_>) -> Routes {
    let mut routes = Routes::default();
    let mut holders = Holders::default();
    for (created, id, object) in &objects::oldest_first(&objects.routes, |object| &object.metadata) {
        let claim = check(&object.spec).and_then(|()| holders.claim(id, &object.spec));
        let upstreams = Upstreams::resolve(id, &object.spec, providers, namespaces);
        let verdict = verdict(object, claim.as_ref(), &upstreams);
        let route = claim.ok().map(|won| {
            routes.attach(&upstreams);
            build(&object.spec, id, *created, won, upstreams)
        });
        routes.judged.push((id.clone(), route, verdict));
    }
    routes
}

impl Routes {
    fn attach(&mut self, upstreams: &Upstreams) {
        let providers: BTreeSet<&ObjectId> = upstreams.usable.iter().map(|upstream| &upstream.provider).collect();
        for provider in providers {
            *self.attached.entry(provider.clone()).or_default() += 1;
        }
    }
}

/// What the schema cannot say, or says only where an API server enforces it.
fn check(spec: &AIRouteSpec) -> Result<(), Problem> {
    let invalid = |message: String| Err(Problem::new(Reason::InvalidConfig, message));
    let mut names = BTreeSet::new();
    for (index, upstream) in spec.upstreams.iter().enumerate() {
        if !names.insert(upstream.name.as_str()) {
            return invalid(format!("spec.upstreams[{index}].name: {:?} is used twice", upstream.name));
        }
        if let Some(field) = zero(upstream.timeouts.as_ref()) {
            return invalid(format!("spec.upstreams[{index}].timeouts.{field}: must be longer than 0s"));
        }
    }
    if let Some(field) = zero(spec.timeouts.as_ref()) {
        return invalid(format!("spec.timeouts.{field}: must be longer than 0s"));
    }
    Ok(())
}

/// The first timeout that would fail every request.
fn zero(timeouts: Option<&v1alpha1::Timeouts>) -> Option<&'static str> {
    let timeouts = timeouts?;
    let fields = [
        ("connect", timeouts.connect),
        ("firstContent", timeouts.first_content),
        ("streamIdle", timeouts.stream_idle),
        ("request", timeouts.request),
    ];
    fields.into_iter().find(|(_, value)| value.is_some_and(|it| it.as_millis() == 0)).map(|(field, _)| field)
}

fn verdict(object: &AIRoute, claim: Result<&Won, &Problem>, upstreams: &Upstreams) -> Verdict {
    let accepted = match claim {
        Ok(won) => Decision::yes_but(ConditionType::Accepted, Reason::Accepted, won.note.clone()),
        Err(problem) => accepted(Some(problem)),
    };
    Verdict {
        generation: object.metadata.generation,
        decisions: vec![accepted, upstreams.decision()],
        detail: Detail::Route { upstreams: upstreams.statuses.clone() },
    }
}

fn build(spec: &AIRouteSpec, id: &ObjectId, created: i64, won: Won, upstreams: Upstreams) -> Route {
    let fallback = spec.fallback.clone().unwrap_or_default();
    let tokens = spec.allowed_tokens.as_ref().map(|tokens| &tokens.namespaces);
    Route {
        models: won.models,
        owned_by: spec.owned_by.clone(),
        listed: spec.visibility == Visibility::Listed,
        created,
        allowed_namespaces: selectors::resolve(id.namespace(), tokens),
        translation: spec.translation,
        problem: upstreams.message(),
        upstreams: upstreams.usable,
        fallback: Fallback {
            conditions: fallback.conditions.into_iter().collect(),
            max_attempts: fallback.max_attempts,
            max_retry_after: fallback.max_retry_after,
        },
    }
}

// === impl Upstreams ===

impl Upstreams {
    fn resolve(id: &ObjectId, spec: &AIRouteSpec, providers: &Providers, namespaces: &Namespaces<'_>) -> Self {
        let mut all = Self { usable: Vec::new(), statuses: Vec::new(), problems: Vec::new() };
        for (index, upstream) in spec.upstreams.iter().enumerate() {
            let field = format!("spec.upstreams[{index}].providerRef");
            let mut status =
                UpstreamStatus { name: upstream.name.clone(), resolved: true, reason: None, message: None };
            match consent::provider(providers, namespaces, id.namespace(), &upstream.provider_ref, &field) {
                Ok(provider) => all.usable.push(build_upstream(upstream, provider, spec.timeouts.as_ref())),
                Err(problem) => {
                    status.resolved = false;
                    status.reason = Some(problem.reason.to_string());
                    status.message = Some(condition::shorten(&problem.message, MAX_UPSTREAM_MESSAGE));
                    all.problems.push(problem);
                }
            }
            all.statuses.push(status);
        }
        all
    }

    /// Partly resolved counts as resolved, with a message.
    fn decision(&self) -> Decision {
        match (self.message(), self.problems.first()) {
            (Some(message), Some(first)) if self.usable.is_empty() => {
                Decision::no(ConditionType::ResolvedRefs, first.reason, message)
            }
            (message, _) => {
                let message = message.unwrap_or_default();
                Decision::yes_but(ConditionType::ResolvedRefs, Reason::ResolvedRefs, message)
            }
        }
    }

    fn message(&self) -> Option<String> {
        let messages: Vec<&str> = self.problems.iter().map(|problem| problem.message.as_str()).collect();
        (!messages.is_empty()).then(|| messages.join("; "))
    }
}

fn build_upstream(upstream: &v1alpha1::Upstream, provider: ObjectId, route: Option<&v1alpha1::Timeouts>) -> Upstream {
    let own = upstream.timeouts.as_ref();
    let merged = |field: fn(&v1alpha1::Timeouts) -> Option<Duration>, default: Duration| {
        own.and_then(field).or_else(|| route.and_then(field)).unwrap_or(default)
    };
    Upstream {
        name: upstream.name.clone(),
        provider,
        model: upstream.model.clone(),
        priority: upstream.priority,
        weight: upstream.weight,
        capabilities: upstream.capabilities.iter().copied().collect(),
        price: upstream.price.as_ref().map(|price| Price {
            input_per_million: price.input_per_million,
            output_per_million: price.output_per_million,
            cached_input_per_million: price.cached_input_per_million,
            cache_write_per_million: price.cache_write_per_million,
        }),
        timeouts: Timeouts {
            connect: merged(|it| it.connect, CONNECT),
            first_content: merged(|it| it.first_content, FIRST_CONTENT),
            stream_idle: merged(|it| it.stream_idle, STREAM_IDLE),
            request: merged(|it| it.request, REQUEST),
        },
    }
}
