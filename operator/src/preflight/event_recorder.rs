//! Events about this replica's own Pod, so that `kubectl describe pod` shows why it is not ready.
//!
//! The ServiceAccount token that was issued for the Pod names it. The operator may write events in the namespaces that it
//! watches; a replica in another one records none, rather than being refused.

use std::{path::PathBuf, time::Duration};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::time;
use tracing::debug;

use crate::{service_account, settings::Settings};

/// How long writing an event may delay the next check.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum length of an event's note in the API, in characters.
const MAX_NOTE: usize = 1000;

/// Records events about this replica.
pub struct EventRecorder {
    recorder: Recorder,
    /// None if this replica may not write events.
    token_file: Option<PathBuf>,
}

impl EventRecorder {
    /// A recorder for the replica with these settings.
    pub fn new(settings: &Settings, client: &Client) -> Self {
        let watched = &settings.watch_namespaces;
        let may_write = watched.is_empty() || watched.contains(&settings.namespace);
        let reporter =
            Reporter { controller: "routeapi-operator".to_owned(), instance: Some(settings.identity.clone()) };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            token_file: may_write.then(|| settings.peer_token_file.clone()),
        }
    }

    /// Records a warning. Does nothing outside a cluster, and only logs if the API server does not respond.
    pub async fn warn(&self, reason: &str, note: &str) {
        let Some(file) = &self.token_file else { return };
        let Some(pod) = tokio::fs::read_to_string(file).await.ok().and_then(|token| pod(&token)) else { return };
        let event = Event {
            type_: EventType::Warning,
            reason: reason.to_owned(),
            note: Some(note.chars().take(MAX_NOTE).collect()),
            action: "Preflight".to_owned(),
            secondary: None,
        };
        match time::timeout(REQUEST_TIMEOUT, self.recorder.publish(&event, &pod)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(reason, %error, "cannot record an event"),
            Err(_) => debug!(reason, "cannot record an event: timed out waiting for the API server"),
        }
    }
}

/// The Pod that a token was issued for.
fn pod(token: &str) -> Option<ObjectReference> {
    let claims = service_account::claims(token.trim())?;
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
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;

    fn token(claims: &str) -> String {
        format!("h.{}.s\n", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn the_pod_is_read_from_the_token() {
        let claims = r#"{"kubernetes.io":{"namespace":"ai","pod":{"name":"operator-1","uid":"u-1"}}}"#;
        let found = pod(&token(claims)).unwrap();
        let reference = (found.namespace.as_deref(), found.name.as_deref(), found.uid.as_deref());
        assert_eq!(reference, (Some("ai"), Some("operator-1"), Some("u-1")));
        assert_eq!(pod(&token(r#"{"kubernetes.io":{"namespace":"ai"}}"#)), None, "a token without a pod");
        assert_eq!(pod("opaque"), None);
    }
}
