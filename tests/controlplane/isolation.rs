//! What an editor of one namespace can and cannot do to other namespaces.

use routeapi_channel::Kind;
use serde_json::{Value, json};

use crate::tenants::{Tenants, create};

const OURS: &str = "routeapi.dev/v1alpha1";

#[tokio::test]
async fn an_editor_can_write_only_routes_of_its_own_namespace() {
    let tenants = Tenants::new("editor").await;
    let (a, b) = (&tenants.a, &tenants.b);
    let object = |kind: &str, namespace: &str, spec: Value| {
        json!({"apiVersion": OURS, "kind": kind,
            "metadata": {"name": "new", "namespace": namespace}, "spec": spec})
    };
    let provider = json!({"type": "OpenAI", "baseURL": "https://attacker.example/v1"});
    let token = json!({"models": ["*"]});
    assert_eq!(a.create(a.route("new", "new-model")).await, Ok(()), "its own route");
    assert_eq!(a.create(b.route("new", "new-model")).await, Err(403), "a route of team-b");
    let platform = tenants.cluster.namespace.as_str();
    for namespace in [a.namespace.as_str(), b.namespace.as_str(), platform] {
        assert_eq!(a.create(object("AIProvider", namespace, provider.clone())).await, Err(403), "{namespace}");
        assert_eq!(a.create(object("ApiToken", namespace, token.clone())).await, Err(403), "{namespace}");
    }
    let limits = json!({"spec": {"limits": []}});
    assert_eq!(a.patch((OURS, "ApiToken", &a.namespace, "app"), limits).await, Err(403), "its own token's limits");
    assert_eq!(a.delete((OURS, "ApiToken", &a.namespace, "app")).await, Err(403));
    let status = json!({"apiVersion": OURS, "kind": "AIRoute", "metadata": {"name": "new"},
        "status": {"conditions": []}});
    assert_eq!(a.patch((OURS, "AIRoute", &b.namespace, "own"), status).await, Err(403));
}

#[tokio::test]
async fn an_editor_cannot_read_other_namespaces() {
    let tenants = Tenants::new("reader").await;
    let (a, b) = (&tenants.a, &tenants.b);
    let secret = "app-routeapi-token";
    assert_eq!(a.read(("v1", "Secret", &a.namespace, secret)).await, Ok(()), "its own key, which its pods mount");
    let platform = tenants.cluster.namespace.as_str();
    for at in [
        ("v1", "Secret", b.namespace.as_str(), secret),
        ("v1", "Secret", platform, "routeapi-config-tls"),
        (OURS, "AIRoute", b.namespace.as_str(), "own"),
        (OURS, "ApiToken", b.namespace.as_str(), "app"),
        (OURS, "AIRoute", platform, "assistant"),
        (OURS, "AIProvider", platform, "shared"),
    ] {
        assert_eq!(a.read(at).await, Err(403), "{at:?}");
    }
}

#[tokio::test]
async fn an_editor_cannot_extend_its_own_permissions() {
    let tenants = Tenants::new("climber").await;
    let (a, b) = (&tenants.a, &tenants.b);
    let label = json!({"metadata": {"labels": {"routeapi.dev/anything": "true"}}});
    assert_eq!(
        a.patch(("v1", "Namespace", "", &a.namespace), label.clone()).await,
        Err(403),
        "labels of its namespace"
    );
    assert_eq!(a.patch(("v1", "Namespace", "", &b.namespace), label).await, Err(403));
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "more", "namespace": a.namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "anybody"}]});
    assert_eq!(a.create(binding).await, Err(403));
}

#[tokio::test]
async fn a_viewer_cannot_write() {
    let tenants = Tenants::new("viewer").await;
    let a = &tenants.a;
    assert_eq!(create(&a.viewer, &a.route("new", "new-model")).await, Err(403));
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": a.namespace}});
    assert_eq!(create(&a.viewer, &secret).await, Err(403));
}

/// Whether the API server takes an object or refuses it, the others notice nothing.
#[tokio::test]
async fn hostile_routes_do_not_affect_other_namespaces() {
    let tenants = Tenants::new("hostile").await;
    let (a, b) = (&tenants.a, &tenants.b);
    let (others, platform) = (tenants.standing(b).await, tenants.platform().await);
    assert!(others.values().flatten().any(|line| line.starts_with("Ready=True")), "{others:?}");

    let mut taken = 0;
    for object in hostile(a, b) {
        taken += usize::from(a.create(object).await.is_ok());
    }
    assert!(taken >= 6, "the API server took {taken}: too few to show anything");
    tenants.settled().await;
    assert!(tenants.operator.admin("/readyz").await.contains(" 200 "));
    assert_eq!(tenants.standing(b).await, others);
    assert_eq!(tenants.platform().await, platform);

    let state = tenants.gateway.now();
    let held = |name: &str| state.body(Kind::Route, &a.namespace, name).unwrap_or_default();
    assert!(!held("noted").contains("xxxxxxxx"), "annotations are not sent to data planes");
    let steals = tenants.standing(a).await.remove("Route steals").unwrap();
    assert!(steals.iter().any(|line| line.starts_with("ResolvedRefs=False")), "{steals:?}");
    assert!(held("steals").contains(r#""upstreams":[]"#), "{}", held("steals"));
}

/// Routes with content that nobody means well with, none of which names a model of others.
fn hostile(a: &crate::tenants::Tenant, b: &crate::tenants::Tenant) -> Vec<Value> {
    let route = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut route = a.route(name, &format!("hostile-{}", name.get(..8).unwrap_or(name)));
        change(&mut route);
        route
    };
    let upstream = |at: usize| json!({"name": format!("u{at}"), "providerRef": {"name": format!("nobody-{at}")}});
    vec![
        route(&"n".repeat(253), &|_| {}),
        route("noted", &|route| route["metadata"]["annotations"] = json!({"note": "x".repeat(250 * 1024)})),
        route("labelled", &|route| {
            route["metadata"]["labels"] =
                json!({"routeapi.dev/import": "true", "app.kubernetes.io/managed-by": "routeapi-operator"});
        }),
        route("steals", &|route| {
            route["spec"]["upstreams"][0]["providerRef"] = json!({"name": "theirs", "namespace": b.namespace});
        }),
        route("opens", &|route| route["spec"]["allowedTokens"] = json!({"namespaces": {"from": "All"}})),
        route("selects", &|route| {
            route["spec"]["allowedTokens"] = json!({"namespaces": {"from": "Selector", "selector": {}}});
        }),
        route("unicode", &|route| route["spec"]["model"] = json!("m\u{202e}ö\u{0}\u{1f4a9}")),
        route("dots", &|route| route["spec"]["model"] = json!("x/../../etc")),
        route("many", &|route| route["spec"]["upstreams"] = (0..16).map(upstream).collect()),
        route("too-many", &|route| route["spec"]["upstreams"] = (0..2000).map(upstream).collect()),
        route("owned", &|route| {
            route["metadata"]["ownerReferences"] = json!([{"apiVersion": OURS, "kind": "ApiToken", "name": "app",
                "uid": "00000000-0000-4000-8000-000000000000", "controller": true}]);
        }),
        route("kept", &|route| route["metadata"]["finalizers"] = json!(["attacker.example/never"])),
    ]
}
