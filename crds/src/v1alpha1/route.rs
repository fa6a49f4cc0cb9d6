//! AIRoute: maps model IDs to upstreams.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    namespaces::Namespaces,
    patterns::{HEADER_NAME, LABEL},
    reference::ProviderRef,
};
use crate::{
    condition,
    value::{
        AffinityType, Capability, Duration, FallbackCondition, HeartbeatMode, LoadBalancing, ModelPattern, NanoUsd,
        RequestFeature, Translation, UpstreamApi,
    },
};

/// Model IDs, the upstreams that serve them, and what happens when one fails.
#[derive(Clone, Debug, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "routeapi.dev",
    version = "v1alpha1",
    kind = "AIRoute",
    plural = "airoutes",
    namespaced,
    status = "AIRouteStatus",
    shortname = "air",
    category = "routeapi",
    selectable = ".spec.model",
    cel,
    doc = "AIRoute maps model IDs to upstreams: which upstreams serve a model, in which order, what happens when one fails, \
           and which namespaces' tokens may use it. For tokens of its own namespace it takes precedence over AIRoutes that \
           other namespaces publish.",
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.model"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Pods", type_ = "string", json_path = ".status.dataPlane.summary"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Accepted')].status",
        priority = 1
    ),
    printcolumn(
        name = "Resolved",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='ResolvedRefs')].status",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.aliases) || !(self.model in self.aliases)").message("aliases must not repeat model"),
    validation = Rule::new("self.upstreams.exists(u, u.weight > 0)")
        .message("at least one upstream must have a weight above 0"),
    validation = Rule::new("!has(self.delegates) || self.model.endsWith('*') || (has(self.aliases) && self.aliases.exists(a, a.endsWith('*')))")
        .message("delegates requires a model or alias that ends in *")
)]
pub struct AIRouteSpec {
    /// Model ID that clients send: exact, or a prefix with a trailing * (gpt-*, or * for all models). It need not be an ID that a
    /// vendor uses. For a request, the exact ID or the longest prefix among the routes in the token's namespace applies; if there
    /// is none, among those that other namespaces publish. Immutable: add an alias or create a new AIRoute.
    #[x_kube(validation = Rule::new("self == oldSelf").message("model is immutable: add an alias or a new AIRoute"))]
    pub model: ModelPattern,

    /// Further model IDs or prefixes. One that another AIRoute has already claimed is skipped; the Accepted condition says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub aliases: Vec<ModelPattern>,

    /// Value of owned_by in model lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub owned_by: Option<String>,

    /// Whether model lists include this route. For a prefix they include the models below it that the route's providers offer,
    /// as long as the upstreams set no model of their own; the prefix itself is never listed.
    #[serde(default)]
    pub visibility: Visibility,

    /// ApiTokens that may use this route, if their models list allows it too. Default: those in this namespace. Other namespaces
    /// are admitted only if this namespace may publish models: that of the Helm release, those in the Helm value
    /// publishNamespaces, and those with the label routeapi.dev/publish-models=true. Otherwise the Accepted condition has the
    /// reason NotPublished, and the route serves its own namespace only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_tokens: Option<AllowedTokens>,

    /// Other namespaces whose AIRoutes may publish model IDs under this route's prefixes. By default, newer routes of other
    /// namespaces cannot publish IDs under a published prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegates: Option<Delegates>,

    /// Upstreams that serve the model.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub upstreams: Vec<Upstream>,

    /// How requests are distributed among upstreams of the same priority. Default: by weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancer>,

    /// Keeps the requests of a session on one upstream of a priority, so that it finds its input cached. Default: no affinity.
    /// Requests that name no session are distributed as loadBalancer says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,

    /// When other upstreams are tried, and how many. Optional; fallback is on by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,

    /// Timeouts of all upstreams without timeouts of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,

    /// Heartbeats for streaming clients while there is no content, so that neither load balancers nor clients close an idle
    /// connection. Optional; heartbeats are on by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Heartbeat>,

