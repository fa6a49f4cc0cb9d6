//! AIRoute → [`Route`]: the model IDs it has claimed, its usable upstreams, its timeouts.
//!
//! A route with some usable upstreams serves with those. One with none stays in the snapshot with the reason, so that
//! clients get that instead of "no such model". One that is not accepted is left out.

use std::{collections::BTreeSet, sync::Arc};

use routeapi_channel::{
    ObjectId,
    snapshot::{AllowedNamespaces, Credential, Fallback, Heartbeat, Route, Timeouts, Upstream},
};
use routeapi_crds::{
    condition::{self, ConditionType, Decision, Reason},
    v1alpha1::{self, AIRoute, AIRouteSpec, UpstreamStatus, Visibility},
    value::{Duration, ProviderType},
};

use crate::{
    affinity,
    conflicts::{Claimant, Claimed, Place},
    objects, provider_models,
    publishers::{PUBLISH_LABEL, Publishers},
    quoted_list::quoted_list,
    reference_grant::{self, PermittedProvider, ReferenceGrants, Unresolved},
    selectors::{self, Namespaces},
    verdict::{Detail, SpecError, Verdict, accepted},
};

/// Maximum length of `status.upstreams[].message` in the schema, in bytes.
const MAX_UPSTREAM_MESSAGE: usize = 2048;

/// As in the SDKs of OpenAI and Anthropic.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Not shorter than the read timeout of the official SDKs (10 minutes in those of OpenAI and Anthropic), so that the client
/// decides how long it waits.
const FIRST_CONTENT_TIMEOUT: Duration = Duration::from_secs(600);
/// A client's read timeout applies between two events just as it does before the first.
const STREAM_IDLE_TIMEOUT: Duration = FIRST_CONTENT_TIMEOUT;
/// Well above the read timeouts of the SDKs: a bound for requests that are stuck.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3600);

/// Load balancers do not close connections that were idle for less than this.
const MIN_HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// One route, compiled.
pub(crate) struct CompiledRoute {
    pub id: ObjectId,
    /// None if it was not accepted.
    pub route: Option<Route>,
    pub verdict: Verdict,
    /// Whether none of its upstreams has a price for everything that it is asked for.
    pub unpriced: bool,
    /// What was assumed about its references, a sentence each.
    pub assumed: Vec<String>,
}

/// A route's upstreams, with their references resolved.
#[derive(Default)]
pub(crate) struct Upstreams {
    usable: Vec<Upstream>,
    statuses: Vec<UpstreamStatus>,
    errors: Vec<SpecError>,
    /// Providers that admit the route, ready or not.
    pub attached: BTreeSet<ObjectId>,
    /// Parts of the `ResolvedRefs` message about usable upstreams.
    notes: Vec<String>,
    /// What was assumed about providers and namespaces, a sentence each.
    assumed: Vec<String>,
    /// Whether an upstream with a weight refers to a provider that is assumed to exist.
    assumed_usable: bool,
    /// Models without a price, by provider.
    pub unpriced: Vec<(ObjectId, BTreeSet<String>)>,
    /// The provider that takes the caller's own credential.
    taker: Option<ObjectId>,
}

/// A route whose claims are not decided yet.
pub(crate) struct Candidate {
    id: ObjectId,
    pub object: Arc<AIRoute>,
    created: i64,
    /// Whether it may claim anything.
    pub valid: Result<(), SpecError>,
    pub upstreams: Upstreams,
    allowed: AllowedNamespaces,
}

// === impl Candidate ===

impl Candidate {
    pub fn new(id: ObjectId, object: &Arc<AIRoute>, grants: ReferenceGrants<'_>) -> Self {
        let tokens = object.spec.allowed_tokens.as_ref().map(|tokens| &tokens.namespaces);
        Self {
            created: objects::created(&object.metadata),
            valid: check(&object.spec),
            upstreams: Upstreams::resolve(&id, &object.spec, grants),
            allowed: selectors::allowed(id.namespace(), tokens),
            object: Arc::clone(object),
            id,
        }
    }

    /// The providers that it refers to, whether or not there are such.
    pub fn references(&self) -> impl Iterator<Item = ObjectId> {
        self.object.spec.upstreams.iter().map(|upstream| {
            let v1alpha1::ProviderRef { namespace, name } = &upstream.provider_ref;
            ObjectId::new(namespace.as_deref().unwrap_or(self.id.namespace()), name)
        })
    }

