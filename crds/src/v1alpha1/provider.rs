//! AIProvider: one account at a vendor, or one model server.
//!
//! A kind of its own, so that address and credentials stay together: those who write routes can send requests to a provider, but
//! never its key elsewhere.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

mod credentials;
mod proxy;
mod request;

use super::{
    namespaces::Namespaces,
    patterns::SUBDOMAIN,
    reference::{CaCertificateRef, SecretRef},
    route::Price,
};
use crate::{
    condition,
    value::{
        BedrockEndpoint, Capability, Duration, Endpoint, ModelPattern, ProviderType, ReasoningEffort, RequestFeature,
    },
};

pub use credentials::{
    ApiKeyCredential, AwsAssumeRole, AwsCredential, AwsWorkloadIdentity, AzureClientSecret, AzureCredential,
    AzureManagedIdentity, AzureWorkloadIdentity, Credentials, FromClientCredential, GoogleCredential,
    GoogleServiceAccountKey, GoogleWorkloadIdentity,
};
pub use proxy::{BasicAuth, Proxy, ProxyMode};
pub use request::{Header, QueryParameter, RequestSettings, ValueFrom};

/// Address, API format, credentials and permissions of one account at a vendor, or one model server.
#[derive(Clone, Debug, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "routeapi.dev",
    version = "v1alpha1",
    kind = "AIProvider",
    plural = "aiproviders",
    namespaced,
    status = "AIProviderStatus",
    shortname = "aip",
    category = "routeapi",
    selectable = ".spec.type",
    cel,
    doc = "AIProvider is one account at a vendor, or one model server: its address, API format, credentials and prices, and \
           the namespaces whose AIRoutes may use it.",
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Routes", type_ = "integer", json_path = ".status.attachedRoutes"),
    printcolumn(name = "Base URL", type_ = "string", json_path = ".spec.baseURL", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.type == oldSelf.type").message("type is immutable: create a new AIProvider"),
    validation = Rule::new("self.type != 'AzureOpenAI' || has(self.baseURL)")
        .message("baseURL is required for type AzureOpenAI"),
    // A regular expression and not isURL() and url(): an API server and `routeapi check` read URLs with different parsers,
    // and both have RE2's syntax.
    validation = Rule::new(r"!has(self.baseURL) || self.baseURL.matches('^[Hh][Tt][Tt][Pp][Ss]?://([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?(/[A-Za-z0-9._~!$&()*+,;=:%/-]*)?$')")
        .message("baseURL must be an absolute http or https URL, such as https://api.openai.com/v1, without user, query or fragment"),
    validation = Rule::new("self.type != 'Echo' || (!has(self.baseURL) && !has(self.credentials) && !has(self.tls) && !has(self.proxy) && !has(self.request))")
        .message("type Echo does not support baseURL, credentials, tls, proxy and request"),
    validation = Rule::new("has(self.credentials) || has(self.baseURL) || !(self.type in ['OpenAI', 'Anthropic', 'Gemini', 'VertexAI', 'Bedrock'])")
        .message("credentials are required unless baseURL is set"),
    validation = Rule::new("!has(self.credentials) || !has(self.credentials.aws) || self.type == 'Bedrock'")
        .message("credentials.aws is only for type Bedrock"),
    validation = Rule::new("!has(self.credentials) || !has(self.credentials.azure) || self.type == 'AzureOpenAI'")
        .message("credentials.azure is only for type AzureOpenAI"),
    validation = Rule::new("!has(self.credentials) || !has(self.credentials.google) || self.type == 'VertexAI'")
        .message("credentials.google is only for type VertexAI"),
    validation = Rule::new("self.type != 'VertexAI' || !has(self.credentials) || !has(self.credentials.apiKey)")
        .message("type VertexAI does not support API keys: use credentials.google"),
    validation = Rule::new("!has(self.endpoints) || self.type == 'OpenAI'").message("endpoints is only for type OpenAI"),
    validation = Rule::new("!has(self.azureOpenAI) || self.type == 'AzureOpenAI'")
        .message("azureOpenAI is only for type AzureOpenAI"),
    validation = Rule::new("(self.type == 'Bedrock') == has(self.bedrock)")
        .message("bedrock must be set if and only if type is Bedrock"),
    validation = Rule::new("(self.type == 'VertexAI') == has(self.vertexAI)")
        .message("vertexAI must be set if and only if type is VertexAI")
)]
pub struct AIProviderSpec {
    /// API format and authentication. Use OpenAI with baseURL for servers with an OpenAI-compatible API, such as vLLM, Ollama
    /// and llama.cpp. AzureOpenAI is a resource of Azure OpenAI or Microsoft Foundry, with Claude's deployments too. VertexAI is
    /// Google Cloud's, with the models of all publishers. Echo is a built-in upstream for tests that needs neither network
    /// nor key. Bedrock is Amazon's, with the models of all vendors. Immutable.
    #[serde(rename = "type")]
    pub type_: ProviderType,

