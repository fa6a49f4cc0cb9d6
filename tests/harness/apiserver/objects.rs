//! Objects that tests need and that no controller makes here: namespaces with their default ServiceAccount, Pods that
//! exist as objects only, tokens bound to them, and our CRDs.

use super::ApiServer;
use crate::{tools, wait};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;
use std::time::Duration;

/// How long an object may take to be taken into service.
const LIMIT: Duration = Duration::from_secs(20);

impl ApiServer {
    /// Makes a namespace `<prefix>-<n>` that no other test has, with its `default` ServiceAccount; its name.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn namespace(&self, prefix: &str) -> Result<String> {
        let name = format!("{prefix}-{}", self.unique());
        self.namespace_named(&name, &[]).await?;
        Ok(name)
    }

    /// Makes a namespace of this name with labels, with its `default` ServiceAccount.
    ///
    /// # Errors
    /// When the server refuses, also because there is one already.
    pub async fn namespace_named(&self, name: &str, labels: &[(&str, &str)]) -> Result<()> {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let object = Namespace {
            metadata: ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        Api::all(self.client().await?).create(&PostParams::default(), &object).await?;
        self.ensure_service_account(name, "default").await
    }

    /// Makes a ServiceAccount, unless it is there.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn ensure_service_account(&self, namespace: &str, name: &str) -> Result<()> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        let object = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
        api.patch(name, &PatchParams::apply("routeapi-tests").force(), &Patch::Apply(object)).await?;
        Ok(())
    }

    /// A token of a ServiceAccount that is bound to no Pod, for the server itself (`audience: None`) or for one audience.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn service_account_token(
        &self,
        namespace: &str,
        account: &str,
        audience: Option<&str>,
    ) -> Result<String> {
        request_token(&self.client().await?, (namespace, account), audience, None).await
    }

    /// Makes a Pod object that runs as `account`. It has no node, so nothing runs and deleting it is immediate.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn pod(&self, namespace: &str, account: &str) -> Result<FakePod> {
        self.pod_labelled(namespace, account, &[]).await
    }

    /// As [`ApiServer::pod`], with labels.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn pod_labelled(&self, namespace: &str, account: &str, labels: &[(&str, &str)]) -> Result<FakePod> {
        self.ensure_service_account(namespace, account).await?;
        let client = self.client().await?;
        let name = format!("{account}-{}", self.unique());
        let labels: serde_json::Map<_, _> = labels.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
        let object: Pod = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": labels},
            "spec": {"serviceAccountName": account, "containers": [{"name": "main", "image": "routeapi.dev/none:0"}]},
        }))?;
        let made = Api::<Pod>::namespaced(client.clone(), namespace).create(&PostParams::default(), &object).await?;
        let uid = made.metadata.uid.context("the server gives uids")?;
        Ok(FakePod { client, namespace: namespace.to_owned(), name, uid, account: account.to_owned() })
    }

    /// Fills in the rules of aggregated ClusterRoles (`view`, then `edit`, which holds it, then `admin`), as the
    /// controller manager does where one runs.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn aggregate_roles(&self) -> Result<()> {
        let api: Api<ClusterRole> = Api::all(self.client().await?);
        for name in ["view", "edit", "admin"] {
            let mut rules = Vec::new();
            let aggregated = api.get(name).await?.aggregation_rule.and_then(|rule| rule.cluster_role_selectors);
            for selector in aggregated.into_iter().flatten() {
                let labels: Vec<_> =
                    selector.match_labels.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
                let roles = api.list(&ListParams::default().labels(&labels.join(","))).await?;
                rules.extend(roles.items.into_iter().flat_map(|role| role.rules.unwrap_or_default()));
            }
            let patch = Patch::Merge(json!({"rules": rules}));
            api.patch(name, &PatchParams::default(), &patch).await?;
        }
        Ok(())
    }

    /// Applies every CRD in `crds/*.yaml` and waits until the server serves them; their names.
    ///
    /// # Errors
    /// When the server refuses one, with its own words, or when there is none.
    pub async fn apply_crds(&self) -> Result<Vec<String>> {
        let dir = tools::repository().join("crds");
        let files = std::fs::read_dir(&dir)?.flatten().map(|e| e.path());
        let mut files: Vec<_> = files.filter(|p| p.extension().is_some_and(|e| e == "yaml")).collect();
        files.sort();
        ensure!(!files.is_empty(), "there is no CRD in {}", dir.display());
        for file in &files {
            let file = file.to_str().context("paths are UTF-8")?;
            self.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", file]).await?;
        }
        let api: Api<CustomResourceDefinition> = Api::all(self.client().await?);
        let ours = || async {
            let list = api.list(&ListParams::default()).await.ok()?;
            let ours: Vec<_> = list.items.into_iter().filter(|crd| crd.spec.group == "routeapi.dev").collect();
            let served = !ours.is_empty() && ours.iter().all(is_established);
            served.then(|| ours.into_iter().filter_map(|crd| crd.metadata.name).collect())
        };
        Ok(wait::until("the CRDs are served", LIMIT, ours).await.0)
    }
}

fn is_established(crd: &CustomResourceDefinition) -> bool {
    let conditions = crd.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Established" && c.status == "True")
}

/// A Pod that exists as an object only: enough to hold the identity of a data plane.
#[derive(Clone)]
pub struct FakePod {
    client: kube::Client,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The uid that the server gave it.
    pub uid: String,
    /// The ServiceAccount it runs as.
    pub account: String,
}

impl FakePod {
    /// A token for `audience` that is bound to this Pod, as a projected volume would hold it (valid for 10 minutes).
    ///
    /// # Errors
    /// When the server refuses, for example because the Pod is gone.
    pub async fn token(&self, audience: &str) -> Result<String> {
        let account = (self.namespace.as_str(), self.account.as_str());
        request_token(&self.client, account, Some(audience), Some(self)).await
    }

    /// Deletes the Pod; every token bound to it dies with it.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn delete(&self) -> Result<()> {
        self.api().delete(&self.name, &DeleteParams::default().grace_period(0)).await?;
        Ok(())
    }

    fn api(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

async fn request_token(
    client: &kube::Client,
    (namespace, account): (&str, &str),
    audience: Option<&str>,
    bound_to: Option<&FakePod>,
) -> Result<String> {
    let bound_object_ref = bound_to.map(|pod| BoundObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        name: Some(pod.name.clone()),
        uid: Some(pod.uid.clone()),
    });
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: audience.map(String::from).into_iter().collect(),
            bound_object_ref,
            expiration_seconds: Some(600),
        },
        ..TokenRequest::default()
    };
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let answer = api.create_token_request(account, &PostParams::default(), &request).await?;
    Ok(answer.status.context("the server answers with a token")?.token)
}
