//! A deleted or relabelled Secret of a token is noticed within seconds, although the operator does not watch Secrets.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams};
use routeapi_channel::token_format;
use routeapi_crds::v1alpha1::ApiToken;
use routeapi_tests::wait;
use serde_json::{Value, json};

use crate::cluster::{Cluster, LIMIT, text};

async fn label(cluster: &Cluster, secret: &str, value: Value) {
    let patch = Patch::Merge(json!({"metadata": {"labels": {"routeapi.dev/import": value}}}));
    cluster.api::<Secret>().patch(secret, &PatchParams::default(), &patch).await.unwrap();
}

async fn delete(cluster: &Cluster, secret: &str) -> String {
    let held = text(&cluster.secret(secret).await.unwrap(), "token");
    cluster.api::<Secret>().delete(secret, &DeleteParams::default()).await.unwrap();
    held
}

/// Waits for another value than this, which is then the only one that works.
async fn made_anew(cluster: &Cluster, token: &str, secret: &str, than: &str) {
    let look = || async {
        let value =
            cluster.secret(secret).await.map(|secret| text(&secret, "token")).filter(|secret| secret != than)?;
        let keys = cluster.api::<ApiToken>().get(token).await.unwrap().status.unwrap_or_default().keys;
        (keys.len() == 1 && keys[0].sha256 == token_format::sha256(&value)).then_some(())
    };
    let (_, took) = wait::until("a new key", LIMIT, look).await;
    println!("figure: a new key {took:?} after its Secret was deleted");
}

#[tokio::test]
async fn a_deleted_or_relabelled_secret_is_noticed_without_a_change_of_the_token() {
    let cluster = Cluster::new("noticed").await;
    let _operator = cluster.operator(&["--secret-check=200ms", "--resync=10m"]).await;
    cluster.token("app", json!({"secretName": "app-key"})).await;
    cluster.condition("ApiToken", "app", "SecretReady", ("True", "SecretReady")).await;
    let first = delete(&cluster, "app-key").await;
    made_anew(&cluster, "app", "app-key", &first).await;
    cluster.condition("ApiToken", "app", "SecretReady", ("True", "SecretReady")).await;

    let object = json!({"stringData": {"token": "my-old-key-of-before"}});
    cluster.create::<Secret>("Secret", "mine", object).await;
    cluster.token("brought", json!({"secretName": "mine"})).await;
    cluster.condition("ApiToken", "brought", "SecretReady", ("False", "SecretNotOwned")).await;
    label(&cluster, "mine", json!("true")).await;
    cluster.condition("ApiToken", "brought", "SecretReady", ("True", "SecretReady")).await;
    label(&cluster, "mine", Value::Null).await;
    cluster.condition("ApiToken", "brought", "SecretReady", ("False", "SecretNotOwned")).await;
    let keys = cluster.api::<ApiToken>().get("brought").await.unwrap().status.unwrap().keys;
    assert!(keys.is_empty(), "a value that is not to be imported any more stands for nothing");
}

#[tokio::test]
async fn a_change_of_the_token_rechecks_its_secret() {
    let cluster = Cluster::new("touched").await;
    let _operator = cluster.operator(&["--secret-check=0s", "--resync=10m"]).await;
    cluster.token("app", json!({"secretName": "app-key"})).await;
    cluster.condition("ApiToken", "app", "SecretReady", ("True", "SecretReady")).await;
    let first = delete(&cluster, "app-key").await;
    let patch = Patch::Merge(json!({"metadata": {"annotations": {"example.com/touched": "now"}}}));
    cluster.api::<ApiToken>().patch("app", &PatchParams::default(), &patch).await.unwrap();
    made_anew(&cluster, "app", "app-key", &first).await;
}
