//! What a model id means.

use std::collections::{BTreeMap, BTreeSet};

use routeapi_crds::value::{
    Capability, Duration, FallbackCondition, HeartbeatMode, LoadBalancing, ModelPattern, NanoUsd, RequestFeature,
    Translation,
};
use serde::{Deserialize, Serialize};

use super::{AllowedNamespaces, Namespace, ObjectId};

/// The models that a route publishes, the upstreams that serve them, and what to do when one fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// What it answers to for tokens of its own namespace, if it is open to them: its model and those aliases that no
    /// other route of the namespace has.
    pub models: Vec<ModelPattern>,
    /// What it answers to for tokens of other namespaces. No two routes that take requests have a published id in common
    /// for one namespace, except that a longer pattern goes before a shorter one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<Published>,
    /// `owned_by` in model listings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owned_by: Option<String>,
    /// Whether model listings show it. A wildcard is never listed.
    pub listed: bool,
    /// When the object was created, in seconds since 1970; `created` in model listings.
    pub created: i64,
    /// Namespaces whose tokens may use it.
    pub allowed_namespaces: AllowedNamespaces,
    /// What happens to fields that an upstream cannot express.
    pub translation: Translation,
    /// The usable upstreams, in the order they were written. Empty if none resolved: then every request is refused
    /// with `problem`.
    pub upstreams: Vec<Upstream>,
    /// Which of the upstreams of one priority is tried first.
    #[serde(default, skip_serializing_if = "LoadBalancing::is_default")]
    pub load_balancing: LoadBalancing,
    /// When and how often another upstream is tried.
    pub fallback: Fallback,
    /// What a streaming client is sent while no content comes.
    #[serde(default, skip_serializing_if = "Heartbeat::is_default")]
    pub heartbeat: Heartbeat,
    /// Why upstreams are missing, in words for whoever runs the gateway; none if all resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What a streaming client is sent while no content comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Heartbeat {
    /// When.
    pub mode: HeartbeatMode,
    /// How often; none means what the data plane is started with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
}

impl Heartbeat {
    /// Whether this is what a route does that says nothing.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A pattern that reaches tokens of other namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Published {
    /// The id or prefix.
    pub model: ModelPattern,
    /// Which of the route's allowed namespaces it reaches.
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

/// One way to serve a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Upstream {
    /// Unique within the route.
    pub name: String,
    /// A provider of the same snapshot.
    pub provider: ObjectId,
    /// Model id at the provider; none means the id that the client sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Lower is tried first.
    pub priority: u32,
    /// Share of requests among upstreams of the same priority. 0 means none.
    pub weight: u32,
    /// What the route says the model can do; empty means what the provider says.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub capabilities: BTreeSet<Capability>,
    /// What the route says it costs; none means what the provider says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// Most output tokens of one answer, where nothing else says less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// Parameters that are not sent, beside those that the model does not take.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unsupported: BTreeSet<RequestFeature>,
    /// The limits of patience, route and upstream already merged.
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

/// How long each step of an attempt may take.
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
    /// Attempts in all, the first included.
    pub max_attempts: u32,
    /// An upstream that asks for a longer wait is left out instead of waited for.
    pub max_retry_after: Duration,
}

impl Route {
    /// Whether any upstream takes requests: a route without one hides no other route.
    pub fn serves(&self) -> bool {
        self.upstreams.iter().any(|upstream| upstream.weight > 0)
    }

    /// Whether its own rules let tokens of this namespace use it. `namespaces` are those of the snapshot.
    pub fn is_open_to(&self, namespace: &str, namespaces: &BTreeMap<String, Namespace>) -> bool {
        self.allowed_namespaces.is_open_to(namespace, namespaces)
    }
}

impl Reach {
    /// Whether nothing is taken away.
    pub const fn is_whole(&self) -> bool {
        matches!(self, Self::Whole)
    }

    /// Whether a namespace, if it is allowed at all, is reached.
    pub fn contains(&self, namespace: &str) -> bool {
        match self {
            Self::Whole => true,
            Self::Only(names) => names.contains(namespace),
            Self::Except(names) => !names.contains(namespace),
        }
    }
}
