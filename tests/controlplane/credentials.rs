//! Model capabilities of an AIProvider, and its condition CredentialsAccepted.

use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kube::api::{ListParams, PostParams};
use routeapi_channel::{
    Kind, ObjectId,
    frame::{FromDataPlane, RejectedKey},
};
use routeapi_crds::v1alpha1::{AIProvider, AIRoute};
use serde_json::json;

use crate::{cluster::Cluster, dataplane::Manner};

#[tokio::test]
async fn a_rejected_key_sets_and_clears_credentials_accepted() {
    let cluster = Cluster::new("rejected").await;
    let operator = cluster.operator(&[]).await;
    let gateway = cluster.data_plane(&operator, Manner::default()).await;
    cluster.create::<Secret>("Secret", "key", json!({"stringData": {"apiKey": "first-key"}})).await;
    let spec = json!({"spec": {"type": "OpenAI", "credentials": {"apiKey": {"secretRef": {"name": "key"}}}}});
    cluster.create::<AIProvider>("AIProvider", "openai", spec).await;
    cluster.condition("AIProvider", "openai", "Ready", ("True", "Ready")).await;
    assert!(
        cluster
            .conditions("AIProvider", "openai")
            .await
            .iter()
            .all(|condition| condition.type_ != "CredentialsAccepted")
    );

    let provider = ObjectId::new(cluster.namespace.as_str(), "openai");
    let rejected = vec![RejectedKey { provider, status: 401, since: 1_800_000_000, message: None }];
    gateway.say(&FromDataPlane::Credentials { rejected: rejected.clone() });
    let says = ("False", "RejectedByUpstream");
    let (message, took) = cluster.condition("AIProvider", "openai", "CredentialsAccepted", says).await;
    println!("reported {took:?} after the pod: {message}");
    assert!(message.contains("with status 401") && message.contains(&gateway.pod.name), "{message}");
    cluster.condition("AIProvider", "openai", "Ready", ("True", "Ready")).await;

    gateway.say(&FromDataPlane::Credentials { rejected: Vec::new() });
    cluster.condition("AIProvider", "openai", "CredentialsAccepted", ("True", "CredentialsAccepted")).await;
    let events = cluster.api::<Event>().list(&ListParams::default()).await.unwrap();
    let warnings = events.items.iter().filter(|event| event.reason.as_deref() == Some("RejectedByUpstream"));
    let warnings: Vec<_> = warnings.map(|event| event.type_.as_deref().unwrap()).collect();
    assert_eq!(warnings, ["Warning"], "one event for one cause");
}

#[tokio::test]
async fn model_capabilities_reach_the_data_plane() {
    let cluster = Cluster::new("takes").await;
    let operator = cluster.operator(&[]).await;
    let gateway = cluster.data_plane(&operator, Manner::default()).await;
    let models = json!([{"model": "m", "baseModel": "gpt-5.1", "maxOutputTokens": 500, "unsupported": ["Seed"], "efforts": ["High"]},
        {"model": "*", "unsupported": []}]);
    let spec = json!({"spec": {"type": "Echo", "models": models}});
    cluster.create::<AIProvider>("AIProvider", "echo", spec).await;
    let upstream =
        json!({"name": "u", "providerRef": {"name": "echo"}, "maxOutputTokens": 100, "unsupported": ["TopK"]});
    let spec = json!({"spec": {"model": "m", "upstreams": [upstream]}});
    cluster.create::<AIRoute>("AIRoute", "route", spec).await;
    cluster.condition("AIRoute", "route", "Ready", ("True", "Ready")).await;
    let state = gateway.now();
    let provider = state.body(Kind::Provider, &cluster.namespace, "echo").unwrap();
    assert!(provider.contains(r#""maxOutputTokens":500,"unsupported":["Seed"]"#), "{provider}");
    assert!(provider.contains(r#""baseModel":"gpt-5.1""#) && provider.contains(r#""efforts":["High"]"#), "{provider}");
    assert!(provider.contains(r#""unsupported":[]"#), "an empty list says that it takes everything: {provider}");
    let route = state.body(Kind::Route, &cluster.namespace, "route").unwrap();
    assert!(route.contains(r#""maxOutputTokens":100,"unsupported":["TopK"]"#), "{route}");

    for (takes, says) in [
        (json!({"maxOutputTokens": 0}), "maxOutputTokens"),
        (json!({"unsupported": ["Nothing"]}), "unsupported"),
        (json!({"unsupported": ["Seed", "Seed"]}), "unsupported"),
        (json!({"efforts": []}), "efforts"),
        (json!({"efforts": ["Huge"]}), "efforts"),
        (json!({"baseModel": ""}), "baseModel"),
    ] {
        let mut model = json!({"model": "m"});
        model.as_object_mut().unwrap().extend(takes.as_object().unwrap().clone());
        let object = json!({"apiVersion": "routeapi.dev/v1alpha1", "kind": "AIProvider", "metadata": {"name": "bad"},
                            "spec": {"type": "Echo", "models": [model]}});
        let object: kube::core::DynamicObject = serde_json::from_value(object).unwrap();
        let kind = kube::core::ApiResource::erase::<AIProvider>(&());
        let api =
            kube::Api::<kube::core::DynamicObject>::namespaced_with(cluster.client.clone(), &cluster.namespace, &kind);
        let error = api.create(&PostParams::default(), &object).await.unwrap_err().to_string();
        assert!(error.contains(says), "{takes}: {error}");
    }
}
