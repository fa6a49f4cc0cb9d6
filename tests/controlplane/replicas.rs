//! Restarts, replicas, and authentication of data planes.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use routeapi_channel::frame::AUDIENCE;
use routeapi_crds::v1alpha1::AIRoute;
use routeapi_tests::wait;
use serde_json::json;
use tokio::sync::mpsc;

use crate::{
    cluster::{Cluster, GATEWAY, LIMIT},
    dataplane::{DataPlane, Manner, open},
    rights,
};

#[tokio::test]
async fn a_restarted_operator_sends_nothing_to_an_up_to_date_pod() {
    let cluster = Cluster::new("restart").await;
    let operator = cluster.operator(&[]).await;
    let gateway = cluster.data_plane(&operator, Manner::default()).await;
    cluster.echo_provider("echo").await;
    for at in 0..20 {
        cluster.route(&format!("route-{at}"), &format!("model-{at}"), "echo").await;
    }
    for at in 0..20 {
        cluster.condition("AIRoute", &format!("route-{at}"), "Programmed", ("True", "Programmed")).await;
    }
    let held = gateway.now();
    assert_eq!(held.catalog.len(), 21);
    let version = async || cluster.api::<AIRoute>().get("route-7").await.unwrap().metadata.resource_version;
    let before = version().await;
    operator.kill();
    drop(gateway);

    let operator = cluster.operator(&["--identity=second"]).await;
    let manner = Manner { holds: Some(held.clone()), ..Manner::default() };
    let gateway = cluster.data_plane(&operator, manner).await;
    let metrics = operator.operator.as_ref().unwrap().metrics.clone();
    let answered = || async { metrics.text().unwrap().contains("answers_total{answer=\"ack\"} 1").then_some(()) };
    wait::until("the pod's answer", LIMIT, answered).await;
    assert_eq!((gateway.now().puts, metrics.puts()), (0, 0));
    assert_eq!(gateway.now().revision, held.revision, "the state has the same name");
    operator.leads().await;
    // Statuses are looked at in the order of their names: when a later one has been written, the others were let be.
    cluster.route("z-last", "z-last", "echo").await;
    cluster.condition("AIRoute", "z-last", "Ready", ("True", "Ready")).await;
    assert_eq!(version().await, before, "no status was rewritten");
    println!("figure: restart: 21 resources held, 0 sent, 0 statuses written");
}

#[tokio::test]
async fn the_second_replica_takes_over_with_the_acks_of_the_first() {
    let cluster = Cluster::new("replica").await;
    let first = cluster.operator(&["--identity=first"]).await;
    first.leads().await;
    let token =
        cluster.server.service_account_token(&cluster.namespace, rights::OPERATOR, Some(AUDIENCE)).await.unwrap();
    let file = cluster.server.dir().join(format!("{}-peer-token", cluster.namespace));
    std::fs::write(&file, token).unwrap();
    let peers = format!("--peers={}", first.config());
    let file = format!("--peer-token-file={}", file.display());
    let second = cluster.operator(&["--identity=second", &peers, &file]).await;
    let far = cluster.data_plane(&first, Manner::default()).await;
    let near = cluster.data_plane(&second, Manner::default()).await;
    near.until("both pods, through the peer", |state| state.fleet.is_some_and(|(pods, _)| pods == 2)).await;
    far.until("a state", |state| state.revision.is_some()).await;
    assert!(!*second.operator.as_ref().unwrap().leader().borrow());

    let stopping = std::time::Instant::now();
    first.stop().await;
    let took = second.leads().await;
    println!("figure: orderly stop: stopped and taken over after {:?} ({took:?} after the stop)", stopping.elapsed());
    assert!(took.as_secs() < 5, "an orderly stop lets go of the lease");
    wait::until_true("the stream ended in order", LIMIT, || far.task.is_finished()).await;
    cluster.echo_provider("echo").await;
    cluster.route("assistant", "assistant", "echo").await;
    cluster.condition("AIRoute", "assistant", "Ready", ("True", "Ready")).await;

    let third = cluster.operator(&["--identity=third"]).await;
    second.kill();
    let took = third.leads().await;
    println!("figure: crash: taken over after {took:?}");
    assert!(took.as_secs() < 25);
}