    /// Its claims, if it may claim anything.
    pub fn claimant(&self, namespaces: &Namespaces<'_>, publishers: &Publishers) -> Option<Claimant> {
        self.valid.as_ref().ok()?;
        let delegates = self.object.spec.delegates.as_ref();
        let delegates = delegates.map(|delegates| selectors::allowed(self.id.namespace(), Some(&delegates.namespaces)));
        let usable = self.upstreams.assumed_usable || self.upstreams.usable.iter().any(|upstream| upstream.weight > 0);
        let rank = publishers.rank(namespaces, self.id.namespace());
        Some(Claimant {
            place: Place::new(usable, rank, self.created, self.id.clone()),
            object: Arc::clone(&self.object),
            audience: namespaces.resolve(&self.allowed),
            selects: matches!(self.allowed, AllowedNamespaces::Selector(_)),
            delegates: delegates.map(|allowed| namespaces.resolve(&allowed)),
            granted: rank.is_some(),
        })
    }
}

// === impl CompiledRoute ===

impl CompiledRoute {
    pub fn of(candidate: &Candidate, claim: Result<&Claimed, &SpecError>) -> Self {
        let Candidate { id, object, created, upstreams, allowed, .. } = candidate;
        Self {
            id: id.clone(),
            verdict: verdict(object, id, claim, upstreams),
            unpriced: !upstreams.usable.is_empty() && upstreams.unpriced.len() == upstreams.usable.len(),
            assumed: upstreams.assumed.clone(),
            route: claim.ok().map(|claimed| build(&object.spec, *created, claimed, upstreams, allowed)),
        }
    }

    /// Whether tokens see the same of both.
    pub fn serves_as(&self, other: &Self) -> bool {
        let seen = |compiled: &'_ Self| {
            let route = compiled.route.as_ref();
            route.map(|it| (it.serves(), it.models.clone(), it.published.clone(), it.allowed_namespaces.clone()))
        };
        self.unpriced == other.unpriced && seen(self) == seen(other)
    }
}

/// Checks what the schema cannot express, and what only an API server enforces.
fn check(spec: &AIRouteSpec) -> Result<(), SpecError> {
    let invalid = |message: String| Err(SpecError::new(Reason::InvalidConfig, message));
    let mut names = BTreeSet::new();
    for (index, upstream) in spec.upstreams.iter().enumerate() {
        if !names.insert(upstream.name.as_str()) {
            return invalid(format!("spec.upstreams[{index}].name: {:?} is used twice", upstream.name));
        }
        if let Some(field) = zero(upstream.timeouts.as_ref()) {
            return invalid(format!("spec.upstreams[{index}].timeouts.{field}: must be greater than 0s"));
        }
    }
    if let Some(field) = zero(spec.timeouts.as_ref()) {
        return invalid(format!("spec.timeouts.{field}: must be greater than 0s"));
    }
    let interval = spec.heartbeat.and_then(|heartbeat| heartbeat.interval);
    if interval.is_some_and(|interval| interval < MIN_HEARTBEAT_INTERVAL) {
        return invalid("spec.heartbeat.interval: must be at least 1s".to_owned());
    }
    affinity::build(spec).map(drop)
}

/// The first timeout of zero, which would fail every request.
fn zero(timeouts: Option<&v1alpha1::Timeouts>) -> Option<&'static str> {
    let timeouts = timeouts?;
    let fields = [
        ("connect", timeouts.connect),
        ("firstContent", timeouts.first_content),
        ("streamIdle", timeouts.stream_idle),
        ("request", timeouts.request),
    ];
    fields.into_iter().find(|(_, value)| value.is_some_and(|timeout| timeout.as_millis() == 0)).map(|(field, _)| field)
}

fn verdict(object: &AIRoute, id: &ObjectId, claim: Result<&Claimed, &SpecError>, upstreams: &Upstreams) -> Verdict {
    let accepted = match claim {
        Ok(claimed) if claimed.not_granted => {
            let separator = if claimed.note.is_empty() { "" } else { "; " };
            let message = format!(
                "spec.allowedTokens: only tokens of this namespace are admitted, because namespace {namespace:?} may not \
                 publish models; a cluster administrator can allow it with the label {PUBLISH_LABEL}=true on the \
                 Namespace or the Helm value publishNamespaces{separator}{note}",
                namespace = id.namespace(),
                note = claimed.note
            );
            Decision::yes_but(ConditionType::Accepted, Reason::NotPublished, message)
        }
        Ok(claimed) => Decision::yes_but(ConditionType::Accepted, Reason::Accepted, claimed.note.clone()),
        Err(error) => accepted(Some(error)),
    };
    Verdict {
        generation: object.metadata.generation,
        decisions: vec![accepted, upstreams.decision()],
        detail: Detail::Route { upstreams: upstreams.statuses.clone() },
    }
}

