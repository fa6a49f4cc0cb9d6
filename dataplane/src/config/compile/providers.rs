//! Providers: protocol, address, trust and credential, each parsed once.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use routeapi_channel::{
    Kind, ObjectId,
    catalog::Unreadable,
    snapshot::{self, Provider as Told},
};
use routeapi_crds::value::{Endpoint, Host, ProviderType};
use routeapi_protocol::{
    dialect::{Family, Operation},
    direct::Direct,
    host,
};

use crate::{
    config::{
        compile::{features, price, unreadable},
        offers::{ModelOffer, ModelOffers},
        runtime::Provider,
    },
    state::{Eviction, SharedState},
    upstream::{Additions, AddressRules, BaseUrl, ClientIdentity, Credential, Proxy, ProxyChoice, Trust},
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
    pub credential: Credential,
    pub trust: Trust,
    pub additions: Arc<Additions>,
}

pub fn compile(
    told: &BTreeMap<ObjectId, Told>,
    state: &SharedState,
    refused: &mut Vec<Unreadable>,
) -> HashMap<ObjectId, Compiled> {
    let mut compiled = HashMap::with_capacity(told.len());
    for (id, provider) in told {
        match one(id, provider, state) {
            Ok(provider) => drop(compiled.insert(id.clone(), provider)),
            Err(message) => refused.push(unreadable(Kind::Provider, id, message)),
        }
    }
    let keys = compiled.iter().filter_map(|(id, compiled)| Some((id.clone(), compiled.provider.key?)));
    state.rejected_keys().configure(keys.collect());
    compiled
}

/// A hash of its key and where that is sent, by which one that was replaced is told from the one before. None if it sends
/// none; one may be among its headers or query parameters.
fn key(told: &Told) -> Option<u64> {
    let added = told.request.as_ref().is_some_and(|request| {
        let parameters = request.query_parameters.iter().map(|parameter| &parameter.value);
        request.headers.values().chain(parameters).any(snapshot::Text::is_secret)
    });
    if told.credential.is_none() && !added {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    let parts = (&told.credential, &told.base_url, &told.request);
    serde_json::to_string(&parts).unwrap_or_default().hash(&mut hasher);
    Some(hasher.finish())
}

fn one(id: &ObjectId, told: &Told, state: &SharedState) -> Result<Compiled, String> {
    let (family, operations) = speaks(told.type_, &told.endpoints)?;
    let transport = if told.type_ == ProviderType::Echo { None } else { Some(transport(told, family, state)?) };
    let concurrency = state.concurrency(id);
    concurrency.configure(told.max_concurrent_requests);
    let eviction = Eviction {
        consecutive_failures: told.eviction.consecutive_failures.max(1),
        duration: told.eviction.duration.into(),
    };
    let offers = offers(told);
    let (key, rejected_keys) = (key(told), Arc::clone(state.rejected_keys()));
    let provider = Arc::new(Provider {
        id: id.clone(),
        type_: told.type_,
        family,
        host: host::Host::Vendor,
        operations,
        offers,
        key,
        rejected_keys,
        concurrency,
    });
    Ok(Compiled { provider, transport, eviction, spec: fingerprint(told) })
}

fn fingerprint(told: &Told) -> u64 {
    let mut hasher = DefaultHasher::new();
    let told = Told { credential: None, ..told.clone() };
    // What cannot be written has no text to differ by; a provider always can.
    serde_json::to_string(&told).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

fn offers(told: &Told) -> ModelOffers {
    let mut offers = ModelOffers {
        closed: !told.models.is_empty(),
        free: told.type_ == ProviderType::Echo,
        ..ModelOffers::default()
    };
    for stated in &told.models {
        let snapshot::ProviderModel { model, price: said, capabilities, max_output_tokens, unsupported } = stated;
        *offers.by_model.entry(model) = ModelOffer {
            price: said.as_ref().map(price),
            capabilities: capabilities.iter().copied().collect(),
            max_output: max_output_tokens.map(u64::from),
            unsupported: unsupported.as_ref().map(features),
        };
    }
    offers
}

fn speaks(type_: ProviderType, endpoints: &BTreeSet<Endpoint>) -> Result<(Family, Vec<Operation>), String> {
    let direct = |all: &[Direct]| all.iter().copied().map(Operation::Direct).collect();
    let openai = |endpoint: &Endpoint| match endpoint {
        Endpoint::ChatCompletions => vec![Operation::ChatCompletions],
        Endpoint::Responses => vec![Operation::Responses, Operation::ResponsesInputTokens],
        Endpoint::Embeddings => vec![Operation::Embeddings],
        Endpoint::Completions => direct(&[Direct::Completions]),
        Endpoint::Moderations => direct(&[Direct::Moderations]),
        Endpoint::Images => direct(&[Direct::ImageGenerations, Direct::ImageEdits, Direct::ImageVariations]),
        Endpoint::Speech => direct(&[Direct::Speech]),
        Endpoint::Transcriptions => direct(&[Direct::Transcriptions, Direct::Translations]),
        Endpoint::Rerank => direct(&[Direct::Rerank, Direct::Score]),
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
            let chat = [Endpoint::ChatCompletions, Endpoint::Responses, Endpoint::Embeddings];
            let all = chat.iter().flat_map(openai).chain(anthropic).chain(gemini).collect();
            Ok((Family::OpenAi, all))
        }
        ProviderType::VertexAI | ProviderType::AzureOpenAI | ProviderType::Bedrock => {
            Err(format!("this data plane does not speak {type_:?}"))
        }
    }
}

fn transport(told: &Told, family: Family, state: &SharedState) -> Result<Transport, String> {
    let base = BaseUrl::parse(&told.base_url).map_err(|error| error.to_string())?;
    let rules = state.clients().addresses();
    judge("baseURL", &told.base_url, base.host(), rules)?;
    let credential = match &told.credential {
        None => Credential::none(),
        Some(snapshot::Credential::ApiKey(key)) => {
            Credential::api_key(family, key).map_err(|error| error.to_string())?
        }
        Some(snapshot::Credential::Header(snapshot::Header { name, value })) => {
            Credential::custom(name, value).map_err(|error| error.to_string())?
        }
        Some(snapshot::Credential::Aws(_)) => return Err("AWS credentials do not fit this provider type".to_owned()),
    };
    let additions = told.request.as_ref().map(Additions::new).transpose().map_err(|error| error.to_string())?;
    let proxy = proxy(told.proxy.as_ref(), rules)?;
    Ok(Transport {
        base,
        credential,
        trust: trust(told.tls.as_ref(), proxy),
        additions: additions.unwrap_or_default().into(),
    })
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
