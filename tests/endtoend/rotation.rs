//! Provider keys and API keys change under traffic, and no request fails.

use crate::cluster::{Cluster, Traffic, key, list, provide, route, token, upstream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use routeapi_tests::operator::Release;
use routeapi_tests::upstream::Script;
use routeapi_tests::wait;
use serde_json::json;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);

fn slow() -> Script {
    Script::new().text("hello").delay_headers(Duration::from_millis(10))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_key_changes_under_traffic() {
    let cluster = Cluster::shared().await;
    let _turn = cluster.together().await;
    let release = &cluster.release;
    let upstream = upstream(slow()).await;
    let namespace = cluster.namespace("upstream-key").await;
    provide(release, &namespace, &upstream).await;
    release.apply(&namespace, &list(&[route(release, "keyed", &namespace, "model"), token("app")])).await.unwrap();
    release.condition("AIRoute", (&namespace, "keyed"), ("Ready", "True")).await;
    let own = release.token(&namespace, "app").await.remove("token").unwrap();
    let traffic = Traffic::start(&cluster.clients(&own), "keyed", &own);
    traffic.more(30).await;

    let started = Instant::now();
    let secrets: Api<Secret> = Api::namespaced(release.api().client().await.unwrap(), &release.namespace);
    let changed = Patch::Apply(key(&namespace, "second"));
    secrets.patch(&namespace, &PatchParams::apply("routeapi-tests").force(), &changed).await.unwrap();
    let fresh = || upstream.last().header("authorization") == Some("Bearer second");
    wait::until_true("the new key reaches the upstream", LIMIT, fresh).await;
    let took = started.elapsed();
    wait::until_true("every pod uses the new key", LIMIT, || {
        let recent = upstream.received().into_iter().rev().take(30);
        recent.into_iter().all(|request| request.header("authorization") == Some("Bearer second"))
    })
    .await;
    traffic.more(30).await;
    let (answered, failures) = traffic.end().await;
    let received = upstream.received();
    let old = received.iter().filter(|request| request.header("authorization") == Some("Bearer first")).count();
    let new = received.iter().filter(|request| request.header("authorization") == Some("Bearer second")).count();
    println!(
        "figure: upstream key changed under traffic: first use {took:?} after server-side apply began, {old} with the old key, {new} with the new one, {answered} requests, failed = {}",
        failures.len()
    );
    assert!(failures.is_empty(), "{:?}", failures.first());
    assert_eq!(old + new, received.len(), "there is no third key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_rotated_under_traffic() {
    let cluster = Cluster::shared().await;
    let _turn = cluster.together().await;
    let release = &cluster.release;
    let upstream = upstream(slow()).await;
    let namespace = cluster.namespace("rotation").await;
    provide(release, &namespace, &upstream).await;
    let with_revision = |revision: u32| {
        let mut token = token("app");
        token["spec"]["rotation"] = json!({"overlap": "4s", "revision": revision});
        token
    };
    release
        .apply(&namespace, &list(&[route(release, "rotated", &namespace, "model"), with_revision(0)]))
        .await
        .unwrap();
    release.condition("AIRoute", (&namespace, "rotated"), ("Ready", "True")).await;
    release.condition("ApiToken", (&namespace, "app"), ("Ready", "True")).await;
    let old = release.token(&namespace, "app").await.remove("token").unwrap();
    let clients = cluster.clients(&old);
    let traffic = Traffic::start(&clients, "rotated", &old);
    traffic.more(30).await;

    let tokens = release.objects("ApiToken", &namespace).await.unwrap();
    let started = Instant::now();
    Release::server_side_apply(&tokens, &with_revision(1)).await.unwrap();
    let changed = || async { release.token(&namespace, "app").await.remove("token").filter(|value| *value != old) };
    let (new, took) = wait::until("the Secret holds a new value", LIMIT, changed).await;
    // Whoever reads the new Secret is known to every pod already, and the old one still is.
    for client in &clients {
        let known = client.with_token(&new).chat("rotated").await;
        assert_eq!(known.status, 200, "the new token is not known: {}", known.text());
        let still = client.with_token(&old).chat("rotated").await;
        assert_eq!(still.status, 200, "the old token is refused too early: {}", still.text());
    }
    traffic.use_token(&new);
    traffic.more(30).await;
    let refused = || async { (clients[0].with_token(&old).chat("rotated").await.status == 401).then_some(()) };
    wait::until("the old token is refused after the overlap", LIMIT, refused).await;
    let overlap = started.elapsed();
    assert!(overlap >= Duration::from_secs(4), "the old value lived for {overlap:?} only");
    let (answered, failures) = traffic.end().await;
    println!(
        "figure: token rotated under traffic: new Secret after {took:?}, old value refused after {overlap:?} (overlap 4s), {answered} requests, failed = {}",
        failures.len()
    );
    assert!(failures.is_empty(), "{:?}", failures.first());
}
