//! Issuing and rotating the keys of ApiTokens, and interruptions of that.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams};
use routeapi_channel::{
    Kind,
    token_format::{self, Reading},
};
use routeapi_crds::v1alpha1::{ApiToken, KeyStatus};
use routeapi_tests::wait;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, LIMIT, text},
    dataplane::Manner,
    rights,
};

async fn keys(cluster: &Cluster, name: &str) -> Vec<KeyStatus> {
    cluster.api::<ApiToken>().get(name).await.unwrap().status.unwrap_or_default().keys
}

async fn change(cluster: &Cluster, name: &str, spec: Value) {
    let patch = Patch::Merge(json!({"spec": spec}));
    cluster.api::<ApiToken>().patch(name, &PatchParams::default(), &patch).await.unwrap();
}

/// Waits until the Secret holds another value than this.
async fn other_value(cluster: &Cluster, secret: &str, than: &str) -> String {
    let look =
        || async { cluster.secret(secret).await.map(|secret| text(&secret, "token")).filter(|secret| secret != than) };
    wait::until("another value in the Secret", LIMIT, look).await.0
}

#[tokio::test]
async fn a_key_is_published_in_its_secret_after_data_planes_acknowledge_it() {
    let cluster = Cluster::new("mint").await;
    let operator = cluster.operator(&[]).await;
    let gateway = cluster.data_plane(&operator, Manner::default()).await;
    gateway.until("the first state", |state| state.revision.is_some()).await;
    let started = std::time::Instant::now();
    cluster.token("checkout", json!({})).await;
    let value = cluster.secret_value("checkout-routeapi-token", "token").await;
    println!("figure: Secret {:?} after the ApiToken", started.elapsed());
    let body = gateway.now().body(Kind::Token, &cluster.namespace, "checkout").expect("known before it is written");
    assert!(body.contains(&token_format::sha256(&value)) && !body.contains(&value));
    assert!(matches!(token_format::read(&value), Reading::Minted { .. }));

    let secret = cluster.secret("checkout-routeapi-token").await.unwrap();
    let names: BTreeSet<_> = secret.data.as_ref().unwrap().keys().map(String::as_str).collect();
    let wanted = [
        "token",
        "baseURL",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_BASE_URL",
        "GEMINI_API_KEY",
        "GOOGLE_GEMINI_BASE_URL",
    ];
    assert_eq!(names, BTreeSet::from(wanted));
    assert_eq!(text(&secret, "OPENAI_BASE_URL"), "http://gateway.test/v1");
    assert_eq!(text(&secret, "ANTHROPIC_BASE_URL"), "http://gateway.test");
    let (_, took) = cluster.condition("ApiToken", "checkout", "Ready", ("True", "Ready")).await;
    println!("figure: Ready {took:?} later");
    let held = serde_json::to_string(&cluster.api::<ApiToken>().get("checkout").await.unwrap()).unwrap();
    assert!(!held.contains(&value), "the value is nowhere but in its Secret");

    change(&cluster, "checkout", json!({"secretKeys": "Plain"})).await;
    let look = || async { (cluster.secret("checkout-routeapi-token").await?.data?.len() == 2).then_some(()) };
    wait::until("the SDKs' names are gone", LIMIT, look).await;
    assert_eq!(cluster.secret_value("checkout-routeapi-token", "token").await, value, "the value is the same");
}

#[tokio::test]
async fn a_rotation_overlaps_and_a_deleted_secret_revokes_at_once() {
    let cluster = Cluster::new("rotate").await;
    let operator = cluster.operator(&[]).await;
    cluster.token("app", json!({"secretName": "app-key", "rotation": {"overlap": "1h"}})).await;
    let first = cluster.secret_value("app-key", "token").await;
    cluster.condition("ApiToken", "app", "SecretReady", ("True", "SecretReady")).await;
    change(&cluster, "app", json!({"rotation": {"revision": 1}})).await;
    let second = other_value(&cluster, "app-key", &first).await;
    let look = || async {
        let keys = keys(&cluster, "app").await;
        let ends = |value: &str| {
            let key = keys.iter().find(|key| key.sha256 == token_format::sha256(value))?;
            Some(key.not_after_time.clone())
        };
        (ends(&second)?.is_none() && ends(&first)?.is_some()).then_some(keys)
    };
    let (held, _) = wait::until("the old key has an end", LIMIT, look).await;
    let end = held.iter().find_map(|key| key.not_after_time.clone()).unwrap();
    let left = end.0.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((3500..=3600).contains(&left), "an overlap of an hour, not {left} s");
    drop(operator);

    let operator = cluster.operator(&["--resync=10m", "--identity=second"]).await;
    operator.leads().await;
    cluster.condition("ApiToken", "app", "SecretReady", ("True", "SecretReady")).await;
    assert_eq!(cluster.secret_value("app-key", "token").await, second, "another operator rotates nothing");
    cluster.api::<Secret>().delete("app-key", &DeleteParams::default()).await.unwrap();
    change(&cluster, "app", json!({"description": "looked at again"})).await;
    let third = other_value(&cluster, "app-key", &second).await;
    let look = || async {
        let keys = keys(&cluster, "app").await;
        (keys.len() == 1 && keys[0].sha256 == token_format::sha256(&third)).then_some(())
    };
    wait::until("only the new key is left", LIMIT, look).await;
}

