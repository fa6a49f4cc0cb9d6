//! One upstream account or server.

use std::collections::BTreeSet;

use routeapi_crds::value::{Capability, Duration, Endpoint, ModelPattern, ProviderType};
use serde::{Deserialize, Serialize};

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
    /// Which API surfaces an OpenAI-type server has. Empty for other types.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub endpoints: BTreeSet<Endpoint>,
    /// How to authenticate; none for servers that ask for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Credential>,
    /// How to trust the server, where the public roots or its name do not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
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
}

/// A credential of an upstream account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Credential {
    /// Sent in the header that the provider type asks for.
    ApiKey(Secret),
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
}

/// Passive health: an upstream that fails this often in a row is left out for this long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Eviction {
    /// Failures in a row, at least 1.
    pub consecutive_failures: u32,
    /// How long it is left out.
    pub duration: Duration,
}

impl Provider {
    pub(super) fn redact(&mut self) {
        match &mut self.credential {
            Some(Credential::ApiKey(key)) => key.redact(),
            Some(Credential::Aws(aws)) => {
                aws.access_key_id.redact();
                aws.secret_access_key.redact();
                if let Some(token) = &mut aws.session_token {
                    token.redact();
                }
            }
            None => {}
        }
    }
}