#[tokio::test]
async fn only_data_planes_may_connect() {
    let cluster = Cluster::new("auth").await;
    let operator = cluster.operator(&[]).await;
    let (ca, name) = (cluster.ca().await, format!("routeapi-operator.{}.svc", cluster.namespace));
    let status = async |token: &str| {
        let (_say, said) = mpsc::unbounded_channel();
        open(&ca, &name, operator.config(), token, said).await.unwrap().0.as_u16()
    };
    let gateway = cluster.server.pod(&cluster.namespace, GATEWAY).await.unwrap();
    let other = cluster.server.pod(&cluster.namespace, "intruder").await.unwrap();
    assert_eq!(status("nonsense").await, 401);
    assert_eq!(status(&gateway.token("somebody-else").await.unwrap()).await, 401, "another audience");
    assert_eq!(status(&other.token(AUDIENCE).await.unwrap()).await, 403, "another account");
    assert_eq!(status(&gateway.token(AUDIENCE).await.unwrap()).await, 200);
    let token = gateway.token(AUDIENCE).await.unwrap();
    gateway.delete().await.unwrap();
    let dead = || async { (status(&token).await == 401).then_some(()) };
    wait::until("the token dies with its pod", LIMIT, dead).await;
}

#[tokio::test]
async fn the_ca_is_replaced_without_interrupting_streams() {
    let cluster = Cluster::new("ca").await;
    let operator = cluster.operator(&[]).await;
    let gateway = cluster.data_plane(&operator, Manner::default()).await;
    gateway.until("a state", |state| state.revision.is_some()).await;
    let old = cluster.ca().await;
    let ask = json!({"metadata": {"annotations": {"routeapi.dev/rotate-ca": "now"}}});
    let secrets = cluster.api::<Secret>();
    secrets.patch("routeapi-config-tls", &PatchParams::default(), &Patch::Merge(ask)).await.unwrap();
    let started = std::time::Instant::now();
    let count = async || cluster.ca().await.matches("BEGIN CERTIFICATE").count();
    let both = || async { (count().await == 2).then_some(()) };
    wait::until("old and new CA are published", LIMIT, both).await;
    let settled = || async { (count().await == 1 && cluster.ca().await != old).then_some(()) };
    wait::until("the old CA is dropped", LIMIT, settled).await;
    println!("figure: CA replaced in {:?} (propagation 1 s)", started.elapsed());

    let name = format!("routeapi-operator.{}.svc", cluster.namespace);
    let pod = cluster.server.pod(&cluster.namespace, GATEWAY).await.unwrap();
    let stale = DataPlane::try_connect(&old, &name, operator.config(), pod.clone(), Manner::default()).await;
    assert!(stale.is_err(), "who trusts only the old CA is not served by it any more");
    let fresh = DataPlane::connect(&cluster, operator.config(), pod, Manner::default()).await;
    cluster.echo_provider("echo").await;
    for plane in [&gateway, &fresh] {
        plane.until("the provider", |state| state.catalog.len() == 1).await;
    }
    assert!(!gateway.task.is_finished(), "the stream from before was not dropped");
}

