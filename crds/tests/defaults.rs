//! Defaults of the schema, which an API server fills in, equal those of the types.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use kube::core::cel::apply_defaults;
use routeapi_crds::{
    schema,
    v1alpha1::{AIProviderSpec, AIRouteSpec, ApiTokenSpec},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Reads a spec as written and as an API server stores it, and expects both to be the same.
fn read<T: Serialize + DeserializeOwned>(kind: &str, spec: Value) -> Value {
    let schema = schema::open_api(kind).unwrap();
    let stored = apply_defaults(&schema["properties"]["spec"], &spec);
    let ours = serde_json::to_value(serde_json::from_value::<T>(spec).unwrap()).unwrap();
    let theirs = serde_json::to_value(serde_json::from_value::<T>(stored.clone()).unwrap()).unwrap();
    assert_eq!(ours, theirs, "{kind}: defaults differ between schema and types");
    stored
}

#[test]
fn a_route_falls_back_by_default() {
    let upstreams = json!([{"name": "a", "providerRef": {"name": "p"}}]);
    let route = read::<AIRouteSpec>("AIRoute", json!({"model": "m", "fallback": {}, "upstreams": upstreams}));
    assert_eq!(
        route,
        json!({
            "model": "m",
            "visibility": "Listed",
            "translation": "Default",
            "fallback": {
                "conditions": ["ConnectFailure", "Timeout", "RateLimited", "ServerError"],
                "maxAttempts": 3,
                "maxRetryAfter": "2s"
            },
            "upstreams": [{"name": "a", "providerRef": {"name": "p"}, "api": "Auto", "priority": 0, "weight": 1}]
        })
    );
}

#[test]
fn explicit_zeros_and_empty_lists_are_kept() {
    let upstreams = json!([{"name": "a", "providerRef": {"name": "p"}, "weight": 0, "priority": 0}]);
    let fallback = json!({"conditions": [], "maxRetryAfter": "0s"});
    let route = json!({"model": "m", "fallback": fallback, "upstreams": upstreams});
    let stored = read::<AIRouteSpec>("AIRoute", route);
    assert_eq!(stored["upstreams"][0]["weight"], 0);
    assert_eq!(stored["fallback"]["conditions"], json!([]));
    assert_eq!(stored["fallback"]["maxRetryAfter"], "0s");
}

#[test]
fn references_have_default_keys() {
    let provider = json!({
        "type": "OpenAI",
        "eviction": {},
        "allowedRoutes": {},
        "credentials": {"apiKey": {"secretRef": {"name": "s"}}},
        "tls": {"caCertificateRef": {"kind": "ConfigMap", "name": "c"}}
    });
    let stored = read::<AIProviderSpec>("AIProvider", provider);
    assert_eq!(stored["credentials"]["apiKey"]["secretRef"]["key"], "apiKey");
    assert_eq!(stored["tls"]["caCertificateRef"]["key"], "ca.crt");
    assert_eq!(stored["eviction"], json!({"consecutiveFailures": 5, "duration": "30s"}));
    assert_eq!(stored["allowedRoutes"]["namespaces"]["from"], "Same");
}

#[test]
fn a_token_is_active_and_its_secret_has_env_keys() {
    let stored = read::<ApiTokenSpec>("ApiToken", json!({"models": ["*"], "rotation": {}}));
    let rotation = json!({"overlap": "24h", "revision": 0});
    let expected = json!({"models": ["*"], "state": "Active", "secretKeys": "PlainAndEnv", "rotation": rotation});
    assert_eq!(stored, expected);
}
