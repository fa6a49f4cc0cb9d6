//! `spec.request` and the API key's header: which names an owner may set, and where values come from.
//!
//! Names are judged without any reference ([`check`]), values as they are found ([`resolve`]).

use std::collections::{BTreeMap, BTreeSet};

use routeapi_channel::{
    Secret,
    snapshot::{self, Text},
};
use routeapi_crds::{
    condition::Reason,
    v1alpha1::{
        AIProviderSpec, ApiKeyCredential, ConfigMapKeyRef, Header, QueryParameter, RequestSettings, SecretKeyRef,
        ValueFrom,
    },
    value::ProviderType,
};
use serde_json::Value;

use crate::{
    references::{self, References, Source},
    verdict::Problem,
};

/// Headers of the connection (RFC 9110, 7.6.1), of the message, and those that the gateway sets itself.
const GATEWAYS_OWN: [&str; 18] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "traceparent",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Headers whose values open something: an owner's are kept in a Secret, a client's are not passed on.
const CREDENTIALS: [&str; 9] = [
    "api-key",
    "authorization",
    "cookie",
    "ocp-apim-subscription-key",
    "x-amz-security-token",
    "x-api-key",
    "x-auth-token",
    "x-functions-key",
    "x-goog-api-key",
];

/// The same in a query.
const QUERY_CREDENTIALS: [&str; 8] =
    ["access_token", "api-key", "api_key", "apikey", "code", "key", "subscription-key", "token"];

/// Query parameters that say how a request is answered: the gateway's own.
const GATEWAYS_QUERY: [&str; 2] = ["alt", "beta"];

/// Members that decide routing, limits and metering, and those that hold the conversation.
const GATEWAYS_MEMBERS: [&str; 8] =
    ["contents", "input", "messages", "model", "prompt", "requests", "stream", "stream_options"];

/// Most bytes of all defaults as JSON: each request to the provider may grow by so much.
const MAX_DEFAULTS: usize = 16 << 10;
/// Longest name of a member, in bytes; the same as in a warning.
const MAX_MEMBER_NAME: usize = 128;
/// Deepest nesting of a default: a body has at most 127 levels together with it.
const MAX_DEPTH: usize = 32;

/// Judges names, and values that the spec holds itself.
pub(crate) fn check(spec: &AIProviderSpec) -> Result<(), Problem> {
    let key_header = key_header(spec).map(str::to_ascii_lowercase);
    if let Some(name) = key_header.as_deref().filter(|name| GATEWAYS_OWN.contains(name) || *name == "cookie") {
        return Err(invalid(format!("spec.credentials.apiKey.header: {name:?} cannot carry a key")));
    }
    let Some(RequestSettings { headers, query_parameters, body_defaults, forward_headers }) = &spec.request else {
        return Ok(());
    };
    let mut set = BTreeSet::new();
    for (index, header) in headers.iter().enumerate() {
        let name = header.name.to_ascii_lowercase();
        check_header(header, &name, key_header.as_deref())
            .and_then(|()| if set.insert(name) { Ok(()) } else { Err((".name", "is set twice".to_owned())) })
            .map_err(|(field, what)| {
                invalid(format!("spec.request.headers[{index}]{field}: {:?} {what}", header.name))
            })?;
    }
    let mut parameters = BTreeSet::new();
    for (index, parameter) in query_parameters.iter().enumerate() {
        let name = &parameter.name;
        check_parameter(parameter)
            .and_then(|()| if parameters.insert(name) { Ok(()) } else { Err((".name", "is set twice")) })
            .map_err(|(field, what)| {
                invalid(format!("spec.request.queryParameters[{index}]{field}: {name:?} {what}"))
            })?;
    }
    check_defaults(body_defaults)?;
    let mut forwarded = BTreeSet::new();
    for (index, name) in forward_headers.iter().enumerate() {
        let lower = name.to_ascii_lowercase();
        let what = if GATEWAYS_OWN.contains(&&*lower) {
            "belongs to the client's connection or body"
        } else if CREDENTIALS.contains(&&*lower) || key_header.as_deref() == Some(&*lower) {
            "carries credentials, and a client's never leave the gateway"
        } else if set.contains(&lower) {
            "is set by spec.request.headers"
        } else if !forwarded.insert(lower) {
            "is listed twice"
        } else {
            continue;
        };
        return Err(invalid(format!("spec.request.forwardHeaders[{index}]: {name:?} {what}")));
    }
    Ok(())
}

