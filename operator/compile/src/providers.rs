//! AIProvider → [`Provider`]: address and defaults, credential, TLS.
//!
//! A provider that is not accepted or whose references do not resolve is not in the snapshot at all, so that incomplete
//! credentials are never used. Routes report it for each upstream that refers to it.

mod cloud;
mod proxy;
mod request;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use routeapi_channel::{
    ObjectId,
    snapshot::{self, AllowedNamespaces, Credential, Eviction, Provider, Tls},
};
use routeapi_crds::{
    condition::{ConditionType, Decision, Reason},
    v1alpha1::{self, AIProvider, AIProviderSpec, Credentials},
    value::{Endpoint, ProviderType},
};

use crate::{
    address::{self, Address},
    base_url_hints,
    objects::{self, Objects},
    options::Options,
    provider_models,
    quoted_list::quoted_list,
    references::{self, References},
    selectors,
    verdict::{Detail, SpecError, Verdict, accepted},
};

const OPENAI_HOST: &str = "api.openai.com";

/// Every provider, compiled.
#[derive(Clone, Copy)]
pub(crate) struct Providers<'a> {
    pub compiled: &'a KnownProviders,
    /// Manifests that were refused before they got here, by kind and name.
    pub refused: &'a BTreeSet<(String, ObjectId)>,
    /// Those that exist in the cluster but could not be read.
    pub unread: &'a BTreeSet<ObjectId>,
}

/// Providers that were compiled before, with what they were compiled from.
pub(crate) type KnownProviders = BTreeMap<ObjectId, (Arc<AIProvider>, Arc<CompiledProvider>)>;

/// One provider, compiled.
pub(crate) struct CompiledProvider {
    /// None if it is not usable.
    pub provider: Option<Provider>,
    /// Namespaces whose routes may use it.
    pub allowed: AllowedNamespaces,
    pub verdict: Verdict,
    /// What was assumed about its references, a sentence each.
    pub assumed: Vec<String>,
}

/// What a provider's references resolve to.
struct Resolved {
    credential: Option<Credential>,
    tls: Option<Tls>,
    proxy: Option<snapshot::Proxy>,
    request: Option<snapshot::RequestSettings>,
}

/// Compiles those that are not known, and makes all of them known. What is known was compiled with the same Secrets and
/// ConfigMaps.
pub(crate) fn compile(objects: &Objects, options: &Options, known: &mut KnownProviders) {
    let compiled = objects.providers.iter().filter_map(|object| {
        let id = objects::live(&object.metadata)?;
        let same = known.get(&id).filter(|(before, _)| objects::same_version(&before.metadata, &object.metadata));
        let compiled = match same {
            Some((_, compiled)) => Arc::clone(compiled),
            None => Arc::new(compile_one(object, &id, objects, options)),
        };
        Some((id, (Arc::clone(object), compiled)))
    });
    *known = compiled.collect();
}

impl<'a> Providers<'a> {
    pub fn get(&self, id: &ObjectId) -> Option<&'a CompiledProvider> {
        self.compiled.get(id).map(|(_, compiled)| &**compiled)
    }

    /// Whether a manifest of this name was refused before it got here.
    pub fn is_refused(&self, id: &ObjectId) -> bool {
        self.refused.contains(&("AIProvider".to_owned(), id.clone()))
    }

    /// Whether it exists in the cluster but could not be read.
    pub fn is_unread(&self, id: &ObjectId) -> bool {
        self.unread.contains(id)
    }

    /// The names of the providers in a namespace.
    pub fn names_in(&self, namespace: &str) -> Vec<&'a str> {
        self.compiled.keys().filter(|id| id.namespace() == namespace).map(ObjectId::name).collect()
    }
}

impl CompiledProvider {
    /// The verdict, given what AIRoutes do with it: how many are attached, and which models they use that have no price.
    pub fn verdict<'m>(&self, attached: i32, mut unpriced: impl Iterator<Item = &'m String>) -> Verdict {
        let mut verdict = self.verdict.clone();
        let accepted =
            verdict.decisions.iter_mut().find(|decision| decision.type_ == ConditionType::Accepted && decision.holds());
        if let (Some(accepted), Some(first)) = (accepted, unpriced.next()) {
            let all: Vec<_> = std::iter::once(first).chain(unpriced).collect();
            let models = quoted_list(all.into_iter());
            let separator = if accepted.message.is_empty() { "" } else { "; " };
            accepted.message.push_str(&format!(
                "{separator}spec.models: no price for {models}, used by AIRoutes; tokens with a spend limit cannot use \
                 them"
            ));
        }
        verdict.detail = Detail::Provider { attached_routes: attached };
        verdict
    }
}

impl CompiledProvider {
    /// Whether routes that refer to it find the same.
    pub fn serves_as(&self, other: &Self) -> bool {
        self.provider == other.provider
            && self.allowed == other.allowed
            && self.failed_condition() == other.failed_condition()
    }

    /// The first condition that is not true.
    pub fn failed_condition(&self) -> Option<&Decision> {
        self.verdict.decisions.iter().find(|decision| !decision.holds())
    }
}

