//! Which writes of the operator the chart's admission policy allows, with the operator's credentials. All operators of
//! these tests run under the policy, so the other tests show that it allows what is needed.

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams},
};
use routeapi_crds::v1alpha1::ApiToken;
use routeapi_tests::{helm, wait};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    cluster::{Cluster, LIMIT},
    rights::OPERATOR,
    tenants::{self, Refused, create},
};

/// How the API server answers what a policy denies; a missing right is 403.
const DENIED: Result<(), Refused> = Err(422);

const ADMISSION: &str = "admissionregistration.k8s.io/v1";

/// Installs the policy of a release in this namespace, and waits until it is in force.
pub async fn install(cluster: &Cluster) {
    static RENDERED: OnceCell<String> = OnceCell::const_new();
    const PLACE: &str = "the-release-namespace";
    let account = format!("operator.serviceAccount.name={OPERATOR}");
    let args = ["--show-only", "templates/access/secret-policy.yaml", "--set", &account];
    let rendered = RENDERED
        .get_or_init(|| async { serde_json::to_string(&helm::template("routeapi", PLACE, &args).unwrap()).unwrap() })
        .await;
    let objects: Vec<Value> = serde_json::from_str(&rendered.replace(PLACE, &cluster.namespace)).unwrap();
    assert_eq!(objects.len(), 2);
    for object in objects {
        create(&cluster.client, &object).await.unwrap();
    }
    let secrets: Api<Secret> = Api::namespaced(client(cluster).await, &cluster.namespace);
    let attempt = serde_json::from_value(secret(cluster, "probe", &json!({}))).unwrap();
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let look = || async { secrets.create(&dry_run, &attempt).await.err().map(drop) };
    wait::until("the policy is in force", LIMIT, look).await;
}

/// With the credentials of the operator's account.
async fn client(cluster: &Cluster) -> Client {
    let token = cluster.server.service_account_token(&cluster.namespace, OPERATOR, None).await.unwrap();
    let name = format!("{}-policy-{}", cluster.namespace, cluster.server.unique());
    cluster.server.client_for(&name, &token).await.unwrap()
}

/// A Secret as the operator makes them, with these changes to it.
fn secret(cluster: &Cluster, name: &str, changes: &Value) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {
        "name": name, "namespace": cluster.namespace, "labels": {"app.kubernetes.io/managed-by": "routeapi-operator"}}});
    merge(&mut object, changes);
    object
}