#[tokio::test]
async fn a_crash_between_two_steps_is_recovered() {
    let cluster = Cluster::new("crash").await;
    // The step that cannot be done is the second: the Secret.
    rights::grant(&cluster, &rights::without_secret_verb("create")).await;
    let namespace = cluster.namespace.clone();
    let tls = json!({"stringData": {"tls.crt": certificate(&namespace).0, "tls.key": certificate(&namespace).1}});
    cluster.create::<Secret>("Secret", "own-tls", tls).await;
    let operator = cluster.start(&["--tls-existing-secret=own-tls"]).await;
    cluster.token("app", json!({"secretName": "app-key"})).await;
    let look = || async { keys(&cluster, "app").await.first().map(|key| key.sha256.clone()) };
    let (lost, _) = wait::until("a key in the status", LIMIT, look).await;
    assert!(cluster.secret("app-key").await.is_none());
    let secrets = format!("/api/v1/namespaces/{namespace}/secrets");
    assert_eq!(operator.kill_forbidden().await, format!("POST {secrets}"));

    rights::grant(&cluster, rights::ALL).await;
    let operator = cluster.start(&["--tls-existing-secret=own-tls", "--identity=second"]).await;
    operator.leads().await;
    let value = cluster.secret_value("app-key", "token").await;
    let look = || async {
        let keys = keys(&cluster, "app").await;
        (keys.len() == 1 && keys[0].sha256 == token_format::sha256(&value)).then_some(())
    };
    wait::until("the lost key is gone", LIMIT, look).await;
    assert_ne!(token_format::sha256(&value), lost);

    // Now the same in a rotation: the old value goes on working until the new one is in the Secret.
    rights::grant(&cluster, &rights::without_secret_verb("patch")).await;
    change(&cluster, "app", json!({"rotation": {"overlap": "1h", "revision": 1}})).await;
    let look = || async { (keys(&cluster, "app").await.len() >= 2).then_some(()) };
    wait::until("the new key is in the status", LIMIT, look).await;
    assert_eq!(operator.kill_forbidden().await, format!("PATCH {secrets}/app-key"));
    assert_eq!(cluster.secret_value("app-key", "token").await, value);
    rights::grant(&cluster, rights::ALL).await;
    let operator = cluster.start(&["--tls-existing-secret=own-tls", "--identity=third"]).await;
    operator.leads().await;
    let second = other_value(&cluster, "app-key", &value).await;
    let look = || async {
        let keys = keys(&cluster, "app").await;
        let find = |value: &str| keys.iter().find(|key| key.sha256 == token_format::sha256(value));
        (find(&second)?.not_after_time.is_none() && find(&value)?.not_after_time.is_some()).then_some(())
    };
    wait::until("both keys, the old one with an end", LIMIT, look).await;
}

/// A certificate of somebody else's making and its key.
pub fn certificate(namespace: &str) -> &'static (String, String) {
    static MADE: std::sync::OnceLock<(String, String)> = std::sync::OnceLock::new();
    MADE.get_or_init(|| {
        let names = vec![format!("routeapi-operator.{namespace}.svc")];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    })
}

#[tokio::test]
async fn a_foreign_secret_is_left_alone_and_an_imported_key_is_used() {
    let cluster = Cluster::new("import").await;
    let operator = cluster.operator(&[]).await;
    let gateway = cluster.data_plane(&operator, Manner::default()).await;
    let object = json!({"stringData": {"token": "my-old-key-of-before\n"}});
    cluster.create::<Secret>("Secret", "mine", object).await;
    cluster.token("app", json!({"secretName": "mine"})).await;
    let (message, _) = cluster.condition("ApiToken", "app", "SecretReady", ("False", "SecretNotOwned")).await;
    assert!(message.contains("routeapi.dev/import"), "{message}");
    assert_eq!(cluster.secret_value("mine", "token").await, "my-old-key-of-before\n", "not touched");

    let label = json!({"metadata": {"labels": {"routeapi.dev/import": "true"}}});
    cluster.api::<Secret>().patch("mine", &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
    change(&cluster, "app", json!({"description": "looked at again"})).await;
    cluster.condition("ApiToken", "app", "Ready", ("True", "Ready")).await;
    let hash = token_format::sha256("my-old-key-of-before");
    // A token whose Secret was refused before may be ready a moment before its new key has arrived.
    let has_key = |state: &crate::dataplane::State| {
        let body = state.body(Kind::Token, &cluster.namespace, "app");
        body.is_some_and(|body| body.contains(&hash) && body.contains(&hash[..12]))
    };
    gateway.until("the imported key", has_key).await;
}
