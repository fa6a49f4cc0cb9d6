//! AIRoute → [`Route`]: the models it won, its usable upstreams, its patience.
//!
//! A route with some usable upstreams serves with those. One with none stays in the snapshot with its problem, so that
//! clients hear why instead of "no such model". One that is not accepted is left out.

use std::collections::{BTreeMap, BTreeSet};

use routeapi_channel::{
    ObjectId,
    snapshot::{AllowedNamespaces, Fallback, Heartbeat, Provider, Route, Timeouts, Upstream},
};
use routeapi_crds::{
    condition::{self, ConditionType, Decision, Reason},
    v1alpha1::{self, AIRoute, AIRouteSpec, UpstreamStatus, Visibility},
    value::Duration,
};

use crate::{
    Options,
    conflicts::{self, Claimant, Won},
    consent::{self, Consent, Permitted, Unusable},
    objects::{self, Objects},
    offers,
    providers::Providers,
    publishers::{PUBLISH_LABEL, Publishers},
    selectors::{self, Namespaces},
    unpriced,
    verdict::{Detail, Problem, Verdict, accepted},
};

/// What the schema of an upstream's status admits, in bytes.
const MAX_UPSTREAM_MESSAGE: usize = 2048;

/// As the SDKs of OpenAI and Anthropic do.
const CONNECT: Duration = Duration::from_secs(5);
/// Not shorter than the read timeout of the official SDKs (10 minutes in those of OpenAI and Anthropic), so that it is
/// the client that decides how long it waits.
const FIRST_CONTENT: Duration = Duration::from_secs(600);
const STREAM_IDLE: Duration = FIRST_CONTENT;
const REQUEST: Duration = Duration::from_secs(3600);

/// More often keeps no connection open that this does not.
const SHORTEST_HEARTBEAT: Duration = Duration::from_secs(1);

/// Every route and what became of it.
#[derive(Default)]
pub(crate) struct Routes {
    pub judged: Vec<Judged>,
    /// Routes per provider that they name and that agrees, whether or not it can be used and the route is accepted.
    pub attached: BTreeMap<ObjectId, i32>,
    /// Models per provider that accepted routes use and no price is known of.
    pub unpriced: BTreeMap<ObjectId, BTreeSet<String>>,
}

/// One route and what became of it.
pub(crate) struct Judged {
    pub id: ObjectId,
    /// None if it was not accepted.
    pub route: Option<Route>,
    pub verdict: Verdict,
    /// Whether none of its upstreams has a price for everything that it is asked for.
    pub unpriced: bool,
    /// What was assumed of its references.
    pub assumed: Vec<String>,
}

/// A route's upstreams, followed to their providers.
#[derive(Default)]
struct Upstreams {
    usable: Vec<Upstream>,
    statuses: Vec<UpstreamStatus>,
    problems: Vec<Problem>,
    /// Providers that agree, usable or not.
    attached: BTreeSet<ObjectId>,
    /// What is worth knowing about usable ones.
    notes: Vec<String>,
    /// What was assumed of providers and namespaces.
    assumed: Vec<String>,
    /// Whether a provider is assumed to be elsewhere, so that its upstream may be usable there.
    elsewhere: bool,
    /// Models without a price, by provider.
    unpriced: Vec<(ObjectId, BTreeSet<String>)>,
}

/// A route before it is known which ids it has.
struct Candidate<'a> {
    id: ObjectId,
    object: &'a AIRoute,
    created: i64,
    checked: Result<(), Problem>,
    upstreams: Upstreams,
    allowed: AllowedNamespaces,
}

pub(crate) fn compile(
    objects: &Objects,
    providers: &Providers<'_>,
    namespaces: &Namespaces<'_>,
    options: &Options,
) -> Routes {
    let consent = Consent { providers, namespaces, partial: options.partial };
    let candidates: Vec<Candidate<'_>> = objects::oldest_first(&objects.routes, |object| &object.metadata)
        .into_iter()
        .map(|(created, id, object)| {
            let tokens = object.spec.allowed_tokens.as_ref().map(|tokens| &tokens.namespaces);
            Candidate {
                created,
                checked: check(&object.spec),
                upstreams: Upstreams::resolve(&id, &object.spec, consent),
                allowed: selectors::resolve(id.namespace(), tokens),
                object,
                id,
            }
        })
        .collect();
    let valid = candidates.iter().filter(|it| it.checked.is_ok());
    let claimants: Vec<Claimant<'_>> = valid.map(|it| it.claimant(objects, namespaces, &options.publishers)).collect();
    let mut claims = conflicts::settle(&claimants).into_iter();
    drop(claimants);

    let mut routes = Routes::default();
    for candidate in candidates {
        let claim = match &candidate.checked {
            Ok(()) => claims.next().unwrap_or_else(|| Ok(Won::default())),
            Err(problem) => Err(problem.clone()),
        };
        let Candidate { id, object, created, mut upstreams, allowed, .. } = candidate;
        let unpriced = !upstreams.usable.is_empty() && upstreams.unpriced.len() == upstreams.usable.len();
        let verdict = verdict(object, &id, claim.as_ref(), &upstreams);
        let assumed = std::mem::take(&mut upstreams.assumed);
        for provider in &upstreams.attached {
            *routes.attached.entry(provider.clone()).or_default() += 1;
        }
        let route = claim.ok().map(|won| {
            routes.note_unpriced(&upstreams);
            build(&object.spec, created, won, upstreams, allowed)
        });
        routes.judged.push(Judged { id, route, verdict, unpriced, assumed });
    }
    routes
}

