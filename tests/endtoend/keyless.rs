//! Pods call without a key, with the tokens that a real API server issues to them, while that rotates its signing key. It is
//! an API server of the test's own, because it is restarted.

use crate::cluster::{Traffic, list};
use kube::api::{Api, ListParams, Patch, PatchParams};
use routeapi_channel::service_account::GATEWAY_AUDIENCE;
use routeapi_tests::apiserver::ApiServer;
use routeapi_tests::client::Client;
use routeapi_tests::operator::{self, PodGateway, Release};
use routeapi_tests::wait;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "routeapi.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn token(accounts: &[&str]) -> Value {
    let subjects: Vec<_> = accounts.iter().map(|name| json!({"serviceAccountName": name})).collect();
    object("ApiToken", "app", &json!({"models": ["*"], "secretKeys": "None", "subjects": subjects}))
}

async fn status(pod: &PodGateway, token: &str) -> u16 {
    Client::new(pod.gateway.address(), token).chat("echo").await.status
}

async fn accepted(pods: &[PodGateway], token: &str) {
    for pod in pods {
        wait::until("the token is accepted", LIMIT, || async { (status(pod, token).await == 200).then_some(()) }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_call_without_a_key_while_the_signing_key_is_rotated() {
    let api: &'static ApiServer = Box::leak(Box::new(ApiServer::start().await.unwrap()));
    let release = Release::install(api, &[]).await.unwrap();
    let operator = release.operator(None).await.unwrap();
    let pods = [release.gateway(&operator).await.unwrap(), release.gateway(&operator).await.unwrap()];
    let namespace = api.namespace("keyless").await.unwrap();
    let upstreams = json!([{"name": "echo", "providerRef": {"name": "echo"}}]);
    let objects = [
        object("AIProvider", "echo", &json!({"type": "Echo"})),
        object("AIRoute", "echo", &json!({"model": "echo", "upstreams": upstreams})),
        token(&["checkout", "cart"]),
    ];
    release.apply(&namespace, &list(&objects)).await.unwrap();
    release.condition("AIRoute", (&namespace, "echo"), ("Ready", "True")).await;
    let secret = release.condition("ApiToken", (&namespace, "app"), ("SecretReady", "True")).await;
    assert_eq!(secret["reason"], "SecretNotRequired");
    release.condition("ApiToken", (&namespace, "app"), ("Ready", "True")).await;
    let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(api.client().await.unwrap(), &namespace);
    assert_eq!(secrets.list(&ListParams::default()).await.unwrap().items.len(), 0, "a Secret was written");

    let (checkout, mail) = (api.pod(&namespace, "checkout").await.unwrap(), api.pod(&namespace, "mail").await.unwrap());
    let own = checkout.token(GATEWAY_AUDIENCE).await.unwrap();
    accepted(&pods, &own).await;
    assert_eq!(status(&pods[0], &mail.token(GATEWAY_AUDIENCE).await.unwrap()).await, 403, "another account");
    assert_eq!(status(&pods[0], &checkout.token("another-service").await.unwrap()).await, 401, "another audience");
    let unbound = api.service_account_token(&namespace, "checkout", Some(GATEWAY_AUDIENCE)).await.unwrap();
    assert_eq!(status(&pods[0], &unbound).await, 401, "bound to no pod");

    let cart = api.pod(&namespace, "cart").await.unwrap().token(GATEWAY_AUDIENCE).await.unwrap();
    accepted(&pods, &cart).await;
    let tokens = release.objects("ApiToken", &namespace).await.unwrap();
    let without_cart = Patch::Merge(json!({"spec": {"subjects": [{"serviceAccountName": "checkout"}]}}));
    let started = Instant::now();
    tokens.patch("app", &PatchParams::default(), &without_cart).await.unwrap();
    for pod in &pods {
        wait::until("the subject is refused", LIMIT, || async { (status(pod, &cart).await == 403).then_some(()) })
            .await;
    }
    println!("figure: subject removed until both gateways refuse it: {:?}", started.elapsed());
    assert_eq!(operator::forbidden(), Vec::<String>::new(), "the chart's roles lack something");

    // As a pod sees it whose token is renewed some time after the rotation.
    let clients: Vec<_> = pods.iter().map(|pod| Client::new(pod.gateway.address(), &own)).collect();
    let traffic = Traffic::start(&clients, "echo", &own);
    traffic.more(30).await;
    api.rotate_service_account_key().await.unwrap();
    let started = Instant::now();
    let renewed = checkout.token(GATEWAY_AUDIENCE).await.unwrap();
    accepted(&pods, &renewed).await;
    let took = started.elapsed();
    traffic.more(30).await;
    let (answered, failures) = traffic.end().await;
    println!(
        "figure: signing key of ServiceAccount tokens rotated: {answered} requests with the token from before, failed = {}; \
         the first token signed with the new key was accepted {took:?} after it was issued",
        failures.len()
    );
    assert!(failures.is_empty(), "{:?}", failures.first());
}