#[tokio::test]
async fn without_the_api_server_streams_continue_and_known_pods_can_reconnect() {
    let cluster = Cluster::alone("outage").await;
    let operator = cluster.operator(&[]).await;
    let gateway = cluster.data_plane(&operator, Manner::default()).await;
    cluster.echo_provider("echo").await;
    gateway.until("the provider", |state| state.catalog.len() == 1).await;
    let (ca, name) = (cluster.ca().await, format!("routeapi-operator.{}.svc", cluster.namespace));
    let pod = cluster.server.pod(&cluster.namespace, GATEWAY).await.unwrap();
    let (known, unknown) = (pod.token(AUDIENCE).await.unwrap(), pod.token(AUDIENCE).await.unwrap());
    let status = async |token: &str| {
        let (_say, said) = mpsc::unbounded_channel();
        open(&ca, &name, operator.config(), token, said).await.unwrap().0.as_u16()
    };
    assert_eq!(status(&known).await, 200);

    cluster.server.kill().unwrap();
    assert_eq!(status(&known).await, 200, "confirmed before, and not ended");
    assert_eq!(status(&unknown).await, 503, "come back later, not: go away");
    let mut leader = operator.operator.as_ref().unwrap().leader();
    let stepped_down = tokio::time::timeout(LIMIT, leader.wait_for(|leads| !*leads)).await;
    stepped_down.expect("who cannot renew steps down").unwrap();
    assert!(!gateway.task.is_finished(), "the stream does not mind");
    let ready = operator.admin("/readyz").await;
    assert!(ready.contains(" 200 "), "a state that was listed once is served: {ready}");

    cluster.server.restart().await.unwrap();
    let started = std::time::Instant::now();
    cluster.route("assistant", "assistant", "echo").await;
    gateway.until("what changed afterwards", |state| state.catalog.len() == 2).await;
    println!("figure: a change is in force {:?} after the API server is back", started.elapsed());
    operator.leads().await;
    cluster.condition("AIRoute", "assistant", "Ready", ("True", "Ready")).await;
}

#[tokio::test]
async fn with_outdated_crds_the_operator_serves_but_is_not_ready() {
    let cluster = Cluster::alone("older").await;
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/ownedBy";
    let older = json!([{"op": "remove", "path": schema}]).to_string();
    cluster.server.kubectl(&["patch", "crd", "airoutes.routeapi.dev", "--type=json", "-p", &older]).await.unwrap();
    // The published schema follows a moment later, and an operator that finds all well does not look again.
    let pruned = || async {
        let text = cluster.server.kubectl(&["get", "--raw", "/openapi/v3/apis/routeapi.dev/v1alpha1"]).await.ok()?;
        (text.contains("AIRoute") && !text.contains("ownedBy")).then_some(())
    };
    wait::until("the older schema is published", LIMIT, pruned).await;

    let own = cluster.server.pod(&cluster.namespace, rights::OPERATOR).await.unwrap();
    let file = cluster.server.dir().join("own-token");
    std::fs::write(&file, own.token(AUDIENCE).await.unwrap()).unwrap();
    let operator = cluster.start(&[&format!("--peer-token-file={}", file.display())]).await;
    let says = || async {
        let answer = operator.admin("/readyz").await;
        let said = "the CRDs are older than this operator and lack AIRoute.spec.ownedBy; run kubectl apply --server-side --force-conflicts -f crds/\n";
        (answer.contains(" 503 ") && answer.ends_with(said)).then_some(())
    };
    wait::until("nothing but the CRDs to stand in the way", LIMIT, says).await;
    let reported = || async {
        let events = cluster.server.kubectl(&["-n", &cluster.namespace, "describe", "pod", &own.name]).await.unwrap();
        (events.contains("UnfitCRDs") && events.contains("lack AIRoute.spec.ownedBy")).then_some(())
    };
    wait::until("the event in kubectl describe pod", LIMIT, reported).await;
    let gateway = cluster.data_plane(&operator, Manner::default()).await;
    cluster.echo_provider("echo").await;
    cluster.route("assistant", "assistant", "echo").await;
    gateway.until("what the older CRDs know", |state| state.catalog.len() == 2).await;
    cluster.condition("AIRoute", "assistant", "Ready", ("True", "Ready")).await;

    cluster.server.apply_crds().await.unwrap();
    operator.ready().await;
    assert!(!gateway.task.is_finished(), "nobody had to start again");
}
