//! Reads and writes the certificate Secret and publishes the CA bundle.
//!
//! Every replica follows the Secret and serves what it holds; only the lease holder writes. With a Secret that somebody
//! else maintains nothing is made here: its certificate is served and its `ca.crt` published.
//!
//! To replace the CA at once: `kubectl annotate secret <name> routeapi.dev/rotate-ca=now`. A Secret that cannot be read is
//! left alone and reported: deleting it makes everything new, at the price that pods wait until they see the new bundle.

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use futures_util::StreamExt;
use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret as KubeSecret},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use routeapi_channel::Secret;
use serde_json::json;
use tokio::{sync::watch, time};
use tracing::{error, info, warn};

use super::{
    Certificates,
    material::{Authority, Failed, LOOK_AGAIN, Material, Moment, Policy},
};
use crate::{settings::Settings, writer::FIELD_MANAGER};

const ROTATE: &str = "routeapi.dev/rotate-ca";
const NEXT_SINCE: &str = "routeapi.dev/next-ca-published";
const PREVIOUS_SINCE: &str = "routeapi.dev/previous-ca-replaced";

/// How soon a failed write is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Keeps certificates. One per replica.
pub struct Keeper {
    secrets: Api<KubeSecret>,
    config_maps: Api<ConfigMap>,
    secret: String,
    config_map: String,
    ours: bool,
    policy: Policy,
    certificates: Arc<Certificates>,
    leader: watch::Receiver<bool>,
}

