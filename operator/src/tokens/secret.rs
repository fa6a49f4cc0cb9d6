//! The Secret from which an app reads its API key: its content, and how it is read and written.
//!
//! Only a Secret that the ApiToken owns (by controller reference and UID) is ever written. It is created with `create`, which
//! fails if there is one already, and changed with a patch that names the version that was read. Keys that other clients added
//! stay.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret as KubeSecret, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Api, Client, Resource,
    api::{GetParams, Patch, PatchParams, PostParams},
};
use routeapi_channel::{
    Secret,
    token_format::{self, Minted},
};
use routeapi_crds::v1alpha1::{ApiToken, IMPORT_LABEL, SecretKeys, TOKEN_KEY};
use serde_json::json;

use super::{
    error::{TokenError, call},
    plan::{FoundSecret, Import, ManagedSecret, Owner, requested_revision},
    secret_poller::{SecretVersion, version},
};
use crate::field_manager::FIELD_MANAGER;

/// The chart's admission policy allows the operator to write Secrets with this label only.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// ID of the key in the Secret.
const KEY_ID: &str = "routeapi.dev/key-id";
/// `rotation.revision` for which the key was issued.
const REVISION: &str = "routeapi.dev/rotation-revision";
/// Key of the Secret for the gateway's base URL.
const BASE_URL: &str = "baseURL";

/// The value of an environment variable.
enum Variable {
    /// The API key.
    Token,
    /// The gateway's base URL, followed by this.
    Address(&'static str),
}

/// The variables that the official SDKs read (openai 2, anthropic 2 and google-genai 3 for Python, November 2026). Without
/// `GOOGLE_API_KEY`: with both variables set, that SDK logs a warning at every start.
const ENVIRONMENT: [(&str, Variable); 6] = [
    ("OPENAI_API_KEY", Variable::Token),
    ("OPENAI_BASE_URL", Variable::Address("/v1")),
    ("ANTHROPIC_API_KEY", Variable::Token),
    ("ANTHROPIC_BASE_URL", Variable::Address("")), // that SDK adds /v1 itself
    ("GEMINI_API_KEY", Variable::Token),
    ("GOOGLE_GEMINI_BASE_URL", Variable::Address("")), // and that one /v1beta
];

/// Reads a token's Secret.
pub async fn read(
    client: &Client,
    token: &ApiToken,
    gateway_url: &str,
) -> Result<(FoundSecret, SecretVersion), TokenError> {
    if !token.spec.has_key() {
        return Ok((FoundSecret::NotRequired, None));
    }
    let name = token.secret_name();
    let found = call("reading the Secret", api(client, token).get_opt(&name)).await?;
    Ok(found.map_or((FoundSecret::Missing, None), |secret| {
        (classify(token, &secret, gateway_url), version(&secret.metadata))
    }))
}

/// Reads the version of a token's Secret, without its content and from the API server's cache.
pub async fn poll(client: &Client, token: &ApiToken) -> Result<SecretVersion, TokenError> {
    if !token.spec.has_key() {
        return Ok(None);
    }
    let name = token.secret_name();
    let (api, any) = (api(client, token), GetParams::any());
    let found = call("reading the Secret's metadata", api.get_metadata_opt_with(&name, &any)).await?;
    Ok(found.and_then(|secret| version(&secret.metadata)))
}

/// Writes a new key into the Secret, which must be unchanged since it was read. Returns the new version.
pub async fn write(
    client: &Client,
    token: &ApiToken,
    read: &FoundSecret,
    minted: &Minted,
    gateway_url: &str,
) -> Result<SecretVersion, TokenError> {
    let desired = desired_data(token, &minted.value, gateway_url);
    match read {
        FoundSecret::Managed(secret) => patch(client, token, secret, &minted.id, desired).await,
        FoundSecret::Missing
        | FoundSecret::NotOwned(_)
        | FoundSecret::Import(_)
        | FoundSecret::Terminating(_)
        | FoundSecret::NotRequired => create(client, token, &minted.id, desired).await,
    }
}

/// Writes the Secret again with the same key. Returns the new version.
pub async fn refresh(
    client: &Client,
    token: &ApiToken,
    read: &FoundSecret,
    gateway_url: &str,
) -> Result<SecretVersion, TokenError> {
    let FoundSecret::Managed(secret) = read else { return Ok(None) };
    let (Some(value), Some(id)) = (&secret.value, &secret.key_id) else { return Ok(None) };
    patch(client, token, secret, id, desired_data(token, value, gateway_url)).await
}

fn classify(token: &ApiToken, secret: &KubeSecret, gateway_url: &str) -> FoundSecret {
    let metadata = &secret.metadata;
    let text = |key: &str| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(key))?;
        String::from_utf8(bytes.0.clone()).ok()
    };
    let mut owners = metadata.owner_references.iter().flatten();
    let controller = owners.find(|owner| owner.controller == Some(true));
    let owned = controller.is_some_and(|owner| Some(&owner.uid) == token.metadata.uid.as_ref());
    let terminating = metadata.deletion_timestamp.as_ref().map(|_| metadata.finalizers.clone().unwrap_or_default());
    if !owned {
        let import =
            metadata.labels.as_ref().and_then(|labels| labels.get(IMPORT_LABEL)).is_some_and(|value| value == "true");
        if !import {
            return FoundSecret::NotOwned(controller.map(|owner| Owner::of(owner, token)));
        }
        if let Some(finalizers) = terminating {
            return FoundSecret::Terminating(finalizers);
        }
        let value = secret.data.as_ref().and_then(|data| data.get(TOKEN_KEY));
        return FoundSecret::Import(match value.map(|bytes| token_format::import(&bytes.0)) {
            None => Import::Missing,
            Some(Err(unusable)) => Import::Invalid(unusable),
            Some(Ok(value)) => Import::Value(Secret::new(value)),
        });
    }
    if let Some(finalizers) = terminating {
        return FoundSecret::Terminating(finalizers);
    }
    let annotation = |name: &str| metadata.annotations.as_ref().and_then(|annotations| annotations.get(name)).cloned();
    let value = text(TOKEN_KEY).map(Secret::new);
    let up_to_date = value.as_ref().is_some_and(|value| {
        desired_data(token, value, gateway_url).iter().all(|(key, desired)| text(key) == *desired)
    });
    FoundSecret::Managed(ManagedSecret {
        resource_version: metadata.resource_version.clone(),
        value,
        key_id: annotation(KEY_ID),
        revision: annotation(REVISION).and_then(|revision| revision.parse().ok()),
        up_to_date,
    })
}

