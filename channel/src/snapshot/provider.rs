//! One upstream account or server.

use std::collections::{BTreeMap, BTreeSet};

use routeapi_crds::value::{
    BedrockEndpoint, Capability, Duration, Endpoint, ModelPattern, ProviderType, ReasoningEffort, RequestFeature,
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{route::Price, secret::Secret};

/// Address, API format and credentials of an upstream. Address and credentials stay together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Provider {
    /// Wire protocol and authentication style.
    #[serde(rename = "type")]
    pub type_: ProviderType,
    /// Absolute http or https URL without a trailing slash, as that vendor's own SDK takes it: with the version segment
    /// for OpenAI, without for the others. Empty for Echo.
    pub base_url: String,
    /// The endpoints of an OpenAI-type server. Empty for other types. An endpoint of a later version, which this one cannot
    /// serve, is ignored.
    #[serde(default, deserialize_with = "known_endpoints", skip_serializing_if = "BTreeSet::is_empty")]
    pub endpoints: BTreeSet<Endpoint>,
    /// The version of Azure's API, as its owner writes it; none for v1 and for other types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure_api_version: Option<String>,
    /// Which endpoint of Bedrock's it is; of no meaning for other types.
    #[serde(default, skip_serializing_if = "BedrockEndpoint::is_runtime")]
    pub bedrock_endpoint: BedrockEndpoint,
    /// How to authenticate; none for servers without authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Credential>,
    /// TLS settings; none for the public roots and the host of `base_url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// The egress proxy; none to follow the data plane's environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
    /// Headers, query parameters and body defaults that are added to every request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestSettings>,
    /// Prices and capabilities of its models. If not empty, routes of other namespaces may use only these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ProviderModel>,
    /// Maximum number of concurrent requests from one data-plane pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent_requests: Option<u32>,
    /// When a failing upstream is evicted, and for how long.
    pub eviction: Eviction,
}

/// Reads endpoints, ignoring those of later versions.
fn known_endpoints<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeSet<Endpoint>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    Ok(names.into_iter().filter_map(|name| serde_json::from_value(Value::String(name)).ok()).collect())
}

/// Prices and capabilities of some models of a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProviderModel {
    /// Model IDs at the provider.
    pub model: ModelPattern,
    /// The vendor's ID of the model in the data plane's built-in table; none if it is the one at the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_model: Option<String>,
    /// The price; none if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// Capabilities; empty means all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub capabilities: BTreeSet<Capability>,
    /// Maximum output tokens; none for the value in the data plane's built-in table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// Unsupported parameters; none for those in the data plane's built-in table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsupported: Option<BTreeSet<RequestFeature>>,
    /// Supported levels of reasoning effort; empty for those in the data plane's built-in table.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub efforts: BTreeSet<ReasoningEffort>,
}

/// A credential of an upstream account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Credential {
    /// Sent in the header of the provider type.
    ApiKey(Secret),
    /// Sent in a header that the owner has chosen.
    Header(Header),
    /// Keys that sign each request (AWS Signature Version 4).
    Aws(Aws),
    /// Tokens of Microsoft Entra ID.
    Azure(Azure),
    /// Access tokens of Google Cloud.
    Google(Google),
    /// The caller's own, which comes with each request.
    FromClient {},
}

/// An identity at Microsoft Entra ID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Azure {
    /// OAuth scope of the tokens.
    pub scope: String,
    /// Who asks for them.
    pub identity: AzureIdentity,
}

/// Who asks Microsoft Entra ID for tokens. What is none is taken from the data plane's environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum AzureIdentity {
    /// The data plane's pod, by a federated token.
    Workload {
        /// Application (client) ID.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_id: Option<String>,
        /// Tenant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tenant_id: Option<String>,
    },
    /// A managed identity of the node.
    Managed {
        /// Client ID of a user-assigned one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_id: Option<String>,
    },
    /// An application.
    Client {
        /// Tenant.
        tenant_id: String,
        /// Application (client) ID.
        client_id: String,
        /// The application's secret.
        client_secret: Secret,
    },
}

/// An identity at Google Cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Google {
    /// Who asks for tokens.
    pub identity: GoogleIdentity,
    /// The service account that is impersonated with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impersonate: Option<String>,
}

/// Who asks Google Cloud for tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GoogleIdentity {
    /// The data plane's pod.
    Workload {},
    /// A service account, by its key file (JSON).
    ServiceAccountKey(Secret),
}

