//! Flags of everything about sidecars: the gateway's certificate, which they verify, and the webhook that adds them to pods.

use std::net::SocketAddr;

use routeapi_injection::{Sidecar, sidecar::parse_gateway};
use routeapi_process::{DefaultHost, listen};
use serde_json::Value;

/// The settings about sidecars.
#[derive(Clone, Debug, clap::Args)]
pub struct SidecarSettings {
    /// Secret for a serving certificate of the gateway's Service (--gateway-service), issued by the operator's CA. Default: none is
    /// issued
    #[arg(
        long,
        env = "ROUTEAPI_GATEWAY_TLS_SECRET",
        requires = "gateway_service",
        conflicts_with = "tls_existing_secret"
    )]
    pub gateway_tls_secret: Option<String>,

    /// Address for the webhook that adds sidecars to pods (HTTPS). Default: no webhook
    #[arg(long, env = "ROUTEAPI_INJECTION_LISTEN", value_parser = on_any_address, requires_all = ["sidecar_image", "sidecar_gateway"])]
    pub injection_listen: Option<SocketAddr>,

    /// Name of that address's Service, for which the operator's certificate is issued, too
    #[arg(long, env = "ROUTEAPI_INJECTION_SERVICE")]
    pub injection_service: Option<String>,

    /// MutatingWebhookConfiguration in which the operator keeps the CA of that address (caBundle)
    #[arg(long, env = "ROUTEAPI_INJECTION_WEBHOOK")]
    pub injection_webhook: Option<String>,

    /// Image of sidecars
    #[arg(long, env = "ROUTEAPI_SIDECAR_IMAGE")]
    pub sidecar_image: Option<String>,

    /// Pull policy of that image
    #[arg(long, env = "ROUTEAPI_SIDECAR_IMAGE_PULL_POLICY", default_value = "IfNotPresent", value_parser = ["Always", "IfNotPresent", "Never"])]
    pub sidecar_image_pull_policy: String,

    /// Address of the gateway for sidecars (https://host[:port])
    #[arg(long, env = "ROUTEAPI_SIDECAR_GATEWAY", value_name = "URL", value_parser = parse_gateway)]
    pub sidecar_gateway: Option<String>,

    /// ConfigMap in the operator's namespace with the CA certificates that sidecars trust. Default: the public ones
    #[arg(long, env = "ROUTEAPI_SIDECAR_CA_CONFIG_MAP")]
    pub sidecar_ca_config_map: Option<String>,

    /// Key in that ConfigMap
    #[arg(long, env = "ROUTEAPI_SIDECAR_CA_KEY", default_value = "ca.crt")]
    pub sidecar_ca_key: String,

    /// Resources of sidecars, as JSON
    #[arg(long, env = "ROUTEAPI_SIDECAR_RESOURCES", value_name = "JSON", value_parser = json_object, default_value_t = Sidecar::default_resources())]
    pub sidecar_resources: Value,

    /// User and group ID of sidecars. Default: the cluster assigns one, as OpenShift does
    #[arg(long, env = "ROUTEAPI_SIDECAR_USER")]
    pub sidecar_user: Option<u32>,
}

// === impl SidecarSettings ===

impl SidecarSettings {
    /// The sidecar without CA certificates; none if pods get none from this operator.
    pub fn sidecar(&self) -> Option<Sidecar> {
        Some(Sidecar {
            image: self.sidecar_image.clone()?,
            pull_policy: self.sidecar_image_pull_policy.clone(),
            gateway: self.sidecar_gateway.clone()?,
            gateway_ca: None,
            resources: self.sidecar_resources.clone(),
            user: self.sidecar_user,
        })
    }
}

/// An address to listen on; all addresses if there is only a port.
fn on_any_address(text: &str) -> Result<SocketAddr, String> {
    listen(text, DefaultHost::Any)
}

fn json_object(text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if value.is_object() { Ok(value) } else { Err("not a JSON object".to_owned()) }
}
