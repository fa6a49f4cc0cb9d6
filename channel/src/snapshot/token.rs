//! Who may call, which models, and how much.

use routeapi_crds::value::{Enforcement, ModelPattern, NanoUsd, Window};
use serde::{Deserialize, Serialize};

/// A client credential. Only hashes travel: the data plane hashes what is presented and looks it up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Token {
    /// The keys that stand for this token now; two during a rotation's overlap.
    pub keys: Vec<TokenKey>,
    /// The models it may name.
    pub models: Vec<ModelPattern>,
    /// What it may use per window.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
    /// Leaves out upstreams without a price.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deny_unpriced: bool,
    /// Maximum number of concurrent requests, per data-plane pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent_requests: Option<u32>,
    /// Seconds since 1970 after which it is refused; enforced by the data plane's own clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
    /// Refused until further notice.
    #[serde(default)]
    pub suspended: bool,
}

/// One secret value that stands for a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenKey {
    /// The id inside a minted token (`sk-<id>-…`); an imported key has the first twelve digits of its hash.
    pub id: String,
    /// SHA-256 of the whole value, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Seconds since 1970 after which this key is refused (the end of a rotation's overlap).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<i64>,
}

/// At most this quantity per window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limit {
    /// Unique within the token; names the limit in errors and metrics.
    pub name: String,
    /// The period it counts over.
    pub per: Window,
    /// What is counted and how much of it is allowed.
    pub quantity: Quantity,
    /// What happens to an answer that goes beyond its reservation.
    #[serde(default, skip_serializing_if = "Enforcement::is_default")]
    pub enforcement: Enforcement,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Quantity {
    /// Requests.
    Requests(u64),
    /// Input and output tokens together.
    Tokens(u64),
    /// Money, at the prices of the upstreams that served.
    Spend(NanoUsd),
}