    /// Base URL, as in the vendor's SDK: with the version segment for type OpenAI (https://api.openai.com/v1,
    /// http://vllm.ai.svc:8000/v1), without it for other types. For type AzureOpenAI: the endpoint of the resource, such as
    /// https://NAME.openai.azure.com. Default: the vendor's public address. Plain http is allowed
    /// only inside the cluster. In a cluster, these addresses are not allowed: loopback, link-local, multicast and reserved
    /// addresses, cloud metadata services, the Kubernetes API server, the gateway itself, and the ports of kubelets, etcd and
    /// the control plane (2379, 2380, 6443, 10248-10250, 10255-10257, 10259). This is checked again for the addresses that a
    /// name resolves to when the gateway connects. Redirects are not followed.
    #[serde(default, rename = "baseURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048))]
    pub base_url: Option<String>,

    /// Endpoints that a server of type OpenAI has. Chat Completions, Responses, Messages and Gemini requests are translated to
    /// ChatCompletions or Responses; requests for other endpoints are passed through to providers that have them. Realtime is
    /// WebSocket sessions. OtherPaths lets clients use any other path below baseURL with this provider's key, if the request
    /// names a model. Default: all except Rerank and OtherPaths for api.openai.com, ChatCompletions and Embeddings for any
    /// other baseURL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 11))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub endpoints: Option<Vec<Endpoint>>,

    /// Credentials for the upstream. Omit for servers without authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,

    /// TLS settings, for servers with a private CA, another host name or client certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,

    /// Egress proxy for this provider, or none. Default: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY of the data plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,

    /// Headers, query parameters and body defaults to add to every request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestSettings>,

    /// Settings of type AzureOpenAI.
    #[serde(default, rename = "azureOpenAI", skip_serializing_if = "Option::is_none")]
    pub azure_openai: Option<AzureOpenAI>,

    /// Settings of type Bedrock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bedrock: Option<Bedrock>,

    /// Settings of type VertexAI.
    #[serde(default, rename = "vertexAI", skip_serializing_if = "Option::is_none")]
    pub vertex_ai: Option<VertexAI>,

    /// AIRoutes that may use this provider, and so cause its costs. Default: those in its own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_routes: Option<AllowedRoutes>,

    /// Prices and capabilities of this provider's models, by the model ID that is sent to it. An exact ID takes precedence, then
    /// the longest prefix. If the list is not empty, routes in other namespaces may use only these models; * allows all. Such
    /// routes can only raise prices and remove capabilities; routes in this namespace can override both.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["model".into()]))]
    pub models: Vec<ProviderModel>,

    /// Maximum number of concurrent requests per data-plane pod. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 100_000))]
    pub max_concurrent_requests: Option<u32>,

    /// When a failing upstream of this provider is evicted, and for how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eviction: Option<Eviction>,
}

/// TLS settings of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.caCertificateRef) || has(self.serverName) || has(self.clientCertificateRef)")
    .message("at least one of caCertificateRef, serverName and clientCertificateRef must be set"))]
pub struct Tls {
    /// CA certificates (PEM) to trust instead of the public CAs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificate_ref: Option<CaCertificateRef>,
    /// Name for SNI and certificate verification, instead of the host in baseURL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub server_name: Option<String>,
    /// Secret in this namespace with the keys tls.crt and tls.key, such as one of type kubernetes.io/tls: the client
    /// certificate for servers that request one. A renewed certificate is used for new connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretRef>,
}

