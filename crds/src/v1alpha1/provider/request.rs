//! What a provider's owner adds to every request that goes to it.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{
    patterns::HEADER_NAME,
    reference::{ConfigMapKeyRef, SecretKeyRef},
};

/// Additions to every request. Clients and the authors of routes see names of body members at most, never values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.headers) || has(self.queryParameters) || has(self.bodyDefaults) || has(self.forwardHeaders)")
    .message("at least one of headers, queryParameters, bodyDefaults and forwardHeaders must be set"))]
pub struct RequestSettings {
    /// Headers to send. They replace headers of the same name; values of anthropic-beta and openai-beta are added to the
    /// client's. Names that belong to the connection, to the body or to the provider's own key are refused; those that
    /// usually carry a credential, such as Authorization, take their value from a Secret only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub headers: Vec<Header>,
    /// Query parameters to send, such as api-version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub query_parameters: Vec<QueryParameter>,
    /// Top-level members of the JSON body that are set where the client did not set them, in requests that generate text.
    /// At most 16 KiB. Not for model, stream, stream_options or the conversation itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "members")]
    pub body_defaults: BTreeMap<String, Value>,
    /// Names of client headers to pass on, such as User-Agent or Idempotency-Key, beside those that the vendor's own
    /// clients need. Credentials and cookies are refused. Together the values have at most 8 KiB.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "header_names")]
    pub forward_headers: Vec<String>,
}

/// One header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.value) != has(self.valueFrom)")
    .message("exactly one of value and valueFrom must be set"))]
pub struct Header {
    /// Its name.
    #[schemars(length(min = 1, max = 64), regex(pattern = HEADER_NAME))]
    pub name: String,
    /// Its value, where it is no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub value: Option<String>,
    /// Where its value is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueFrom>,
}

/// One query parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.value) != has(self.valueFrom)")
    .message("exactly one of value and valueFrom must be set"))]
pub struct QueryParameter {
    /// Its name.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[-A-Za-z0-9._~]+$"))]
    pub name: String,
    /// Its value, where it is no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub value: Option<String>,
    /// Where its value is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueFrom>,
}

/// A value kept elsewhere in this namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretKeyRef) != has(self.configMapKeyRef)")
    .message("exactly one of secretKeyRef and configMapKeyRef must be set"))]
pub struct ValueFrom {
    /// A key of a Secret. A trailing newline is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeyRef>,
    /// A key of a ConfigMap. A trailing newline is ignored.
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