// === impl Owner ===

impl Owner {
    fn of(reference: &OwnerReference, token: &ApiToken) -> Self {
        let ours = reference.kind == "ApiToken" && reference.api_version.starts_with("routeapi.dev/");
        match (ours, token.metadata.name.as_ref() == Some(&reference.name)) {
            (true, true) => Self::Predecessor,
            (true, false) => Self::Token(reference.name.clone()),
            (false, _) => Self::Other(reference.kind.clone(), reference.name.clone()),
        }
    }
}

/// Keys and values; none for keys that must not exist.
fn desired_data(token: &ApiToken, value: &Secret, gateway_url: &str) -> BTreeMap<&'static str, Option<String>> {
    let environment = token.spec.secret_keys == SecretKeys::PlainAndEnv;
    let mut desired: BTreeMap<_, _> = ENVIRONMENT
        .into_iter()
        .map(|(name, variable)| {
            let text = match variable {
                Variable::Token => value.expose().to_owned(),
                Variable::Address(path) => format!("{gateway_url}{path}"),
            };
            (name, environment.then_some(text))
        })
        .collect();
    desired.insert(TOKEN_KEY, Some(value.expose().to_owned()));
    desired.insert(BASE_URL, Some(gateway_url.to_owned()));
    desired
}

fn annotations(token: &ApiToken, key_id: &str) -> BTreeMap<String, String> {
    let revision = requested_revision(token).unwrap_or_default().to_string();
    [(KEY_ID.to_owned(), key_id.to_owned()), (REVISION.to_owned(), revision)].into()
}

async fn create(
    client: &Client,
    token: &ApiToken,
    key_id: &str,
    desired: BTreeMap<&'static str, Option<String>>,
) -> Result<SecretVersion, TokenError> {
    let mut secret = KubeSecret { type_: Some("Opaque".to_owned()), ..KubeSecret::default() };
    secret.metadata.name = Some(token.secret_name());
    secret.metadata.annotations = Some(annotations(token, key_id));
    secret.metadata.labels = Some([(MANAGED_BY.to_owned(), FIELD_MANAGER.to_owned())].into());
    secret.metadata.owner_references = token.controller_owner_ref(&()).map(|mut owner| {
        owner.block_owner_deletion = None; // it needs permission for finalizers, and nothing waits for it
        vec![owner]
    });
    let data = desired.into_iter().filter_map(|(key, value)| Some((key.to_owned(), ByteString(value?.into_bytes()))));
    secret.data = Some(data.collect());
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let created = call("creating the Secret", api(client, token).create(&params, &secret)).await?;
    Ok(version(&created.metadata))
}

async fn patch(
    client: &Client,
    token: &ApiToken,
    secret: &ManagedSecret,
    key_id: &str,
    desired: BTreeMap<&'static str, Option<String>>,
) -> Result<SecretVersion, TokenError> {
    let data: BTreeMap<_, _> =
        desired.into_iter().map(|(key, text)| (key, text.map(|text| ByteString(text.into_bytes())))).collect();
    let mut annotations = annotations(token, key_id);
    if secret.key_id.as_deref() == Some(key_id) {
        annotations.remove(REVISION); // the same key again is not a rotation
    }
    let patch = json!({
        "metadata": {
            "resourceVersion": secret.resource_version,
            "annotations": annotations,
            "labels": {MANAGED_BY: FIELD_MANAGER},
        },
        "data": data,
    });
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let name = token.secret_name();
    let patched = call("writing the Secret", api(client, token).patch(&name, &params, &Patch::Merge(patch))).await?;
    Ok(version(&patched.metadata))
}

fn api(client: &Client, token: &ApiToken) -> Api<KubeSecret> {
    Api::namespaced(client.clone(), token.metadata.namespace.as_deref().unwrap_or_default())
}