/// Settings of type AzureOpenAI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureOpenAI {
    /// Version of the API: v1, preview (v1 with previews), or a date such as 2024-10-21 or 2025-04-01-preview, for resources
    /// without v1. Default: v1.
    #[serde(default = "azure_api_version")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^(v1|preview|[0-9]{4}-[0-9]{2}-[0-9]{2}(-preview)?)$"))]
    pub api_version: String,
}

/// Settings of type Bedrock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bedrock {
    /// AWS region, such as eu-central-1.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9-]+$"))]
    pub region: String,
    /// Which of the region's endpoints is called. Runtime: Converse and InvokeModel, and OpenAI's APIs for some models. Mantle: the
    /// vendors' own APIs, OpenAI's and for Claude Anthropic's.
    #[serde(default)]
    pub endpoint: BedrockEndpoint,
}

/// Settings of type VertexAI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VertexAI {
    /// Google Cloud project ID.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9-]+$"))]
    pub project: String,
    /// Google Cloud location: a region such as europe-west4, the multi-regions us and eu, or global.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9-]+$"))]
    pub location: String,
}

/// The AIRoutes that may use a provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedRoutes {
    /// Namespaces whose AIRoutes may refer to this provider.
    #[serde(default)]
    pub namespaces: Namespaces,
}

/// Price and capabilities of one or more models of a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderModel {
    /// Model ID at the provider: exact, or a prefix with a trailing *.
    pub model: ModelPattern,
    /// Vendor's ID of the model, if the ID at the provider is another, such as the name of a deployment. Its row of the built-in
    /// table (see docs/models.md) applies to translated requests; the other fields override it. Default: model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub base_model: Option<String>,
    /// Price. Tokens with a spend limit cannot use models without a price. For free models set it to 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// Capabilities. Requests that need others skip the model. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub capabilities: Vec<Capability>,
    /// Maximum output tokens, including reasoning. A higher value in a request is lowered to this, with a warning. Default: the
    /// value in the built-in table (see docs/models.md), for translated requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 10_000_000))]
    pub max_output_tokens: Option<u32>,
    /// Parameters that the model does not support. They are removed from requests, with a warning. With translation Strict the
    /// request is refused instead; requests for log probabilities are refused unless translation is Lenient. The list replaces
    /// the built-in table, so an empty list means that all parameters are supported. Default: the built-in table, for
    /// translated requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub unsupported: Option<Vec<RequestFeature>>,
    /// Levels of reasoning effort that the model supports. Others become the nearest of these, with a warning, in translated
    /// requests. Default: those in the built-in table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 7))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub efforts: Vec<ReasoningEffort>,
}

/// Outlier detection: an upstream is evicted after a number of consecutive failures. Each data-plane pod decides by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Eviction {
    /// Number of consecutive failures before the upstream is evicted.
    #[serde(default = "consecutive_failures")]
    #[schemars(with = "i32", range(min = 1, max = 1000))]
    pub consecutive_failures: u32,
    /// Duration of the eviction.
    #[serde(default = "eviction_duration")]
    pub duration: Duration,
}

/// Observed state of the AIProvider.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AIProviderStatus {
    /// Generation of the spec to which this status applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Accepted: the spec is valid. ResolvedRefs: all Secrets and ConfigMaps were found. Programmed: all connected data-plane
    /// pods use this generation. Ready: all of these. CredentialsAccepted is False while the upstream rejects the key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "condition::schema")]
    pub conditions: Vec<Condition>,
    /// Number of AIRoutes that refer to this provider, in namespaces that allowedRoutes admits, whether or not they are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached_routes: Option<i32>,
}

impl Default for Eviction {
    fn default() -> Self {
        Self { consecutive_failures: consecutive_failures(), duration: eviction_duration() }
    }
}

fn azure_api_version() -> String {
    "v1".to_owned()
}

fn consecutive_failures() -> u32 {
    5
}

fn eviction_duration() -> Duration {
    Duration::from_secs(30)
}
