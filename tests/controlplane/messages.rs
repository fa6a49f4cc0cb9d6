//! Messages of conditions and events: every condition has one, and one cause leads to one event.

use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use routeapi_crds::v1alpha1::{AIProvider, AIRoute};
use routeapi_tests::wait;
use serde_json::json;

use crate::{
    cluster::{Cluster, LIMIT},
    dataplane::Manner,
};

/// Waits until a condition's message holds this.
async fn says(cluster: &Cluster, (kind, name): (&str, &str), type_: &str, words: &str) -> String {
    let look = || async {
        let found = cluster.conditions(kind, name).await.into_iter().find(|condition| condition.type_ == type_)?;
        found.message.contains(words).then_some(found.message)
    };
    wait::until(&format!("{kind} {name}: {type_} says {words:?}"), LIMIT, look).await.0
}

#[tokio::test]
async fn a_token_reports_models_without_route_until_one_exists() {
    let cluster = Cluster::new("unserved").await;
    let operator = cluster.operator(&[]).await;
    let _gateway = cluster.data_plane(&operator, Manner::default()).await;
    cluster.echo_provider("echo").await;
    cluster.route("first", "first", "echo").await;
    cluster.token("app", json!({"models": ["first", "later"]})).await;
    let text = says(&cluster, ("ApiToken", "app"), "Accepted", "no AIRoute serves").await;
    assert!(text.contains(r#""later""#) && !text.contains(r#""first""#), "{text}");
    cluster.condition("ApiToken", "app", "Ready", ("True", "Ready")).await;
    cluster.route("second", "later", "echo").await;
    says(&cluster, ("ApiToken", "app"), "Accepted", "the spec is valid").await;
    for (kind, name) in [("ApiToken", "app"), ("AIRoute", "first"), ("AIProvider", "echo")] {
        cluster.condition(kind, name, "Ready", ("True", "Ready")).await;
        for condition in cluster.conditions(kind, name).await {
            assert!(!condition.message.is_empty(), "{kind} {name}: {}", condition.type_);
        }
    }
}

#[tokio::test]
async fn a_second_token_of_one_secret_names_its_owner() {
    let cluster = Cluster::new("owner").await;
    let _operator = cluster.operator(&[]).await;
    cluster.token("one", json!({"secretName": "shared"})).await;
    let value = cluster.secret_value("shared", "token").await;
    cluster.token("two", json!({"secretName": "shared"})).await;
    let (text, _) = cluster.condition("ApiToken", "two", "SecretReady", ("False", "SecretNotOwned")).await;
    assert!(text.contains("belongs to ApiToken one"), "{text}");
    assert_eq!(cluster.secret_value("shared", "token").await, value);
}

#[tokio::test]
async fn an_unready_provider_counts_its_routes_in_one_event() {
    let cluster = Cluster::new("cause").await;
    let operator = cluster.operator(&[]).await;
    let _gateway = cluster.data_plane(&operator, Manner::default()).await;
    let key = json!({"spec": {"type": "OpenAI", "credentials": {"apiKey": {"secretRef": {"name": "absent"}}}}});
    cluster.create::<AIProvider>("AIProvider", "openai", key).await;
    cluster.route("chat", "gpt-9", "openai").await;
    let (text, _) = cluster.condition("AIRoute", "chat", "ResolvedRefs", ("False", "ProviderNotReady")).await;
    assert!(text.contains("is not ready: spec.credentials.apiKey.secretRef.name: Secret"), "{text}");
    let look = || async {
        let status = cluster.api::<AIProvider>().get("openai").await.unwrap().status?;
        (status.attached_routes == Some(1)).then_some(())
    };
    wait::until("the route to be counted", LIMIT, look).await;
    cluster.condition("AIProvider", "openai", "Programmed", ("False", "SecretNotFound")).await;

    // Another object's first event comes after all that the provider's status could have caused.
    cluster.echo_provider("echo").await;
    cluster.route("last", "last", "echo").await;
    let events = || async { cluster.api::<Event>().list(&ListParams::default()).await.unwrap().items };
    let about =
        |event: &Event, name: &str| event.regarding.as_ref().and_then(|object| object.name.as_deref()) == Some(name);
    let look = || async { events().await.iter().any(|event| about(event, "last")).then_some(()) };
    wait::until("an event of the last route", LIMIT, look).await;
    let warnings: Vec<_> = events()
        .await
        .into_iter()
        .filter(|event| about(event, "openai") && event.type_.as_deref() == Some("Warning"))
        .map(|event| (event.action.unwrap_or_default(), event.reason.unwrap_or_default()))
        .collect();
    assert_eq!(warnings, [("ResolvedRefs".to_owned(), "SecretNotFound".to_owned())]);
    let route: AIRoute = cluster.api().get("chat").await.unwrap();
    assert_eq!(route.status.unwrap().upstreams[0].reason.as_deref(), Some("ProviderNotReady"));
}