fn build(
    spec: &AIRouteSpec,
    created: i64,
    claimed: &Claimed,
    upstreams: &Upstreams,
    allowed: &AllowedNamespaces,
) -> Route {
    // Taken apart, so that a field that is forgotten here does not compile.
    let AIRouteSpec {
        // In `claimed`.
        model: _,
        aliases: _,
        delegates: _,
        owned_by,
        visibility,
        // In `allowed`.
        allowed_tokens: _,
        // In `upstreams`.
        upstreams: _,
        timeouts: _,
        load_balancer,
        // By `affinity`.
        affinity: _,
        fallback,
        heartbeat,
        translation,
    } = spec;
    let v1alpha1::Fallback { conditions, max_attempts, max_retry_after } = fallback.clone().unwrap_or_default();
    let v1alpha1::LoadBalancer { type_: load_balancing } = load_balancer.unwrap_or_default();
    let heartbeat = heartbeat.map(|v1alpha1::Heartbeat { mode, interval }| Heartbeat { mode, interval });
    Route {
        models: claimed.models.clone(),
        published: claimed.published.clone(),
        owned_by: owned_by.clone(),
        listed: *visibility == Visibility::Listed,
        created,
        allowed_namespaces: allowed.clone(),
        translation: *translation,
        problem: upstreams.message(),
        upstreams: upstreams.usable.clone(),
        load_balancing,
        // What is wrong with it was told by `check`.
        affinity: affinity::build(spec).unwrap_or_default(),
        fallback: Fallback { conditions: conditions.into_iter().collect(), max_attempts, max_retry_after },
        heartbeat: heartbeat.unwrap_or_default(),
    }
}

// === impl Upstreams ===

impl Upstreams {
    fn resolve(id: &ObjectId, spec: &AIRouteSpec, grants: ReferenceGrants<'_>) -> Self {
        let mut all = Self::default();
        for (index, upstream) in spec.upstreams.iter().enumerate() {
            let field = format!("spec.upstreams[{index}]");
            let mut status =
                UpstreamStatus { name: upstream.name.clone(), resolved: true, reason: None, message: None };
            all.attached.extend(reference_grant::attached(grants, id.namespace(), &upstream.provider_ref));
            match resolve_one(grants, id, upstream, &field).and_then(|permitted| all.only_taker(permitted, &field)) {
                Ok(permitted) => {
                    all.note_provider_settings(id, spec, upstream, &field, &permitted);
                    all.usable.push(build_upstream(upstream, permitted.id, spec.timeouts.as_ref()));
                    all.assumed.extend(permitted.assumed);
                }
                Err(Unresolved::Assumed(assumed)) => {
                    all.assumed.push(assumed);
                    all.assumed_usable |= upstream.weight > 0;
                }
                Err(Unresolved::Error(error)) => {
                    status.resolved = false;
                    status.reason = Some(error.reason.to_string());
                    status.message = Some(condition::shorten(&error.message, MAX_UPSTREAM_MESSAGE));
                    all.errors.push(error);
                }
            }
            all.statuses.push(status);
        }
        // Upstreams that are missing for now say enough.
        all.notes.extend(affinity::note(spec, &all.usable, all.usable.len() == spec.upstreams.len()));
        all
    }

