//! Conditions of routes and providers, and that an invalid object does not affect others.

use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use routeapi_channel::Kind;
use routeapi_crds::v1alpha1::{AIProvider, AIRoute};
use routeapi_tests::wait;
use serde_json::json;

use crate::{
    cluster::{Cluster, LIMIT},
    dataplane::Manner,
};

#[tokio::test]
async fn the_crds_install_and_kubectl_explains_them() {
    let cluster = Cluster::new("kinds").await;
    let text = cluster.server.kubectl(&["explain", "airoute.spec.fallback"]).await.unwrap();
    assert!(text.contains("upstream") && !text.contains("<empty>"), "{text}");
    let operator = cluster.operator(&[]).await;
    assert!(operator.admin("/livez").await.contains(" 200 "));
    let metrics = operator.admin("/metrics").await;
    assert!(metrics.contains("routeapi_operator_compile_seconds_count"), "{metrics}");
}

/// Creation times have seconds: who is to be younger than another object has to wait for the next one.
async fn a_later_second_than(cluster: &Cluster, route: &str) {
    let routes = cluster.api::<AIRoute>();
    let older = routes.get(route).await.unwrap();
    let attempt = AIRoute::new("clock", older.spec);
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let look = || async {
        let now = routes.create(&dry_run, &attempt).await.unwrap().metadata.creation_timestamp;
        (now > older.metadata.creation_timestamp).then_some(())
    };
    wait::until("the API server's clock to move on", LIMIT, look).await;
}

#[tokio::test]
async fn invalid_routes_report_reasons_and_do_not_affect_others() {
    let cluster = Cluster::new("broken").await;
    let operator = cluster.operator(&[]).await;
    let gateway = cluster.data_plane(&operator, Manner::default()).await;
    cluster.echo_provider("echo").await;
    cluster.route("good", "model-a", "echo").await;
    cluster.route("lost", "model-b", "nobody").await;
    let elsewhere = json!([{"name": "first", "providerRef": {"name": "echo", "namespace": "kube-system"}}]);
    let spec = json!({"spec": {"model": "model-c", "upstreams": elsewhere}});
    cluster.create::<AIRoute>("AIRoute", "trespasser", spec).await;
    cluster.condition("AIRoute", "good", "Ready", ("True", "Ready")).await;
    a_later_second_than(&cluster, "good").await;
    cluster.route("latecomer", "model-a", "echo").await;

    let (lost, took) = cluster.condition("AIRoute", "lost", "ResolvedRefs", ("False", "ProviderNotFound")).await;
    println!("unknown provider said after {took:?}: {lost}");
    let reasons = ["RefNotPermitted", "ProviderNotFound"];
    let look = || async {
        let conditions = cluster.conditions("AIRoute", "trespasser").await;
        let found = conditions
            .into_iter()
            .find(|condition| condition.type_ == "ResolvedRefs" && condition.status == "False")?;
        reasons.contains(&found.reason.as_str()).then_some(format!("{}: {}", found.reason, found.message))
    };
    println!(
        "forbidden namespace: {}",
        wait::until("the condition of the route without permission", LIMIT, look).await.0
    );
    let (conflict, _) = cluster.condition("AIRoute", "latecomer", "Accepted", ("False", "ModelConflict")).await;
    println!("conflict: {conflict}");
    assert!(conflict.contains("good"), "it names the winner");
    cluster.condition("AIRoute", "latecomer", "Ready", ("False", "ModelConflict")).await;
    cluster.condition("AIRoute", "good", "Ready", ("True", "Ready")).await;
    let state = gateway.now();
    assert!(state.body(Kind::Route, &cluster.namespace, "good").is_some());
    assert!(state.body(Kind::Route, &cluster.namespace, "latecomer").is_none());

    cluster.echo_provider("nobody").await;
    let (_, took) = cluster.condition("AIRoute", "lost", "Ready", ("True", "Ready")).await;
    println!("mended {took:?} after its provider came");
    let look = || async {
        let events = cluster.api::<Event>().list(&ListParams::default()).await.unwrap();
        events.items.into_iter().find(|event| event.reason.as_deref() == Some("ModelConflict"))
    };
    let (event, _) = wait::until("an event about the conflict", LIMIT, look).await;
    assert_eq!(event.type_.as_deref(), Some("Warning"));
}

#[tokio::test]
async fn a_provider_follows_changes_of_its_secret() {
    let cluster = Cluster::new("secret").await;
    let operator = cluster.operator(&[]).await;
    let gateway = cluster.data_plane(&operator, Manner::default()).await;
    let spec = json!({"spec": {"type": "OpenAI", "credentials": {"apiKey": {"secretRef": {"name": "key"}}}}});
    cluster.create::<AIProvider>("AIProvider", "openai", spec).await;
    cluster.condition("AIProvider", "openai", "ResolvedRefs", ("False", "SecretNotFound")).await;
    cluster.create::<Secret>("Secret", "key", json!({"stringData": {"apiKey": "first-key"}})).await;
    cluster.condition("AIProvider", "openai", "Ready", ("True", "Ready")).await;
    let change = json!({"stringData": {"apiKey": "second-key"}});
    cluster.api::<Secret>().patch("key", &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
    let holds = |key: &'static str| {
        let namespace = cluster.namespace.clone();
        move |state: &crate::dataplane::State| {
            state.body(Kind::Provider, &namespace, "openai").is_some_and(|body| body.contains(key))
        }
    };
    let took = gateway.until("the new key", holds("second-key")).await;
    println!("changed Secret in force after {took:?}");
    let status = serde_json::to_string(&cluster.api::<AIProvider>().get("openai").await.unwrap()).unwrap();
    assert!(!status.contains("second-key") && !status.contains("first-key"));

    cluster.api::<Secret>().delete("key", &DeleteParams::default()).await.unwrap();
    let (message, _) = cluster.condition("AIProvider", "openai", "ResolvedRefs", ("False", "SecretNotFound")).await;
    let secret = format!("Secret {}/key does not exist", cluster.namespace);
    assert!(message.contains(&secret) && message.contains("create it with the key \"apiKey\""), "{message}");
    let look = || async {
        let events = cluster.api::<Event>().list(&ListParams::default()).await.unwrap();
        let about =
            |it: &Event| it.reason.as_deref() == Some("SecretNotFound") && it.action.as_deref() == Some("ResolvedRefs");
        let mut missing = events.items.into_iter().filter(about);
        let (event, other) = (missing.next()?, missing.next());
        assert!(other.is_none(), "the same again is no event of its own");
        event.series.filter(|series| series.count == 2)
    };
    wait::until("the event to count two", LIMIT, look).await;
}

