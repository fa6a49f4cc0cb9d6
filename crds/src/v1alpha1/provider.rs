//! AIProvider: one upstream account or server.
//!
//! A kind of its own so that address and credential are bound together: who may write routes can point traffic at a
//! provider but can never send its key elsewhere.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

mod proxy;
mod request;

use super::{
    namespaces::Namespaces,
    patterns::{HEADER_NAME, SUBDOMAIN},
    reference::{CaCertificateRef, SecretKeyRef, SecretRef},
    route::Price,
};
use crate::{
    condition,
    value::{Capability, Duration, Endpoint, ModelPattern, ProviderType, RequestFeature},
};

pub use proxy::{BasicAuth, Proxy, ProxyMode};
pub use request::{Header, QueryParameter, RequestSettings, ValueFrom};

/// Where an upstream is, which wire protocol it speaks, how to authenticate and which routes may use it.
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
    doc = "AIProvider is one upstream account or model server: where it is, which wire protocol it speaks, how to \
           authenticate, and which namespaces' routes may use it. AIRoutes refer to it by name.",
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
        .message("type Echo takes no baseURL, credentials, tls, proxy or request"),
    validation = Rule::new("has(self.credentials) || has(self.baseURL) || !(self.type in ['OpenAI', 'Anthropic', 'Gemini'])")
        .message("credentials are required at the vendor's own address; without a key, set baseURL"),
    validation = Rule::new("!has(self.credentials) || !has(self.credentials.aws) || self.type == 'Bedrock'")
        .message("credentials.aws is only for type Bedrock"),
    validation = Rule::new("!has(self.endpoints) || self.type == 'OpenAI'").message("endpoints is only for type OpenAI"),
    validation = Rule::new("(self.type == 'AzureOpenAI') == has(self.azureOpenAI)")
        .message("azureOpenAI must be set if and only if type is AzureOpenAI"),
    validation = Rule::new("(self.type == 'Bedrock') == has(self.bedrock)")
        .message("bedrock must be set if and only if type is Bedrock"),
    validation = Rule::new("(self.type == 'VertexAI') == has(self.vertexAI)")
        .message("vertexAI must be set if and only if type is VertexAI")
)]
pub struct AIProviderSpec {
    /// Wire protocol and authentication style. OpenAI is also the type of every server with an OpenAI-compatible API
    /// (vLLM, Ollama, llama.cpp), together with baseURL. Echo is built in, needs neither network nor key and answers
    /// deterministically. AzureOpenAI, Bedrock and VertexAI are reserved: this version answers them with
    /// Accepted=False, reason UnsupportedType. Cannot be changed.
    #[serde(rename = "type")]
    pub type_: ProviderType,

    /// Address, written as the vendor's own SDK takes it: with the version segment for type OpenAI
    /// (https://api.openai.com/v1, http://vllm.ai.svc:8000/v1), without for all others. Default: the vendor's public
    /// address. Plain http is accepted only for names and addresses inside the cluster. Refused in a cluster are
    /// loopback, link-local, multicast and reserved addresses, cloud metadata services, the Kubernetes API server, the
    /// gateway itself, and the ports of kubelets, etcd and the control plane (2379, 2380, 6443, 10248-10250,
    /// 10255-10257, 10259). A name that resolves to a refused address is refused when the gateway connects. Redirects
    /// are not followed.
    #[serde(default, rename = "baseURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048))]
    pub base_url: Option<String>,

    /// API surfaces that an OpenAI-type server has. Chat, Responses, Messages and Gemini requests are translated to one of
    /// ChatCompletions and Responses; requests for the others are passed through to providers that have them. OtherPaths
    /// lets clients call any other path below baseURL with this provider's key, if the request names a model. Default: all
    /// except Rerank and OtherPaths at api.openai.com, ChatCompletions and Embeddings at any other baseURL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 10))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub endpoints: Option<Vec<Endpoint>>,

    /// How to authenticate. Leave out for servers that need no credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,

    /// TLS settings, for servers with a private certificate authority, another host name or client certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,

    /// The egress proxy to reach it through, in place of the data plane's HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY;
    /// or none. Default: as these say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,

    /// Headers, query parameters and body defaults that are added to every request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestSettings>,

    /// Settings of type AzureOpenAI, which this version does not serve yet.
    #[serde(default, rename = "azureOpenAI", skip_serializing_if = "Option::is_none")]
    pub azure_openai: Option<AzureOpenAI>,

    /// Settings of type Bedrock, which this version does not serve yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bedrock: Option<Bedrock>,

    /// Settings of type VertexAI, which this version does not serve yet.
    #[serde(default, rename = "vertexAI", skip_serializing_if = "Option::is_none")]
    pub vertex_ai: Option<VertexAI>,

    /// Which AIRoutes may use this provider, and so spend its budget. Default: those of its own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_routes: Option<AllowedRoutes>,

