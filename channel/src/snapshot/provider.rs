//! One upstream account or server.

use std::collections::{BTreeMap, BTreeSet};

use routeapi_crds::value::{Capability, Duration, Endpoint, ModelPattern, ProviderType, RequestFeature};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Price, Secret};

/// Where an upstream is, which protocol it speaks and how to authenticate. Endpoint and credential travel together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Provider {
    /// Wire protocol and authentication style.
    #[serde(rename = "type")]
    pub type_: ProviderType,
    /// Absolute http or https URL without a trailing slash, as that vendor's own SDK takes it: with the version segment
    /// for OpenAI, without for the others. Empty for Echo.
    pub base_url: String,
    /// Which operations an OpenAI-type server has. Empty for other types.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub endpoints: BTreeSet<Endpoint>,
    /// How to authenticate; none for servers that ask for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Credential>,
    /// How to trust the server, where the public roots or its name do not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Whether connections go through a proxy; none for what the data plane's environment says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
    /// Headers, query parameters and body defaults that are added to every request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestSettings>,
    /// What its models cost and can do. If not empty, routes of other namespaces may use these and no others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ProviderModel>,
    /// Requests in flight from one data-plane pod to this provider at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent_requests: Option<u32>,
    /// When a failing upstream is left out for a while.
    pub eviction: Eviction,
}

/// What models of a provider cost and can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProviderModel {
    /// Ids at the provider.
    pub model: ModelPattern,
    /// What they cost; none means unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// What they can do; empty means everything.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub capabilities: BTreeSet<Capability>,
    /// Most output tokens that they take; none means what the data plane's own table knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// Parameters that they do not take; none means what the data plane's own table knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsupported: Option<BTreeSet<RequestFeature>>,
}

/// A credential of an upstream account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Credential {
    /// Sent in the header that the provider type asks for.
    ApiKey(Secret),
    /// Sent in a header of the owner's choice.
    Header(Header),
    /// Signs each request (AWS Signature Version 4).
    Aws(Aws),
}

/// AWS access keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Aws {
    /// Access key id.
    pub access_key_id: Secret,
    /// Secret access key.
    pub secret_access_key: Secret,
    /// Session token of temporary credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<Secret>,
}

/// Trust settings of one upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// PEM certificates to trust instead of the public roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificates: Option<String>,
    /// Name to ask for and to verify, instead of the URL's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Shown to a server that asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,
}

/// A certificate and the key that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientCertificate {
    /// PEM certificates, the client's own first.
    pub certificates: String,
    /// Its private key in PEM.
    pub key: Secret,
}

/// How connections to an upstream leave the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Proxy {
    /// Without a proxy, whatever the data plane's environment says.
    Direct,
    /// Through a tunnel that this proxy makes (HTTP CONNECT).
    Connect(ConnectProxy),
}

/// An HTTP proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectProxy {
    /// `http://` or `https://`, host and port.
    pub url: String,
    /// For the proxy alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
}

/// User name and password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BasicAuth {
    /// Without a colon.
    pub username: Secret,
    /// Anything.
    pub password: Secret,
}

/// What is added to every request to an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestSettings {
    /// Headers, by lower-case name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Text>,
    /// Query parameters, in the order in which they are sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query_parameters: Vec<QueryParameter>,
    /// Top-level members of the body that are set where the client did not set them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub body_defaults: BTreeMap<String, Value>,
    /// Lower-case names of client headers that are passed on.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub forward_headers: BTreeSet<String>,
}

/// A query parameter, not encoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QueryParameter {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Text,
}

/// A header with a secret value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// Lower-case name.
    pub name: String,
    /// The whole value.
    pub value: Secret,
}

/// A text that everybody may see, or one that nobody may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Text {
    /// From a spec or a ConfigMap.
    Plain(String),
    /// From a Secret.
    Secret(Secret),
}

/// Passive health: an upstream that fails this often in a row is left out for this long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Eviction {
    /// Failures in a row, at least 1.
    pub consecutive_failures: u32,
    /// How long it stays evicted.
    pub duration: Duration,
}

impl Provider {
    pub(super) fn redact(&mut self) {
        if let Some(credential) = &mut self.credential {
            credential.redact();
        }
        if let Some(certificate) = self.tls.as_mut().and_then(|tls| tls.client_certificate.as_mut()) {
            certificate.key.redact();
        }
        if let Some(Proxy::Connect(ConnectProxy { basic_auth: Some(BasicAuth { username, password }), .. })) =
            &mut self.proxy
        {
            username.redact();
            password.redact();
        }
        if let Some(RequestSettings { headers, query_parameters, .. }) = &mut self.request {
            headers.values_mut().for_each(Text::redact);
            query_parameters.iter_mut().for_each(|parameter| parameter.value.redact());
        }
    }
}

impl Credential {
    fn redact(&mut self) {
        match self {
            Self::ApiKey(key) => key.redact(),
            Self::Header(header) => header.value.redact(),
            Self::Aws(Aws { access_key_id, secret_access_key, session_token }) => {
                access_key_id.redact();
                secret_access_key.redact();
                session_token.iter_mut().for_each(Secret::redact);
            }
        }
    }
}

impl Text {
    /// The text itself, for the one place that puts it into an upstream request.
    pub fn expose(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Secret(secret) => secret.expose(),
        }
    }

    /// Whether nobody may see it.
    pub const fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(_))
    }

    fn redact(&mut self) {
        if let Self::Secret(secret) = self {
            secret.redact();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_secret_is_redacted_and_nothing_else() {
        let told = json!({
            "type": "OpenAI", "baseUrl": "https://x.example/v1", "eviction": {"consecutiveFailures": 5, "duration": "30s"},
            "credential": {"header": {"name": "api-key", "value": "canary"}},
            "tls": {"clientCertificate": {"certificates": "public", "key": "canary"}},
            "proxy": {"connect": {"url": "http://p:1", "basicAuth": {"username": "canary", "password": "canary"}}},
            "request": {
                "headers": {"x-a": {"secret": "canary"}, "x-b": {"plain": "public"}},
                "queryParameters": [{"name": "k", "value": {"secret": "canary"}}, {"name": "v", "value": {"plain": "public"}}],
                "bodyDefaults": {"store": false},
            },
        });
        let mut provider: Provider = serde_json::from_value(told.clone()).unwrap();
        assert_eq!(serde_json::to_value(&provider).unwrap(), told, "and travels as it is");
        assert!(!format!("{provider:?}").contains("canary"));
        provider.redact();
        let shown = serde_json::to_string(&provider).unwrap();
        assert!(!shown.contains("canary"), "{shown}");
        assert_eq!((shown.matches("public").count(), shown.matches("<redacted>").count()), (3, 6), "{shown}");
    }
}
