//! AIRoute: what a model id means.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{namespaces::Namespaces, patterns::LABEL, reference::ProviderRef};
use crate::{
    condition,
    value::{
        Capability, Duration, FallbackCondition, HeartbeatMode, LoadBalancing, ModelPattern, NanoUsd, RequestFeature,
        Translation,
    },
};

/// The models that this route publishes, the upstreams that serve them, and what happens when one fails.
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
    doc = "AIRoute says what a model id means: which upstreams serve it, in which order, what happens when one fails, \
           and which namespaces' tokens may use it. For tokens of its own namespace it goes before what other \
           namespaces publish.",
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
        .message("at least one upstream needs a weight above 0"),
    validation = Rule::new("!has(self.delegates) || self.model.endsWith('*') || (has(self.aliases) && self.aliases.exists(a, a.endsWith('*')))")
        .message("delegates needs a model or alias that ends in *: there is nothing under an exact id")
)]
pub struct AIRouteSpec {
    /// The model id that clients send: exact, or a prefix with one trailing * (gpt-*, or * for every model). A token
    /// finds the exact id or the longest prefix among the routes of its own namespace, and only then among those that
    /// other namespaces publish. It need not be a name that any vendor uses. Cannot be changed: use aliases, or a new
    /// AIRoute.
    #[x_kube(validation = Rule::new("self == oldSelf").message("model is immutable: add an alias or a new AIRoute"))]
    pub model: ModelPattern,

    /// Further ids (or prefixes) for this model. One that another AIRoute has claimed already is skipped, and the Accepted
    /// condition says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub aliases: Vec<ModelPattern>,

    /// Shown as owned_by in model listings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub owned_by: Option<String>,

    /// Whether model listings show this route. A prefix is never listed.
    #[serde(default)]
    pub visibility: Visibility,

    /// Namespaces whose ApiTokens may use this route, if their own models list allows it too. Default: this namespace.
    /// Others are let in only if this namespace may publish models: the release's, those that the operator is told, and
    /// those with the label routeapi.dev/publish-models=true. Without that grant the Accepted condition says NotPublished
    /// and the route serves its own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_tokens: Option<AllowedTokens>,

    /// Other namespaces whose AIRoutes may publish ids under this route's prefixes. Without it, an id that falls under a
    /// published prefix belongs to that prefix's route for as long as the other route comes later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegates: Option<Delegates>,

    /// Upstreams that serve this model.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub upstreams: Vec<Upstream>,

    /// How requests are spread over upstreams of the same priority. Default: by weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancer>,

    /// When another upstream is tried, and how many times. Optional; fallback is on by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,

    /// How long each step may take, for all upstreams that do not say otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,

    /// What a streaming client is sent while no content comes, so that no load balancer or client in between gives up on
    /// a silent connection. Optional; heartbeats are on by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Heartbeat>,

    /// What happens to request fields that an upstream's protocol cannot express. Default: hints are dropped and listed in
    /// the x-routeapi-warnings header, what changes the meaning is refused. Strict: every drop is refused. Lenient: drops
    /// become warnings wherever the request can still be formed.
    #[serde(default)]
    pub translation: Translation,
}

/// Whether model listings show a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Visibility {
    /// Shown.
    #[default]
    Listed,
    /// Usable but not shown.
    Unlisted,
}

/// Which tokens may use a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedTokens {
    /// Namespaces whose ApiTokens may use this route.
    #[serde(default)]
    pub namespaces: Namespaces,
}

/// Consent to more specific routes of other namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.namespaces.from) && self.namespaces.from != 'Same'")
    .message("delegates.namespaces.from must be Selector or All: routes of the same namespace need no delegation"))]
pub struct Delegates {
    /// Namespaces whose AIRoutes may publish ids under this route's prefixes. They need the grant to publish as well.
    pub namespaces: Namespaces,
}