    /// Prices and capabilities of this provider's models, by the id that is sent to it; an exact id wins, else the longest
    /// prefix. If the list is not empty, routes of other namespaces may use the models on it and no others: * allows all.
    /// Such routes can raise a price and narrow what a model can do, not more; routes of this namespace may override price
    /// and capabilities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["model".into()]))]
    pub models: Vec<ProviderModel>,

    /// Maximum number of concurrent requests, per data-plane pod. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 100_000))]
    pub max_concurrent_requests: Option<u32>,

    /// When a failing upstream of this provider is evicted, and for how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eviction: Option<Eviction>,
}

/// Exactly one way to authenticate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.apiKey) != has(self.aws)")
    .message("exactly one of apiKey or aws must be set"))]
pub struct Credentials {
    /// A key, sent in the header that the type asks for or in another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKeyCredential>,
    /// AWS access keys, for type Bedrock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsCredential>,
}

/// An API key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyCredential {
    /// The Secret that holds the key, in this namespace. A trailing newline is ignored.
    pub secret_ref: SecretKeyRef,
    /// Header to send it in, for gateways in front of a vendor, such as api-key or Ocp-Apim-Subscription-Key. Default:
    /// Authorization, x-api-key or x-goog-api-key, as the type has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = HEADER_NAME))]
    pub header: Option<String>,
    /// Text in front of the key. Default: "Bearer " in the header Authorization, nothing in others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([!-~][ -~]*)?$"))]
    pub prefix: Option<String>,
}

/// AWS access keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsCredential {
    /// A Secret in this namespace with the keys accessKeyId, secretAccessKey and, for temporary credentials,
    /// sessionToken.
    pub secret_ref: SecretRef,
}

/// Trust settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.caCertificateRef) || has(self.serverName) || has(self.clientCertificateRef)")
    .message("at least one of caCertificateRef, serverName and clientCertificateRef must be set"))]
pub struct Tls {
    /// PEM certificates to trust instead of the public authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificate_ref: Option<CaCertificateRef>,
    /// Name to ask for (SNI) and to verify, instead of the host in baseURL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub server_name: Option<String>,
    /// A Secret in this namespace with the keys tls.crt and tls.key, as those of type kubernetes.io/tls have: the
    /// certificate to show to a server that asks for one. A renewed one is used for new connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretRef>,
}

/// Settings of type AzureOpenAI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureOpenAI {
    /// The api-version query parameter.
    #[schemars(length(min = 1, max = 32))]
    pub api_version: String,
}

/// Settings of type Bedrock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bedrock {
    /// AWS region.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9-]+$"))]
    pub region: String,
}

/// Settings of type VertexAI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VertexAI {
    /// Google Cloud project id.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9-]+$"))]
    pub project: String,
    /// Google Cloud location, such as europe-west4 or global.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9-]+$"))]
    pub location: String,
}

/// Which routes may use a provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedRoutes {
    /// Namespaces whose AIRoutes may refer to this provider.
    #[serde(default)]
    pub namespaces: Namespaces,
}

/// What models of a provider cost and can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderModel {
    /// Model id at the provider: exact, or a prefix with one trailing *.
    pub model: ModelPattern,
    /// What it costs. Tokens with a spend limit do not use a model without a price. For one that costs nothing, write 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// What it can do. A request that needs more skips it. Default: everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub capabilities: Vec<Capability>,
    /// Maximum output tokens that it accepts, including reasoning. A request for more asks for this instead, with a warning.
    /// Default: what the built-in table knows, for translated requests; docs/models.md shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 10_000_000))]
    pub max_output_tokens: Option<u32>,
    /// Parameters that it does not support. They are left out of requests, with a warning; translation Strict refuses the
    /// request instead, and log probabilities are refused unless it is Lenient. The list counts instead of the built-in
    /// table, so an empty one says that the model takes all of them. Default: what the table knows, for translated
    /// requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub unsupported: Option<Vec<RequestFeature>>,
}

/// Passive health checking: an upstream with this many consecutive failures is evicted for this long, in each data-plane
/// pod by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Eviction {
    /// Number of consecutive failures.
    #[serde(default = "consecutive_failures")]
    #[schemars(with = "i32", range(min = 1, max = 1000))]
    pub consecutive_failures: u32,
    /// How long it stays evicted.
    #[serde(default = "eviction_duration")]
    pub duration: Duration,
}

/// Observed state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AIProviderStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Accepted: the spec makes sense. ResolvedRefs: Secret and certificates were found. Programmed: every connected
    /// data-plane pod has it. Ready: all of these. CredentialsAccepted is False while the upstream rejects the key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "condition::schema")]
    pub conditions: Vec<Condition>,
    /// AIRoutes that name this provider in an upstream, of the namespaces that allowedRoutes admits. They count whether or
    /// not they serve: an AIProvider that is not ready, or an AIRoute that is not accepted, changes nothing here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached_routes: Option<i32>,
}

impl Default for Eviction {
    fn default() -> Self {
        Self { consecutive_failures: consecutive_failures(), duration: eviction_duration() }
    }
}

fn consecutive_failures() -> u32 {
    5
}

fn eviction_duration() -> Duration {
    Duration::from_secs(30)
}
