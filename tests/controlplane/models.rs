//! Which route serves a model ID for which tokens (`docs/models.md`), with an editor's credentials.

use routeapi_channel::Kind;
use routeapi_crds::v1alpha1::AIRoute;
use routeapi_dataplane::{
    config::{
        compile,
        runtime::{Route, Runtime},
    },
    state::SharedState,
    upstream::AddressPolicy,
};
use routeapi_tests::wait;
use serde_json::{Value, json};

use crate::{
    cluster::LIMIT,
    tenants::{Tenants, create},
};

const OURS: &str = "routeapi.dev/v1alpha1";

/// The route that serves tokens of a namespace, according to the data plane's configuration.
fn answers(tenants: &Tenants, namespace: &str, model: &str) -> Option<String> {
    let (snapshot, unreadable) = tenants.gateway.now().catalog.decode();
    assert!(unreadable.is_empty(), "{unreadable:?}");
    let revision = routeapi_channel::Catalog::of(&snapshot).unwrap().revision();
    let state = SharedState::new(AddressPolicy::Workstation);
    let (runtime, _changes, refused): (Runtime, _, _) =
        compile::compile(&snapshot, &revision, state.view(), routeapi_metering::Share::default());
    assert!(refused.is_empty(), "{refused:?}");
    let serves = |route: &&std::sync::Arc<Route>| route.serves();
    runtime.route(namespace, model).filter(serves).map(|route| route.id.to_string())
}

async fn until(tenants: &Tenants, namespace: &str, model: &str, expected: Option<&str>) {
    let look = || async { (answers(tenants, namespace, model).as_deref() == expected).then_some(()) };
    wait::until(&format!("{model} for {namespace} to be answered by {expected:?}"), LIMIT, look).await;
}

/// A route of the platform, created as admin.
async fn publish(tenants: &Tenants, namespace: &str, name: &str, model: &str, more: &Value) {
    let mut route = tenants.a.route(name, model);
    route["metadata"]["namespace"] = json!(namespace);
    route["spec"]["allowedTokens"] = json!({"namespaces": {"from": "All"}});
    for (field, value) in more.as_object().unwrap() {
        route["spec"][field] = value.clone();
    }
    create(&tenants.cluster.client, &route).await.unwrap();
}

async fn accepted(tenants: &Tenants, namespace: &str, name: &str, says: &str) {
    let look = || async {
        let api: kube::Api<AIRoute> = kube::Api::namespaced(tenants.cluster.client.clone(), namespace);
        let conditions = api.get(name).await.ok()?.status?.conditions;
        let found = conditions.into_iter().find(|condition| condition.type_ == "Accepted")?;
        format!("{} {}: {}", found.status, found.reason, found.message).contains(says).then_some(())
    };
    wait::until(&format!("AIRoute {namespace}/{name} to say {says:?}"), LIMIT, look).await;
}

#[tokio::test]
async fn routes_of_an_editor_serve_tokens_of_its_namespace_only() {
    let tenants = Tenants::new("meaning").await;
    let (a, b) = (&tenants.a, &tenants.b);
    let platform = tenants.cluster.namespace.clone();
    publish(&tenants, &platform, "gpt", "gpt-*", &json!({"aliases": ["fast"]})).await;
    let by_platform = format!("{platform}/gpt");
    until(&tenants, &b.namespace, "gpt-4o", Some(&by_platform)).await;
    let before = tenants.standing(b).await;

    let all = json!({"namespaces": {"from": "All"}});
    for (name, model, aliases) in [
        ("exact", "gpt-4o", json!([])),
        ("prefix", "gpt-4*", json!(["fast"])),
        ("everything", "*", json!([])),
        ("theirs", "own-model", json!(["assistant"])),
    ] {
        let mut route = a.route(name, model);
        route["spec"]["allowedTokens"] = all.clone();
        route["spec"]["aliases"] = aliases;
        a.create(route).await.unwrap();
    }
    let mut broken = a.route("broken", "gpt-5");
    broken["spec"]["upstreams"][0]["providerRef"] = json!({"name": "nobody"});
    a.create(broken).await.unwrap();
    tenants.settled().await;

    accepted(&tenants, &a.namespace, "exact", "True NotPublished: ").await;
    accepted(&tenants, &a.namespace, "exact", "routeapi.dev/publish-models=true").await;
    accepted(&tenants, &platform, "gpt", "another namespace overrides").await;
    for (model, answer) in [
        ("gpt-4o", Some(by_platform.as_str())),
        ("gpt-4o-mini", Some(&by_platform)),
        ("gpt-5", Some(&by_platform)),
        ("fast", Some(&by_platform)),
        ("anything", None),
        ("own-model", Some(&format!("{}/own", b.namespace))),
        ("assistant", Some(&format!("{platform}/assistant"))),
    ] {
        until(&tenants, &b.namespace, model, answer).await;
    }
    assert_eq!(tenants.standing(b).await, before, "team-b notices nothing");
    let mine = |name: &str| format!("{}/{name}", a.namespace);
    until(&tenants, &a.namespace, "gpt-4o", Some(&mine("exact"))).await;
    until(&tenants, &a.namespace, "gpt-4o-mini", Some(&mine("prefix"))).await;
    until(&tenants, &a.namespace, "gpt-5", Some(&mine("everything"))).await;
    until(&tenants, &a.namespace, "own-model", Some(&mine("theirs"))).await;

    // The platform makes its routes anew: the editor's are older now and still reach nobody else.
    let old = (OURS, "AIRoute", platform.as_str());
    crate::tenants::delete(&tenants.cluster.client, (old.0, old.1, old.2, "gpt")).await.unwrap();
    until(&tenants, &b.namespace, "gpt-4o", None).await;
    publish(&tenants, &platform, "gpt", "gpt-*", &json!({"aliases": ["fast"]})).await;
    until(&tenants, &b.namespace, "gpt-4o", Some(&by_platform)).await;
    until(&tenants, &b.namespace, "fast", Some(&by_platform)).await;

    let label = json!({"metadata": {"labels": {"routeapi.dev/publish-models": "true"}}});
    assert_eq!(
        a.patch(("v1", "Namespace", "", &a.namespace), label).await,
        Err(403),
        "the grant is not the editor's to give"
    );
}

