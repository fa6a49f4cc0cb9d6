//! The control plane of the harness is real: what the other tests rely on holds.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests may stop at the first surprise"
)]

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::api::{Api, ListParams, PostParams};
use routeapi_tests::apiserver::{ApiServer, until};
use std::time::Duration;

async fn review(client: &kube::Client, token: &str, audience: &str) -> TokenReviewStatus {
    let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![audience.to_owned()]) };
    let object = TokenReview { spec, ..TokenReview::default() };
    let api: Api<TokenReview> = Api::all(client.clone());
    api.create(&PostParams::default(), &object).await.unwrap().status.unwrap()
}

#[tokio::test]
async fn kubectl_and_the_client_see_the_same_server() {
    let api = ApiServer::shared().await;
    let namespace = api.namespace("same").await.unwrap();
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {zero: \"0\"}\n";
    api.kubectl_with_input(&["-n", &namespace, "apply", "-f", "-"], manifest).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(api.client().await.unwrap(), &namespace);
    assert_eq!(maps.get("settings").await.unwrap().data.unwrap()["zero"], "0");
    let version = api.kubectl(&["version"]).await.unwrap();
    assert!(version.contains("Server Version: v1.34"), "{version}");
}

#[tokio::test]
async fn kubectl_reports_what_the_server_said() {
    let api = ApiServer::shared().await;
    let error = api.kubectl(&["get", "airoute-nobody-knows"]).await.unwrap_err().to_string();
    assert!(error.contains("doesn't have a resource type"), "{error}");
}

#[tokio::test]
async fn a_bound_token_names_its_pod_and_dies_with_it() {
    let api = ApiServer::shared().await;
    let client = api.client().await.unwrap();
    let namespace = api.namespace("bound").await.unwrap();
    let pod = api.pod(&namespace, "gateway").await.unwrap();
    let token = pod.token("routeapi-config").await.unwrap();

    let status = review(&client, &token, "routeapi-config").await;
    assert_eq!(status.authenticated, Some(true), "{:?}", status.error);
    assert_eq!(status.audiences.unwrap(), ["routeapi-config"]);
    let user = status.user.unwrap();
    assert_eq!(user.username.unwrap(), format!("system:serviceaccount:{namespace}:gateway"));
    let extra = user.extra.unwrap();
    assert_eq!(extra["authentication.kubernetes.io/pod-name"], std::slice::from_ref(&pod.name));
    assert_eq!(extra["authentication.kubernetes.io/pod-uid"], std::slice::from_ref(&pod.uid));

    assert_ne!(review(&client, &token, "another-audience").await.authenticated, Some(true));

    pod.delete().await.unwrap();
    // The server remembers a good token for up to 10 s.
    let (_, took) = until("the token of a deleted pod is refused", Duration::from_secs(20), || async {
        (review(&client, &token, "routeapi-config").await.authenticated != Some(true)).then_some(())
    })
    .await;
    println!("token refused {took:?} after its pod was deleted");
}

#[tokio::test]
async fn rbac_refuses_what_nobody_granted() {
    let api = ApiServer::shared().await;
    let namespace = api.namespace("rbac").await.unwrap();
    let token = api.service_account_token(&namespace, "default", None).await.unwrap();
    let client = api.client_for(&namespace, &token).await.unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(client, &namespace);
    let error = accounts.list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(&error, kube::Error::Api(status) if status.code == 403), "{error}");
}

#[tokio::test]
async fn data_outlives_a_crash_of_the_server() {
    let api = ApiServer::start().await.unwrap();
    let namespace = api.namespace("crash").await.unwrap();
    api.kill().unwrap();
    assert!(api.namespace("refused").await.is_err());
    let took = api.restart().await.unwrap();
    println!("API server ready again after {took:?}");
    api.kubectl(&["get", "namespace", &namespace]).await.unwrap();
}

#[tokio::test]
async fn our_kinds_are_served_and_explained() {
    let api = ApiServer::shared().await;
    let names = api.apply_crds().await.unwrap();
    assert_eq!(names, ["aiproviders.routeapi.dev", "airoutes.routeapi.dev", "apitokens.routeapi.dev"]);
    // The server publishes its OpenAPI a moment after it serves a kind.
    let explain = || async { api.kubectl(&["explain", "airoute.spec"]).await.ok() };
    let (text, _) = until("airoute.spec is explained", Duration::from_secs(30), explain).await;
    assert!(text.contains("upstreams") && !text.contains("<no description>"), "{text}");
}
