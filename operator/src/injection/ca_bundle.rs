//! Keeps the CA of the operator's certificate in the MutatingWebhookConfiguration, so that API servers trust the webhook. The
//! chart makes the configuration and leaves that field out; the leader applies this field alone.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::StreamExt;
use k8s_openapi::{ByteString, api::admissionregistration::v1::MutatingWebhookConfiguration};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use tokio::{sync::watch, time};
use tracing::{error, info, warn};

use crate::{field_manager::FIELD_MANAGER, tls::Certificates};

/// Wait after a failed write. There is one object, so this costs the API server nothing worth mentioning.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// Wait where nothing has failed: every change comes as an event.
const IDLE: Duration = Duration::from_secs(3600);

/// Writes the field. One per replica.
pub struct CaBundleWriter {
    configurations: Api<MutatingWebhookConfiguration>,
    name: String,
    certificates: Arc<Certificates>,
    leader: watch::Receiver<bool>,
}

// === impl CaBundleWriter ===

impl CaBundleWriter {
    /// For the configuration of this name.
    pub fn new(client: &Client, name: &str, certificates: Arc<Certificates>, leader: watch::Receiver<bool>) -> Self {
        Self { configurations: Api::all(client.clone()), name: name.to_owned(), certificates, leader }
    }

    /// Writes until aborted.
    pub async fn run(mut self) {
        let only = watcher::Config::default().fields(&format!("metadata.name={}", self.name));
        let mut events = pin!(watcher(self.configurations.clone(), only).backoff(crate::watch::backoff()));
        let mut renewed = self.certificates.ready();
        let (mut current, mut wait) = (None, IDLE);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object))) => current = Some(object),
                    Some(Ok(watcher::Event::Init | watcher::Event::Delete(_))) => current = None,
                    Some(Ok(watcher::Event::InitDone)) => {}
                    Some(Err(error)) => warn!(webhook = self.name, %error, "watch failed, restarting it"),
                    None => return,
                },
                Ok(()) = renewed.changed() => {}
                Ok(()) = self.leader.changed() => {}
                () = time::sleep(wait) => {}
            }
            wait = IDLE;
            let is_leader = *self.leader.borrow_and_update();
            if let Some(object) = current.as_ref().filter(|_| is_leader)
                && let Err(error) = self.write(object).await
            {
                error!(webhook = self.name, %error, "cannot write caBundle; pods with a sidecar may be refused");
                wait = RETRY_INTERVAL;
            }
        }
    }

    async fn write(&self, object: &MutatingWebhookConfiguration) -> Result<(), kube::Error> {
        let Some(bundle) = self.certificates.bundle() else { return Ok(()) };
        let bundle = ByteString(bundle.into_bytes());
        let webhooks = object.webhooks.as_deref().unwrap_or_default();
        if webhooks.iter().all(|webhook| webhook.client_config.ca_bundle.as_ref() == Some(&bundle)) {
            return Ok(());
        }
        let fields = |name: &str| json!({"name": name, "clientConfig": {"caBundle": bundle}});
        let webhooks: Vec<Value> = webhooks.iter().map(|webhook| fields(&webhook.name)).collect();
        let apply = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": self.name},
            "webhooks": webhooks,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        self.configurations.patch(&self.name, &params, &Patch::Apply(apply)).await?;
        info!(webhook = self.name, "caBundle written");
        Ok(())
    }
}