/// One way to serve a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Upstream {
    /// Unique within the route; names the upstream in logs and metrics.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,

    /// The AIProvider that serves it.
    pub provider_ref: ProviderRef,

    /// Model id at the provider. Default: the id that the client sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub model: Option<String>,

    /// Lower numbers are tried first. The next number is tried when every upstream of this one is evicted or failed.
    #[serde(default)]
    #[schemars(with = "i32", range(min = 0, max = 15))]
    pub priority: u32,

    /// Share of requests among upstreams of the same priority. 0 means none.
    #[serde(default = "weight")]
    #[schemars(with = "i32", range(min = 0, max = 1_000_000))]
    pub weight: u32,

    /// What the model can do. A request that needs more skips this upstream. Default: what the provider says of the model.
    /// At a provider of another namespace both must have what a request needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub capabilities: Vec<Capability>,

    /// What it costs. Default: what the provider says of the model. At a provider of another namespace the higher of both
    /// counts, and only the provider can make a model a priced one. Tokens with a spend limit do not use an upstream
    /// without a price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,

    /// Maximum output tokens of one answer, including reasoning, where the provider or the built-in table does not say less. A
    /// request for more asks for this instead, with a warning; one that names no limit asks for it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 10_000_000))]
    pub max_output_tokens: Option<u32>,

    /// Parameters that are left out of requests to it, with a warning, beside those that the provider says it does not
    /// take. With translation Strict such a request is refused; log probabilities are refused unless it is Lenient.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub unsupported: Vec<RequestFeature>,

    /// Overrides the route's timeouts, field by field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
}

/// US dollars per one million tokens, as quoted decimals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// Input tokens that were not read from a cache.
    pub input_per_million: NanoUsd,
    /// Output tokens, reasoning included.
    pub output_per_million: NanoUsd,
    /// Input tokens read from a cache. Default: the input price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input_per_million: Option<NanoUsd>,
    /// Input tokens written to a cache. Default: the input price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_per_million: Option<NanoUsd>,
}

/// When another upstream is tried. Only before content has reached the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fallback {
    /// Failures that trigger fallback to the next upstream.
    #[serde(default = "conditions")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub conditions: Vec<FallbackCondition>,
    /// Attempts in all, the first included.
    #[serde(default = "max_attempts")]
    #[schemars(with = "i32", range(min = 1, max = 10))]
    pub max_attempts: u32,
    /// An upstream that asks for a longer wait (Retry-After) is skipped instead of waited for.
    #[serde(default = "max_retry_after")]
    pub max_retry_after: Duration,
}

/// How long each step of a request may take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.request) || !has(self.firstContent) || duration(self.firstContent) <= duration(self.request)")
    .message("firstContent must not exceed request"))]
pub struct Timeouts {
    /// To a usable connection: DNS, TCP and TLS. Default 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Duration>,
    /// From sending the request to the first content; pings and empty events do not count. Default 600s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_content: Option<Duration>,
    /// Between two events of a stream. Default 600s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_idle: Option<Duration>,
    /// The whole request, all attempts together. Default 3600s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Duration>,
}

/// How requests are spread over upstreams of the same priority, in each data-plane pod by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancer {
    /// Weighted: one at random, by weight. LeastRequest: of two drawn by weight, the one with fewer requests in flight for
    /// its weight. LowestLatency: of two drawn by weight, the one that is expected to answer sooner, by the time to its
    /// first content of late times its requests in flight.
    #[serde(rename = "type", default)]
    pub type_: LoadBalancing,
}

/// What keeps the connection of a streaming client open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.interval) || duration(self.interval) >= duration('1s')")
    .message("interval must be at least 1s"))]
pub struct Heartbeat {
    /// When heartbeats are sent. Always: also before an upstream has answered; status 200 then goes out before the answer
    /// is known, and a failure of every upstream is an error event in the stream. AfterContent: once an answer has begun;
    /// until then the client waits for the true status. Never: not at all.
    #[serde(default)]
    pub mode: HeartbeatMode,
    /// How long a client hears nothing before the next one. Keep it below the idle timeout of every load balancer in
    /// between. Default: what the data plane is started with, 15s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
}

/// Observed state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AIRouteStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Accepted: the spec makes sense and the model is not taken. ResolvedRefs: at least one upstream is usable.
    /// Programmed: every connected data-plane pod has it. Ready: all of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "condition::schema")]
    pub conditions: Vec<Condition>,
    /// Each upstream's own state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub upstreams: Vec<UpstreamStatus>,
    /// Rollout of this object to data-plane pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_plane: Option<DataPlaneStatus>,
}

/// One upstream's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamStatus {
    /// The upstream.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Whether it takes part.
    pub resolved: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
    /// Why not, as a message for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub message: Option<String>,
}

/// Rollout of this object to data-plane pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataPlaneStatus {
    /// Pods that have this generation, of all that are connected: 3/3.
    #[schemars(length(max = 32))]
    pub summary: String,
    /// Pods that have this generation.
    pub acknowledged: i32,
    /// Pods that are connected.
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
