//! Reads and writes the Secret with the certificates, and publishes the CA bundle.
//!
//! Every replica watches the Secret and serves its certificate; only the leader writes. Of a Secret that is maintained elsewhere,
//! the certificate is served and `ca.crt` is published, and nothing is issued here.
//!
//! To replace the CA immediately: `kubectl annotate secret <name> routeapi.dev/rotate-ca=now`. A Secret that cannot be read is
//! reported and left alone: deleting it makes the operator create new ones, but pods cannot connect until they have the new bundle.

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use futures_util::StreamExt;
use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret as KubeSecret},
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use routeapi_channel::Secret;
use serde_json::json;
use tokio::{sync::watch, time};
use tracing::{error, info, warn};

use super::{
    Certificates,
    gateway::{self, GatewayCertificate},
    material::{Authority, Material, MaterialError, Observed, Policy, RESYNC_INTERVAL},
};
use crate::{context::Context, field_manager::FIELD_MANAGER, response_ids::ResponseIdKeys, settings::Settings};

/// Requests a new CA.
const ROTATE_ANNOTATION: &str = "routeapi.dev/rotate-ca";
/// When the next CA was published.
const NEXT_CA_ANNOTATION: &str = "routeapi.dev/next-ca-published";
/// When the previous CA was replaced.
const PREVIOUS_CA_ANNOTATION: &str = "routeapi.dev/previous-ca-replaced";

