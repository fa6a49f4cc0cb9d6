//! `spec.request` and the API key's header: which names an owner may set, and where values come from.
//!
//! Names are checked without following references ([`check`]), values when they are resolved ([`resolve`]).

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
    verdict::SpecError,
};

/// Headers of the connection (RFC 9110, 7.6.1), of the message, and those that the gateway sets itself.
const RESERVED_HEADERS: [&str; 18] = [
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

/// Headers that carry credentials: an owner's must come from a Secret, a client's are not forwarded.
const CREDENTIAL_HEADERS: [&str; 10] = [
    "api-key",
    "authorization",
    "cookie",
    "ocp-apim-subscription-key",
    "x-amz-security-token",
    "x-api-key",
    "x-auth-token",
    "x-functions-key",
    "x-goog-api-key",
    "x-routeapi-key",
];

/// What callers may send their own credentials in, with `fromClient`.
const CLIENT_CREDENTIAL_HEADERS: [&str; 4] = ["api-key", "authorization", "x-api-key", "x-goog-api-key"];

/// The same for query parameters.
const CREDENTIAL_PARAMETERS: [&str; 8] =
    ["access_token", "api-key", "api_key", "apikey", "code", "key", "subscription-key", "token"];

/// Query parameters that select the form of the response, which the gateway sets itself.
const RESERVED_PARAMETERS: [&str; 2] = ["alt", "beta"];

/// Members that routing, limits and metering depend on, and those that hold the conversation.
const RESERVED_MEMBERS: [&str; 8] =
    ["contents", "input", "messages", "model", "prompt", "requests", "stream", "stream_options"];

/// Maximum size of all defaults as JSON, in bytes: each request to the provider may grow by this much.
const MAX_DEFAULTS: usize = 16 << 10;
/// Maximum length of a member's name in bytes; the same as in a warning.
const MAX_MEMBER_NAME: usize = 128;
/// Maximum nesting of a default. Parsers commonly stop at 128 levels, of which a client's body may need some.
const MAX_DEPTH: usize = 32;

/// Checks names, and values that stand in the spec itself.
pub(crate) fn check(spec: &AIProviderSpec) -> Result<(), SpecError> {
    let key_header = key_header(spec).map(str::to_ascii_lowercase);
    if let Some(name) = key_header.as_deref().filter(|name| RESERVED_HEADERS.contains(name) || *name == "cookie") {
        return Err(invalid(format!("spec.credentials.apiKey.header: {name:?} cannot be used for an API key")));
    }
    let Some(RequestSettings { headers, query_parameters, body_defaults, forward_headers }) = &spec.request else {
        return Ok(());
    };
    let takes_clients = spec.credentials.as_ref().is_some_and(|credentials| credentials.from_client.is_some());
    let mut set = BTreeSet::new();
    for (index, header) in headers.iter().enumerate() {
        let name = header.name.to_ascii_lowercase();
        check_header(header, &name, key_header.as_deref(), takes_clients)
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
        let what = if RESERVED_HEADERS.contains(&&*lower) {
            "cannot be forwarded: it belongs to the client's connection or body"
        } else if CREDENTIAL_HEADERS.contains(&&*lower) || key_header.as_deref() == Some(&*lower) {
            "cannot be forwarded: it carries the client's credentials"
        } else if set.contains(&lower) {
            "is already set by spec.request.headers"
        } else if !forwarded.insert(lower) {
            "is listed twice"
        } else {
            continue;
        };
        return Err(invalid(format!("spec.request.forwardHeaders[{index}]: {name:?} {what}")));
    }
    Ok(())
}

fn check_header(
    header: &Header,
    name: &str,
    key_header: Option<&str>,
    takes_clients: bool,
) -> Result<(), (&'static str, String)> {
    let Header { name: _, value, value_from } = header;
    if RESERVED_HEADERS.contains(&name) {
        return Err((".name", "is set by the gateway itself".to_owned()));
    }
    if key_header == Some(name) {
        return Err((".name", "is already used by spec.credentials.apiKey".to_owned()));
    }
    if takes_clients && CLIENT_CREDENTIAL_HEADERS.contains(&name) {
        return Err((".name", "is left to the caller by spec.credentials.fromClient".to_owned()));
    }
    if CREDENTIAL_HEADERS.contains(&name) && !is_secret(value_from.as_ref()) {
        return Err(("", "carries credentials; take its value from a Secret (valueFrom.secretKeyRef)".to_owned()));
    }
    match value {
        Some(value) => is_header_value(value).map_err(|what| (".value", format!("has a value that {what}"))),
        None => Ok(()),
    }
}

fn check_parameter(parameter: &QueryParameter) -> Result<(), (&'static str, &'static str)> {
    let QueryParameter { name, value, value_from } = parameter;
    let lower = name.to_ascii_lowercase();
    if RESERVED_PARAMETERS.contains(&&*lower) {
        return Err((".name", "is set by the gateway itself"));
    }
    if CREDENTIAL_PARAMETERS.contains(&&*lower) && !is_secret(value_from.as_ref()) {
        return Err(("", "carries credentials; take its value from a Secret (valueFrom.secretKeyRef)"));
    }
    match value {
        Some(value) if value.chars().any(char::is_control) => {
            Err((".value", "has a value that contains control characters"))
        }
        _ => Ok(()),
    }
}

fn check_defaults(defaults: &BTreeMap<String, Value>) -> Result<(), SpecError> {
    for (name, value) in defaults {
        let what = if RESERVED_MEMBERS.contains(&name.as_str()) {
            "cannot have a default: it is set by the client or the gateway"
        } else if name.is_empty() || name.len() > MAX_MEMBER_NAME {
            "is not a valid name: it must have 1 to 128 bytes"
        } else if depth(value) > MAX_DEPTH {
            "is nested too deeply: at most 32 levels are allowed"
        } else {
            continue;
        };
        return Err(invalid(format!("spec.request.bodyDefaults: {name:?} {what}")));
    }
    let bytes = serde_json::to_vec(defaults).map_or(usize::MAX, |text| text.len());
    if bytes > MAX_DEFAULTS {
        return Err(invalid(format!(
            "spec.request.bodyDefaults: takes {bytes} bytes as JSON; at most {MAX_DEFAULTS} are allowed"
        )));
    }
    Ok(())
}

/// Values for the snapshot, from wherever they are kept.
pub(crate) fn resolve(
    spec: &AIProviderSpec,
    references: &References<'_>,
) -> Result<Option<snapshot::RequestSettings>, SpecError> {
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
    // Azure's keys are not in the header of the APIs that it serves.
    if header.is_none() && prefix.is_none() && type_ != ProviderType::AzureOpenAI {
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
) -> Result<Text, SpecError> {
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
        return Err("contains characters that are not allowed in a header, or a leading or trailing space");
    }
    Ok(())
}

fn is_line(value: &str) -> Result<(), &'static str> {
    if value.chars().any(char::is_control) { Err("contains control characters") } else { Ok(()) }
}

fn depth(value: &Value) -> usize {
    let inner = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(members) => members.values().map(depth).max(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return 0,
    };
    inner.unwrap_or(0) + 1
}

fn invalid(message: String) -> SpecError {
    SpecError::new(Reason::InvalidConfig, message)
}