#[tokio::test]
async fn publishers_take_precedence_delegate_and_lose_their_grant() {
    let tenants = Tenants::new("publishers").await;
    let (a, b) = (&tenants.a, &tenants.b);
    let platform = tenants.cluster.namespace.clone();
    let admin = tenants.cluster.client.clone();
    let grant = |namespace: &str, value: Value| {
        let (admin, namespace) = (admin.clone(), namespace.to_owned());
        async move {
            let patch = json!({"metadata": {"labels": {"routeapi.dev/publish-models": value}}});
            crate::tenants::patch(&admin, ("v1", "Namespace", "", &namespace), &patch).await.unwrap();
        }
    };
    grant(&a.namespace, json!("true")).await;
    publish(&tenants, &a.namespace, "llama", "llama-*", &json!({})).await;
    let by_a = format!("{}/llama", a.namespace);
    until(&tenants, &b.namespace, "llama-3", Some(&by_a)).await;
    until(&tenants, &platform, "llama-3", Some(&by_a)).await;

    // The platform's namespace has the higher rank, however late its route comes; what it does not cover stays.
    publish(&tenants, &platform, "llama", "llama-3*", &json!({})).await;
    let by_platform = format!("{platform}/llama");
    until(&tenants, &b.namespace, "llama-3", Some(&by_platform)).await;
    until(&tenants, &b.namespace, "llama-2", Some(&by_a)).await;

    // Under the platform's prefix nothing is to be had, not even by a more exact id, until the prefix is delegated.
    publish(&tenants, &a.namespace, "exact", "llama-3-70b", &json!({})).await;
    accepted(
        &tenants,
        &a.namespace,
        "exact",
        "\"llama-3-70b\" is not published: already claimed by an AIRoute in another namespace",
    )
    .await;
    until(&tenants, &b.namespace, "llama-3-70b", Some(&by_platform)).await;
    let delegates = json!({"spec": {"delegates": {"namespaces": {"from": "Selector", "selector":
        {"matchLabels": {"kubernetes.io/metadata.name": a.namespace}}}}}});
    crate::tenants::patch(&admin, (OURS, "AIRoute", &platform, "llama"), &delegates).await.unwrap();
    until(&tenants, &b.namespace, "llama-3-70b", Some(&format!("{}/exact", a.namespace))).await;

    // Made anew, the route of the higher rank has everything that it had.
    crate::tenants::delete(&admin, (OURS, "AIRoute", &platform, "llama")).await.unwrap();
    until(&tenants, &b.namespace, "llama-3", Some(&by_a)).await;
    publish(&tenants, &platform, "llama", "llama-3*", &json!({})).await;
    until(&tenants, &b.namespace, "llama-3-70b", Some(&by_platform)).await;

    // Without the grant, what was published is not any more.
    grant(&a.namespace, Value::Null).await;
    until(&tenants, &b.namespace, "llama-2", None).await;
    until(&tenants, &a.namespace, "llama-2", Some(&by_a)).await;
    accepted(&tenants, &a.namespace, "llama", "True NotPublished: ").await;
    let state = tenants.gateway.now();
    let body = state.body(Kind::Route, &a.namespace, "llama").unwrap_or_default();
    assert!(!body.contains("published"), "{body}");
}

/// Several routes of one second: which comes first does not depend on who looks.
#[tokio::test]
async fn routes_created_in_the_same_second_are_ordered_by_name() {
    let tenants = Tenants::new("ties").await;
    let platform = tenants.cluster.namespace.clone();
    let names: Vec<String> = (0..6).map(|number| format!("tie-{number}")).collect();
    for name in names.iter().rev() {
        publish(&tenants, &platform, name, "tied", &json!({})).await;
    }
    tenants.settled().await;
    let api: kube::Api<AIRoute> = kube::Api::namespaced(tenants.cluster.client.clone(), &platform);
    let mut all = Vec::new();
    for name in &names {
        all.push((api.get(name).await.unwrap().metadata.creation_timestamp.unwrap(), name.clone()));
    }
    all.sort();
    let winner = format!("{platform}/{}", all.first().unwrap().1);
    until(&tenants, &tenants.b.namespace, "tied", Some(&winner)).await;
    let (_, loser) = all.last().unwrap();
    accepted(&tenants, &platform, loser, "False ModelConflict").await;
}