#[tokio::test]
async fn programmed_counts_pods_and_reports_rejections() {
    let cluster = Cluster::new("fleet").await;
    let operator = cluster.operator(&[]).await;
    let mut gateways = Vec::new();
    for _ in 0..3 {
        gateways.push(cluster.data_plane(&operator, Manner::default()).await);
    }
    for gateway in &gateways {
        gateway.until("its share of limits", |state| state.fleet.is_some_and(|(pods, _)| pods == 3)).await;
    }
    let mut ranks: Vec<_> = gateways.iter().filter_map(|gateway| gateway.now().fleet).map(|(_, rank)| rank).collect();
    ranks.sort_unstable();
    assert_eq!(ranks, [0, 1, 2]);
    cluster.echo_provider("echo").await;
    cluster.route("assistant", "assistant", "echo").await;
    let (message, took) = cluster.condition("AIRoute", "assistant", "Programmed", ("True", "Programmed")).await;
    println!("{message}, {took:?} after it was applied");
    assert!(message.contains("3/3"));
    let status = cluster.api::<AIRoute>().get("assistant").await.unwrap().status.unwrap();
    assert_eq!(status.data_plane.unwrap().summary, "3/3");

    let manner = Manner { refuses: Some("shiny"), ..Manner::default() };
    let old = cluster.data_plane(&operator, manner).await;
    cluster.route("shiny", "shiny", "echo").await;
    let (message, took) = cluster.condition("AIRoute", "shiny", "Programmed", ("False", "Rejected")).await;
    println!("{message:?}, {took:?} after it was applied");
    assert!(message.contains(&old.pod.name) && message.contains("this pod is too old for it"));
    cluster.route("another", "another", "echo").await;
    cluster.condition("AIRoute", "another", "Programmed", ("True", "Programmed")).await;
    cluster.api::<AIRoute>().delete("shiny", &DeleteParams::default()).await.unwrap();
    old.until("the refused route is taken back", |state| state.catalog.len() == 3).await;
    cluster.route("shiny", "shiny", "echo").await;
    cluster.condition("AIRoute", "shiny", "Programmed", ("False", "Rejected")).await;
    assert!(!old.task.is_finished(), "a refusal costs nobody the stream");
    cluster.condition("AIRoute", "assistant", "Ready", ("True", "Ready")).await;
    drop(old);
    let (_, took) = cluster.condition("AIRoute", "shiny", "Programmed", ("True", "Programmed")).await;
    println!("programmed {took:?} after the pod that refused left");
}

#[tokio::test]
async fn programmed_follows_connecting_and_disconnecting_pods() {
    let cluster = Cluster::new("numbers").await;
    let operator = cluster.operator(&[]).await;
    let _first = cluster.data_plane(&operator, Manner::default()).await;
    let _second = cluster.data_plane(&operator, Manner::default()).await;
    cluster.echo_provider("echo").await;
    let names: Vec<_> = (0..30).map(|at| format!("route-{at}")).collect();
    for name in &names {
        cluster.route(name, name, "echo").await;
    }
    let shown = async |summary: &str| {
        let look = || async {
            let routes = cluster.api::<AIRoute>().list(&ListParams::default()).await.unwrap().items;
            let right = |route: &AIRoute| {
                let status = route.status.as_ref()?;
                let programmed = status.conditions.iter().find(|condition| condition.type_ == "Programmed")?;
                let says = programmed.status == "True" && programmed.message.starts_with(summary);
                (says && status.data_plane.as_ref()?.summary == summary).then_some(())
            };
            routes.iter().all(|route| right(route).is_some()).then_some(())
        };
        wait::until(&format!("{summary} at every route"), LIMIT, look).await.1
    };
    shown("2/2").await;
    let metrics = operator.operator.as_ref().unwrap().metrics.clone();
    let written = || {
        let text = metrics.text().unwrap();
        let line = text.lines().find(|line| line.contains("what=\"status\"") && line.contains("outcome=\"Written\""));
        line.unwrap().rsplit(' ').next().unwrap().parse::<usize>().unwrap()
    };
    let before = written();
    let third = cluster.data_plane(&operator, Manner::default()).await;
    let came = shown("3/3").await;
    drop(third);
    let left = shown("2/2").await;
    let writes = written() - before;
    println!("figure: 30 routes say 3/3 {came:?} after a pod came, 2/2 {left:?} after it left, {writes} patches");
    assert!(writes <= 4 * names.len(), "one patch per route and change, two where a pod is slow; not {writes}");
}
