//! What goes wrong in the middle of it: nothing is minted twice, nobody else waits, and statuses are true afterwards.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams},
};
use routeapi_channel::token_format;
use routeapi_tests::wait;
use serde_json::json;

use crate::{
    company::{Company, token_spec},
    ground::{LIMIT, object},
    processes::figure,
};

/// Tokens that are created for a fault.
const TOKENS: usize = 200;

pub async fn inflict(company: &mut Company<'_>) {
    operator_killed(company).await;
    api_server_restarted(company).await;
    secrets_refused(company).await;
    namespace_emptied(company).await;
}

/// The operator is killed while it mints, and another one goes on.
async fn operator_killed(company: &mut Company<'_>) {
    let namespace = team(company, "killed", None).await;
    let before = company.operator.metric("tokens_minted_total", "").await;
    company.create("ApiToken", tokens(&namespace)).await;
    let some = || async { (company.operator.metric("tokens_minted_total", "").await > before + 20).then_some(()) };
    wait::until("some are minted", LIMIT, some).await;
    let config = company.operator.config().port();
    company.operator.process.kill().unwrap();
    company.operator = company.ground.operator("after-a-crash", Some(config));
    let started = Instant::now();
    ready(company, &namespace).await;
    figure(
        "operator killed in the middle of minting: all Ready after the start of the next",
        format_args!("{:.1?}", started.elapsed()),
    );
    assert_one_key_each(company, &namespace).await;
}

/// The API server is killed while tokens are minted, and starts again: watches break and go on.
async fn api_server_restarted(company: &mut Company<'_>) {
    let namespace = team(company, "outage", None).await;
    company.create("ApiToken", tokens(&namespace)).await;
    company.ground.server.kill().unwrap();
    company.ground.server.restart().await.unwrap();
    let started = Instant::now();
    ready(company, &namespace).await;
    figure(
        "API server killed in the middle of minting: all Ready after it is back",
        format_args!("{:.1?}", started.elapsed()),
    );
    assert_one_key_each(company, &namespace).await;
}

/// A quota refuses Secrets in one namespace: tokens of others do not wait.
async fn secrets_refused(company: &mut Company<'_>) {
    let (full, other) = (team(company, "quota", Some(0)).await, team(company, "beside", None).await);
    company.create("ApiToken", tokens(&full)).await;
    let refused = || async {
        let list = company.ground.api("ApiToken", &full).list(&ListParams::default()).await.ok()?;
        let reasons = list.items.iter().filter(|token| token.data["status"].to_string().contains("QuotaExceeded"));
        (reasons.count() >= TOKENS / 10).then_some(())
    };
    wait::until("statuses tell of the quota", LIMIT, refused).await;
    let started = Instant::now();
    company.create("ApiToken", tokens(&other)).await;
    ready(company, &other).await;
    figure(
        "tokens beside a namespace whose quota refuses Secrets: all Ready after",
        format_args!("{:.1?}", started.elapsed()),
    );
    assert_one_key_each(company, &other).await;
    let secrets: Api<Secret> = Api::namespaced(company.ground.client.clone(), &full);
    assert_eq!(secrets.list(&ListParams::default()).await.unwrap().items.len(), 0);
}

/// All tokens of a namespace are deleted at once: others do not wait.
async fn namespace_emptied(company: &mut Company<'_>) {
    let gone = company.team(2).to_owned();
    let before = company.operator.metric("objects", "kind=\"ApiToken\"").await;
    let api = company.ground.api("ApiToken", &gone);
    let count = api.list(&ListParams::default()).await.unwrap().items.len() as u64;
    let started = Instant::now();
    api.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    let left =
        || async { (company.operator.metric("objects", "kind=\"ApiToken\"").await <= before - count).then_some(()) };
    wait::until("none is in force", LIMIT, left).await;
    figure(
        &format!("{count} tokens of a namespace deleted, none in force after"),
        format_args!("{:.1?}", started.elapsed()),
    );
}

/// A namespace of its own, perhaps with a quota for Secrets.
async fn team(company: &Company<'_>, name: &str, secrets: Option<u32>) -> String {
    company.ground.server.namespace_named(name, &[]).await.unwrap();
    if let Some(secrets) = secrets {
        let quota = json!({"metadata": {"name": "secrets"}, "spec": {"hard": {"count/secrets": secrets.to_string()}},
            "status": {"hard": {"count/secrets": secrets.to_string()}, "used": {"count/secrets": "0"}}});
        let api: Api<k8s_openapi::api::core::v1::ResourceQuota> = Api::namespaced(company.ground.client.clone(), name);
        let quota: k8s_openapi::api::core::v1::ResourceQuota = serde_json::from_value(quota).unwrap();
        api.create(&Default::default(), &quota).await.unwrap();
        // No controller counts here.
        api.replace_status("secrets", &Default::default(), &api_version_of(&api, quota).await).await.unwrap();
    }
    name.to_owned()
}

async fn api_version_of(
    api: &Api<k8s_openapi::api::core::v1::ResourceQuota>,
    quota: k8s_openapi::api::core::v1::ResourceQuota,
) -> k8s_openapi::api::core::v1::ResourceQuota {
    let mut current = api.get("secrets").await.unwrap();
    current.status = quota.status;
    current
}

fn tokens(namespace: &str) -> Vec<(String, DynamicObject)> {
    (0..TOKENS)
        .map(|number| (namespace.to_owned(), object("ApiToken", &format!("app-{number:03}"), &token_spec())))
        .collect()
}

async fn ready(company: &Company<'_>, namespace: &str) {
    let ready = || {
        let tokens = company.tokens.lock().unwrap();
        tokens.iter().filter(|((of, _), ready)| of == namespace && **ready).count() == TOKENS
    };
    wait::until_true("its tokens are ready", LIMIT.min(Duration::from_secs(600)), ready).await;
}

/// Each Secret has the one key that its token's status lists.
async fn assert_one_key_each(company: &Company<'_>, namespace: &str) {
    let tokens = company.ground.api("ApiToken", namespace).list(&ListParams::default()).await.unwrap();
    let secrets: Api<Secret> = Api::namespaced(company.ground.client.clone(), namespace);
    let secrets = secrets.list(&ListParams::default()).await.unwrap().items.into_iter();
    let values: BTreeMap<String, String> = secrets
        .filter_map(|secret| Some((secret.name_any(), String::from_utf8(secret.data?.get("token")?.0.clone()).ok()?)))
        .collect();
    assert_eq!(values.len(), TOKENS);
    for token in tokens {
        let value = &values[&routeapi_crds::v1alpha1::default_secret_name(&token.name_any())];
        let keys = token.data["status"]["keys"].as_array().cloned().unwrap_or_default();
        assert_eq!(keys.len(), 1, "{}: {keys:?}", token.name_any());
        assert_eq!(keys[0]["sha256"], token_format::sha256(value), "{}", token.name_any());
    }
}
