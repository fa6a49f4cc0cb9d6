//! A cluster's issuer of ServiceAccount tokens without a cluster, which also issues what no cluster would.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use routeapi_channel::{ServiceAccountIssuer, service_account::GATEWAY_AUDIENCE};
use serde_json::{Value, json};

/// Who it says it is.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// The only key's ID.
const KEY_ID: &str = "of-this-test";

/// An issuer with one key.
pub struct TokenIssuer(EcdsaKeyPair);

impl TokenIssuer {
    /// With a key of its own.
    pub fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap())
    }

    /// What an operator tells data planes of it.
    pub fn told(&self) -> ServiceAccountIssuer {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let key = json!({"kid": KEY_ID, "kty": "EC", "alg": "ES256", "crv": "P-256", "x": part(x), "y": part(y)});
        serde_json::from_value(json!({"issuer": ISSUER, "keys": [key]})).unwrap()
    }

    /// What a token says that a pod of this ServiceAccount gets for the gateway, valid for an hour.
    pub fn claims(namespace: &str, account: &str) -> Value {
        let now = jiff::Timestamp::now().as_second();
        json!({
            "iss": ISSUER, "aud": [GATEWAY_AUDIENCE], "iat": now, "nbf": now, "exp": now + 3_600,
            "sub": format!("system:serviceaccount:{namespace}:{account}"),
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": account, "uid": "1"},
                "pod": {"name": format!("{account}-0"), "uid": "2"}},
        })
    }

    /// A token for a pod of this ServiceAccount.
    pub fn token(&self, namespace: &str, account: &str) -> String {
        self.sign(&Self::claims(namespace, account))
    }

    /// A token that says this.
    pub fn sign(&self, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&json!({"alg": "ES256", "kid": KEY_ID})), part(claims));
        let signature = self.0.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

impl Default for TokenIssuer {
    fn default() -> Self {
        Self::new()
    }
}
