//! Providers: protocol, address, trust and credential, each parsed once.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use routeapi_channel::{
    ObjectId,
    snapshot::{self, Provider as Told},
};
use routeapi_crds::value::{BedrockEndpoint, Endpoint, Host, ProviderType};
use routeapi_protocol::{
    dialect::{Family, Operation},
    direct::Direct,
    host,
    stored::StoredCall,
};

use crate::{
    config::{
        compile::values::{efforts, features, price},
        offers::{ModelOffer, ModelOffers},
        runtime::Provider,
    },
    state::{Draft, Eviction},
    upstream::{
        Additions, AddressRules, Authorization, BaseUrl, ClientIdentity, Credentials, Identity, Proxy, ProxyChoice,
        Source, Trust, aws_keys,
    },
};

/// A provider with what its upstreams' clients are made of.
pub struct Compiled {
    pub provider: Arc<Provider>,
    /// None for Echo.
    pub transport: Option<Transport>,
    pub eviction: Eviction,
    /// A hash of all that was said of it but its credential.
    pub spec: u64,
}

/// Where, as whom, trusting whom.
pub struct Transport {
    pub base: BaseUrl,
    pub credentials: Arc<Credentials>,
    pub trust: Trust,
    pub additions: Arc<Additions>,
}

/// A hash of its key and where that is sent, by which one that was replaced is told from the one before. None if it sends
/// none of its own, or the caller's beside; one may be among its headers or query parameters.
fn key(told: &Told) -> Option<u64> {
    let added = told.request.as_ref().is_some_and(|request| {
        let parameters = request.query_parameters.iter().map(|parameter| &parameter.value);
        request.headers.values().chain(parameters).any(snapshot::Text::is_secret)
    });
    let is_clients = matches!(told.credential, Some(snapshot::Credential::FromClient {}));
    if is_clients || (told.credential.is_none() && !added) {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    let parts = (&told.credential, &told.base_url, &told.request);
    serde_json::to_string(&parts).unwrap_or_default().hash(&mut hasher);
    Some(hasher.finish())
}

/// Compiles a provider.
pub fn compile(id: &ObjectId, told: &Told, draft: &mut Draft<'_>) -> Result<Compiled, String> {
    // Taken apart, so that a field that is forgotten here does not compile.
    let Told {
        type_,
        base_url,
        endpoints,
        azure_api_version,
        bedrock_endpoint,
        credential,
        tls,
        proxy,
        request,
        models,
        max_concurrent_requests,
        eviction: snapshot::Eviction { consecutive_failures, duration },
    } = told;
    let (family, operations) = speaks(*type_, endpoints, *bedrock_endpoint)?;
    let spec = fingerprint(told);
    let transport = if *type_ == ProviderType::Echo {
        None
    } else {
        let (base, trust) = place(base_url, tls.as_ref(), proxy.as_ref(), draft.addresses())?;
        let source = source(credential.as_ref(), family, draft.addresses())?;
        let additions = request.as_ref().map(Additions::new).transpose().map_err(|error| error.to_string())?;
        let credentials = draft.credentials(id, spec, source);
        Some(Transport { base, credentials, trust, additions: additions.unwrap_or_default().into() })
    };
    let provider = Provider {
        id: id.clone(),
        type_: *type_,
        family,
        host: host(*type_, azure_api_version.as_deref(), *bedrock_endpoint)?,
        operations,
        offers: offers(*type_, models),
        offered_models: draft.offered_models(id, spec),
        takes_client_credential: matches!(credential, Some(snapshot::Credential::FromClient {})),
        key: key(told),
        rejected_keys: draft.rejected_keys(),
        concurrency: draft.concurrency(id, *max_concurrent_requests),
    };
    let eviction = Eviction { consecutive_failures: (*consecutive_failures).max(1), duration: (*duration).into() };
    Ok(Compiled { provider: Arc::new(provider), transport, eviction, spec })
}

fn fingerprint(told: &Told) -> u64 {
    let mut hasher = DefaultHasher::new();
    let told = Told { credential: None, ..told.clone() };
    // What cannot be written has no text to differ by; a provider always can.
    serde_json::to_string(&told).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

fn offers(type_: ProviderType, models: &[snapshot::ProviderModel]) -> ModelOffers {
    let mut offers =
        ModelOffers { closed: !models.is_empty(), free: type_ == ProviderType::Echo, ..ModelOffers::default() };
    for stated in models {
        let snapshot::ProviderModel {
            model,
            base_model,
            price: said,
            capabilities,
            max_output_tokens,
            unsupported,
            efforts: stated_efforts,
        } = stated;
        *offers.by_model.entry(model) = ModelOffer {
            price: said.as_ref().map(price),
            capabilities: capabilities.iter().copied().collect(),
            max_output: max_output_tokens.map(u64::from),
            unsupported: unsupported.as_ref().map(features),
            efforts: (!stated_efforts.is_empty()).then(|| efforts(stated_efforts)),
            base_model: base_model.clone(),
        };
    }
    offers
}

fn speaks(
    type_: ProviderType,
    endpoints: &BTreeSet<Endpoint>,
    bedrock: BedrockEndpoint,
) -> Result<(Family, Vec<Operation>), String> {
    let direct = |all: &[Direct]| all.iter().copied().map(Operation::Direct).collect();
    let responses = || {
        let compaction = Operation::Direct(Direct::Compaction);
        let mut all = vec![Operation::Responses, Operation::ResponsesInputTokens, compaction];
        all.extend(StoredCall::ALL.map(Operation::Stored));
        all
    };
    let openai = |endpoint: &Endpoint| match endpoint {
        Endpoint::ChatCompletions => vec![Operation::ChatCompletions],
        Endpoint::Responses => responses(),
        Endpoint::Embeddings => vec![Operation::Embeddings],
        Endpoint::Completions => direct(&[Direct::Completions]),
        Endpoint::Moderations => direct(&[Direct::Moderations]),
        Endpoint::Images => direct(&[Direct::ImageGenerations, Direct::ImageEdits, Direct::ImageVariations]),
        Endpoint::Speech => direct(&[Direct::Speech]),
        Endpoint::Transcriptions => direct(&[Direct::Transcriptions, Direct::Translations]),
        Endpoint::Rerank => direct(&[Direct::Rerank, Direct::Score]),
        Endpoint::Realtime => direct(&[Direct::Realtime]),
        Endpoint::OtherPaths => direct(&[Direct::Unlisted]),
    };
    let anthropic = [Operation::Messages, Operation::MessagesCountTokens];
    let gemini =
        [Operation::GenerateContent, Operation::EmbedContent, Operation::BatchEmbedContents, Operation::CountTokens];
    match type_ {
        ProviderType::OpenAI => Ok((Family::OpenAi, endpoints.iter().flat_map(openai).collect())),
        ProviderType::Anthropic => Ok((Family::Anthropic, anthropic.to_vec())),
        ProviderType::Gemini => Ok((Family::Gemini, gemini.to_vec())),
        ProviderType::Echo => {
            let chat = [Endpoint::ChatCompletions, Endpoint::Responses, Endpoint::Embeddings, Endpoint::Realtime];
            // It keeps nothing.
            let forgets = |operation: &Operation| {
                !matches!(operation, Operation::Stored(_) | Operation::Direct(Direct::Compaction))
            };
            let bedrock = [Operation::Converse, Operation::ConverseCountTokens];
            let all =
                chat.iter().flat_map(openai).filter(forgets).chain(anthropic).chain(gemini).chain(bedrock).collect();
            Ok((Family::OpenAi, all))
        }
        // What a deployment serves, its model says ([`host::Host::serves`]).
        ProviderType::AzureOpenAI => {
            let openai = [Operation::ChatCompletions, Operation::Responses, Operation::Embeddings];
            let further = direct(&[
                Direct::Completions,
                Direct::ImageGenerations,
                Direct::ImageEdits,
                Direct::Speech,
                Direct::Transcriptions,
                Direct::Translations,
            ]);
            let all = openai.into_iter().chain(StoredCall::ALL.map(Operation::Stored)).chain(further).chain(anthropic);
            Ok((Family::OpenAi, all.collect()))
        }
        ProviderType::VertexAI => {
            let further = [Operation::Predict, Operation::ChatCompletions];
            let google = gemini.into_iter().filter(|operation| *operation != Operation::BatchEmbedContents);
            Ok((Family::Gemini, google.chain(further).chain(anthropic).collect()))
        }
        // Its keys and its errors are Amazon's, its APIs the vendors' own.
        ProviderType::Bedrock if bedrock == BedrockEndpoint::Mantle => {
            let openai = [Operation::ChatCompletions, Operation::Responses];
            Ok((Family::Bedrock, openai.into_iter().chain(anthropic).collect()))
        }
        ProviderType::Bedrock => {
            let all = [
                Operation::Converse,
                Operation::ConverseCountTokens,
                Operation::Messages,
                Operation::ChatCompletions,
                Operation::Responses,
                Operation::InvokeEmbedding,
            ];
            Ok((Family::Bedrock, all.to_vec()))
        }
    }
}

/// Where it is, how it is reached, and whom to trust as it.
fn place(
    base_url: &str,
    tls: Option<&snapshot::Tls>,
    told: Option<&snapshot::Proxy>,
    rules: &AddressRules,
) -> Result<(BaseUrl, Trust), String> {
    let base = BaseUrl::parse(base_url).map_err(|error| error.to_string())?;
    judge("baseURL", base_url, base.host(), rules)?;
    Ok((base, trust(tls, proxy(told, rules)?)))
}

/// Where and how its dialects are served.
fn host(type_: ProviderType, azure_api_version: Option<&str>, bedrock: BedrockEndpoint) -> Result<host::Host, String> {
    Ok(match type_ {
        ProviderType::AzureOpenAI => {
            let version = azure_api_version.map(str::parse).transpose();
            host::Host::Azure(version.map_err(|error| format!("azureApiVersion: {error}"))?.unwrap_or_default())
        }
        ProviderType::VertexAI => host::Host::Vertex,
        ProviderType::OpenAI | ProviderType::Anthropic | ProviderType::Gemini | ProviderType::Echo => {
            host::Host::Vendor
        }
        ProviderType::Bedrock => match bedrock {
            BedrockEndpoint::Runtime => host::Host::Bedrock,
            BedrockEndpoint::Mantle => host::Host::Mantle,
        },
    })
}

/// Where what proves that we may call it comes from.
fn source(told: Option<&snapshot::Credential>, family: Family, rules: &AddressRules) -> Result<Source, String> {
    let fixed = match told {
        None => Authorization::None,
        Some(snapshot::Credential::FromClient {}) => Authorization::FromClient,
        Some(snapshot::Credential::ApiKey(key)) => {
            Authorization::api_key(family, key).map_err(|error| error.to_string())?
        }
        Some(snapshot::Credential::Header(snapshot::Header { name, value })) => {
            Authorization::header(name, value).map_err(|error| error.to_string())?
        }
        Some(snapshot::Credential::Aws(aws)) if aws_keys(aws).is_some() => aws_keys(aws).unwrap_or_default(),
        Some(identity) => {
            let identity = Identity::new(identity).map_err(|error| error.to_string())?;
            let identity = identity.ok_or_else(|| "the credential is no identity".to_owned())?;
            if let Some(url) = identity.stated_url() {
                let base = BaseUrl::parse(url).map_err(|error| error.to_string())?;
                judge("token_uri", url, base.host(), rules)?;
            }
            return Ok(Source::Identity(Arc::new(identity)));
        }
    };
    Ok(Source::Fixed(fixed))
}

/// Judges the host of a URL. The connector asks no resolver about a literal, so this is where it is judged.
fn judge(field: &str, url: &str, host: &str, rules: &AddressRules) -> Result<(), String> {
    let allowed = match Host::of(host) {
        Host::Address(address) => rules.address(address),
        Host::Name(name) => rules.name(&name),
        Host::Ambiguous => {
            return Err(format!("{field} {url:?}: the host is neither a name nor an address"));
        }
    };
    allowed.map_err(|forbidden| format!("{field} {url:?} leads to {forbidden}, which no upstream may have"))
}

fn proxy(told: Option<&snapshot::Proxy>, rules: &AddressRules) -> Result<ProxyChoice, String> {
    let snapshot::ConnectProxy { url, basic_auth } = match told {
        None => return Ok(ProxyChoice::Environment),
        Some(snapshot::Proxy::Direct) => return Ok(ProxyChoice::Direct),
        Some(snapshot::Proxy::Connect(connect)) => connect,
    };
    let credentials = basic_auth.as_ref().map(|auth| (auth.username.expose(), auth.password.expose()));
    let proxy = Proxy::new("proxy.url", url, credentials).map_err(|error| error.to_string())?;
    judge("proxy.url", url, proxy.uri().host().unwrap_or_default(), rules)?;
    Ok(ProxyChoice::Through(proxy))
}

fn trust(told: Option<&snapshot::Tls>, proxy: ProxyChoice) -> Trust {
    let Some(snapshot::Tls { ca_certificates, server_name, client_certificate }) = told else {
        return Trust { proxy, ..Trust::default() };
    };
    let client = client_certificate.as_ref().map(|snapshot::ClientCertificate { certificates, key }| ClientIdentity {
        certificates: certificates.clone(),
        key: key.clone(),
    });
    Trust { ca_certificates: ca_certificates.clone(), server_name: server_name.clone(), client, proxy }
}
