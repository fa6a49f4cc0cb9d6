//! How connections to an upstream leave the network.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::reference::SecretRef;

/// An HTTP proxy between the data plane and the upstream, or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.mode == 'Connect') == has(self.url)")
        .message("url must be set for mode Connect and left out for mode Direct"),
    validation = Rule::new("!has(self.basicAuth) || has(self.url)").message("basicAuth needs url"),
    // A rule, since a pattern's failure repeats the value.
    validation = Rule::new("!has(self.url) || !self.url.contains('@')")
        .message("url must not hold credentials: keep them in a Secret and name it in basicAuth")
)]
pub struct Proxy {
    /// Connect: ask the proxy at url for a tunnel (HTTP CONNECT) to the upstream. Direct: use no proxy, whatever the data
    /// plane's HTTPS_PROXY says.
    #[serde(default)]
    pub mode: ProxyMode,
    /// Address of the proxy, http or https, such as http://proxy.corp.example:3128. Credentials do not belong here. The
    /// proxy resolves the upstream's host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 512), regex(pattern = r"^https?://[^/?#\s]+/?$"))]
    pub url: Option<String>,
    /// User name and password for the proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
}

/// Whether there is a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProxyMode {
    /// Through a tunnel that an HTTP proxy makes.
    #[default]
    Connect,
    /// Without a proxy.
    Direct,
}

/// User name and password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuth {
    /// A Secret in this namespace with the keys username and password, as those of type kubernetes.io/basic-auth have.
    pub secret_ref: SecretRef,
}
