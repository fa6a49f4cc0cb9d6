//! Egress proxies.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::reference::SecretRef;

/// An HTTP proxy between the data plane and the upstream, or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.mode == 'Connect') == has(self.url)")
        .message("url is required for mode Connect and not allowed for mode Direct"),
    validation = Rule::new("!has(self.basicAuth) || has(self.url)").message("basicAuth requires url"),
    // A rule, since a pattern's failure repeats the value.
    validation = Rule::new("!has(self.url) || !self.url.contains('@')")
        .message("url must not contain credentials: put them into a Secret and refer to it in basicAuth")
)]
pub struct Proxy {
    /// Connect: tunnel through the proxy at url (HTTP CONNECT). Direct: use no proxy, even if the data plane has HTTPS_PROXY.
    #[serde(default)]
    pub mode: ProxyMode,
    /// URL of the proxy, http or https, such as http://proxy.corp.example:3128, without credentials. The proxy resolves the host
    /// name of the upstream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 512), regex(pattern = r"^https?://[^/?#\s]+/?$"))]
    pub url: Option<String>,
    /// User name and password for the proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
}

/// Whether to use a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProxyMode {
    /// A tunnel through an HTTP proxy.
    #[default]
    Connect,
    /// No proxy.
    Direct,
}

/// User name and password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuth {
    /// Secret in this namespace with the keys username and password, such as one of type kubernetes.io/basic-auth.
    pub secret_ref: SecretRef,
}
