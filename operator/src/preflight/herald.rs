//! Events about this replica's own Pod, so that `kubectl describe pod` tells why it is not ready.
//!
//! Which Pod that is stands in the ServiceAccount token that was made for it. Where events may be written follows from
//! the namespaces that are watched; a replica in another one stays silent instead of being refused.

use std::{path::PathBuf, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::time;
use tracing::debug;

use crate::settings::Settings;

/// How long the API server may take.
const CALL: Duration = Duration::from_secs(5);

/// Tells of this replica.
pub struct Herald {
    recorder: Recorder,
    token_file: Option<PathBuf>,
}

impl Herald {
    /// By these settings.
    pub fn new(settings: &Settings, client: &Client) -> Self {
        let watched = &settings.watch_namespaces;
        let may = watched.is_empty() || watched.contains(&settings.namespace);
        let reporter =
            Reporter { controller: "routeapi-operator".to_owned(), instance: Some(settings.identity.clone()) };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            token_file: may.then(|| settings.peer_token_file.clone()),
        }
    }

    /// Tells why this replica is not ready. Outside a cluster, and without an answer, nobody is told.
    pub async fn warn(&self, reason: &str, note: &str) {
        let Some(file) = &self.token_file else { return };
        let Some(pod) = tokio::fs::read_to_string(file).await.ok().and_then(|token| pod(&token)) else { return };
        let event = Event {
            type_: EventType::Warning,
            reason: reason.to_owned(),
            note: Some(note.chars().take(1000).collect()),
            action: "Preflight".to_owned(),
            secondary: None,
        };
        match time::timeout(CALL, self.recorder.publish(&event, &pod)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(reason, %error, "event was not recorded"),
            Err(_) => debug!(reason, "event was not recorded: the API server does not answer"),
        }
    }
}

/// The Pod that a token was made for.
fn pod(token: &str) -> Option<ObjectReference> {
    let payload = URL_SAFE_NO_PAD.decode(token.trim().split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    let text = |at: &str| Some(claims.get("kubernetes.io")?.pointer(at)?.as_str()?.to_owned());
    Some(ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(text("/namespace")?),
        name: Some(text("/pod/name")?),
        uid: Some(text("/pod/uid")?),
        ..ObjectReference::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("h.{}.s\n", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_names_the_pod_that_it_was_made_for() {
        let claims = r#"{"kubernetes.io":{"namespace":"ai","pod":{"name":"operator-1","uid":"u-1"}}}"#;
        let found = pod(&token(claims)).unwrap();
        let parts = (found.namespace.as_deref(), found.name.as_deref(), found.uid.as_deref());
        assert_eq!(parts, (Some("ai"), Some("operator-1"), Some("u-1")));
        assert_eq!(pod(&token(r#"{"kubernetes.io":{"namespace":"ai"}}"#)), None, "a token of no pod");
        assert_eq!(pod("opaque"), None);
    }
}