    /// What happens to request fields that the upstream's API format does not support. Default: hints are dropped and listed in
    /// the header x-routeapi-warnings; requests whose meaning would change are refused. Strict: all such requests are refused.
    /// Lenient: fields are dropped with a warning whenever the remaining request is valid.
    #[serde(default)]
    pub translation: Translation,
}

/// Whether model lists include a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Visibility {
    /// Included.
    #[default]
    Listed,
    /// Usable, but not included.
    Unlisted,
}

/// The ApiTokens that may use a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedTokens {
    /// Namespaces whose ApiTokens may use this route.
    #[serde(default)]
    pub namespaces: Namespaces,
}

/// Permission for more specific routes of other namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.namespaces.from) && self.namespaces.from != 'Same'")
    .message("delegates.namespaces.from must be Selector or All: routes of the same namespace need no delegation"))]
pub struct Delegates {
    /// Namespaces whose AIRoutes may publish model IDs under this route's prefixes, if they may publish models at all.
    pub namespaces: Namespaces,
}

/// A provider, and the model to request from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Upstream {
    /// Name of the upstream in logs and metrics, unique within the route.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,

    /// AIProvider to use.
    pub provider_ref: ProviderRef,

    /// Model ID at the provider. Default: the model ID in the client's request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub model: Option<String>,

    /// Which of OpenAI's APIs the upstream is called on, for clients of every API. Auto: the client's own if the upstream has it;
    /// otherwise Responses if it has that, unless the request contains something that only Chat Completions supports. The
    /// AIProvider must have the API: see its endpoints.
    #[serde(default)]
    pub api: UpstreamApi,

    /// Upstreams with lower numbers are tried first. The next number is tried when all upstreams of this one are evicted or have
    /// failed.
    #[serde(default)]
    #[schemars(with = "i32", range(min = 0, max = 15))]
    pub priority: u32,

    /// Share of requests among upstreams of the same priority. 0: no requests.
    #[serde(default = "weight")]
    #[schemars(with = "i32", range(min = 0, max = 1_000_000))]
    pub weight: u32,

    /// Capabilities of the model. Requests that need others skip this upstream. Default: those in the AIProvider. If the
    /// AIProvider is in another namespace, only capabilities that both have count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub capabilities: Vec<Capability>,

    /// Price of the model. Default: that in the AIProvider. If the AIProvider is in another namespace, the higher price applies,
    /// and a model without a price there has none. Tokens with a spend limit cannot use upstreams without a price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,

    /// Maximum output tokens, including reasoning; a lower limit in the AIProvider or the built-in table applies. A higher value
    /// in a request is lowered to this, with a warning; requests without a limit get this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 10_000_000))]
    pub max_output_tokens: Option<u32>,

    /// Parameters to remove from requests, with a warning, in addition to those that the AIProvider lists as unsupported. With
    /// translation Strict such requests are refused; requests for log probabilities are refused unless translation is Lenient.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub unsupported: Vec<RequestFeature>,

    /// Timeouts that override those of the route, field by field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
}

/// Price in US dollars per one million tokens, as quoted decimals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// Price of input tokens that are not read from a cache.
    pub input_per_million: NanoUsd,
    /// Price of output tokens, including reasoning.
    pub output_per_million: NanoUsd,
    /// Price of input tokens read from a cache. Default: inputPerMillion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input_per_million: Option<NanoUsd>,
    /// Price of input tokens written to a cache. Default: inputPerMillion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_per_million: Option<NanoUsd>,
}

/// When other upstreams are tried. Only before content was sent to the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fallback {
    /// Failures that trigger fallback to the next upstream.
    #[serde(default = "conditions")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub conditions: Vec<FallbackCondition>,
    /// Maximum number of attempts, including the first.
    #[serde(default = "max_attempts")]
    #[schemars(with = "i32", range(min = 1, max = 10))]
    pub max_attempts: u32,
    /// Maximum Retry-After to wait for; upstreams that ask for more are skipped.
    #[serde(default = "max_retry_after")]
    pub max_retry_after: Duration,
}

/// Timeouts of the phases of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.request) || !has(self.firstContent) || duration(self.firstContent) <= duration(self.request)")
    .message("firstContent must not exceed request"))]