/// An identity at AWS, and the region that requests are signed for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Aws {
    /// Region, such as `eu-central-1`.
    pub region: String,
    /// The endpoint that requests are signed for.
    #[serde(default, skip_serializing_if = "BedrockEndpoint::is_runtime")]
    pub endpoint: BedrockEndpoint,
    /// Who signs.
    pub identity: AwsIdentity,
    /// The role that is assumed with this identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assume_role: Option<AssumeRole>,
}

/// Who signs requests to AWS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum AwsIdentity {
    /// The data plane's pod.
    Workload {},
    /// Whoever has these keys.
    Keys {
        /// Access key ID, as AWS issues it.
        access_key_id: Secret,
        /// The secret that belongs to the access key ID.
        secret_access_key: Secret,
        /// Session token of temporary credentials.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session_token: Option<Secret>,
    },
}

/// A role to assume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AssumeRole {
    /// ARN of the role.
    pub role_arn: String,
    /// External ID that the role's trust policy demands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Whether each token's requests are made in a session that is called and tagged as the token is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub session_per_token: bool,
}

/// TLS settings of one upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// PEM certificates to trust instead of the public roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificates: Option<String>,
    /// Name for SNI and verification, instead of the URL's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// For servers that request a client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,
}

/// A client certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientCertificate {
    /// Certificate chain in PEM, the client's own first.
    pub certificates: String,
    /// Its private key in PEM.
    pub key: Secret,
}

/// How connections to an upstream leave the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Proxy {
    /// No proxy, regardless of the data plane's environment.
    Direct,
    /// A tunnel through this proxy (HTTP CONNECT).
    Connect(ConnectProxy),
}

/// An HTTP proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectProxy {
    /// `http://` or `https://`, host and port.
    pub url: String,
    /// Credentials for the proxy; none if it needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
}

/// User name and password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BasicAuth {
    /// User name, without a colon.
    pub username: Secret,
    /// Password, without control characters.
    pub password: Secret,
}

/// Additions to every request to an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestSettings {
    /// Headers, by lower-case name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Text>,
    /// Query parameters, in the order in which they are sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query_parameters: Vec<QueryParameter>,
    /// Top-level members of the body for requests that do not set them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub body_defaults: BTreeMap<String, Value>,
    /// Lower-case names of client headers to forward.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub forward_headers: BTreeSet<String>,
}

/// A query parameter, not encoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QueryParameter {
    /// Name, not percent-encoded.
    pub name: String,
    /// Value, not percent-encoded.
    pub value: Text,
}

/// A header with a secret value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// Lower-case name.
    pub name: String,
    /// The whole value, prefix included.
    pub value: Secret,
}

/// A text that is secret or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Text {
    /// From a spec or a ConfigMap.
    Plain(String),
    /// From a Secret.
    Secret(Secret),
}

/// Outlier detection: an upstream with this many consecutive failures is evicted for this long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Eviction {
    /// Number of consecutive failures, at least 1.
    pub consecutive_failures: u32,
    /// Duration of the eviction.
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
            Self::Aws(Aws {
                identity: AwsIdentity::Keys { access_key_id, secret_access_key, session_token }, ..
            }) => {
                access_key_id.redact();
                secret_access_key.redact();
                session_token.iter_mut().for_each(Secret::redact);
            }
            Self::Azure(Azure { identity: AzureIdentity::Client { client_secret, .. }, .. }) => client_secret.redact(),
            Self::Google(Google { identity: GoogleIdentity::ServiceAccountKey(key), .. }) => key.redact(),
            Self::Aws(_) | Self::Azure(_) | Self::Google(_) | Self::FromClient {} => {}
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

    /// Whether it must not be shown.
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
    fn redacting_replaces_every_secret_and_nothing_else() {
        let value = json!({
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
        let mut provider: Provider = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(serde_json::to_value(&provider).unwrap(), value, "secrets are part of the wire format");
        assert!(!format!("{provider:?}").contains("canary"));
        provider.redact();
        let redacted = serde_json::to_string(&provider).unwrap();
        assert!(!redacted.contains("canary"), "{redacted}");
        assert_eq!((redacted.matches("public").count(), redacted.matches("<redacted>").count()), (3, 6), "{redacted}");
    }
}
