//! ApiToken: an app's permission to use models, with limits.
//!
//! The API key exists only in a Secret in the token's namespace. The status has IDs and SHA-256 hashes, from which the data plane
//! is configured: any account that may write `apitokens/status` can create a key.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::patterns::{LABEL, SUBDOMAIN};
use crate::{
    condition,
    value::{Duration, Enforcement, ModelPattern, NanoUsd, Window},
};

/// An app's permission to use models, with limits, and the Secret for its API key.
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
    doc = "ApiToken is an app's permission to use models, with limits. The operator writes an API key, the base URL and the \
           SDKs' environment variables to a Secret in the same namespace; only the SHA-256 of the key leaves that namespace. \
           Beside or instead of that key, pods of the ServiceAccounts in subjects call with their own projected tokens.",
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
        .message("rotation.overlap must be shorter than rotation.interval"),
    validation = Rule::new("self.secretKeys != 'None' || (has(self.subjects) && self.subjects.size() > 0)")
        .message("secretKeys None requires subjects: otherwise nobody could use the token"),
    validation = Rule::new("self.secretKeys != 'None' || !has(self.rotation)")
        .message("rotation requires an API key: secretKeys is None")
)]
pub struct ApiTokenSpec {
    /// Human-readable description of this token's purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub description: Option<String>,

    /// Model IDs that the app may request: exact, or a prefix with a trailing * (embed-*, or * for all models). The AIRoute must
    /// allow this namespace too. It does not matter which upstream finally serves the request.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub models: Vec<ModelPattern>,

    /// ServiceAccounts of this namespace whose pods may call without an API key, with a projected ServiceAccount token for the
    /// audience routeapi-gateway. A ServiceAccount belongs to one ApiToken only. An API key is issued as well, unless secretKeys
    /// is None.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["serviceAccountName".into()]))]
    pub subjects: Vec<Subject>,

    /// Limits per time window. All of them apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub limits: Vec<Limit>,

    /// Whether the app may use upstreams without a price, whose usage does not count toward spend limits. Default: Deny if there
    /// is a spendUSD limit, otherwise Allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpriced_models: Option<UnpricedModels>,

    /// Maximum number of concurrent requests per data-plane pod. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 100_000))]
    pub max_concurrent_requests: Option<u32>,

    /// Time when the token expires (RFC 3339). Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Time>,

    /// Active or Suspended. All requests with a suspended token are refused.
    #[serde(default)]
    pub state: TokenState,

    /// Name of the Secret for the API key. Default: the name of the ApiToken with the suffix -routeapi-token. An existing Secret
    /// is never overwritten; if it has the label routeapi.dev/import=true, the value of its key token is imported as the API
    /// key. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub secret_name: Option<String>,

    /// Keys of the Secret. Plain: token and baseURL. PlainAndEnv: also the environment variables of the OpenAI, Anthropic and
    /// Google SDKs, so that an app needs a single envFrom. None: there is no API key and no Secret, and only the subjects may
    /// call; a key that was issued before is refused at once.
    #[serde(default)]
    pub secret_keys: SecretKeys,

    /// When the API key is rotated. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
}

/// Whether a token is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TokenState {
    /// Requests are accepted.
    #[default]
    Active,
    /// All requests are refused.
    Suspended,
}

/// Whether upstreams without a price are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UnpricedModels {
    /// They are skipped.
    Deny,
    /// They are used, and their usage costs nothing.
    Allow,
}

/// The keys of a token's Secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SecretKeys {
    /// `token` and `baseURL`.
    Plain,
    /// Also the environment variables of the SDKs.
    #[default]
    PlainAndEnv,
    /// There is no API key, and no Secret is written.
    None,
}

/// Who may call without an API key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// Name of a ServiceAccount in the ApiToken's namespace. It need not exist yet.
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub service_account_name: String,
}