fn check_header(header: &Header, name: &str, key_header: Option<&str>) -> Result<(), (&'static str, String)> {
    let Header { name: _, value, value_from } = header;
    if GATEWAYS_OWN.contains(&name) {
        return Err((".name", "is set by the gateway itself".to_owned()));
    }
    if key_header == Some(name) {
        return Err((".name", "is the header of spec.credentials.apiKey".to_owned()));
    }
    if CREDENTIALS.contains(&name) && !is_secret(value_from.as_ref()) {
        return Err(("", "carries credentials: keep its value in a Secret (valueFrom.secretKeyRef)".to_owned()));
    }
    match value {
        Some(value) => is_header_value(value).map_err(|what| (".value", format!("has a value that {what}"))),
        None => Ok(()),
    }
}

fn check_parameter(parameter: &QueryParameter) -> Result<(), (&'static str, &'static str)> {
    let QueryParameter { name, value, value_from } = parameter;
    let lower = name.to_ascii_lowercase();
    if GATEWAYS_QUERY.contains(&&*lower) {
        return Err((".name", "is set by the gateway itself"));
    }
    if QUERY_CREDENTIALS.contains(&&*lower) && !is_secret(value_from.as_ref()) {
        return Err(("", "carries credentials: keep its value in a Secret (valueFrom.secretKeyRef)"));
    }
    match value {
        Some(value) if value.chars().any(char::is_control) => Err((".value", "has a value with control characters")),
        _ => Ok(()),
    }
}

fn check_defaults(defaults: &BTreeMap<String, Value>) -> Result<(), Problem> {
    for (name, value) in defaults {
        let what = if GATEWAYS_MEMBERS.contains(&name.as_str()) {
            "is the client's or the gateway's to set"
        } else if name.is_empty() || name.len() > MAX_MEMBER_NAME {
            "is no name of a member: it has 1 to 128 bytes"
        } else if depth(value) > MAX_DEPTH {
            "is nested too deeply"
        } else {
            continue;
        };
        return Err(invalid(format!("spec.request.bodyDefaults: {name:?} {what}")));
    }
    let bytes = serde_json::to_vec(defaults).map_or(usize::MAX, |text| text.len());
    if bytes > MAX_DEFAULTS {
        return Err(invalid(format!(
            "spec.request.bodyDefaults: has {bytes} bytes as JSON; {MAX_DEFAULTS} are allowed"
        )));
    }
    Ok(())
}

/// Values for the snapshot, from wherever they are kept.
pub(crate) fn resolve(
    spec: &AIProviderSpec,
    references: &References<'_>,
) -> Result<Option<snapshot::RequestSettings>, Problem> {
    let Some(RequestSettings { headers, query_parameters, body_defaults, forward_headers }) = &spec.request else {
        return Ok(None);
    };
    let mut resolved = snapshot::RequestSettings {
        body_defaults: body_defaults.clone(),
        forward_headers: forward_headers.iter().map(|name| name.to_ascii_lowercase()).collect(),
        ..snapshot::RequestSettings::default()
    };
    for (index, Header { name, value, value_from }) in headers.iter().enumerate() {
        let field = format!("spec.request.headers[{index}].valueFrom");
        let value = text(value.as_deref(), value_from.as_ref(), &field, references, is_header_value)?;
        resolved.headers.insert(name.to_ascii_lowercase(), value);
    }
    for (index, QueryParameter { name, value, value_from }) in query_parameters.iter().enumerate() {
        let field = format!("spec.request.queryParameters[{index}].valueFrom");
        let value = text(value.as_deref(), value_from.as_ref(), &field, references, is_line)?;
        resolved.query_parameters.push(snapshot::QueryParameter { name: name.clone(), value });
    }
    Ok(Some(resolved))
}

