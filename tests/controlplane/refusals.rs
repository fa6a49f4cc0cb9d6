//! Writes that the API server rejects: the status reports them, other tokens are not affected, and all recover once the
//! cause is removed.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::{
    core::v1::{ResourceQuota, Secret},
    events::v1::Event,
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use routeapi_channel::token_format;
use routeapi_crds::v1alpha1::{ApiToken, KeyStatus};
use routeapi_tests::wait;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, LIMIT, Running},
    dataplane::Manner,
    tenants::create,
};

/// How soon a token is made once nothing stands in its way any more: the longest wait between two tries, and its jitter.
const RECOVERY: Duration = Duration::from_secs(15);

async fn keys(cluster: &Cluster, name: &str) -> Vec<KeyStatus> {
    cluster.api::<ApiToken>().get(name).await.unwrap().status.unwrap_or_default().keys
}

async fn patch_spec(cluster: &Cluster, name: &str, spec: Value) {
    let patch = Patch::Merge(json!({"spec": spec}));
    cluster.api::<ApiToken>().patch(name, &PatchParams::default(), &patch).await.unwrap();
}

/// A number of the operator's metrics.
fn metric(operator: &Running, line: &str) -> u64 {
    let text = operator.operator.as_ref().unwrap().metrics.text().unwrap();
    let found = text.lines().find_map(|text| text.strip_prefix(line)).unwrap_or("0");
    found.trim().parse().unwrap()
}

fn publications(operator: &Running) -> u64 {
    metric(operator, "routeapi_operator_revisions_total ")
}

fn failures(operator: &Running) -> u64 {
    metric(operator, r#"routeapi_operator_writes_total{what="token",outcome="Failed"} "#)
}

/// A policy that denies Secrets of this name in this namespace, in force. The words show what it is shown.
async fn deny(cluster: &Cluster, policy: &str, secret: &str) {
    let object = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
    "metadata": {"name": policy}, "spec": {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
            "operations": ["CREATE", "UPDATE"], "resources": ["secrets"]}]},
        "validations": [{
            "expression": format!("object.metadata.name != '{secret}'"),
            "messageExpression": "'no such Secret here; it holds ' + (has(object.data) ? string(object.data['token']) : '')",
        }]}});
    create(&cluster.client, &object).await.unwrap();
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": policy}, "spec": {"policyName": policy, "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {
                "kubernetes.io/metadata.name": cluster.namespace}}}}});
    create(&cluster.client, &binding).await.unwrap();
    let attempt = Secret {
        metadata: kube::api::ObjectMeta { name: Some(secret.to_owned()), ..Default::default() },
        ..Secret::default()
    };
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let look = || async { cluster.api::<Secret>().create(&dry_run, &attempt).await.err().map(drop) };
    wait::until("the policy is in force", LIMIT, look).await;
}

async fn allow(cluster: &Cluster, policy: &str) {
    let at = ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding", "", policy);
    crate::tenants::delete(&cluster.client, at).await.unwrap();
}

#[tokio::test]
async fn a_denial_by_an_admission_policy_is_reported_and_retried_with_the_same_key() {
    let cluster = Cluster::new("denied").await;
    let policy = format!("deny-{}", cluster.namespace);
    deny(&cluster, &policy, "app-key").await;
    let operator = cluster.operator(&[]).await;
    let gateway = cluster.data_plane(&operator, Manner::default()).await;
    gateway.until("the first state", |state| state.revision.is_some()).await;
    cluster.token("app", json!({"secretName": "app-key"})).await;
    let (text, took) = cluster.condition("ApiToken", "app", "SecretReady", ("False", "AdmissionDenied")).await;
    println!("figure: said {took:?} after the ApiToken: {text}");
    assert!(text.contains(&policy) && text.contains("no such Secret here"), "{text}");
    assert!(text.contains("[redacted]") && !text.contains("sk-") && !text.contains("c2st"), "{text}");
    cluster.condition("ApiToken", "app", "Ready", ("False", "AdmissionDenied")).await;

    let (published, failed, key) = (publications(&operator), failures(&operator), keys(&cluster, "app").await);
    assert_eq!(key.len(), 1);
    let look = || std::future::ready((failures(&operator) >= failed + 4).then_some(()));
    wait::until("four more tries", LIMIT, look).await;
    assert_eq!(publications(&operator), published, "tries are not published");
    assert_eq!(keys(&cluster, "app").await, key, "the same value each time");

    allow(&cluster, &policy).await;
    let (_, took) = cluster.condition("ApiToken", "app", "Ready", ("True", "Ready")).await;
    println!("figure: Ready {took:?} after the policy went");
    assert!(took < RECOVERY, "{took:?}");
    let value = cluster.secret_value("app-key", "token").await;
    assert_eq!(token_format::sha256(&value), key[0].sha256, "and it is the value that was published first");

    let events = cluster.api::<Event>().list(&ListParams::default()).await.unwrap();
    let denied = events.items.iter().filter(|event| event.reason.as_deref() == Some("AdmissionDenied"));
    assert_eq!(denied.count(), 1, "one event for the cause");
}