/// A limit per time window: exactly one of requests, tokens and spendUSD.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.requests), has(self.tokens), has(self.spendUSD)].filter(x, x).size() == 1")
    .message("exactly one of requests, tokens or spendUSD must be set"),
    validation = Rule::new("!has(self.requests) || !has(self.enforcement) || self.enforcement == 'Settle'")
    .message("enforcement Strict requires tokens or spendUSD"))]
pub struct Limit {
    /// Name of the limit in errors and metrics, unique within the token. Usage is counted per token, so that a renamed limit, or
    /// one with another window, includes what was used before.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,
    /// Time window. Second, Minute and Hour are sliding windows; Day and Month are calendar periods in UTC.
    pub per: Window,
    /// Maximum number of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1, max = 9_007_199_254_740_991_i64))]
    pub requests: Option<u64>,
    /// Maximum number of input and output tokens together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1, max = 9_007_199_254_740_991_i64))]
    pub tokens: Option<u64>,
    /// Maximum spend in US dollars as a quoted decimal, at the prices of the upstreams that served the requests.
    #[serde(default, rename = "spendUSD", skip_serializing_if = "Option::is_none")]
    pub spend_usd: Option<NanoUsd>,
    /// What happens to a streamed response that exceeds its reservation, because the upstream ignores the maximum or the request
    /// has none. Settle: it continues and counts in full. Strict: it ends with an error, and requests that may use more than
    /// the whole limit are refused.
    #[serde(default)]
    pub enforcement: Enforcement,
}

/// When the API key is rotated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// Interval of rotations, at least 10m; 720h are 30 days. Default: only when revision is raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10m')").message("interval must be at least 10m"))]
    pub interval: Option<Duration>,
    /// How long the previous key stays valid.
    #[serde(default = "overlap")]
    pub overlap: Duration,
    /// Raise this number to rotate the key now.
    #[serde(default)]
    #[schemars(with = "i32", range(min = 0, max = 2_147_483_647))]
    #[x_kube(validation = Rule::new("self >= oldSelf").message("revision can only be increased"))]
    pub revision: u32,
}

/// Observed state of the ApiToken.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiTokenStatus {
    /// Generation of the spec to which this status applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Accepted: the spec is valid. SecretReady: the Secret contains the current API key. Programmed: all connected data-plane
    /// pods use this generation. Ready: all of these, and the token is neither expired nor suspended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "condition::schema")]
    pub conditions: Vec<Condition>,
    /// Name of the Secret with the API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub secret_name: Option<String>,
    /// Valid API keys; two during the overlap of a rotation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    pub keys: Vec<KeyStatus>,
    /// Time of the next rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_rotation_time: Option<Time>,
    /// Value of rotation.revision at the last rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation_revision: Option<i32>,
}

/// An API key of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyStatus {
    /// ID in the key, sk-<id>-…; for imported keys the first twelve digits of the hash.
    #[schemars(length(min = 1, max = 32))]
    pub id: String,
    /// SHA-256 of the key, hexadecimal.
    #[schemars(length(max = 64), regex(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: String,
    /// Time when the key was issued or imported.
    pub issued_time: Time,
    /// Time when the key expires after a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after_time: Option<Time>,
}

/// The default name of a token's Secret.
pub fn default_secret_name(token: &str) -> String {
    format!("{token}-routeapi-token")
}

impl ApiTokenSpec {
    /// Whether an API key is issued.
    pub fn has_key(&self) -> bool {
        self.secret_keys != SecretKeys::None
    }

    /// Whether upstreams without a price are skipped.
    pub fn denies_unpriced(&self) -> bool {
        match self.unpriced_models {
            Some(choice) => choice == UnpricedModels::Deny,
            None => self.limits.iter().any(|limit| limit.spend_usd.is_some()),
        }
    }
}

impl ApiToken {
    /// The name of the Secret with this token's API key.
    pub fn secret_name(&self) -> String {
        let name = || default_secret_name(self.metadata.name.as_deref().unwrap_or_default());
        self.spec.secret_name.clone().unwrap_or_else(name)
    }
}

fn overlap() -> Duration {
    Duration::from_secs(24 * 3600)
}