/// A step that did not work.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error("cannot write Secret {0}: {1}")]
    Secret(String, Box<kube::Error>),
    #[error("cannot write ConfigMap {0}: {1}")]
    ConfigMap(String, Box<kube::Error>),
    #[error(transparent)]
    Material(#[from] Failed),
    #[error("Secret {0} lacks {1}")]
    Lacks(String, &'static str),
}

// === impl Keeper ===

impl Keeper {
    /// By these settings.
    pub fn new(
        settings: &Settings,
        client: &Client,
        certificates: Arc<Certificates>,
        leader: watch::Receiver<bool>,
    ) -> Self {
        let namespace = &settings.namespace;
        Self {
            secrets: Api::namespaced(client.clone(), namespace),
            config_maps: Api::namespaced(client.clone(), namespace),
            secret: settings.tls_existing_secret.clone().unwrap_or_else(|| settings.tls_secret.clone()),
            config_map: settings.ca_config_map.clone(),
            ours: settings.tls_existing_secret.is_none(),
            policy: Policy { names: settings.dns_names(), propagation: settings.ca_propagation.into() },
            certificates,
            leader,
        }
    }

    /// Keeps until aborted.
    pub async fn run(mut self) {
        let only = watcher::Config::default().fields(&format!("metadata.name={}", self.secret));
        let mut events = pin!(watcher(self.secrets.clone(), only).backoff(crate::watch::backoff()));
        let (mut current, mut listed, mut wait) = (None, false, Duration::ZERO);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(watcher::Event::Init)) => current = None,
                    Some(Ok(watcher::Event::Apply(it) | watcher::Event::InitApply(it))) => current = Some(it),
                    Some(Ok(watcher::Event::Delete(_))) => current = None,
                    Some(Ok(watcher::Event::InitDone)) => listed = true,
                    Some(Err(error)) => warn!(secret = self.secret, %error, "watch failed, it will be started again"),
                    None => return,
                },
                Ok(()) = self.leader.changed() => {}
                () = time::sleep(wait), if listed => {}
            }
            if let Some(secret) = &current {
                self.serve(secret);
            }
            if !listed || !*self.leader.borrow_and_update() {
                wait = LOOK_AGAIN;
                continue;
            }
            wait = match self.advance(current.as_ref()).await {
                Ok(wait) => wait,
                Err(error) => {
                    error!(%error, "certificates");
                    RETRY
                }
            };
        }
    }

    /// Takes what a Secret holds into service.
    fn serve(&self, secret: &KubeSecret) {
        let text = |name| text(secret, name).unwrap_or_default();
        let (bundle, own) = (text("ca.crt"), text("tls.crt"));
        // Without a CA of its own, a certificate vouches for itself.
        let trusted = if bundle.is_empty() { &own } else { &bundle };
        if let Err(error) = self.certificates.set(&own, &text("tls.key"), trusted) {
            error!(secret = self.secret, %error, "the certificate cannot be served; the last one stays");
        }
    }

    /// One step of the lease holder; how long until the next look.
    async fn advance(&self, current: Option<&KubeSecret>) -> Result<Duration, StepError> {
        if !self.ours {
            let bundle = current.and_then(|secret| text(secret, "ca.crt").or_else(|| text(secret, "tls.crt")));
            if let Some(bundle) = bundle {
                self.publish(&bundle).await?;
            }
            return Ok(LOOK_AGAIN);
        }
        let now = Timestamp::now();
        let Some(secret) = current else {
            self.create(&Material::first(&self.policy, now)?).await?;
            return Ok(LOOK_AGAIN); // its arrival by the watch wakes us
        };
        let material = self.read(secret)?;
        self.publish(&material.bundle()).await?;
        let asked = secret.metadata.annotations.as_ref().is_some_and(|it| it.contains_key(ROTATE));
        let moment = Moment { now, published: true, asked };
        match material.step(&self.policy, moment)? {
            Some(next) => {
                self.update(secret, &next).await?;
                info!(secret = self.secret, "certificates renewed by one step");
                Ok(LOOK_AGAIN)
            }
            None if material.next.is_some() || material.previous.is_some() => {
                Ok(self.policy.propagation / 8 + RETRY / 20)
            }
            None => Ok(LOOK_AGAIN),
        }
    }

    fn read(&self, secret: &KubeSecret) -> Result<Material, StepError> {
        let need = |name| text(secret, name).ok_or_else(|| StepError::Lacks(self.secret.clone(), name));
        let since = |name: &str| -> Option<Timestamp> { secret.metadata.annotations.as_ref()?.get(name)?.parse().ok() };
        let certificates = split(&need("ca.crt")?);
        let mut certificates = certificates.into_iter();
        let lacks = || StepError::Lacks(self.secret.clone(), "ca.crt");
        let ca = Authority { certificate: certificates.next().ok_or_else(lacks)?, key: Secret::new(need("ca.key")?) };
        let next = text(secret, "next-ca.key").map(|key| (key, certificates.next()));
        let next = match next {
            Some((key, Some(certificate))) => {
                Some((Authority { certificate, key: Secret::new(key) }, since(NEXT_SINCE)))
            }
            Some((_, None)) | None => None,
        };
        let previous = certificates.next().zip(since(PREVIOUS_SINCE));
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
                info!(secret = self.secret, "certificates made");
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()), // the watch will bring it
            Err(error) => Err(StepError::Secret(self.secret.clone(), Box::new(error))),
        }
    }

    /// Writes only over what was read: a lost race is an error, and the next look starts from what is there then.
    async fn update(&self, read: &KubeSecret, material: &Material) -> Result<(), StepError> {
        let encoded: BTreeMap<_, _> =
            data(material).into_iter().map(|(key, value)| (key, value.map(|it| ByteString(it.into_bytes())))).collect();
        let next = material.next.as_ref().and_then(|(_, since)| *since);
        let previous = material.previous.as_ref().map(|(_, since)| since);
        let patch = json!({
            "metadata": {
                "resourceVersion": read.metadata.resource_version,
                "annotations": {ROTATE: null, NEXT_SINCE: next, PREVIOUS_SINCE: previous},
            },
            "data": encoded,
        });
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let written = self.secrets.patch(&self.secret, &params, &Patch::Merge(patch)).await;
        written.map(drop).map_err(|error| StepError::Secret(self.secret.clone(), Box::new(error)))
    }

    async fn publish(&self, bundle: &str) -> Result<(), StepError> {
        let failed = |error| StepError::ConfigMap(self.config_map.clone(), Box::new(error));
        let held = self.config_maps.get_opt(&self.config_map).await.map_err(failed)?;
        let exists = held.is_some();
        if held.and_then(|it| it.data).and_then(|mut data| data.remove("ca.crt")).as_deref() == Some(bundle) {
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

/// Keys and texts of the Secret; none for what must not be there.
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

fn split(bundle: &str) -> Vec<String> {
    const END: &str = "-----END CERTIFICATE-----";
    let parts = bundle.split_inclusive(END).map(str::trim).filter(|part| part.ends_with(END));
    parts.map(|part| format!("{part}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_comes_apart_as_it_was_put_together() {
        let policy = Policy { names: vec!["localhost".into()], propagation: Duration::ZERO };
        let first = Material::first(&policy, Timestamp::UNIX_EPOCH).unwrap();
        let moment = Moment { now: Timestamp::UNIX_EPOCH, published: true, asked: true };
        let second = first.step(&policy, moment).unwrap().unwrap();
        let parts = split(&second.bundle());
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0].trim(), first.ca.certificate.trim());
        assert_eq!(parts[1].trim(), second.next.unwrap().0.certificate.trim());
    }
}
