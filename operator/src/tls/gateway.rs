//! The gateway's serving certificate: issued by the operator's CA into a Secret that data planes mount. Sidecars verify it with
//! the CA certificates that the operator publishes.
//!
//! It is issued again after two thirds of its validity, for other names, by another CA, and where the Secret is gone or was
//! changed.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret as KubeSecret};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tracing::info;

use super::material::{Authority, MaterialError, is_current};
use crate::field_manager::FIELD_MANAGER;

/// How often the Secret is read; it is not watched.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// Maintains the Secret.
pub struct GatewayCertificate {
    secrets: Api<KubeSecret>,
    secret: String,
    names: Vec<String>,
}

/// Why the certificate could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The API server refused.
    #[error("Secret {0}: {1}")]
    Secret(String, Box<kube::Error>),
    /// No certificate could be made.
    #[error(transparent)]
    Material(#[from] MaterialError),
}

// === impl GatewayCertificate ===

impl GatewayCertificate {
    /// For a Secret of this name, and these DNS names.
    pub fn new(client: Client, namespace: &str, secret: &str, names: Vec<String>) -> Self {
        Self { secrets: Api::namespaced(client, namespace), secret: secret.to_owned(), names }
    }

    /// Issues a certificate if the Secret has none that is current.
    ///
    /// # Errors
    /// When that fails; what is in the Secret stays.
    pub async fn maintain(&self, ca: &Authority, now: Timestamp) -> Result<(), GatewayError> {
        let failed = |error| GatewayError::Secret(self.secret.clone(), Box::new(error));
        let found = self.secrets.get_opt(&self.secret).await.map_err(failed)?;
        if found.as_ref().is_some_and(|secret| self.has_current(secret, ca, now)) {
            return Ok(());
        }
        let (certificate, key) = ca.issue(&self.names, now)?;
        let data = [("tls.crt", certificate), ("tls.key", key.expose().to_owned())];
        let data = data.map(|(name, text)| (name.to_owned(), ByteString(text.into_bytes())));
        let labels = BTreeMap::from([("app.kubernetes.io/managed-by".to_owned(), "routeapi-operator".to_owned())]);
        match found {
            Some(found) => {
                // Only over the version that was read: a lost race is an error, and the next look starts from the new version.
                let version = found.metadata.resource_version;
                let patch = json!({
                    "metadata": {"resourceVersion": version, "labels": labels},
                    "data": BTreeMap::from(data),
                });
                let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
                self.secrets.patch(&self.secret, &params, &Patch::Merge(patch)).await.map_err(failed)?;
            }
            None => {
                let mut secret = KubeSecret { type_: Some("Opaque".to_owned()), ..KubeSecret::default() };
                secret.metadata.name = Some(self.secret.clone());
                secret.metadata.labels = Some(labels);
                secret.data = Some(data.into());
                let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
                self.secrets.create(&params, &secret).await.map_err(failed)?;
            }
        }
        info!(secret = self.secret, "certificate of the gateway issued");
        Ok(())
    }

    /// Whether the Secret has a key and a certificate that needs no renewal. One that cannot be read does.
    fn has_current(&self, secret: &KubeSecret, ca: &Authority, now: Timestamp) -> bool {
        let text = |name| String::from_utf8(secret.data.as_ref()?.get(name).map(|bytes| bytes.0.clone())?).ok();
        let certificate = text("tls.crt").unwrap_or_default();
        text("tls.key").is_some_and(|key| key.contains("PRIVATE KEY"))
            && is_current(&certificate, ca, &self.names, now).unwrap_or(false)
    }
}
