//! The Secret that an app reads its token from: what is in it, and how it is read and written.
//!
//! Ours is what the ApiToken owns (by controller reference and uid), and nothing else is ever written to. It is made with
//! `create`, which fails if somebody was quicker, and changed with a patch that names the version that was read. Keys that
//! somebody added to it stay.

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
    TokenError, call,
    plan::{Held, Import, Ours, Owner, wanted_revision},
    rounds::{Version, version},
};
use crate::writer::FIELD_MANAGER;

/// Without this label, the chart's admission policy lets the operator write no Secret.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const KEY_ID: &str = "routeapi.dev/key-id";
const REVISION: &str = "routeapi.dev/rotation-revision";
const BASE_URL: &str = "baseURL";

/// A variable of an SDK, and what it is set to.
enum Variable {
    Token,
    /// The gateway's address followed by this.
    Address(&'static str),
}

/// What the official SDKs read (openai 2, anthropic 2 and google-genai 3 for Python, November 2026). `GOOGLE_API_KEY` is
/// left out: with both set, that SDK warns at every start.
const ENVIRONMENT: [(&str, Variable); 6] = [
    ("OPENAI_API_KEY", Variable::Token),
    ("OPENAI_BASE_URL", Variable::Address("/v1")),
    ("ANTHROPIC_API_KEY", Variable::Token),
    ("ANTHROPIC_BASE_URL", Variable::Address("")), // that SDK adds /v1 itself
    ("GEMINI_API_KEY", Variable::Token),
    ("GOOGLE_GEMINI_BASE_URL", Variable::Address("")), // and that one /v1beta
];

/// Reads a token's Secret.
pub async fn read(client: &Client, token: &ApiToken, gateway_url: &str) -> Result<(Held, Version), TokenError> {
    let name = token.secret_name();
    let found = call("reading the Secret", api(client, token).get_opt(&name)).await?;
    Ok(found.map_or((Held::Absent, None), |secret| (held(token, &secret, gateway_url), version(&secret.metadata))))
}

/// Asks which version there is, without its content and out of the API server's cache.
pub async fn ask(client: &Client, token: &ApiToken) -> Result<Version, TokenError> {
    let name = token.secret_name();
    let (api, any) = (api(client, token), GetParams::any());
    let found = call("asking for the Secret", api.get_metadata_opt_with(&name, &any)).await?;
    Ok(found.and_then(|secret| version(&secret.metadata)))
}

/// Puts a new value into the Secret, which must still be as it was read; its new version.
pub async fn write(
    client: &Client,
    token: &ApiToken,
    read: &Held,
    minted: &Minted,
    gateway_url: &str,
) -> Result<Version, TokenError> {
    let wanted = wanted(token, &minted.value, gateway_url);
    match read {
        Held::Ours(ours) => patch(client, token, ours, &minted.id, wanted).await,
        Held::Absent | Held::Foreign(_) | Held::Import(_) | Held::Terminating(_) => {
            create(client, token, &minted.id, wanted).await
        }
    }
}

/// Writes the Secret again with the value that it has; its new version.
pub async fn refresh(client: &Client, token: &ApiToken, read: &Held, gateway_url: &str) -> Result<Version, TokenError> {
    let Held::Ours(ours) = read else { return Ok(None) };
    let (Some(value), Some(id)) = (&ours.value, &ours.key_id) else { return Ok(None) };
    patch(client, token, ours, id, wanted(token, value, gateway_url)).await
}

fn held(token: &ApiToken, secret: &KubeSecret, gateway_url: &str) -> Held {
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
            metadata.labels.as_ref().and_then(|labels| labels.get(IMPORT_LABEL)).is_some_and(|it| it == "true");
        if !import {
            return Held::Foreign(controller.map(|owner| Owner::of(owner, token)));
        }
        if let Some(holders) = terminating {
            return Held::Terminating(holders);
        }
        let value = secret.data.as_ref().and_then(|data| data.get(TOKEN_KEY));
        return Held::Import(match value.map(|bytes| token_format::import(&bytes.0)) {
            None => Import::Missing,
            Some(Err(unusable)) => Import::Unusable(unusable),
            Some(Ok(value)) => Import::Value(Secret::new(value)),
        });
    }
    if let Some(holders) = terminating {
        return Held::Terminating(holders);
    }
    let annotation = |name: &str| metadata.annotations.as_ref().and_then(|it| it.get(name)).cloned();
    let value = text(TOKEN_KEY).map(Secret::new);
    let fresh = value
        .as_ref()
        .is_some_and(|value| wanted(token, value, gateway_url).iter().all(|(key, wanted)| text(key) == *wanted));
    Held::Ours(Ours {
        resource_version: metadata.resource_version.clone(),
        value,
        key_id: annotation(KEY_ID),
        revision: annotation(REVISION).and_then(|it| it.parse().ok()),
        fresh,
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

/// Keys and values; none for what must not be there.
fn wanted(token: &ApiToken, value: &Secret, gateway_url: &str) -> BTreeMap<&'static str, Option<String>> {
    let environment = token.spec.secret_keys == SecretKeys::PlainAndEnv;
    let mut wanted: BTreeMap<_, _> = ENVIRONMENT
        .into_iter()
        .map(|(name, variable)| {
            let text = match variable {
                Variable::Token => value.expose().to_owned(),
                Variable::Address(path) => format!("{gateway_url}{path}"),
            };
            (name, environment.then_some(text))
        })
        .collect();
    wanted.insert(TOKEN_KEY, Some(value.expose().to_owned()));
    wanted.insert(BASE_URL, Some(gateway_url.to_owned()));
    wanted
}

fn annotations(token: &ApiToken, key_id: &str) -> BTreeMap<String, String> {
    let revision = wanted_revision(token).unwrap_or_default().to_string();
    [(KEY_ID.to_owned(), key_id.to_owned()), (REVISION.to_owned(), revision)].into()
}

async fn create(
    client: &Client,
    token: &ApiToken,
    key_id: &str,
    wanted: BTreeMap<&'static str, Option<String>>,
) -> Result<Version, TokenError> {
    let mut secret = KubeSecret { type_: Some("Opaque".to_owned()), ..KubeSecret::default() };
    secret.metadata.name = Some(token.secret_name());
    secret.metadata.annotations = Some(annotations(token, key_id));
    secret.metadata.labels = Some([(MANAGED_BY.to_owned(), FIELD_MANAGER.to_owned())].into());
    secret.metadata.owner_references = token.controller_owner_ref(&()).map(|mut owner| {
        owner.block_owner_deletion = None; // would need a right on finalizers, and nothing waits for it
        vec![owner]
    });
    let data = wanted.into_iter().filter_map(|(key, value)| Some((key.to_owned(), ByteString(value?.into_bytes()))));
    secret.data = Some(data.collect());
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let created = call("creating the Secret", api(client, token).create(&params, &secret)).await?;
    Ok(version(&created.metadata))
}

async fn patch(
    client: &Client,
    token: &ApiToken,
    ours: &Ours,
    key_id: &str,
    wanted: BTreeMap<&'static str, Option<String>>,
) -> Result<Version, TokenError> {
    let data: BTreeMap<_, _> =
        wanted.into_iter().map(|(key, it)| (key, it.map(|it| ByteString(it.into_bytes())))).collect();
    let mut annotations = annotations(token, key_id);
    if ours.key_id.as_deref() == Some(key_id) {
        annotations.remove(REVISION); // the same value again is no rotation
    }
    let patch = json!({
        "metadata": {
            "resourceVersion": ours.resource_version,
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
