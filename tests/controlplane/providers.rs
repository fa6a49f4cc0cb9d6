//! All references of an AIProvider are watched with the chart's permissions: a missing object is reported, and its creation
//! and changes reach data planes without a change of the AIProvider.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use routeapi_channel::Kind;
use routeapi_crds::v1alpha1::AIProvider;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, LIMIT},
    dataplane::{DataPlane, Manner},
};

const TYPE: &str = "AIProvider";

async fn create(cluster: &Cluster, kind: &str, name: &str, data: Value) {
    let namespace = &cluster.namespace;
    let metadata = json!({"name": name, "namespace": namespace});
    let api_version = "v1";
    if kind == "Secret" {
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "stringData": data});
        let api: Api<Secret> = cluster.api();
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    } else {
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "data": data});
        let api: Api<ConfigMap> = cluster.api();
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    }
}

/// Waits until the provider that a data plane holds says all of this.
async fn holds(plane: &DataPlane, cluster: &Cluster, texts: &[&str]) -> String {
    let said = |state: &crate::dataplane::State| {
        let body = state.body(Kind::Provider, &cluster.namespace, "up")?;
        texts.iter().all(|text| body.contains(text)).then_some(body)
    };
    let mut watched = plane.state.clone();
    let found = tokio::time::timeout(LIMIT, watched.wait_for(|state| said(state).is_some())).await;
    said(&found.expect("the data plane receives it in time").unwrap()).unwrap()
}

#[tokio::test]
async fn every_reference_of_a_provider_is_watched() {
    let cluster = Cluster::new("references").await;
    let operator = cluster.operator(&[]).await;
    let plane = cluster.data_plane(&operator, Manner::default()).await;
    let spec = json!({"spec": {
        "type": "OpenAI", "baseURL": "https://llm.example.com/v1",
        "credentials": {"apiKey": {"secretRef": {"name": "key"}, "header": "Api-Key"}},
        "proxy": {"url": "http://proxy.example.com:3128", "basicAuth": {"secretRef": {"name": "proxy"}}},
        "tls": {"clientCertificateRef": {"name": "own"}},
        "request": {
            "headers": [{"name": "X-Region", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "region"}}}],
            "bodyDefaults": {"store": false, "metadata": {"team": "a"}},
        },
    }});
    let _: AIProvider = cluster.create(TYPE, "up", spec).await;
    let made = rcgen::generate_simple_self_signed(["gateway".to_owned()]).unwrap();
    let identity = json!({"tls.crt": made.cert.pem(), "tls.key": made.signing_key.serialize_pem()});
    // Missing references are reported one after another, and the report disappears once they exist.
    for (kind, name, data, reason) in [
        ("Secret", "key", json!({"apiKey": "sk-first"}), "SecretNotFound"),
        ("Secret", "own", identity, "SecretNotFound"),
        ("Secret", "proxy", json!({"username": "gateway", "password": "first"}), "SecretNotFound"),
        ("ConfigMap", "settings", json!({"region": "eu"}), "ConfigMapNotFound"),
    ] {
        let expected = format!("{kind} {}/{name} does not exist", cluster.namespace);
        let said = || async {
            let conditions = cluster.conditions(TYPE, "up").await;
            conditions.into_iter().find(|condition| {
                condition.type_ == "ResolvedRefs" && condition.reason == reason && condition.message.contains(&expected)
            })
        };
        routeapi_tests::wait::until("the missing reference", LIMIT, said).await;
        create(&cluster, kind, name, data).await;
    }
    cluster.condition(TYPE, "up", "Ready", ("True", "Ready")).await;
    let body = holds(&plane, &cluster, &["sk-first", "\"first\"", r#""plain":"eu""#, "PRIVATE KEY"]).await;
    assert!(body.contains(r#""bodyDefaults":{"metadata":{"team":"a"},"store":false}"#), "{body}");

    let patch = |data: Value| Patch::Merge(data);
    let (secrets, maps): (Api<Secret>, Api<ConfigMap>) = (cluster.api(), cluster.api());
    let parameters = PatchParams::default();
    secrets.patch("proxy", &parameters, &patch(json!({"stringData": {"password": "second"}}))).await.unwrap();
    maps.patch("settings", &parameters, &patch(json!({"data": {"region": "us"}}))).await.unwrap();
    holds(&plane, &cluster, &["\"second\"", r#""plain":"us""#]).await;
    operator.stop().await;
}
