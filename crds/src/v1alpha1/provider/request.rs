//! Additions to every request to a provider.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{
    patterns::HEADER_NAME,
    reference::{ConfigMapKeyRef, SecretKeyRef},
};

/// Additions to every request. Clients and authors of routes never see the values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.headers) || has(self.queryParameters) || has(self.bodyDefaults) || has(self.forwardHeaders)")
    .message("at least one of headers, queryParameters, bodyDefaults and forwardHeaders must be set"))]
pub struct RequestSettings {
    /// Headers to send. They replace headers of the same name; values of anthropic-beta and openai-beta are added to those of
    /// the client. Headers of the connection, of the body and of the provider's API key are not allowed. Headers that carry
    /// credentials, such as Authorization, need a value from a Secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub headers: Vec<Header>,
    /// Query parameters to send, such as api-version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub query_parameters: Vec<QueryParameter>,
    /// Top-level members of the JSON body for requests that do not set them, in requests that generate text. At most 16 KiB. Not
    /// allowed for model, stream, stream_options and the conversation itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "members")]
    pub body_defaults: BTreeMap<String, Value>,
    /// Client headers to forward, such as User-Agent or Idempotency-Key, in addition to those that the vendor's SDKs need.
    /// Credentials and cookies are not allowed. All values together are limited to 8 KiB.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "header_names")]
    pub forward_headers: Vec<String>,
}

/// A header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.value) != has(self.valueFrom)")
    .message("exactly one of value and valueFrom must be set"))]
pub struct Header {
    /// Name of the header.
    #[schemars(length(min = 1, max = 64), regex(pattern = HEADER_NAME))]
    pub name: String,
    /// Value, if it is not secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub value: Option<String>,
    /// Reference to the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueFrom>,
}

/// A query parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.value) != has(self.valueFrom)")
    .message("exactly one of value and valueFrom must be set"))]
pub struct QueryParameter {
    /// Name of the parameter.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[-A-Za-z0-9._~]+$"))]
    pub name: String,
    /// Value, if it is not secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub value: Option<String>,
    /// Reference to the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueFrom>,
}

/// A reference to a value in this namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretKeyRef) != has(self.configMapKeyRef)")
    .message("exactly one of secretKeyRef and configMapKeyRef must be set"))]
pub struct ValueFrom {
    /// Key of a Secret. A trailing newline is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeyRef>,
    /// Key of a ConfigMap. A trailing newline is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<ConfigMapKeyRef>,
}

/// Any JSON members.
fn members(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "maxProperties": 32, "x-kubernetes-preserve-unknown-fields": true })
}

fn header_names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "set",
        "items": { "type": "string", "minLength": 1, "maxLength": 64, "pattern": HEADER_NAME },
    })
}