    /// The provider, unless it takes the caller's own credential and another one of this route does as well: whose it is
    /// cannot be told from a request, and a credential of one vendor must not reach another.
    fn only_taker<'a>(
        &mut self,
        permitted: PermittedProvider<'a>,
        field: &str,
    ) -> Result<PermittedProvider<'a>, Unresolved> {
        if permitted.provider.credential != Some(Credential::FromClient {}) {
            return Ok(permitted);
        }
        let first = self.taker.get_or_insert_with(|| permitted.id.clone());
        if *first == permitted.id {
            return Ok(permitted);
        }
        let message = format!(
            "{field}.providerRef: AIProvider {} takes the caller's own credential (credentials.fromClient), as AIProvider \
             {first} of this route does; only one provider of a route can",
            permitted.id
        );
        Err(SpecError::new(Reason::InvalidConfig, message).into())
    }

    /// Notes where the provider's settings override the route's, and models without a price.
    fn note_provider_settings(
        &mut self,
        id: &ObjectId,
        spec: &AIRouteSpec,
        upstream: &v1alpha1::Upstream,
        field: &str,
        PermittedProvider { id: provider_id, provider, .. }: &PermittedProvider<'_>,
    ) {
        let foreign = provider_id.namespace() != id.namespace();
        if foreign && provider_models::undercuts(provider, upstream) {
            self.notes.push(format!("{field}.price: the price of AIProvider {provider_id} applies where it is higher"));
        }
        if let Some(limit) = provider_models::smaller_output(provider, upstream) {
            self.notes.push(format!(
                "{field}.maxOutputTokens: the lower limit of AIProvider {provider_id} for this model applies ({limit})"
            ));
        }
        let patterns = std::iter::once(&spec.model).chain(&spec.aliases);
        let models = provider_models::unpriced(provider, upstream, foreign, patterns);
        if !models.is_empty() {
            let here = if foreign { "" } else { "here or " };
            self.notes.push(format!(
                "{field}: no price for {} at AIProvider {provider_id}, so tokens with a spend limit cannot use it; set one \
                 {here}in spec.models of the AIProvider",
                quoted_list(models.iter())
            ));
            self.unpriced.push((provider_id.clone(), models));
        }
    }

    /// The `ResolvedRefs` condition. Partly resolved counts as resolved, with a message.
    fn decision(&self) -> Decision {
        match (self.message(), self.errors.first()) {
            (Some(message), Some(first)) if self.usable.is_empty() && !self.assumed_usable => {
                Decision::no(ConditionType::ResolvedRefs, first.reason, message)
            }
            (message, _) => {
                let all = message.into_iter().chain(self.notes.iter().cloned()).collect::<Vec<_>>();
                Decision::yes_but(ConditionType::ResolvedRefs, Reason::ResolvedRefs, all.join("; "))
            }
        }
    }

    fn message(&self) -> Option<String> {
        let messages: Vec<&str> = self.errors.iter().map(|error| error.message.as_str()).collect();
        (!messages.is_empty()).then(|| messages.join("; "))
    }
}

/// The provider of an upstream, if the route may use it for the model that it sends.
fn resolve_one<'a>(
    grants: ReferenceGrants<'a>,
    id: &ObjectId,
    upstream: &v1alpha1::Upstream,
    field: &str,
) -> Result<PermittedProvider<'a>, Unresolved> {
    let reference = format!("{field}.providerRef");
    let permitted = reference_grant::resolve(grants, id.namespace(), &upstream.provider_ref, &reference)?;
    let PermittedProvider { id: provider_id, provider, .. } = &permitted;
    if provider_id.namespace() != id.namespace() && !provider_models::permits(provider, upstream) {
        let model = upstream.model.as_deref().unwrap_or_default();
        let message = format!(
            "{field}.model: spec.models of AIProvider {provider_id} does not list {model:?}, so routes of other namespaces \
             cannot use it; ask the provider's owner to add it, or \"*\" for every model"
        );
        return Err(SpecError::new(Reason::ModelNotOffered, message).into());
    }
    if let Some(message) = missing_api(upstream, &permitted, field) {
        return Err(SpecError::new(Reason::EndpointNotOffered, message).into());
    }
    Ok(permitted)
}

/// Why the provider cannot be called on the API that the upstream selects, if it cannot.
fn missing_api(upstream: &v1alpha1::Upstream, permitted: &PermittedProvider<'_>, field: &str) -> Option<String> {
    let endpoint = upstream.api.endpoint()?;
    let PermittedProvider { id, provider, .. } = permitted;
    match provider.type_ {
        ProviderType::Echo => None,
        ProviderType::OpenAI | ProviderType::AzureOpenAI if provider.endpoints.contains(&endpoint) => None,
        ProviderType::OpenAI | ProviderType::AzureOpenAI => {
            Some(format!("{field}.api: AIProvider {id} does not have the API {endpoint:?}: see its spec.endpoints"))
        }
        type_ => Some(format!(
            "{field}.api: AIProvider {id} is of type {type_:?}, which has one API only; remove this field"
        )),
    }
}

fn build_upstream(upstream: &v1alpha1::Upstream, provider: ObjectId, route: Option<&v1alpha1::Timeouts>) -> Upstream {
    // Destructured, so that a forgotten field does not compile.
    let v1alpha1::Upstream {
        name,
        provider_ref: _,
        model,
        api,
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
        api: *api,
        priority: *priority,
        weight: *weight,
        capabilities: capabilities.iter().copied().collect(),
        price: price.as_ref().map(provider_models::build_price),
        max_output_tokens: *max_output_tokens,
        unsupported: unsupported.iter().copied().collect(),
        timeouts: Timeouts {
            connect: merged(|timeouts| timeouts.connect, CONNECT_TIMEOUT),
            first_content: merged(|timeouts| timeouts.first_content, FIRST_CONTENT_TIMEOUT),
            stream_idle: merged(|timeouts| timeouts.stream_idle, STREAM_IDLE_TIMEOUT),
            request: merged(|timeouts| timeouts.request, REQUEST_TIMEOUT),
        },
    }
}