pub struct Timeouts {
    /// Establishing a connection: DNS, TCP and TLS. Default: 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Duration>,
    /// From sending the request to the first content; pings and empty events are not content. Default: 600s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_content: Option<Duration>,
    /// Between two events of a stream. Default: 600s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_idle: Option<Duration>,
    /// The whole request, including all attempts. Default: 3600s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Duration>,
}

/// How requests are distributed among upstreams of the same priority. Each data-plane pod decides by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancer {
    /// Weighted: random, by weight. LeastRequest: of two upstreams chosen by weight, the one with fewer requests in flight relative
    /// to its weight. LowestLatency: of two upstreams chosen by weight, the one with the lower expected latency, which is its
    /// recent time to first content times its requests in flight.
    #[serde(rename = "type", default)]
    pub type_: LoadBalancing,
}

/// Which requests stay on one upstream. All data-plane pods choose the same one, by consistent hashing of the ApiToken, the
/// session and the names of the upstreams; of the sessions of a priority each upstream gets the share that is its weight. A
/// session uses other upstreams only for requests that its own cannot serve: while it is evicted or cooling down, after it has
/// failed, or if it lacks a capability. A change of weights, or an upstream more or less, moves only as many sessions as it has
/// to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.type == 'Header') == has(self.header)")
    .message("header must be set if and only if type is Header"))]
pub struct Affinity {
    /// Session: the session that the client names, in a header of its own (such as X-Claude-Code-Session-Id, Session-Id or
    /// X-Session-Affinity) or in the body: prompt_cache_key, metadata.user_id, safety_identifier or user. Header: the value of
    /// the header named in header.
    #[serde(rename = "type", default)]
    pub type_: AffinityType,
    /// Name of the request header whose value is the session. Required for type Header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = HEADER_NAME))]
    pub header: Option<String>,
}

/// Heartbeats for streaming clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.interval) || duration(self.interval) >= duration('1s')")
    .message("interval must be at least 1s"))]
pub struct Heartbeat {
    /// When heartbeats are sent. Always: also before an upstream has responded; the client then gets status 200, and a failure of
    /// all upstreams as an error event in the stream. AfterContent: only after the first content; until then the client waits
    /// for the final status. Never: no heartbeats.
    #[serde(default)]
    pub mode: HeartbeatMode,
    /// Time without data before a heartbeat is sent. Set it below the idle timeouts of all load balancers in between. Default: the
    /// data plane's setting, 15s unless changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
}

/// Observed state of the AIRoute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AIRouteStatus {
    /// Generation of the spec to which this status applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Accepted: the spec is valid and the model is not claimed by another AIRoute. ResolvedRefs: at least one upstream is
    /// usable. Programmed: all connected data-plane pods use this generation. Ready: all of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "condition::schema")]
    pub conditions: Vec<Condition>,
    /// State of each upstream.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub upstreams: Vec<UpstreamStatus>,
    /// Rollout of this object to data-plane pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_plane: Option<DataPlaneStatus>,
}

/// State of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamStatus {
    /// Name of the upstream.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Whether the upstream is usable.
    pub resolved: bool,
    /// Reason why it is not usable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
    /// Human-readable message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub message: Option<String>,
}

/// Rollout of this object to data-plane pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataPlaneStatus {
    /// Pods that use this generation and all connected pods, such as 3/3.
    #[schemars(length(max = 32))]
    pub summary: String,
    /// Number of pods that use this generation.
    pub acknowledged: i32,
    /// Number of connected pods.
    pub connected: i32,
}

impl Default for Fallback {
    fn default() -> Self {
        Self { conditions: conditions(), max_attempts: max_attempts(), max_retry_after: max_retry_after() }
    }
}

fn weight() -> u32 {
    1
}

fn conditions() -> Vec<FallbackCondition> {
    use FallbackCondition::{ConnectFailure, RateLimited, ServerError, Timeout};
    vec![ConnectFailure, Timeout, RateLimited, ServerError]
}

fn max_attempts() -> u32 {
    3
}

fn max_retry_after() -> Duration {
    Duration::from_secs(2)
}
