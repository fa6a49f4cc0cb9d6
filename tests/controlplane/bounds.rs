//! Limits on what one namespace can make the operator store and send to data planes.

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use routeapi_channel::Kind;
use routeapi_crds::v1alpha1::ApiToken;
use routeapi_tests::wait;
use serde_json::json;

use crate::{
    cluster::LIMIT,
    tenants::{Tenants, create},
};

/// Waits until an object of team-a says this.
async fn says(tenants: &Tenants, object: &str, condition: &str) -> String {
    let look = || async {
        let lines = tenants.standing(&tenants.a).await.remove(object)?;
        lines.into_iter().find(|line| line.starts_with(condition))
    };
    wait::until(&format!("{object}: {condition}"), LIMIT, look).await.0
}

#[tokio::test]
async fn a_full_namespace_excludes_objects_until_others_are_deleted() {
    let tenants = Tenants::with("full", &["--namespace-max-objects=4"]).await;
    // The team's token is there already; of the same second, routes would come first.
    let tokens: Api<ApiToken> = Api::namespaced(tenants.cluster.client.clone(), &tenants.a.namespace);
    let created = tokens.get("app").await.unwrap().metadata.creation_timestamp.unwrap().0.as_second();
    let look = || std::future::ready((jiff::Timestamp::now().as_second() > created).then_some(()));
    wait::until("a later second than the token's", LIMIT, look).await;
    let (others, platform) = (tenants.standing(&tenants.b).await, tenants.platform().await);
    for at in 1..=6 {
        let mut route = tenants.a.route(&format!("r{at}"), &format!("model-{at}"));
        route["metadata"]["annotations"] = json!({"note": "x".repeat(250 << 10)});
        tenants.a.create(route).await.unwrap();
    }
    for at in 4..=6 {
        let line = says(&tenants, &format!("Route r{at}"), "Accepted=False NamespaceFull").await;
        assert!(line.contains("4 objects") && line.contains("namespaceLimits.objects"), "{line}");
    }
    for at in 1..=3 {
        says(&tenants, &format!("Route r{at}"), "Accepted=True").await;
        says(&tenants, &format!("Route r{at}"), "Programmed=True").await;
    }
    says(&tenants, "Token app", "Ready=True").await;
    let held = |name: &str| tenants.gateway.now().body(Kind::Route, &tenants.a.namespace, name);
    assert!(held("r3").is_some() && held("r4").is_none());
    assert_eq!((tenants.standing(&tenants.b).await, tenants.platform().await), (others, platform));

    tenants.a.delete(("routeapi.dev/v1alpha1", "AIRoute", &tenants.a.namespace, "r1")).await.unwrap();
    says(&tenants, "Route r4", "Programmed=True").await;
    says(&tenants, "Route r5", "Accepted=False NamespaceFull").await;
    assert!(held("r4").is_some());
}

#[tokio::test]
async fn namespace_labels_are_sent_once_for_many_routes() {
    let tenants = Tenants::new("selected").await;
    let platform = &tenants.cluster.namespace;
    for at in 0..20 {
        let mut route = tenants.a.route(&format!("gold-{at}"), &format!("gold-{at}"));
        route["metadata"]["namespace"] = json!(platform);
        let everything = json!({"from": "Selector", "selector": {}});
        let gold = json!({"from": "Selector", "selector": {"matchLabels": {"tier": "gold"}}});
        route["spec"]["allowedTokens"] = json!({"namespaces": if at % 2 == 0 { everything } else { gold }});
        create(&tenants.cluster.client, &route).await.unwrap();
    }
    tenants.settled().await;
    let state = tenants.gateway.now();
    assert!(state.body(Kind::Route, platform, "gold-0").unwrap().contains(r#""allowedNamespaces":"all""#));
    assert!(state.body(Kind::Route, platform, "gold-1").unwrap().contains(r#""matchLabels":{"tier":"gold"}"#));

    let before = state.puts;
    let labels = [("tier", "gold")];
    tenants.cluster.server.namespace_named(&format!("{platform}-new"), &labels).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(tenants.cluster.client.clone());
    let gold = Patch::Merge(json!({"metadata": {"labels": {"tier": "gold"}}}));
    let name = &tenants.a.namespace;
    namespaces.patch(name, &PatchParams::default(), &gold).await.unwrap();
    let received = |state: &crate::dataplane::State| state.body(Kind::Namespace, name, name).is_some();
    tenants.gateway.until("the labels of team-a", received).await;
    let state = tenants.gateway.now();
    assert!(state.body(Kind::Namespace, name, name).unwrap().contains(r#""tier":"gold""#));
    println!("figure: resources sent for a namespace that 20 routes select: {}", state.puts - before);
    assert_eq!(state.puts - before, 1);
}
