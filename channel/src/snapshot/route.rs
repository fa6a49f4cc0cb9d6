//! The meaning of model IDs.

use std::collections::{BTreeMap, BTreeSet};

use routeapi_crds::value::{
    Capability, Duration, FallbackCondition, HeartbeatMode, LoadBalancing, ModelPattern, NanoUsd, RequestFeature,
    Translation, UpstreamApi,
};
use serde::{Deserialize, Serialize};

use super::{
    namespace::{AllowedNamespaces, Namespace},
    object_id::ObjectId,
};

/// Model IDs, the upstreams that serve them, and what happens when one fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// Model IDs for tokens of its own namespace, if it is open to them: its model, and those aliases that no other route of
    /// the namespace has claimed.
    pub models: Vec<ModelPattern>,
    /// Model IDs for tokens of other namespaces. No two routes that take requests publish the same pattern to the same
    /// namespace; of overlapping patterns the longer one applies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<Published>,
    /// `owned_by` in model listings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owned_by: Option<String>,
    /// Whether model listings show it. A wildcard is never listed.
    pub listed: bool,
    /// Creation time of the object in seconds since 1970; `created` in model listings.
    pub created: i64,
    /// Namespaces whose tokens may use it.
    pub allowed_namespaces: AllowedNamespaces,
    /// What happens to request fields that an upstream does not support.
    pub translation: Translation,
    /// The usable upstreams in the order of the spec. Empty if none resolved: then every request is refused with `problem`.
    pub upstreams: Vec<Upstream>,
    /// How an upstream is chosen among those of the same priority.
    #[serde(default, skip_serializing_if = "LoadBalancing::is_default")]
    pub load_balancing: LoadBalancing,
    /// What keeps a session on one upstream of a priority; none for requests that are distributed one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// When, and how many times, another upstream is tried.
    pub fallback: Fallback,
    /// Heartbeats for streaming clients.
    #[serde(default, skip_serializing_if = "Heartbeat::is_default")]
    pub heartbeat: Heartbeat,
    /// Why upstreams are missing, for operators of the gateway; none if all are resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What a streaming client gets while there is no content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Heartbeat {
    /// When heartbeats are sent.
    pub mode: HeartbeatMode,
    /// The interval; none for the data plane's own setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
}

impl Heartbeat {
    /// Whether this is the default of a route.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What names the session of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Affinity {
    /// What clients are known to name it by, in headers and in the body.
    Session,
    /// The value of this header, whose name is in lower case.
    Header(String),
}

/// A pattern that is published to tokens of other namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Published {
    /// The id or prefix.
    pub model: ModelPattern,
    /// The allowed namespaces of the route to which it is published.
    #[serde(default, skip_serializing_if = "Reach::is_whole")]
    pub reach: Reach,
}

/// A part of a route's allowed namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reach {
    /// All of them.
    #[default]
    Whole,
    /// These of them.
    Only(BTreeSet<String>),
    /// All but these.
    Except(BTreeSet<String>),
}

/// One upstream of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Upstream {
    /// Unique within the route.
    pub name: String,
    /// A provider of the same snapshot.
    pub provider: ObjectId,
    /// Model ID at the provider; none for the ID that the client sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Which of OpenAI's APIs it is called on.
    #[serde(default, skip_serializing_if = "UpstreamApi::is_auto")]
    pub api: UpstreamApi,
    /// Lower numbers are tried first.
    pub priority: u32,
    /// Share of requests among upstreams of the same priority. 0 means none.
    pub weight: u32,
    /// Capabilities of the model according to the route; empty for those of the provider.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub capabilities: BTreeSet<Capability>,
    /// Price according to the route; none for that of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// Maximum output tokens of one response; a lower limit of the provider applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// Parameters that are not sent, in addition to those that the model does not support.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unsupported: BTreeSet<RequestFeature>,
    /// Timeouts, merged from route and upstream.
    pub timeouts: Timeouts,
}

/// Prices per one million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Price {
    /// Input tokens that were not read from a cache.
    pub input_per_million: NanoUsd,
    /// Output tokens, reasoning included.
    pub output_per_million: NanoUsd,
    /// Input tokens read from a cache; the input price if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input_per_million: Option<NanoUsd>,
    /// Input tokens written to a cache; the input price if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_per_million: Option<NanoUsd>,
}

/// Timeouts of the phases of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Timeouts {
    /// To a usable connection: DNS, TCP and TLS.
    pub connect: Duration,
    /// From sending the request to the first content. Pings, comments and role-only events are not content.
    pub first_content: Duration,
    /// Between two events of a stream.
    pub stream_idle: Duration,
    /// The whole request, all attempts together.
    pub request: Duration,
}

/// When another upstream is tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fallback {
    /// Failures that trigger fallback to the next upstream.
    pub conditions: BTreeSet<FallbackCondition>,
    /// Number of attempts, the first included.
    pub max_attempts: u32,
    /// The longest `Retry-After` that is waited for; upstreams that ask for more are skipped.
    pub max_retry_after: Duration,
}

impl Route {
    /// Whether any upstream takes requests: a route without one shadows no other route.
    pub fn serves(&self) -> bool {
        self.upstreams.iter().any(|upstream| upstream.weight > 0)
    }

    /// Whether `allowed_namespaces` admits tokens of this namespace. `namespaces` are those of the snapshot.
    pub fn is_open_to(&self, namespace: &str, namespaces: &BTreeMap<String, Namespace>) -> bool {
        self.allowed_namespaces.is_open_to(namespace, namespaces)
    }
}

impl Reach {
    /// Whether it includes all allowed namespaces.
    pub const fn is_whole(&self) -> bool {
        matches!(self, Self::Whole)
    }

    /// Whether it includes a namespace, given that the route allows it.
    pub fn contains(&self, namespace: &str) -> bool {
        match self {
            Self::Whole => true,
            Self::Only(names) => names.contains(namespace),
            Self::Except(names) => !names.contains(namespace),
        }
    }
}