/// Wait after a failed write. There is one Secret, so this costs the API server nothing worth mentioning.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// Maintains the certificates. One per replica.
pub struct CertificateController {
    secrets: Api<KubeSecret>,
    config_maps: Api<ConfigMap>,
    secret: String,
    config_map: String,
    self_signed: bool,
    policy: Policy,
    /// None if the gateway's certificate is issued elsewhere, or not needed.
    gateway: Option<GatewayCertificate>,
    certificates: Arc<Certificates>,
    response_ids: Arc<ResponseIdKeys>,
    leader: watch::Receiver<bool>,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error("cannot write Secret {0}: {1}")]
    Secret(String, Box<kube::Error>),
    #[error("cannot write ConfigMap {0}: {1}")]
    ConfigMap(String, Box<kube::Error>),
    #[error(transparent)]
    Material(#[from] MaterialError),
    #[error("Secret {0} has no valid {1}")]
    MissingKey(String, &'static str),
}

// === impl CertificateController ===

impl CertificateController {
    /// A controller with these settings.
    pub fn new(
        settings: &Settings,
        context: &Context,
        certificates: Arc<Certificates>,
        leader: watch::Receiver<bool>,
    ) -> Self {
        let namespace = &settings.namespace;
        let gateway = settings.sidecar.gateway_tls_secret.as_ref().map(|secret| {
            GatewayCertificate::new(context.client.clone(), namespace, secret, settings.gateway_dns_names())
        });
        Self {
            secrets: Api::namespaced(context.client.clone(), namespace),
            config_maps: Api::namespaced(context.client.clone(), namespace),
            secret: settings.tls_existing_secret.clone().unwrap_or_else(|| settings.tls_secret.clone()),
            config_map: settings.ca_config_map.clone(),
            self_signed: settings.tls_existing_secret.is_none(),
            policy: Policy { names: settings.dns_names(), propagation: settings.ca_propagation.into() },
            gateway,
            certificates,
            response_ids: Arc::clone(&context.response_ids),
            leader,
        }
    }

    /// Maintains the certificates until aborted.
    pub async fn run(mut self) {
        let only = watcher::Config::default().fields(&format!("metadata.name={}", self.secret));
        let mut events = pin!(watcher(self.secrets.clone(), only).backoff(crate::watch::backoff()));
        let (mut current, mut listed, mut wait) = (None, false, Duration::ZERO);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(watcher::Event::Init)) => current = None,
                    Some(Ok(watcher::Event::Apply(secret) | watcher::Event::InitApply(secret))) => current = Some(secret),
                    Some(Ok(watcher::Event::Delete(_))) => current = None,
                    Some(Ok(watcher::Event::InitDone)) => listed = true,
                    Some(Err(error)) => warn!(secret = self.secret, %error, "watch failed, restarting it"),
                    None => return,
                },
                Ok(()) = self.leader.changed() => {}
                () = time::sleep(wait), if listed => {}
            }
            if let Some(secret) = &current {
                self.serve(secret);
            }
            if !listed || !*self.leader.borrow_and_update() {
                wait = RESYNC_INTERVAL;
                continue;
            }
            wait = match self.reconcile(current.as_ref()).await {
                Ok(wait) => wait,
                Err(error) => {
                    error!(%error, "cannot update the certificates");
                    RETRY_INTERVAL
                }
            };
        }
    }

    /// Serves the certificate in a Secret.
    fn serve(&self, secret: &KubeSecret) {
        self.response_ids.derive(secret);
        let text = |name| text(secret, name).unwrap_or_default();
        let (bundle, own) = (text("ca.crt"), text("tls.crt"));
        // A certificate without ca.crt is its own CA.
        let trusted = if bundle.is_empty() { &own } else { &bundle };
        if let Err(error) = self.certificates.set(&own, &text("tls.key"), trusted) {
            error!(secret = self.secret, %error, "cannot serve the certificate; the previous one stays in use");
        }
    }

    /// One step of the leader. Returns the time until the next one.
    async fn reconcile(&self, current: Option<&KubeSecret>) -> Result<Duration, StepError> {
        if !self.self_signed {
            let bundle = current.and_then(|secret| text(secret, "ca.crt").or_else(|| text(secret, "tls.crt")));
            if let Some(bundle) = bundle {
                self.publish(&bundle).await?;
            }
            return Ok(RESYNC_INTERVAL);
        }
        let now = Timestamp::now();
        let Some(secret) = current else {
            self.create(&Material::new(&self.policy, now)?).await?;
            return Ok(RESYNC_INTERVAL); // the watch triggers the next step
        };
        let material = self.read(secret)?;
        self.publish(&material.bundle()).await?;
        let rotation_requested =
            secret.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(ROTATE_ANNOTATION));
        let observed = Observed { now, published: true, rotation_requested };
        let until_check = self.maintain_gateway(&material.ca, now).await;
        let wait = match material.step(&self.policy, observed)? {
            Some(next) => {
                self.update(secret, &next).await?;
                info!(secret = self.secret, "certificates renewed");
                Ok(RESYNC_INTERVAL)
            }
            None if material.next.is_some() || material.previous.is_some() => {
                Ok(self.policy.propagation / 8 + RETRY_INTERVAL / 20)
            }
            None => Ok(RESYNC_INTERVAL),
        };
        wait.map(|wait: Duration| wait.min(until_check))
    }

    /// Sees to the gateway's certificate; the time until it wants to be looked at again. A failure there stops nothing here.
    async fn maintain_gateway(&self, ca: &Authority, now: Timestamp) -> Duration {
        let Some(gateway) = &self.gateway else { return RESYNC_INTERVAL };
        match gateway.maintain(ca, now).await {
            Ok(()) => gateway::CHECK_INTERVAL,
            Err(error) => {
                error!(%error, "cannot update the certificate of the gateway");
                RETRY_INTERVAL
            }
        }
    }

    fn read(&self, secret: &KubeSecret) -> Result<Material, StepError> {
        let need = |name| text(secret, name).ok_or_else(|| StepError::MissingKey(self.secret.clone(), name));
        let since = |name: &str| -> Option<Timestamp> { secret.metadata.annotations.as_ref()?.get(name)?.parse().ok() };
        let certificates = split_bundle(&need("ca.crt")?);
        let mut certificates = certificates.into_iter();
        let missing_ca = || StepError::MissingKey(self.secret.clone(), "ca.crt");
        let ca =
            Authority { certificate: certificates.next().ok_or_else(missing_ca)?, key: Secret::new(need("ca.key")?) };
        let next = text(secret, "next-ca.key").map(|key| (key, certificates.next()));
        let next = match next {
            Some((key, Some(certificate))) => {
                Some((Authority { certificate, key: Secret::new(key) }, since(NEXT_CA_ANNOTATION)))
            }
            Some((_, None)) | None => None,
        };
        let previous = certificates.next().zip(since(PREVIOUS_CA_ANNOTATION));
        Ok(Material { ca, next, previous, certificate: need("tls.crt")?, key: Secret::new(need("tls.key")?) })
    }

    async fn create(&self, material: &Material) -> Result<(), StepError> {
        let mut secret = KubeSecret { type_: Some("Opaque".to_owned()), ..KubeSecret::default() };
        secret.metadata.name = Some(self.secret.clone());
        secret.metadata.labels = Some(labels());
        let data = data(material)
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), ByteString(value?.into_bytes()))));
        secret.data = Some(data.collect());
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        match self.secrets.create(&params, &secret).await {
            Ok(_) => {
                info!(secret = self.secret, "certificates created");
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()), // the watch brings it
            Err(error) => Err(StepError::Secret(self.secret.clone(), Box::new(error))),
        }
    }

    /// Writes only over the version that was read: a lost race is an error, and the next step starts from the new version.
    async fn update(&self, read: &KubeSecret, material: &Material) -> Result<(), StepError> {
        let encoded: BTreeMap<_, _> = data(material)
            .into_iter()
            .map(|(key, value)| (key, value.map(|text| ByteString(text.into_bytes()))))
            .collect();
        let next = material.next.as_ref().and_then(|(_, since)| *since);
        let previous = material.previous.as_ref().map(|(_, since)| since);
        let patch = json!({
            "metadata": {
                "resourceVersion": read.metadata.resource_version,
                "annotations": {ROTATE_ANNOTATION: null, NEXT_CA_ANNOTATION: next, PREVIOUS_CA_ANNOTATION: previous},
            },
            "data": encoded,
        });
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let written = self.secrets.patch(&self.secret, &params, &Patch::Merge(patch)).await;
        written.map(drop).map_err(|error| StepError::Secret(self.secret.clone(), Box::new(error)))
    }

    async fn publish(&self, bundle: &str) -> Result<(), StepError> {
        let failed = |error| StepError::ConfigMap(self.config_map.clone(), Box::new(error));
        let published = self.config_maps.get_opt(&self.config_map).await.map_err(failed)?;
        let exists = published.is_some();
        if published.and_then(|object| object.data).and_then(|mut data| data.remove("ca.crt")).as_deref()
            == Some(bundle)
        {
            return Ok(());
        }
        let mut object = ConfigMap::default();
        object.metadata.name = Some(self.config_map.clone());
        object.metadata.labels = Some(labels());
        object.data = Some([("ca.crt".to_owned(), bundle.to_owned())].into());
        let written = if exists {
            let params = PatchParams::apply(FIELD_MANAGER).force();
            self.config_maps.patch(&self.config_map, &params, &Patch::Apply(object)).await
        } else {
            let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
            self.config_maps.create(&params, &object).await
        };
        written.map_err(failed)?;
        info!(config_map = self.config_map, "CA bundle published");
        Ok(())
    }
}