/// The API key with its header, if the owner chose one.
pub(crate) fn credential(api_key: &ApiKeyCredential, key: Secret, type_: ProviderType) -> snapshot::Credential {
    let ApiKeyCredential { secret_ref: _, header, prefix } = api_key;
    if header.is_none() && prefix.is_none() {
        return snapshot::Credential::ApiKey(key);
    }
    let name = header.as_deref().unwrap_or(usual_header(type_)).to_ascii_lowercase();
    let usual = if name == "authorization" { "Bearer " } else { "" };
    let value = Secret::new(format!("{}{}", prefix.as_deref().unwrap_or(usual), key.expose()));
    snapshot::Credential::Header(snapshot::Header { name, value })
}

/// The header that the provider's own key goes into, if it has one.
fn key_header(spec: &AIProviderSpec) -> Option<&str> {
    let api_key = spec.credentials.as_ref()?.api_key.as_ref()?;
    Some(api_key.header.as_deref().unwrap_or(usual_header(spec.type_)))
}

const fn usual_header(type_: ProviderType) -> &'static str {
    match type_ {
        ProviderType::Anthropic => "x-api-key",
        ProviderType::Gemini => "x-goog-api-key",
        ProviderType::AzureOpenAI => "api-key",
        ProviderType::OpenAI | ProviderType::VertexAI | ProviderType::Bedrock | ProviderType::Echo => "authorization",
    }
}

fn text(
    value: Option<&str>,
    from: Option<&ValueFrom>,
    field: &str,
    references: &References<'_>,
    check: fn(&str) -> Result<(), &'static str>,
) -> Result<Text, Problem> {
    let Some(ValueFrom { secret_key_ref, config_map_key_ref }) = from else {
        return Ok(Text::Plain(value.unwrap_or_default().to_owned()));
    };
    match (secret_key_ref, config_map_key_ref) {
        (Some(SecretKeyRef { name, key }), _) => {
            let source = Source::secret(format!("{field}.secretKeyRef"), name, key);
            references::text(references, &source, check).map(|text| Text::Secret(Secret::new(text)))
        }
        (None, Some(ConfigMapKeyRef { name, key })) => {
            let source = Source::config_map(format!("{field}.configMapKeyRef"), name, key);
            references::text(references, &source, check).map(|text| Text::Plain(text.to_owned()))
        }
        (None, None) => Err(invalid(format!("{field}: exactly one of secretKeyRef and configMapKeyRef must be set"))),
    }
}

fn is_secret(from: Option<&ValueFrom>) -> bool {
    from.is_some_and(|from| from.secret_key_ref.is_some())
}

/// Printable ASCII, as every server takes it, and no space at either end, which HTTP would drop.
fn is_header_value(value: &str) -> Result<(), &'static str> {
    if value.is_empty() {
        return Err("is empty");
    }
    if value.starts_with(' ') || value.ends_with(' ') || !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err("holds characters that no header can carry, or a space at its end");
    }
    Ok(())
}

fn is_line(value: &str) -> Result<(), &'static str> {
    if value.chars().any(char::is_control) { Err("holds control characters") } else { Ok(()) }
}

fn depth(value: &Value) -> usize {
    let inner = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(members) => members.values().map(depth).max(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return 0,
    };
    inner.unwrap_or(0) + 1
}

fn invalid(message: String) -> Problem {
    Problem::new(Reason::InvalidConfig, message)
}