impl Candidate<'_> {
    fn claimant<'a>(&'a self, objects: &Objects, namespaces: &Namespaces<'_>, publishers: &Publishers) -> Claimant<'a> {
        let spec = &self.object.spec;
        let delegates = spec.delegates.as_ref().map(|it| selectors::resolve(self.id.namespace(), Some(&it.namespaces)));
        Claimant {
            id: &self.id,
            spec,
            created: self.created,
            usable: self.upstreams.elsewhere || self.upstreams.usable.iter().any(|upstream| upstream.weight > 0),
            audience: namespaces.audience(&self.allowed),
            selects: matches!(self.allowed, AllowedNamespaces::Selector(_)),
            delegates: delegates.map(|it| namespaces.audience(&it)),
            rank: publishers.rank(objects, self.id.namespace()),
        }
    }
}

impl Routes {
    fn note_unpriced(&mut self, upstreams: &Upstreams) {
        for (provider, models) in &upstreams.unpriced {
            self.unpriced.entry(provider.clone()).or_default().extend(models.iter().cloned());
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
    let interval = spec.heartbeat.and_then(|heartbeat| heartbeat.interval);
    if interval.is_some_and(|interval| interval < SHORTEST_HEARTBEAT) {
        return invalid("spec.heartbeat.interval: must be at least 1s".to_owned());
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

fn verdict(object: &AIRoute, id: &ObjectId, claim: Result<&Won, &Problem>, upstreams: &Upstreams) -> Verdict {
    let accepted = match claim {
        Ok(won) if won.not_granted => {
            let separator = if won.note.is_empty() { "" } else { "; " };
            let message = format!(
                "spec.allowedTokens: tokens of other namespaces are not let in, because namespace {namespace:?} may not \
                 publish models: a cluster administrator grants it with the label {PUBLISH_LABEL}=true on the Namespace \
                 or the Helm value publishNamespaces{separator}{note}",
                namespace = id.namespace(),
                note = won.note
            );
            Decision::yes_but(ConditionType::Accepted, Reason::NotPublished, message)
        }
        Ok(won) => Decision::yes_but(ConditionType::Accepted, Reason::Accepted, won.note.clone()),
        Err(problem) => accepted(Some(problem)),
    };
    Verdict {
        generation: object.metadata.generation,
        decisions: vec![accepted, upstreams.decision()],
        detail: Detail::Route { upstreams: upstreams.statuses.clone() },
    }
}

fn build(spec: &AIRouteSpec, created: i64, won: Won, upstreams: Upstreams, allowed: AllowedNamespaces) -> Route {
    let fallback = spec.fallback.clone().unwrap_or_default();
    Route {
        models: won.models,
        published: won.published,
        owned_by: spec.owned_by.clone(),
        listed: spec.visibility == Visibility::Listed,
        created,
        allowed_namespaces: allowed,
        translation: spec.translation,
        problem: upstreams.message(),
        upstreams: upstreams.usable,
        load_balancing: spec.load_balancer.unwrap_or_default().type_,
        fallback: Fallback {
            conditions: fallback.conditions.into_iter().collect(),
            max_attempts: fallback.max_attempts,
            max_retry_after: fallback.max_retry_after,
        },
        heartbeat: spec
            .heartbeat
            .map_or_else(Heartbeat::default, |it| Heartbeat { mode: it.mode, interval: it.interval }),
    }
}

// === impl Upstreams ===

impl Upstreams {
    fn resolve(id: &ObjectId, spec: &AIRouteSpec, consent: Consent<'_>) -> Self {
        let mut all = Self::default();
        for (index, upstream) in spec.upstreams.iter().enumerate() {
            let field = format!("spec.upstreams[{index}]");
            let mut status =
                UpstreamStatus { name: upstream.name.clone(), resolved: true, reason: None, message: None };
            all.attached.extend(consent::attached(consent, id.namespace(), &upstream.provider_ref));
            match resolve_one(consent, id, upstream, &field) {
                Ok(Permitted { id: provider, provider: told, assumed }) => {
                    all.remark(id, spec, upstream, &field, (&provider, told));
                    all.usable.push(build_upstream(upstream, provider, spec.timeouts.as_ref()));
                    all.assumed.extend(assumed);
                }
                Err(Unusable::Elsewhere(assumed)) => {
                    all.assumed.push(assumed);
                    all.elsewhere |= upstream.weight > 0;
                }
                Err(Unusable::Problem(problem)) => {
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

    /// Says what is to be known of a usable upstream's price and output limit.
    fn remark(
        &mut self,
        id: &ObjectId,
        spec: &AIRouteSpec,
        upstream: &v1alpha1::Upstream,
        field: &str,
        (provider, told): (&ObjectId, &Provider),
    ) {
        let foreign = provider.namespace() != id.namespace();
        if foreign && offers::undercuts(told, upstream) {
            self.notes.push(format!("{field}.price: where the price of AIProvider {provider} is higher, it counts"));
        }
        if let Some(most) = offers::smaller_output(told, upstream) {
            self.notes.push(format!(
                "{field}.maxOutputTokens: AIProvider {provider} says {most} of this model, which counts"
            ));
        }
        let patterns = std::iter::once(&spec.model).chain(&spec.aliases);
        let models = offers::unpriced(told, upstream, foreign, patterns);
        if !models.is_empty() {
            let place = if foreign { "" } else { "here or " };
            self.notes.push(format!(
                "{field}: no price is known of {} at AIProvider {provider}, so tokens with a spend limit do not use it; set \
                 one {place}in spec.models of the AIProvider",
                unpriced::listed(models.iter())
            ));
            self.unpriced.push((provider.clone(), models));
        }
    }

    /// Partly resolved counts as resolved, with a message.
    fn decision(&self) -> Decision {
        match (self.message(), self.problems.first()) {
            (Some(message), Some(first)) if self.usable.is_empty() && !self.elsewhere => {
                Decision::no(ConditionType::ResolvedRefs, first.reason, message)
            }
            (message, _) => {
                let all = message.into_iter().chain(self.notes.iter().cloned()).collect::<Vec<_>>();
                Decision::yes_but(ConditionType::ResolvedRefs, Reason::ResolvedRefs, all.join("; "))
            }
        }
    }

    fn message(&self) -> Option<String> {
        let messages: Vec<&str> = self.problems.iter().map(|problem| problem.message.as_str()).collect();
        (!messages.is_empty()).then(|| messages.join("; "))
    }
}

/// The provider of an upstream, if the route may use it for the model that it sends.
fn resolve_one<'a>(
    consent: Consent<'a>,
    id: &ObjectId,
    upstream: &v1alpha1::Upstream,
    field: &str,
) -> Result<Permitted<'a>, Unusable> {
    let reference = format!("{field}.providerRef");
    let permitted = consent::provider(consent, id.namespace(), &upstream.provider_ref, &reference)?;
    let Permitted { id: provider, provider: told, .. } = &permitted;
    if provider.namespace() != id.namespace() && !offers::permits(told, upstream) {
        let model = upstream.model.as_deref().unwrap_or_default();
        let message = format!(
            "{field}.model: spec.models of AIProvider {provider} does not hold {model:?}, so routes of other namespaces \
             cannot use it; its owner can add it, or \"*\" for every model"
        );
        return Err(Problem::new(Reason::ModelNotOffered, message).into());
    }
    Ok(permitted)
}

fn build_upstream(upstream: &v1alpha1::Upstream, provider: ObjectId, route: Option<&v1alpha1::Timeouts>) -> Upstream {
    // Taken apart, so that a field that is forgotten here does not compile.
    let v1alpha1::Upstream {
        name,
        provider_ref: _,
        model,
        priority,
        weight,
        capabilities,
        price,
        max_output_tokens,
        unsupported,
        timeouts,
    } = upstream;
    let own = timeouts.as_ref();
    let merged = |field: fn(&v1alpha1::Timeouts) -> Option<Duration>, default: Duration| {
        own.and_then(field).or_else(|| route.and_then(field)).unwrap_or(default)
    };
    Upstream {
        name: name.clone(),
        provider,
        model: model.clone(),
        priority: *priority,
        weight: *weight,
        capabilities: capabilities.iter().copied().collect(),
        price: price.as_ref().map(offers::price),
        max_output_tokens: *max_output_tokens,
        unsupported: unsupported.iter().copied().collect(),
        timeouts: Timeouts {
            connect: merged(|it| it.connect, CONNECT),
            first_content: merged(|it| it.first_content, FIRST_CONTENT),
            stream_idle: merged(|it| it.stream_idle, STREAM_IDLE),
            request: merged(|it| it.request, REQUEST),
        },
    }
}