#[tokio::test]
async fn an_immutable_secret_stops_a_rotation_and_is_reported() {
    let cluster = Cluster::new("immutable").await;
    let operator = cluster.operator(&[]).await;
    let _gateway = cluster.data_plane(&operator, Manner::default()).await;
    cluster.token("app", json!({"secretName": "app-key"})).await;
    cluster.condition("ApiToken", "app", "Ready", ("True", "Ready")).await;
    let first = cluster.secret_value("app-key", "token").await;
    let secrets = cluster.api::<Secret>();
    let immutable = Patch::Merge(json!({"immutable": true}));
    secrets.patch("app-key", &PatchParams::default(), &immutable).await.unwrap();
    patch_spec(&cluster, "app", json!({"rotation": {"revision": 1, "overlap": "1h"}})).await;
    let (text, _) = cluster.condition("ApiToken", "app", "Ready", ("False", "SecretImmutable")).await;
    assert!(text.contains("immutable"), "{text}");
    let published = publications(&operator);
    let held = keys(&cluster, "app").await;
    let hash = token_format::sha256(&first);
    assert!(held.iter().any(|key| key.sha256 == hash && key.not_after_time.is_none()), "the old key works: {held:?}");
    let failed = failures(&operator);
    let look = || std::future::ready((failures(&operator) >= failed + 3).then_some(()));
    wait::until("three more tries", LIMIT, look).await;
    assert_eq!(publications(&operator), published);

    // The way out that Kubernetes leaves: delete it. The new value is in no Secret yet, the old one ends.
    secrets.delete("app-key", &DeleteParams::default()).await.unwrap();
    let (_, took) = cluster.condition("ApiToken", "app", "Ready", ("True", "Ready")).await;
    println!("figure: Ready {took:?} after the immutable Secret was deleted");
    assert!(took < RECOVERY, "{took:?}");
    assert_ne!(cluster.secret_value("app-key", "token").await, first);
}

#[tokio::test]
async fn an_exceeded_quota_is_reported_and_all_tokens_recover() {
    let cluster = Cluster::new("quota").await;
    let operator = cluster.operator(&[]).await.expects_refusals();
    let _gateway = cluster.data_plane(&operator, Manner::default()).await;
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {"name": "few", "namespace": cluster.namespace}, "spec": {"hard": {"count/secrets": "0"}}});
    create(&cluster.client, &quota).await.unwrap();
    // No controller counts here.
    let status = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"},
        "status": {"hard": {"count/secrets": "0"}, "used": {"count/secrets": "0"}}});
    let quotas: Api<ResourceQuota> = cluster.api();
    quotas.patch_status("few", &PatchParams::apply("tests").force(), &Patch::Apply(status)).await.unwrap();
    let attempt = Secret {
        metadata: kube::api::ObjectMeta { name: Some("probe".to_owned()), ..Default::default() },
        ..Secret::default()
    };
    let look = || async {
        let refused = cluster.api::<Secret>().create(&PostParams::default(), &attempt).await.is_err();
        if !refused {
            cluster.api::<Secret>().delete("probe", &DeleteParams::default()).await.unwrap();
        }
        refused.then_some(())
    };
    wait::until("the quota is in force", LIMIT, look).await;

    let names: Vec<_> = (0..20).map(|at| format!("app-{at}")).collect();
    for name in &names {
        cluster.token(name, json!({})).await;
    }
    for name in &names {
        let (text, _) = cluster.condition("ApiToken", name, "Ready", ("False", "QuotaExceeded")).await;
        assert!(text.contains("exceeded quota: few"), "{text}");
    }
    let (published, failed) = (publications(&operator), failures(&operator));
    let look = || std::future::ready((failures(&operator) >= failed + 40).then_some(()));
    wait::until("forty more tries", LIMIT, look).await;
    assert_eq!(publications(&operator), published, "tries are not published");

    quotas.delete("few", &DeleteParams::default()).await.unwrap();
    let started = std::time::Instant::now();
    let mut values = BTreeSet::new();
    for name in &names {
        cluster.condition("ApiToken", name, "Ready", ("True", "Ready")).await;
        values.insert(cluster.secret_value(&format!("{name}-routeapi-token"), "token").await);
    }
    println!("figure: 20 tokens Ready {:?} after the quota went", started.elapsed());
    assert!(started.elapsed() < 2 * RECOVERY, "{:?}", started.elapsed());
    assert_eq!(values.len(), names.len());
}