fn merge(into: &mut Value, changes: &Value) {
    match (into.as_object_mut(), changes.as_object()) {
        (Some(into), Some(changes)) => {
            for (key, value) in changes {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        _ => *into = changes.clone(),
    }
}

/// Owned by an ApiToken of this uid.
fn owned(uid: &str) -> Value {
    json!({"metadata": {"ownerReferences": [
        {"apiVersion": "routeapi.dev/v1alpha1", "kind": "ApiToken", "name": "app", "uid": uid, "controller": true}]}})
}

/// The uid of an ApiToken that exists.
async fn token(cluster: &Cluster, name: &str) -> String {
    cluster.token(name, json!({})).await;
    let tokens: Api<ApiToken> = cluster.api();
    tokens.get(name).await.unwrap().metadata.uid.unwrap()
}

#[tokio::test]
async fn the_operator_can_create_only_secrets_of_apitokens_and_its_own() {
    let cluster = Cluster::new("makes").await;
    let operator = client(&cluster).await;
    let uid = token(&cluster, "app").await;
    let ours = |name: &str, changes: Value| {
        let mut object = secret(&cluster, name, &owned(&uid));
        merge(&mut object, &changes);
        object
    };
    assert_eq!(create(&operator, &ours("token", json!({}))).await, Ok(()));
    assert_eq!(create(&operator, &secret(&cluster, "routeapi-config-tls", &json!({}))).await, Ok(()));

    let owner = |owner: Value| json!({"metadata": {"ownerReferences": [owner]}});
    for (what, object) in [
        ("nobody's", secret(&cluster, "new", &json!({}))),
        ("without the label", ours("new", json!({"metadata": {"labels": null}}))),
        ("labelled by another", ours("new", json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "x"}}}))),
        ("of TLS", ours("new", json!({"type": "kubernetes.io/tls", "stringData": {"tls.crt": "", "tls.key": ""}}))),
        (
            "of a ServiceAccount",
            ours(
                "new",
                json!({"type": "kubernetes.io/service-account-token", "metadata":
            {"annotations": {"kubernetes.io/service-account.name": OPERATOR}}}),
            ),
        ),
        ("of a bootstrap token", ours("new", json!({"type": "bootstrap.kubernetes.io/token"}))),
        (
            "of a registry",
            ours(
                "new",
                json!({"type": "kubernetes.io/dockerconfigjson", "stringData":
            {".dockerconfigjson": "{}"}}),
            ),
        ),
        (
            "an AIRoute's",
            ours(
                "new",
                owner(json!({"apiVersion": "routeapi.dev/v1alpha1", "kind": "AIRoute",
            "name": "app", "uid": uid, "controller": true})),
            ),
        ),
        (
            "another group's",
            ours(
                "new",
                owner(json!({"apiVersion": "example.com/v1", "kind": "ApiToken",
            "name": "app", "uid": uid, "controller": true})),
            ),
        ),
        (
            "owned without control",
            ours(
                "new",
                owner(json!({"apiVersion": "routeapi.dev/v1alpha1",
            "kind": "ApiToken", "name": "app", "uid": uid})),
            ),
        ),
        ("of a name like that of its certificates", secret(&cluster, "routeapi-config-tls-2", &json!({}))),
    ] {
        assert_eq!(create(&operator, &object).await, DENIED, "{what}");
        assert!(create(&cluster.client, &object).await.is_ok(), "{what}: others are not held to it");
        tenants::delete(
            &cluster.client,
            ("v1", "Secret", &cluster.namespace, object["metadata"]["name"].as_str().unwrap()),
        )
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn the_operator_cannot_change_owners_of_secrets() {
    let cluster = Cluster::new("takes").await;
    let operator = client(&cluster).await;
    let (uid, other) = (token(&cluster, "app").await, token(&cluster, "other").await);
    let namespace = cluster.namespace.as_str();
    let at = |name: &'static str| ("v1", "Secret", namespace, name);
    let mine = secret(&cluster, "mine", &owned(&uid));
    create(&operator, &mine).await.unwrap();
    let data = json!({"stringData": {"token": "another"}});
    assert_eq!(tenants::patch(&operator, at("mine"), &data).await, Ok(()));
    for (what, change) in [
        ("given to another ApiToken", owned(&other)),
        ("given to nobody", json!({"metadata": {"ownerReferences": null}})),
        ("without the label", json!({"metadata": {"labels": null}})),
    ] {
        assert_eq!(tenants::patch(&operator, at("mine"), &change).await, DENIED, "{what}");
    }

    let foreign = json!({"metadata": {"ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "x",
        "uid": uid, "controller": true}]}});
    for (name, changes) in [("foreign", json!({})), ("anothers", foreign)] {
        create(&cluster.client, &secret(&cluster, name, &changes)).await.unwrap();
        assert_eq!(tenants::patch(&operator, at(name), &data).await, DENIED, "{name}: its data");
        assert_eq!(tenants::patch(&operator, at(name), &owned(&uid)).await, DENIED, "{name}: its owner");
        assert_eq!(tenants::patch(&operator, at(name), &json!({"immutable": true})).await, DENIED, "{name}");
    }
}

#[tokio::test]
async fn the_operator_cannot_delete_secrets_even_with_the_permission() {
    let cluster = Cluster::new("deletes").await;
    let operator = client(&cluster).await;
    let uid = token(&cluster, "app").await;
    create(&operator, &secret(&cluster, "mine", &owned(&uid))).await.unwrap();
    let at = ("v1", "Secret", cluster.namespace.as_str(), "mine");
    assert_eq!(tenants::delete(&operator, at).await, Err(403), "its role has no such right");
    let rbac = "rbac.authorization.k8s.io";
    let metadata = json!({"name": "too-much", "namespace": cluster.namespace});
    let role = json!({"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": metadata,
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]}]});
    let binding = json!({"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "too-much"},
        "subjects": [{"kind": "ServiceAccount", "name": OPERATOR, "namespace": cluster.namespace}]});
    create(&cluster.client, &role).await.unwrap();
    create(&cluster.client, &binding).await.unwrap();
    let look = || async { (tenants::delete(&operator, at).await == DENIED).then_some(()) };
    wait::until("the right is there and the policy denies", LIMIT, look).await;
    let all = Api::<Secret>::namespaced(operator, &cluster.namespace);
    let many = all.delete_collection(&DeleteParams::default(), &ListParams::default()).await;
    assert!(many.is_err(), "nor many at once");
    assert!(cluster.secret("mine").await.is_some());
}

#[tokio::test]
async fn certificate_secrets_are_allowed_in_its_own_namespace_only() {
    let cluster = Cluster::new("certificates").await;
    let other = cluster.server.namespace("elsewhere").await.unwrap();
    crate::rights::watched(&cluster, &other).await;
    let operator = client(&cluster).await;
    let object = secret(&cluster, "routeapi-config-tls", &json!({"metadata": {"namespace": other}}));
    assert_eq!(create(&operator, &object).await, DENIED);
}

#[tokio::test]
async fn the_operator_cannot_change_the_policy() {
    let cluster = Cluster::new("reach").await;
    let operator = client(&cluster).await;
    let name = format!("{}-routeapi-operator-secrets", cluster.namespace);
    for kind in ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"] {
        assert_eq!(tenants::delete(&operator, (ADMISSION, kind, "", &name)).await, Err(403), "{kind}");
    }
}
