//! Conditions as a platform engineer sees them: working objects are Programmed on all pods, and invalid ones have a reason
//! and affect no others.

use crate::cluster::{Cluster, GATEWAYS, Traffic, list, provide, route, route_to, token, upstream};
use routeapi_tests::client::{Client, Dialect};
use routeapi_tests::operator;
use routeapi_tests::upstream::Script;
use routeapi_tests::wait;
use serde_json::json;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programmed_means_all_pods_and_the_secret_suffices_for_an_app() {
    let cluster = Cluster::shared().await;
    let _turn = cluster.together().await;
    let release = &cluster.release;
    let upstream = upstream(Script::new().text("hello")).await;
    let namespace = cluster.namespace("programmed").await;
    provide(release, &namespace, &upstream).await;
    let started = Instant::now();
    let objects = list(&[route(release, "programmed", &namespace, "model"), token("app")]);
    release.apply(&namespace, &objects).await.unwrap();
    let programmed = release.condition("AIRoute", (&namespace, "programmed"), ("Programmed", "True")).await;
    println!(
        "figure: kubectl apply of a new route to Programmed=True: {:?} ({})",
        started.elapsed(),
        programmed["message"]
    );
    let air = release.objects("AIRoute", &namespace).await.unwrap().get("programmed").await.unwrap();
    let status = &air.data["status"]["dataPlane"];
    assert_eq!(
        (&status["summary"], &status["connected"]),
        (&format!("{GATEWAYS}/{GATEWAYS}").into(), &GATEWAYS.into())
    );

    release.condition("ApiToken", (&namespace, "app"), ("Ready", "True")).await;
    let data = release.token(&namespace, "app").await;
    let url = format!("http://routeapi.{}.svc", release.namespace);
    for (name, value) in [
        ("OPENAI_BASE_URL", format!("{url}/v1")),
        ("ANTHROPIC_BASE_URL", url.clone()),
        ("GOOGLE_GEMINI_BASE_URL", url.clone()),
    ] {
        assert_eq!(data[name], value, "{name}");
    }
    let dialects = [
        ("OPENAI_API_KEY", Dialect::Chat),
        ("ANTHROPIC_API_KEY", Dialect::Messages),
        ("GEMINI_API_KEY", Dialect::Gemini),
    ];
    for pod in &cluster.gateways {
        for (name, dialect) in dialects {
            assert_eq!(data[name], data["token"], "{name}");
            let answer = Client::new(pod.gateway.address(), &data[name]).ask(dialect, "programmed", false, "hi").await;
            assert_eq!(answer.status, 200, "{dialect:?}: {}", answer.text());
        }
    }
    let dump = cluster.gateways[0].gateway.config().await.to_string();
    assert!(!dump.contains(&data["token"]) && !dump.contains("\"first\""), "a secret is in /config");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_routes_report_reasons_and_do_not_affect_others() {
    let cluster = Cluster::shared().await;
    let _turn = cluster.together().await;
    let release = &cluster.release;
    let upstream = upstream(Script::new().text("hello")).await;
    let (namespace, closed) = (cluster.namespace("broken").await, cluster.namespace("closed").await);
    provide(release, &namespace, &upstream).await;
    let echo = json!({"apiVersion": "routeapi.dev/v1alpha1", "kind": "AIProvider", "metadata": {"name": "private"}, "spec": {"type": "Echo"}});
    release.apply(&closed, &list(&[echo])).await.unwrap();
    release.apply(&namespace, &list(&[route(release, "steady", &namespace, "model"), token("app")])).await.unwrap();
    release.condition("AIRoute", (&namespace, "steady"), ("Ready", "True")).await;
    let key = release.token(&namespace, "app").await.remove("token").unwrap();
    let traffic = Traffic::start(&cluster.clients(&key), "steady", &key);
    traffic.more(20).await;

    let unknown = route_to(&namespace, "unknown", "nobody-knows", "model");
    let mut forbidden = route(release, "forbidden", "private", "model");
    forbidden["spec"]["upstreams"][0]["providerRef"]["namespace"] = json!(closed);
    // Of routes made in the same second the first by name keeps the model.
    let mut usurper = route(release, "usurper", &namespace, "model");
    usurper["spec"]["model"] = json!("steady");
    release.apply(&namespace, &list(&[unknown, forbidden, usurper])).await.unwrap();

    let at = |name: &'static str| (namespace.as_str(), name);
    for (name, condition, reason, words) in [
        ("unknown", "ResolvedRefs", "ProviderNotFound", "nobody-knows"),
        ("forbidden", "ResolvedRefs", "RefNotPermitted", "private"),
        ("usurper", "Accepted", "ModelConflict", "steady"),
    ] {
        let said = release.condition("AIRoute", at(name), (condition, "False")).await;
        assert_eq!(said["reason"], reason, "{said}");
        assert!(said["message"].as_str().unwrap().contains(words), "{said}");
        let ready = release.condition("AIRoute", at(name), ("Ready", "False")).await;
        assert!(ready["message"].as_str().unwrap().contains(words), "{ready}");
    }
    let events = ["-n", &namespace, "get", "events.events.k8s.io", "-o", "jsonpath={.items[*].reason}"];
    wait::until("events tell of each", LIMIT, || async {
        let messages = release.api().kubectl(&events).await.unwrap();
        ["ProviderNotFound", "RefNotPermitted", "ModelConflict"]
            .iter()
            .all(|reason| messages.contains(reason))
            .then_some(())
    })
    .await;
    for client in cluster.clients(&key) {
        for model in ["unknown", "forbidden"] {
            let answer = client.chat(model).await;
            assert_eq!(answer.status, 503, "{model}: {}", answer.text());
            assert!(answer.json()["error"]["message"].as_str().unwrap().contains(model), "{}", answer.text());
        }
    }
    traffic.more(50).await;
    let (answered, failures) = traffic.end().await;
    println!("figure: requests beside three broken routes = {answered}, failed = {}", failures.len());
    assert!(failures.is_empty(), "{:?}", failures.first());
    assert_eq!(operator::forbidden(), Vec::<String>::new(), "the chart's roles lack something");
}
