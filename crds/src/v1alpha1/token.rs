//! ApiToken: who may call, which models, and how much.
//!
//! The raw token exists only in a Secret of the token's namespace. Status holds ids and SHA-256 hashes, from which the
//! data plane is configured: who can write `apitokens/status` can mint a token.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::patterns::{LABEL, SUBDOMAIN};
use crate::{
    condition,
    value::{Duration, Enforcement, ModelPattern, NanoUsd, Window},
};

/// What the bearer of this token may do, and where its value is kept.
#[derive(Clone, Debug, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "routeapi.dev",
    version = "v1alpha1",
    kind = "ApiToken",
    plural = "apitokens",
    namespaced,
    status = "ApiTokenStatus",
    shortname = "apitok",
    category = "routeapi",
    cel,
    doc = "ApiToken is a client's key with the models it may use and its limits. The operator writes the key, base URL and \
           the SDKs' environment names to a Secret in the same namespace; only the key's SHA-256 leaves that namespace.",
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.secretName"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    // A string, because kubectl shows a date column in the future as <invalid>.
    printcolumn(name = "Expires", type_ = "string", json_path = ".spec.expirationTime"),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Programmed')].status",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 200").message("name must be at most 200 characters")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.secretName) == has(oldSelf.secretName) && (!has(self.secretName) || self.secretName == oldSelf.secretName)")
        .message("secretName is immutable: create a new ApiToken"),
    validation = Rule::new("!has(self.rotation) || !has(self.rotation.interval) || duration(self.rotation.overlap) < duration(self.rotation.interval)")
        .message("rotation.overlap must be shorter than rotation.interval")
)]
pub struct ApiTokenSpec {
    /// Human-readable description of this token's purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub description: Option<String>,

    /// Model ids that the bearer may name: exact, or a prefix with one trailing * (embed-*, or * for every model). It is
    /// about the id that the client sends, whatever upstream finally serves it. The AIRoute must allow this namespace too.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub models: Vec<ModelPattern>,

    /// What the bearer may use per window. All limits apply at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub limits: Vec<Limit>,

    /// Whether the bearer may use upstreams without a known price, whose usage does not count toward spend limits.
    /// Default: Deny if there is a spendUSD limit, else Allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpriced_models: Option<UnpricedModels>,

    /// Maximum number of concurrent requests, per data-plane pod. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 100_000))]
    pub max_concurrent_requests: Option<u32>,

    /// When the token stops working (RFC 3339). Enforced by the data plane's own clock. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Time>,

    /// Suspended refuses every request until set back to Active.
    #[serde(default)]
    pub state: TokenState,

    /// Name of the Secret that the operator writes the token to. Default: the token's name followed by -routeapi-token. A
    /// Secret of this name that exists already is never overwritten; if its owner labelled it routeapi.dev/import=true, the
    /// value under its key token is taken over as it is. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub secret_name: Option<String>,

    /// What the Secret holds. Plain: token and baseURL. PlainAndEnv: also the environment names that the OpenAI, Anthropic
    /// and Google SDKs read, so that one envFrom serves an app.
    #[serde(default)]
    pub secret_keys: SecretKeys,

    /// When the token gets a new value. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
}

/// Whether a token works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TokenState {
    /// It works.
    #[default]
    Active,
    /// Every request is refused.
    Suspended,
}

/// What becomes of upstreams that no price is known of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UnpricedModels {
    /// They are left out.
    Deny,
    /// They are used, and cost nothing.
    Allow,
}

/// What a token's Secret holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SecretKeys {
    /// `token` and `baseURL`.
    Plain,
    /// Also the SDKs' environment names.
    #[default]
    PlainAndEnv,
}

/// At most this much per window: exactly one of requests, tokens and spendUSD.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.requests), has(self.tokens), has(self.spendUSD)].filter(x, x).size() == 1")
    .message("exactly one of requests, tokens or spendUSD must be set"),
    validation = Rule::new("!has(self.requests) || !has(self.enforcement) || self.enforcement == 'Settle'")
    .message("enforcement Strict needs tokens or spendUSD"))]
pub struct Limit {
    /// Unique within the token; names the limit in errors and metrics. Counts do not depend on it: a renamed limit, or one
    /// with another window, counts what the token has used already.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,
    /// The period it counts over. Second, Minute and Hour slide; Day and Month are calendar periods in UTC.
    pub per: Window,
    /// Requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1, max = 9_007_199_254_740_991_i64))]
    pub requests: Option<u64>,
    /// Input and output tokens together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1, max = 9_007_199_254_740_991_i64))]
    pub tokens: Option<u64>,
    /// US dollars as a quoted decimal, at the prices of the upstreams that served.
    #[serde(default, rename = "spendUSD", skip_serializing_if = "Option::is_none")]
    pub spend_usd: Option<NanoUsd>,
    /// What happens to a streamed answer that goes beyond what was reserved for its request, because the upstream ignored
    /// the maximum or the request named none. Settle: it goes on and counts in full. Strict: it is ended with an error, and
    /// a request that may use more than the whole limit is refused.
    #[serde(default)]
    pub enforcement: Enforcement,
}

/// When the token gets a new value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// How often, at least 10m; 30 days are 720h. Default: only when revision is raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10m')").message("interval must be at least 10m"))]
    pub interval: Option<Duration>,
    /// How long the previous value keeps working.
    #[serde(default = "overlap")]
    pub overlap: Duration,
    /// Raise it to rotate now.
    #[serde(default)]
    #[schemars(with = "i32", range(min = 0, max = 2_147_483_647))]
    #[x_kube(validation = Rule::new("self >= oldSelf").message("revision can only grow"))]
    pub revision: u32,
}

/// Observed state of the token.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiTokenStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Accepted: the spec makes sense. SecretReady: the Secret holds the current key. Programmed: every connected
    /// data-plane pod has it. Ready: all of these, neither expired nor suspended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "condition::schema")]
    pub conditions: Vec<Condition>,
    /// The Secret that holds the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub secret_name: Option<String>,
    /// The keys that stand for this token now; two during a rotation's overlap.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    pub keys: Vec<KeyStatus>,
    /// When the next rotation is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_rotation_time: Option<Time>,
    /// The rotation.revision that was carried out last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation_revision: Option<i32>,
}

/// One secret value that stands for a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyStatus {
    /// The id inside the token, sk-<id>-…; twelve digits of the hash for an imported key.
    #[schemars(length(min = 1, max = 32))]
    pub id: String,
    /// SHA-256 of the token, hexadecimal.
    #[schemars(length(max = 64), regex(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: String,
    /// When it was made or taken over.
    pub issued_time: Time,
    /// When it stops working, after a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after_time: Option<Time>,
}

/// The Secret of a token that names none.
pub fn default_secret_name(token: &str) -> String {
    format!("{token}-routeapi-token")
}

impl ApiTokenSpec {
    /// Whether upstreams without a price are left out.
    pub fn denies_unpriced(&self) -> bool {
        match self.unpriced_models {
            Some(choice) => choice == UnpricedModels::Deny,
            None => self.limits.iter().any(|limit| limit.spend_usd.is_some()),
        }
    }
}

impl ApiToken {
    /// The Secret that holds this token's value, named or by default. Empty name only for an object without a name.
    pub fn secret_name(&self) -> String {
        let name = || default_secret_name(self.metadata.name.as_deref().unwrap_or_default());
        self.spec.secret_name.clone().unwrap_or_else(name)
    }
}

fn overlap() -> Duration {
    Duration::from_secs(24 * 3600)
}