#[tokio::test]
async fn a_terminating_namespace_is_reported() {
    let cluster = Cluster::new("ending").await;
    let operator = cluster.operator(&[]).await.expects_refusals();
    let _gateway = cluster.data_plane(&operator, Manner::default()).await;
    cluster.token("app", json!({"secretName": "app-key"})).await;
    cluster.condition("ApiToken", "app", "Ready", ("True", "Ready")).await;
    // No controller empties it, so that it stays as it is while one would be at work.
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(cluster.client.clone());
    namespaces.delete(&cluster.namespace, &DeleteParams::default()).await.unwrap();
    cluster.api::<Secret>().delete("app-key", &DeleteParams::default()).await.unwrap();
    patch_spec(&cluster, "app", json!({"description": "looked at again"})).await;
    let (text, _) = cluster.condition("ApiToken", "app", "Ready", ("False", "NamespaceTerminating")).await;
    assert!(text.contains("being terminated"), "{text}");
}

#[tokio::test]
async fn a_secret_that_waits_for_finalizers_is_reported() {
    let cluster = Cluster::new("held").await;
    let operator = cluster.operator(&[]).await;
    let _gateway = cluster.data_plane(&operator, Manner::default()).await;
    cluster.token("app", json!({"secretName": "app-key"})).await;
    cluster.condition("ApiToken", "app", "Ready", ("True", "Ready")).await;
    let first = cluster.secret_value("app-key", "token").await;
    let secrets = cluster.api::<Secret>();
    let finalizers = |held: Value| Patch::Merge(json!({"metadata": {"finalizers": held}}));
    secrets.patch("app-key", &PatchParams::default(), &finalizers(json!(["example.com/keep"]))).await.unwrap();
    secrets.delete("app-key", &DeleteParams::default()).await.unwrap();
    patch_spec(&cluster, "app", json!({"description": "looked at again"})).await;
    let (text, _) = cluster.condition("ApiToken", "app", "SecretReady", ("False", "SecretTerminating")).await;
    assert!(text.contains("example.com/keep"), "{text}");
    assert_eq!(keys(&cluster, "app").await[0].sha256, token_format::sha256(&first), "it works until it is gone");
    secrets.patch("app-key", &PatchParams::default(), &finalizers(json!(null))).await.unwrap();
    let (_, took) = cluster.condition("ApiToken", "app", "Ready", ("True", "Ready")).await;
    assert!(took < RECOVERY, "{took:?}");
    assert_ne!(cluster.secret_value("app-key", "token").await, first);
}

#[tokio::test]
async fn a_changed_token_is_retried_at_once() {
    let cluster = Cluster::new("touch").await;
    let policy = format!("deny-{}", cluster.namespace);
    deny(&cluster, &policy, "app-key").await;
    let operator = cluster.operator(&[]).await;
    cluster.token("app", json!({"secretName": "app-key"})).await;
    cluster.condition("ApiToken", "app", "SecretReady", ("False", "AdmissionDenied")).await;
    let failed = |times: u64| {
        let operator = &operator;
        async move {
            let look = || std::future::ready((failures(operator) >= times).then_some(()));
            wait::until(&format!("{times} tries"), LIMIT, look).await.1
        }
    };
    failed(5).await; // the next is due four seconds later or more
    patch_spec(&cluster, "app", json!({"description": "looked at again"})).await;
    let took = failed(6).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    allow(&cluster, &policy).await;
}

#[tokio::test]
async fn a_short_imported_key_is_rejected() {
    let cluster = Cluster::new("short").await;
    let operator = cluster.operator(&[]).await;
    let _gateway = cluster.data_plane(&operator, Manner::default()).await;
    let labels = json!({"routeapi.dev/import": "true"});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"token": "0123456789abcde\n"},
        "metadata": {"name": "mine", "namespace": cluster.namespace, "labels": labels}});
    create(&cluster.client, &secret).await.unwrap();
    cluster.token("app", json!({"secretName": "mine"})).await;
    let (text, _) = cluster.condition("ApiToken", "app", "Ready", ("False", "SecretKeyInvalid")).await;
    assert!(text.contains("15 bytes") && text.contains("at least 16") && !text.contains("0123"), "{text}");
    assert_eq!(keys(&cluster, "app").await, []);
    let longer = Patch::Merge(json!({"stringData": {"token": " 0123456789abcdef\n"}}));
    cluster.api::<Secret>().patch("mine", &PatchParams::default(), &longer).await.unwrap();
    patch_spec(&cluster, "app", json!({"description": "looked at again"})).await;
    cluster.condition("ApiToken", "app", "Ready", ("True", "Ready")).await;
    assert_eq!(keys(&cluster, "app").await[0].sha256, token_format::sha256("0123456789abcdef"));
}
