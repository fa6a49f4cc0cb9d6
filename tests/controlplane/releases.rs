//! Two installations in one namespace, separated by label selectors as in the chart: each has a leader, and neither writes
//! to objects of the other.

use k8s_openapi::api::core::v1::Secret;
use routeapi_crds::v1alpha1::ApiToken;
use serde_json::json;

use crate::{
    cluster::{Cluster, Running},
    tokens::certificate,
};

async fn installation(cluster: &Cluster, name: &str) -> Running {
    let own = [
        format!("--selector=team={name}"),
        format!("--lease={name}-operator"),
        format!("--service={name}-operator"),
        "--tls-existing-secret=own-tls".to_owned(), // the tests' policy knows one name for certificates
        format!("--ca-config-map={name}-config-ca"),
    ];
    cluster.operator(&own.each_ref().map(String::as_str)).await
}

async fn token(cluster: &Cluster, name: &str) {
    let object = json!({"metadata": {"name": name, "labels": {"team": name}}, "spec": {"models": ["*"]}});
    cluster.create::<ApiToken>("ApiToken", name, object).await;
}

#[tokio::test]
async fn two_installations_in_one_namespace_share_no_objects() {
    let cluster = Cluster::new("releases").await;
    let (chain, key) = certificate(&cluster.namespace);
    let tls = json!({"stringData": {"tls.crt": chain, "tls.key": key}});
    cluster.create::<Secret>("Secret", "own-tls", tls).await;
    let (red, blue) = (installation(&cluster, "red").await, installation(&cluster, "blue").await);
    red.leads().await;
    blue.leads().await;
    for name in ["red", "blue"] {
        token(&cluster, name).await;
    }
    for name in ["red", "blue"] {
        let secret = format!("{name}-routeapi-token");
        cluster.secret_value(&secret, "token").await;
        cluster.condition("ApiToken", name, "SecretReady", ("True", "SecretReady")).await;
    }
    // Either would write into the other's Secret as soon as it looked at it.
    for running in [&red, &blue] {
        let metrics = running.operator.as_ref().unwrap().metrics.text().unwrap();
        assert!(metrics.contains("routeapi_operator_tokens_minted_total 1\n"), "{metrics}");
    }
}