fn compile_one(object: &AIProvider, id: &ObjectId, objects: &Objects, options: &Options) -> CompiledProvider {
    let spec = &object.spec;
    let address = check(spec, id.namespace(), options);
    let references = References::new(objects, id.namespace(), options.partial);
    let host = address.as_ref().ok().and_then(|address| Some(address.as_ref()?.host.as_str())).unwrap_or_default();
    let found = Resolved::of(spec, host, &references, options);
    let resolved = match found.as_ref().err() {
        Some(error) => error.decision(ConditionType::ResolvedRefs),
        None => Decision::yes(ConditionType::ResolvedRefs, Reason::ResolvedRefs),
    };
    let hint = address.as_ref().ok().and_then(|address| base_url_hints::hint(spec.type_, address.as_ref()?));
    let accepted = match hint {
        Some(hint) => Decision::yes_but(ConditionType::Accepted, Reason::Accepted, hint),
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
    CompiledProvider { provider, allowed: selectors::allowed(id.namespace(), choice), verdict, assumed }
}

/// The address, if the spec is valid; none for Echo.
fn check(spec: &AIProviderSpec, namespace: &str, options: &Options) -> Result<Option<Address>, SpecError> {
    provider_models::check(spec)?;
    let stated = |default: &'static str| Cow::Borrowed(spec.base_url.as_deref().unwrap_or(default));
    let base_url = match spec.type_ {
        ProviderType::OpenAI => stated("https://api.openai.com/v1"),
        ProviderType::Anthropic => stated("https://api.anthropic.com"),
        ProviderType::Gemini => stated("https://generativelanguage.googleapis.com"),
        ProviderType::AzureOpenAI => cloud::azure_base_url(spec),
        ProviderType::VertexAI => cloud::vertex_base_url(spec),
        ProviderType::Echo => return Ok(None),
        ProviderType::Bedrock => cloud::bedrock_base_url(spec),
    };
    let invalid = |message: String| SpecError::new(Reason::InvalidConfig, message);
    let address = address::check(&base_url, options).map_err(|what| invalid(format!("spec.baseURL: {what}")))?;
    if address.plain && spec.tls.is_some() {
        return Err(invalid("spec.tls: not allowed, because spec.baseURL is plain http".to_owned()));
    }
    proxy::check(spec, options)?;
    request::check(spec)?;
    cloud::check(spec, namespace, &address, options)?;
    Ok(Some(address))
}

impl Resolved {
    fn of(
        spec: &AIProviderSpec,
        host: &str,
        references: &References<'_>,
        options: &Options,
    ) -> Result<Self, SpecError> {
        Ok(Self {
            credential: credential(spec, host, references, options)?,
            tls: tls(spec, references)?,
            proxy: proxy::resolve(spec, references)?,
            request: request::resolve(spec, references)?,
        })
    }
}

/// `host` is where the provider is.
fn credential(
    spec: &AIProviderSpec,
    host: &str,
    references: &References<'_>,
    options: &Options,
) -> Result<Option<Credential>, SpecError> {
    let Some(Credentials { api_key, aws, azure, google, from_client }) = &spec.credentials else { return Ok(None) };
    if let Some(aws) = aws {
        return cloud::aws(spec, aws, references).map(Some);
    }
    if let Some(azure) = azure {
        return cloud::azure(azure, host, references).map(Some);
    }
    if let Some(google) = google {
        return cloud::google(google, references, options).map(Some);
    }
    if from_client.is_some() {
        return Ok(Some(Credential::FromClient {}));
    }
    let Some(api_key) = api_key else { return Ok(None) };
    let key = references::key(references, "spec.credentials.apiKey.secretRef", &api_key.secret_ref)?;
    Ok(Some(request::credential(api_key, key, spec.type_)))
}

fn tls(spec: &AIProviderSpec, references: &References<'_>) -> Result<Option<Tls>, SpecError> {
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
    // Taken apart, so that a field that is forgotten here does not compile.
    let AIProviderSpec {
        type_,
        base_url: _,
        endpoints: _,
        // In `found`.
        credentials: _,
        tls: _,
        proxy: _,
        request: _,
        azure_openai,
        // In `address`, and in the credential.
        bedrock: _,
        vertex_ai: _,
        // Of routes, not of the data plane's business.
        allowed_routes: _,
        models: _,
        max_concurrent_requests,
        eviction,
    } = spec;
    let Resolved { credential, tls, proxy, request } = found;
    let v1alpha1::Eviction { consecutive_failures, duration } = eviction.clone().unwrap_or_default();
    Provider {
        type_: *type_,
        endpoints: endpoints(spec, address.as_ref()),
        base_url: address.map(|address| address.url).unwrap_or_default(),
        azure_api_version: azure_openai.as_ref().map(|it| it.api_version.clone()).filter(|version| version != "v1"),
        bedrock_endpoint: cloud::bedrock_endpoint(spec),
        credential,
        tls,
        proxy,
        request,
        models: provider_models::build(spec),
        max_concurrent_requests: *max_concurrent_requests,
        eviction: Eviction { consecutive_failures, duration },
    }
}

/// The default endpoints: OpenAI itself has all but one; of other servers only Chat Completions and Embeddings can be
/// expected.
fn endpoints(spec: &AIProviderSpec, address: Option<&Address>) -> BTreeSet<Endpoint> {
    if spec.type_ != ProviderType::OpenAI {
        return BTreeSet::new();
    }
    if let Some(endpoints) = &spec.endpoints {
        return endpoints.iter().copied().collect();
    }
    let mut endpoints = BTreeSet::from([Endpoint::ChatCompletions, Endpoint::Embeddings]);
    if address.is_some_and(|address| address.host == OPENAI_HOST) {
        endpoints.extend([
            Endpoint::Responses,
            Endpoint::Completions,
            Endpoint::Moderations,
            Endpoint::Images,
            Endpoint::Speech,
            Endpoint::Transcriptions,
            Endpoint::Realtime,
        ]);
    }
    endpoints
}
