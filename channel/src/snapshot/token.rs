//! Permissions and limits of an app.

use routeapi_crds::value::{Enforcement, ModelPattern, NanoUsd, Window};
use serde::{Deserialize, Serialize};

/// A client's permission to use models. It has only hashes of keys: the data plane hashes what a client presents and looks it
/// up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Token {
    /// The valid keys; two during a rotation's overlap.
    pub keys: Vec<TokenKey>,
    /// Names of the ServiceAccounts of the token's own namespace whose pods may call without a key. The data plane verifies
    /// their tokens with [`crate::frame::FromOperator::ServiceAccountIssuer`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub service_accounts: Vec<String>,
    /// The model IDs it may request.
    pub models: Vec<ModelPattern>,
    /// Limits, all of which apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
    /// Whether upstreams without a price are skipped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deny_unpriced: bool,
    /// Maximum number of concurrent requests, per data-plane pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent_requests: Option<u32>,
    /// Expiration in seconds since 1970; enforced by the data plane's own clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
    /// Whether every request is refused.
    #[serde(default)]
    pub suspended: bool,
}

/// One API key of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenKey {
    /// The ID inside a minted key (`sk-<id>-…`); for an imported key the first twelve digits of its hash.
    pub id: String,
    /// SHA-256 of the whole key, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// End of a rotation's overlap in seconds since 1970; none for the current key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<i64>,
}

/// A limit per window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limit {
    /// Unique within the token; names the limit in errors and metrics.
    pub name: String,
    /// The window.
    pub per: Window,
    /// What is limited, and the maximum.
    pub quantity: Quantity,
    /// What happens to a response that exceeds its reservation.
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
