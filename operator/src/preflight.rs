//! Whether the CRDs in the cluster have every field that this version knows.
//!
//! An older CRD would make the API server drop fields that users write, without a word: so the operator says so in its
//! log and in an event about its pod, and is not ready; what the older CRDs know is served all the same. It looks again until all is well, and needs no restart. What the cluster has is read from its
//! published OpenAPI, which every authenticated client may read, so no right to CRDs is needed.

pub mod herald;

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

use herald::Herald;

/// How often a cluster that lacks something is looked at again.
const AGAIN: Duration = Duration::from_secs(2);

/// Fields that are named in a message at most.
const NAMED: usize = 5;

/// Looks until the cluster has what is needed; what it lacks is in `problem`.
pub async fn run(client: Client, herald: Herald, problem: watch::Sender<Option<String>>) {
    loop {
        let found = lacking(&client).await;
        let changed = problem.send_if_modified(|held| {
            let differs = *held != found;
            held.clone_from(&found);
            differs
        });
        match &found {
            None => return info!("the cluster's CRDs fit this version"),
            Some(text) if changed => {
                error!(problem = text, "CRDs");
                herald.warn("UnfitCRDs", text).await;
            }
            Some(_) => {}
        }
        time::sleep(AGAIN).await;
    }
}

async fn lacking(client: &Client) -> Option<String> {
    let path = format!("/openapi/v3/apis/{GROUP}/{VERSION}");
    let request = match Request::get(&path).body(Vec::new()) {
        Ok(request) => request,
        Err(error) => return Some(error.to_string()),
    };
    let published: Value = match time::timeout(Duration::from_secs(10), client.request(request)).await {
        Ok(Ok(published)) => published,
        Ok(Err(kube::Error::Api(status))) if status.is_not_found() => {
            return Some(format!(
                "the CRDs of {GROUP}/{VERSION} are not installed: kubectl apply --server-side --force-conflicts -f crds/"
            ));
        }
        Ok(Err(error)) => return Some(format!("the cluster's CRDs cannot be read: {error}")),
        Err(_) => return Some("the cluster's CRDs cannot be read: the API server does not answer".to_owned()),
    };
    let missing = missing(&published);
    let named = missing.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = missing.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!missing.is_empty())
        .then(|| format!("the CRDs are older than this operator: they lack {named}{more}; kubectl apply --server-side --force-conflicts -f crds/"))
}

/// `AIRoute.spec.fallback` and the like.
fn missing(published: &Value) -> Vec<String> {
    let mut missing = Vec::new();
    for definition in schema::all() {
        let kind = definition.spec.names.kind;
        let group: Vec<_> = GROUP.rsplit('.').collect();
        let name = format!("{}.{VERSION}.{kind}", group.join("."));
        let theirs = published.pointer("/components/schemas").and_then(|schemas| schemas.get(&name));
        let version = definition.spec.versions.into_iter().find(|it| it.name == VERSION);
        let ours = version.and_then(|it| it.schema).and_then(|it| serde_json::to_value(it.open_api_v3_schema).ok());
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
            Some(held) => compare(&path, field, held, missing),
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
    fn the_definitions_of_this_version_lack_nothing() {
        assert_eq!(missing(&published()), Vec::<String>::new());
    }

    #[test]
    fn a_field_that_an_older_definition_lacks_is_named_with_its_path() {
        let mut published = published();
        let spec = "/components/schemas/dev.routeapi.v1alpha1.AIRoute/properties/spec/properties";
        published.pointer_mut(spec).unwrap().as_object_mut().unwrap().remove("fallback");
        let upstream = format!("{spec}/upstreams/items/properties");
        published.pointer_mut(&upstream).unwrap().as_object_mut().unwrap().remove("price");
        assert_eq!(missing(&published), ["AIRoute.spec.fallback", "AIRoute.spec.upstreams[].price"]);
    }

    #[test]
    fn a_kind_that_is_not_there_is_named() {
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
