//! What a data plane needs to verify ServiceAccount tokens without asking anybody.

use serde::{Deserialize, Serialize};

/// The audience that a ServiceAccount token must have to be accepted by the gateway.
pub const GATEWAY_AUDIENCE: &str = "routeapi-gateway";

/// Who issues the ServiceAccount tokens of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountIssuer {
    /// The claim `iss` of its tokens.
    pub issuer: String,
    /// The keys that its tokens may be signed with, ordered by `kid`. A data plane skips those that it cannot use.
    pub keys: Vec<VerificationKey>,
}

/// A public key (RFC 7517): `n` and `e` of an RSA key, `crv`, `x` and `y` of an elliptic curve, base64url without padding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VerificationKey {
    /// The ID in the header of tokens that are signed with it.
    #[serde(default)]
    pub kid: String,
    /// `RSA` or `EC`.
    pub kty: String,
    /// The only algorithm that it may be used with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// Modulus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    /// Public exponent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
    /// Curve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// First coordinate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// Second coordinate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
}