fn labels() -> BTreeMap<String, String> {
    [("app.kubernetes.io/managed-by".to_owned(), "routeapi-operator".to_owned())].into()
}

/// Keys and values of the Secret; none for keys that must not exist.
fn data(material: &Material) -> Vec<(&'static str, Option<String>)> {
    let next = material.next.as_ref().map(|(next, _)| next.key.expose().to_owned());
    vec![
        ("ca.crt", Some(material.bundle())),
        ("ca.key", Some(material.ca.key.expose().to_owned())),
        ("next-ca.key", next),
        ("tls.crt", Some(material.certificate.clone())),
        ("tls.key", Some(material.key.expose().to_owned())),
    ]
}

fn text(secret: &KubeSecret, name: &str) -> Option<String> {
    let bytes = &secret.data.as_ref()?.get(name)?.0;
    String::from_utf8(bytes.clone()).ok()
}

fn split_bundle(bundle: &str) -> Vec<String> {
    const END: &str = "-----END CERTIFICATE-----";
    let parts = bundle.split_inclusive(END).map(str::trim).filter(|part| part.ends_with(END));
    parts.map(|part| format!("{part}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitting_a_bundle_returns_its_certificates() {
        let policy = Policy { names: vec!["localhost".into()], propagation: Duration::ZERO };
        let first = Material::new(&policy, Timestamp::UNIX_EPOCH).unwrap();
        let observed = Observed { now: Timestamp::UNIX_EPOCH, published: true, rotation_requested: true };
        let second = first.step(&policy, observed).unwrap().unwrap();
        let parts = split_bundle(&second.bundle());
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0].trim(), first.ca.certificate.trim());
        assert_eq!(parts[1].trim(), second.next.unwrap().0.certificate.trim());
    }
}
