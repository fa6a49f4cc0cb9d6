//! Checks that the CRDs in the cluster have every field of this version.
//!
//! With older CRDs the API server would silently drop fields that users write. So the operator reports it in its log and in an
//! event about its pod, and is not ready; what the older CRDs have is served all the same. It checks again until the CRDs fit,
//! and needs no restart. The CRDs are read from the cluster's OpenAPI document, which every authenticated client may read, so
//! no permission for CRDs is needed.

pub mod event_recorder;

use std::time::Duration;

use http::Request;
use kube::Client;
use routeapi_crds::{
    schema,
    v1alpha1::{GROUP, VERSION},
};
use serde_json::Value;
use tokio::{sync::watch, time};
use tracing::{error, info};

use event_recorder::EventRecorder;

/// How often outdated CRDs are checked again. During an upgrade they are applied within seconds.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// Maximum number of fields that a message names, so that it stays readable. More are missing only if a CRD is very old.
const MAX_NAMED: usize = 5;

/// How long the API server may take to send its OpenAPI document, which it computes after a change of CRDs.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Checks until the CRDs fit. `problem` has the reason while they do not.
pub async fn run(client: Client, events: EventRecorder, problem: watch::Sender<Option<String>>) {
    loop {
        let found = check(&client).await;
        let changed = problem.send_if_modified(|current| {
            let differs = *current != found;
            current.clone_from(&found);
            differs
        });
        match &found {
            None => return info!("the CRDs match this version"),
            Some(text) if changed => {
                error!(problem = text, "the CRDs do not match this version");
                events.warn("UnfitCRDs", text).await;
            }
            Some(_) => {}
        }
        time::sleep(RETRY_INTERVAL).await;
    }
}

async fn check(client: &Client) -> Option<String> {
    let path = format!("/openapi/v3/apis/{GROUP}/{VERSION}");
    let request = match Request::get(&path).body(Vec::new()) {
        Ok(request) => request,
        Err(error) => return Some(error.to_string()),
    };
    let published: Value = match time::timeout(REQUEST_TIMEOUT, client.request(request)).await {
        Ok(Ok(published)) => published,
        Ok(Err(kube::Error::Api(status))) if status.is_not_found() => {
            return Some(format!(
                "the CRDs of {GROUP}/{VERSION} are not installed; run kubectl apply --server-side --force-conflicts -f crds/"
            ));
        }
        Ok(Err(error)) => return Some(format!("cannot read the cluster's CRDs: {error}")),
        Err(_) => return Some("cannot read the cluster's CRDs: timed out waiting for the API server".to_owned()),
    };
    let missing = missing(&published);
    let named = missing.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = missing.len().saturating_sub(MAX_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!missing.is_empty())
        .then(|| format!("the CRDs are older than this operator and lack {named}{more}; run kubectl apply --server-side --force-conflicts -f crds/"))
}

/// The fields that the cluster's CRDs lack, such as `AIRoute.spec.fallback`.
fn missing(published: &Value) -> Vec<String> {
    let mut missing = Vec::new();
    for definition in schema::all() {
        let kind = definition.spec.names.kind;
        let group: Vec<_> = GROUP.rsplit('.').collect();
        let name = format!("{}.{VERSION}.{kind}", group.join("."));
        let theirs = published.pointer("/components/schemas").and_then(|schemas| schemas.get(&name));
        let version = definition.spec.versions.into_iter().find(|version| version.name == VERSION);
        let ours = version
            .and_then(|version| version.schema)
            .and_then(|schema| serde_json::to_value(schema.open_api_v3_schema).ok());
        match (theirs, ours) {
            (Some(theirs), Some(ours)) => compare(&kind, &ours, theirs, &mut missing),
            _ => missing.push(kind),
        }
    }
    missing
}

fn compare(path: &str, ours: &Value, theirs: &Value, missing: &mut Vec<String>) {
    for (name, field) in ours.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = format!("{path}.{name}");
        match theirs.get("properties").and_then(|fields| fields.get(name)) {
            Some(theirs) => compare(&path, field, theirs, missing),
            None => missing.push(path),
        }
    }
    if let (Some(ours), Some(theirs)) = (ours.get("items"), theirs.get("items")) {
        compare(&format!("{path}[]"), ours, theirs, missing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn published() -> Value {
        let mut schemas = serde_json::Map::new();
        for definition in schema::all() {
            let name = format!("dev.routeapi.v1alpha1.{}", definition.spec.names.kind);
            let version = definition.spec.versions.into_iter().next().unwrap();
            schemas.insert(name, serde_json::to_value(version.schema.unwrap().open_api_v3_schema).unwrap());
        }
        json!({"components": {"schemas": schemas}})
    }

    #[test]
    fn the_crds_of_this_version_lack_nothing() {
        assert_eq!(missing(&published()), Vec::<String>::new());
    }

    #[test]
    fn a_field_that_older_crds_lack_is_named_with_its_path() {
        let mut published = published();
        let spec = "/components/schemas/dev.routeapi.v1alpha1.AIRoute/properties/spec/properties";
        published.pointer_mut(spec).unwrap().as_object_mut().unwrap().remove("fallback");
        let upstream = format!("{spec}/upstreams/items/properties");
        published.pointer_mut(&upstream).unwrap().as_object_mut().unwrap().remove("price");
        assert_eq!(missing(&published), ["AIRoute.spec.fallback", "AIRoute.spec.upstreams[].price"]);
    }

    #[test]
    fn a_missing_kind_is_named() {
        let mut published = published();
        published
            .pointer_mut("/components/schemas")
            .unwrap()
            .as_object_mut()
            .unwrap()
            .remove("dev.routeapi.v1alpha1.ApiToken");
        assert_eq!(missing(&published), ["ApiToken"]);
    }
}
