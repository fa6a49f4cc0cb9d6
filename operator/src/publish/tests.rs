use std::collections::BTreeSet;

use clap::Parser;
use k8s_openapi::api::core::v1::Secret;
use routeapi_channel::{Kind, frame::MAX_LINE};
use routeapi_crds::{condition::ConditionType, v1alpha1::AIProvider};
use serde_json::json;

use super::*;
use crate::index::Indexed;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    settings: Settings,
}

fn provider(name: &str) -> AIProvider {
    serde_json::from_value(json!({
        "apiVersion": "routeapi.dev/v1alpha1", "kind": "AIProvider",
        "metadata": {"name": name, "namespace": "ai", "uid": name, "generation": 1},
        "spec": {"type": "Echo"},
    }))
    .unwrap()
}

fn publication(index: &Index) -> Publication {
    Compilation::new(Options::default(), vec!["ai".to_owned()]).publication(index.take_changes(true)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_published_before_the_lists_and_a_burst_is_one_state() {
    let scope = crate::index::Scope { plural: AIProvider::PLURAL, namespace: None };
    let index = Index::new([scope.clone()]);
    let publisher = Publisher::new(&Flags::parse_from(["test"]).settings);
    let mut publications = publisher.subscribe();
    tokio::spawn(Arc::clone(&publisher).run(Arc::clone(&index), Arc::default()));
    index.apply(Ok(provider("a")));
    time::sleep(Duration::from_secs(5)).await;
    assert!(publications.borrow().is_none(), "the list is not complete");

    index.listed::<AIProvider>(&scope, &BTreeSet::from([routeapi_channel::ObjectId::new("ai", "a")]));
    publications.changed().await.unwrap();
    let first = publications.borrow_and_update().clone().unwrap();
    assert_eq!(first.catalog.len(), 1);

    for name in ["b", "c", "d"] {
        index.apply(Ok(provider(name)));
        time::sleep(Duration::from_millis(10)).await;
    }
    publications.changed().await.unwrap();
    let second = publications.borrow_and_update().clone().unwrap();
    assert_eq!(second.catalog.len(), 4, "10 ms apart is one burst");
    assert!(publisher.state(&first.revision).is_some());
    let key = Key { kind: Kind::Provider, id: routeapi_channel::ObjectId::new("ai", "a") };
    let bodies = [&first, &second].map(|publication| publication.catalog.get(&key).unwrap().body.get().as_ptr());
    assert_eq!(bodies[0], bodies[1], "what did not change is shared, not serialised again");
}

#[tokio::test(start_paused = true)]
async fn an_endless_burst_is_compiled_after_the_maximum_wait() {
    let index = Index::new([]);
    let publisher = Publisher::new(&Flags::parse_from(["test"]).settings);
    let mut publications = publisher.subscribe();
    tokio::spawn(Arc::clone(&publisher).run(Arc::clone(&index), Arc::default()));
    publications.changed().await.unwrap();
    publications.mark_unchanged();
    let burst = tokio::spawn(async move {
        for at in 0.. {
            index.apply(Ok(provider(&format!("p{at}"))));
            time::sleep(Duration::from_millis(5)).await;
        }
    });
    let started = time::Instant::now();
    publications.changed().await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(300), "{:?}", started.elapsed());
    burst.abort();
}

#[test]
fn an_unreadable_object_and_an_unreadable_secret_are_reported() {
    let index = Index::new([]);
    let mut elsewhere = provider("x");
    elsewhere.metadata.namespace = Some("team".into());
    let mut value = serde_json::to_value(&elsewhere).unwrap();
    value["spec"] =
        json!({"type": "OpenAI", "credentials": {"apiKey": {"secretRef": {"name": "key", "key": "apiKey"}}}});
    index.apply(Ok(serde_json::from_value::<AIProvider>(value).unwrap()));
    let metadata = provider("broken").metadata;
    index.apply::<AIProvider>(Err(kube::core::error_boundary::InvalidObject { error: "spec.type".into(), metadata }));
    let publication = publication(&index);
    let text = |namespace: &str, name: &str| {
        let id = routeapi_channel::ObjectId::new(namespace, name);
        let verdict = &publication.verdicts.get(&Key { kind: Kind::Provider, id }).unwrap();
        verdict.decisions.iter().find(|decision| !decision.holds()).unwrap().message.clone()
    };
    assert_eq!(
        text("team", "x"),
        "spec.credentials.apiKey.secretRef.name: Secret team/key cannot be read: the operator reads Secrets and ConfigMaps \
         in ai only; add team to the Helm value providerNamespaces"
    );
    assert!(text("ai", "broken").contains("spec.type"));
}

#[test]
fn debug_output_never_shows_keys() {
    let index = Index::new([]);
    let mut value = serde_json::to_value(provider("vendor")).unwrap();
    value["spec"] = json!({"type": "OpenAI", "credentials": {"apiKey": {"secretRef": {"name": "vendor"}}}});
    index.apply(Ok(serde_json::from_value::<AIProvider>(value).unwrap()));
    let secret = json!({"metadata": {"name": "vendor", "namespace": "ai"}, "data": {"apiKey": "dGhlLWtleQ=="}});
    index.apply(Ok(serde_json::from_value::<Secret>(secret).unwrap()));
    let publication = publication(&index);
    let key = Key { kind: Kind::Provider, id: routeapi_channel::ObjectId::new("ai", "vendor") };
    let line = serde_json::to_string(&publication.put_frame(&key).unwrap()).unwrap();
    assert!(line.contains("the-key"), "{line}");
    let all = format!("{publication:?} {:?} {index:?}", publication.verdicts);
    assert!(!all.contains("the-key") && !all.contains("dGhlLWtleQ"), "{all}");
}

#[test]
fn a_resource_that_does_not_fit_a_line_is_excluded_and_reported() {
    let index = Index::new([]);
    let route = |name: &str, owner: String| {
        serde_json::from_value::<routeapi_crds::v1alpha1::AIRoute>(json!({
            "apiVersion": "routeapi.dev/v1alpha1", "kind": "AIRoute",
            "metadata": {"name": name, "namespace": "ai", "uid": name, "generation": 1},
            "spec": {"model": name, "ownedBy": owner, "upstreams": [{"name": "u", "providerRef": {"name": "p"}}]},
        }))
        .unwrap()
    };
    index.apply(Ok(route("huge", "x".repeat(MAX_LINE))));
    index.apply(Ok(route("small", "x".repeat(10))));
    let publication = publication(&index);
    let key = |name: &str| Key { kind: Kind::Route, id: routeapi_channel::ObjectId::new("ai", name) };
    assert!(publication.catalog.get(&key("huge")).is_none() && publication.put_frame(&key("huge")).is_none());
    assert!(publication.put_frame(&key("small")).is_some());
    let accepted = |name: &str| {
        let decisions = &publication.verdicts.get(&key(name)).unwrap().decisions;
        decisions.iter().find(|decision| decision.type_ == ConditionType::Accepted).unwrap().clone()
    };
    assert!(accepted("small").holds());
    let refused = accepted("huge");
    assert!(!refused.holds() && refused.message.contains(&MAX_LINE.to_string()), "{refused:?}");
}
