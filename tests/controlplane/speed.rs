//! Time from a change of an object until all data planes have it.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use kube::api::{DeleteParams, Patch, PatchParams};
use routeapi_channel::Kind;
use routeapi_crds::v1alpha1::{AIRoute, ApiToken};
use serde_json::json;

use crate::{cluster::Cluster, dataplane::Manner};

const CHANGES: u64 = 100;

#[tokio::test]
async fn changes_and_deletions_reach_data_planes_quickly() {
    let cluster = Cluster::new("speed").await;
    let operator = cluster.operator(&[]).await;
    let gateway = cluster.data_plane(&operator, Manner::default()).await;
    cluster.echo_provider("echo").await;
    cluster.route("assistant", "assistant", "echo").await;
    gateway.until("the route", |state| state.catalog.len() == 2).await;

    let mut changes = Histogram::<u64>::new(3).unwrap();
    for at in 1..=CHANGES {
        let upstreams = json!([{"name": "first", "providerRef": {"name": "echo"}, "model": format!("model-{at}")}]);
        let patch = Patch::Merge(json!({"spec": {"upstreams": upstreams}}));
        let wanted = format!("\"model-{at}\"");
        let started = Instant::now();
        cluster.api::<AIRoute>().patch("assistant", &PatchParams::default(), &patch).await.unwrap();
        let has = |state: &crate::dataplane::State| {
            state.body(Kind::Route, &cluster.namespace, "assistant").is_some_and(|body| body.contains(&wanted))
        };
        gateway.until("the change", has).await;
        changes.record(u64::try_from(started.elapsed().as_micros()).unwrap()).unwrap();
    }
    report("route changed → in force", &changes);

    let mut deletions = Histogram::<u64>::new(3).unwrap();
    for at in 0..20 {
        let name = format!("token-{at}");
        cluster.token(&name, json!({})).await;
        let held = |state: &crate::dataplane::State| state.body(Kind::Token, &cluster.namespace, &name).is_some();
        gateway.until("the token", held).await;
        let started = Instant::now();
        cluster.api::<ApiToken>().delete(&name, &DeleteParams::default()).await.unwrap();
        gateway.until("the deletion", |state| !held(state)).await;
        deletions.record(u64::try_from(started.elapsed().as_micros()).unwrap()).unwrap();
    }
    report("token deleted → gone", &deletions);
    let p99 = |histogram: &Histogram<u64>| Duration::from_micros(histogram.value_at_quantile(0.99));
    assert!(p99(&deletions) < Duration::from_secs(1), "aim: 1 s");
    assert!(p99(&changes) < Duration::from_secs(1), "aim: 300 ms on an idle machine; here others may run");
}

fn report(what: &str, histogram: &Histogram<u64>) {
    let at = |quantile| Duration::from_micros(histogram.value_at_quantile(quantile));
    println!("figure: {what}: n={} median={:?} p99={:?} max={:?}", histogram.len(), at(0.5), at(0.99), at(1.0));
}
