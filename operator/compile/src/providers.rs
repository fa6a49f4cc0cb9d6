//! AIProvider → [`Provider`]: address and defaults, credential, trust.
//!
//! A provider that is not accepted or whose references do not resolve is not in the snapshot at all: a credential that is
//! half there must not be used. Its upstreams say so in their routes.

mod proxy;
mod request;

use std::collections::{BTreeMap, BTreeSet};

use routeapi_channel::{
    ObjectId,
    snapshot::{self, AllowedNamespaces, Credential, Eviction, Provider, Tls},
};
use routeapi_crds::{
    condition::{ConditionType, Decision, Reason},
    v1alpha1::{self, AIProvider, AIProviderSpec},
    value::{Endpoint, ProviderType},
};

use crate::{
    Options,
    address::{self, Address},
    objects::{self, Objects},
    offers,
    references::{self, References},
    selectors, slips, unpriced,
    verdict::{Detail, Problem, Verdict, accepted},
};

const OPENAI_HOST: &str = "api.openai.com";

/// Every provider and what became of it.
pub(crate) struct Providers<'a> {
    judged: BTreeMap<ObjectId, Judged>,
    refused: &'a BTreeSet<(String, ObjectId)>,
    unread: &'a BTreeSet<ObjectId>,
}

/// One provider and what became of it.
pub(crate) struct Judged {
    /// None if it cannot be used.
    pub provider: Option<Provider>,
    /// Namespaces whose routes may use it.
    pub allowed: AllowedNamespaces,
    pub verdict: Verdict,
    /// What was assumed of its references.
    pub assumed: Vec<String>,
}

/// What a provider's references lead to.
struct Resolved {
    credential: Option<Credential>,
    tls: Option<Tls>,
    proxy: Option<snapshot::Proxy>,
    request: Option<snapshot::RequestSettings>,
}

impl<'a> Providers<'a> {
    pub fn compile(objects: &'a Objects, options: &Options) -> Self {
        let judged = objects.providers.iter().filter_map(|object| {
            let id = objects::live(&object.metadata)?;
            let judged = judge(object, &id, objects, options);
            Some((id, judged))
        });
        Self { judged: judged.collect(), refused: &objects.refused, unread: &objects.unread_providers }
    }

    pub fn get(&self, id: &ObjectId) -> Option<&Judged> {
        self.judged.get(id)
    }

    /// Whether one of this name is written, but was refused before it came here.
    pub fn is_refused(&self, id: &ObjectId) -> bool {
        self.refused.contains(&("AIProvider".to_owned(), id.clone()))
    }

    /// Whether an operator knows that it is there, though not what it says.
    pub fn is_unread(&self, id: &ObjectId) -> bool {
        self.unread.contains(id)
    }

    /// The names of those in a namespace.
    pub fn named_in(&self, namespace: &str) -> Vec<&str> {
        self.judged.keys().filter(|id| id.namespace() == namespace).map(ObjectId::name).collect()
    }

    /// Providers for the snapshot, and verdicts that know how many routes are attached.
    pub fn finish(
        self,
        attached: &BTreeMap<ObjectId, i32>,
        unpriced: &BTreeMap<ObjectId, BTreeSet<String>>,
    ) -> impl Iterator<Item = (ObjectId, Judged)> {
        self.judged.into_iter().map(|(id, mut judged)| {
            let verdict = &mut judged.verdict;
            let accepted = verdict.decisions.iter_mut().find(|it| it.type_ == ConditionType::Accepted && it.holds());
            if let (Some(accepted), Some(models)) = (accepted, unpriced.get(&id)) {
                let models = unpriced::listed(models.iter());
                let separator = if accepted.message.is_empty() { "" } else { "; " };
                accepted.message.push_str(&format!(
                    "{separator}spec.models: no price is known of {models}, which AIRoutes use; tokens with a spend limit \
                     do not use them"
                ));
            }
            verdict.detail = Detail::Provider { attached_routes: attached.get(&id).copied().unwrap_or(0) };
            (id, judged)
        })
    }
}

impl Judged {
    /// What stands in the way.
    pub fn problem(&self) -> Option<&Decision> {
        self.verdict.decisions.iter().find(|decision| !decision.holds())
    }
}

fn judge(object: &AIProvider, id: &ObjectId, objects: &Objects, options: &Options) -> Judged {
    let spec = &object.spec;
    let address = check(spec, options);
    let references = References::new(objects, id.namespace(), options.partial);
    let found = Resolved::of(spec, &references);
    let resolved = match (&address, found.as_ref().err()) {
        (Err(Problem { reason: Reason::UnsupportedType, .. }), _) => {
            Decision::unknown(ConditionType::ResolvedRefs, Reason::UnsupportedType, "not looked at")
        }
        (_, Some(problem)) => problem.decision(ConditionType::ResolvedRefs),
        (_, None) => Decision::yes(ConditionType::ResolvedRefs, Reason::ResolvedRefs),
    };
    let slip = address.as_ref().ok().and_then(|address| slips::of(spec.type_, address.as_ref()?));
    let accepted = match slip {
        Some(slip) => Decision::yes_but(ConditionType::Accepted, Reason::Accepted, slip),
        None => accepted(address.as_ref().err()),
    };
    let verdict = Verdict {
        generation: object.metadata.generation,
        decisions: vec![accepted, resolved],
        detail: Detail::Provider { attached_routes: 0 },
    };
    let provider = match (address, found) {
        (Ok(address), Ok(found)) => Some(build(spec, address, found)),
        _ => None,
    };
    let choice = spec.allowed_routes.as_ref().map(|routes| &routes.namespaces);
    let assumed = references.assumed();
    Judged { provider, allowed: selectors::resolve(id.namespace(), choice), verdict, assumed }
}

