//! The sidecar with the gateway's current CA certificates, which come from a ConfigMap.

use std::{pin::pin, sync::Arc};

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    runtime::{WatchStreamExt, watcher},
};
use routeapi_injection::Sidecar;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::settings::Settings;

/// Longest CA certificates in bytes: every pod gets a copy, and an object of Kubernetes has at most 1.5 MB.
const MAX_BYTES: usize = 64 << 10;

/// Follows the ConfigMap.
#[derive(Debug)]
pub struct GatewayCa {
    config_maps: Api<ConfigMap>,
    /// None where the gateway's certificate is signed by a public CA.
    config_map: Option<String>,
    key: String,
    sidecar: Sidecar,
    current: watch::Sender<Option<Arc<Sidecar>>>,
}

// === impl GatewayCa ===

impl GatewayCa {
    /// For this sidecar.
    pub fn new(settings: &Settings, client: &Client, sidecar: Sidecar) -> Self {
        Self {
            config_maps: Api::namespaced(client.clone(), &settings.namespace),
            config_map: settings.sidecar.sidecar_ca_config_map.clone(),
            key: settings.sidecar.sidecar_ca_key.clone(),
            sidecar,
            current: watch::Sender::default(),
        }
    }

    /// The sidecar, and every later change; none until the certificates are known.
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<Sidecar>>> {
        self.current.subscribe()
    }

    /// Follows the ConfigMap until aborted. What is not usable changes nothing.
    pub async fn follow(self) {
        let Some(config_map) = &self.config_map else {
            self.current.send_replace(Some(Arc::new(self.sidecar.clone())));
            return self.current.closed().await;
        };
        let only = watcher::Config::default().fields(&format!("metadata.name={config_map}"));
        let mut events = pin!(watcher(self.config_maps.clone(), only).backoff(crate::watch::backoff()));
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => self.take(config_map, &object),
                Ok(watcher::Event::Init | watcher::Event::InitDone | watcher::Event::Delete(_)) => {}
                Err(error) => warn!(config_map, %error, "watch failed, restarting it"),
            }
        }
    }

    fn take(&self, config_map: &str, object: &ConfigMap) {
        let text = object.data.as_ref().and_then(|data| data.get(&self.key));
        let Some(ca) = text.filter(|text| text.len() <= MAX_BYTES && text.contains("BEGIN CERTIFICATE")) else {
            let key = &self.key;
            return warn!(config_map, key, "no usable CA certificates for sidecars; those from before stay in use");
        };
        let sidecar = Arc::new(Sidecar { gateway_ca: Some(ca.clone()), ..self.sidecar.clone() });
        let changed = self.current.send_if_modified(|current| {
            let changed = current.as_ref() != Some(&sidecar);
            *current = Some(sidecar);
            changed
        });
        if changed {
            info!(config_map, "sidecars get these CA certificates from now on");
        }
    }
}