/// The address if the spec makes sense; none for Echo.
fn check(spec: &AIProviderSpec, options: &Options) -> Result<Option<Address>, Problem> {
    offers::check(spec)?;
    let default = match spec.type_ {
        ProviderType::OpenAI => "https://api.openai.com/v1",
        ProviderType::Anthropic => "https://api.anthropic.com",
        ProviderType::Gemini => "https://generativelanguage.googleapis.com",
        ProviderType::Echo => return Ok(None),
        type_ @ (ProviderType::AzureOpenAI | ProviderType::Bedrock | ProviderType::VertexAI) => {
            let message = format!(
                "spec.type: this version cannot speak to {type_:?}; it knows OpenAI (and compatible servers), \
                 Anthropic, Gemini and Echo"
            );
            return Err(Problem::new(Reason::UnsupportedType, message));
        }
    };
    let invalid = |message: String| Problem::new(Reason::InvalidConfig, message);
    let base_url = spec.base_url.as_deref().unwrap_or(default);
    let address = address::check(base_url, options).map_err(|what| invalid(format!("spec.baseURL: {what}")))?;
    if address.plain && spec.tls.is_some() {
        return Err(invalid("spec.tls: has no effect, because spec.baseURL is plain http".to_owned()));
    }
    proxy::check(spec, options)?;
    request::check(spec)?;
    Ok(Some(address))
}

impl Resolved {
    fn of(spec: &AIProviderSpec, references: &References<'_>) -> Result<Self, Problem> {
        Ok(Self {
            credential: credential(spec, references)?,
            tls: tls(spec, references)?,
            proxy: proxy::resolve(spec, references)?,
            request: request::resolve(spec, references)?,
        })
    }
}

fn credential(spec: &AIProviderSpec, references: &References<'_>) -> Result<Option<Credential>, Problem> {
    // `aws` belongs to Bedrock, which `check` refuses as a type.
    let Some(api_key) = spec.credentials.as_ref().and_then(|credentials| credentials.api_key.as_ref()) else {
        return Ok(None);
    };
    let key = references::api_key(references, &api_key.secret_ref)?;
    Ok(Some(request::credential(api_key, key, spec.type_)))
}

fn tls(spec: &AIProviderSpec, references: &References<'_>) -> Result<Option<Tls>, Problem> {
    let Some(v1alpha1::Tls { ca_certificate_ref, server_name, client_certificate_ref }) = &spec.tls else {
        return Ok(None);
    };
    let certificates = ca_certificate_ref.as_ref();
    let ca_certificates = certificates.map(|reference| references::certificates(references, reference)).transpose()?;
    let own = client_certificate_ref.as_ref();
    let client_certificate = own.map(|reference| references::client_certificate(references, reference)).transpose()?;
    Ok(Some(Tls {
        ca_certificates: ca_certificates.flatten(),
        server_name: server_name.clone(),
        client_certificate: client_certificate.flatten(),
    }))
}

fn build(spec: &AIProviderSpec, address: Option<Address>, found: Resolved) -> Provider {
    let Resolved { credential, tls, proxy, request } = found;
    let eviction = spec.eviction.clone().unwrap_or_default();
    Provider {
        type_: spec.type_,
        endpoints: endpoints(spec, address.as_ref()),
        base_url: address.map(|it| it.url).unwrap_or_default(),
        credential,
        tls,
        proxy,
        request,
        models: offers::build(spec),
        max_concurrent_requests: spec.max_concurrent_requests,
        eviction: Eviction { consecutive_failures: eviction.consecutive_failures, duration: eviction.duration },
    }
}

/// OpenAI itself has every operation but one; of others only Chat and Embeddings can be taken for granted.
fn endpoints(spec: &AIProviderSpec, address: Option<&Address>) -> BTreeSet<Endpoint> {
    if spec.type_ != ProviderType::OpenAI {
        return BTreeSet::new();
    }
    if let Some(endpoints) = &spec.endpoints {
        return endpoints.iter().copied().collect();
    }
    let mut endpoints = BTreeSet::from([Endpoint::ChatCompletions, Endpoint::Embeddings]);
    if address.is_some_and(|it| it.host == OPENAI_HOST) {
        endpoints.extend([
            Endpoint::Responses,
            Endpoint::Completions,
            Endpoint::Moderations,
            Endpoint::Images,
            Endpoint::Speech,
            Endpoint::Transcriptions,
        ]);
    }
    endpoints
}
