//! Access tokens of Google Cloud (docs/protocols/clouds.md): by a service account's key, from the metadata server, or by
//! workload identity federation; each with another service account impersonated or not.

mod key_file;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header::AUTHORIZATION};
use routeapi_crds::value::METADATA_SERVICE;
use serde::Deserialize;

pub use self::key_file::{InvalidKeyFile, KeyFile};
use super::{
    token::{Answer, FetchError, bearer},
    token_client::{TokenClient, file},
};
use crate::{
    clock::{self, Now},
    upstream::authorization::Authorization,
};

/// What tokens are for. What the identity may do is IAM's business.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const METADATA_PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
const IMPERSONATION: &str = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts";
/// The variable that names the file, for messages.
const FILE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
const JWT_GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const EXCHANGE_GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A credentials file of the pod's, by its `type`.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum CredentialsFile {
    ExternalAccount(ExternalAccount),
    /// What `gcloud auth application-default login` writes.
    AuthorizedUser(AuthorizedUser),
    ServiceAccount {},
}

/// Workload identity federation, as `gcloud iam workload-identity-pools create-cred-config` writes it.
#[derive(Deserialize)]
struct ExternalAccount {
    audience: String,
    subject_token_type: String,
    token_url: String,
    service_account_impersonation_url: Option<String>,
    credential_source: CredentialSource,
}

#[derive(Deserialize)]
struct CredentialSource {
    /// None for sources that pods do not have.
    file: Option<String>,
    format: Option<Format>,
}

#[derive(Deserialize)]
struct Format {
    #[serde(rename = "type")]
    type_: String,
    subject_token_field_name: Option<String>,
}

#[derive(Deserialize)]
struct AuthorizedUser {
    client_id: String,
    client_secret: String,
    refresh_token: String,
}

/// The answer of `generateAccessToken`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Impersonated {
    access_token: String,
    expire_time: jiff::Timestamp,
}

/// Fetches a token; `key` is none for whoever the pod is.
pub(super) async fn fetch(
    key: Option<&KeyFile>,
    impersonate: Option<&str>,
    client: &TokenClient,
) -> Result<Authorization, FetchError> {
    let now = clock::now();
    let (own, further) = match key {
        Some(key) => (by_key(key, client, now).await?, None),
        None => of_pod(client, now).await?,
    };
    let stated = impersonate.map(|account| format!("{IMPERSONATION}/{account}:generateAccessToken"));
    match stated.or(further) {
        Some(url) => impersonated(&url, &own, client).await,
        None => Ok(own),
    }
}

async fn by_key(key: &KeyFile, client: &TokenClient, now: Now) -> Result<Authorization, FetchError> {
    let assertion = key.assertion(SCOPE, now.unix_seconds())?;
    let fields = [("grant_type", JWT_GRANT), ("assertion", assertion.as_str())];
    token_of(&client.post_form(key.token_uri(), &fields).await?, now)
}

/// As the pod, and the URL at which another is impersonated, if its credentials file names one.
async fn of_pod(client: &TokenClient, now: Now) -> Result<(Authorization, Option<String>), FetchError> {
    let Some(path) = &client.environment.google_credentials_file else {
        let stated = client.environment.gce_metadata_host.clone();
        let host = &stated.unwrap_or_else(|| METADATA_SERVICE.to_string());
        let header = (HeaderName::from_static("metadata-flavor"), HeaderValue::from_static("Google"));
        let answer = client.get_local(host, METADATA_PATH, header).await?;
        return Ok((token_of(&answer, now)?, None));
    };
    let text = file(FILE, path).await?;
    let invalid = |why: String| FetchError::missing(format!("{FILE}: {path:?} {why}"));
    let read: CredentialsFile = serde_json::from_str(&text)
        .map_err(|error| invalid(format!("is no credentials file of a supported type: {error}")))?;
    match read {
        CredentialsFile::ServiceAccount {} => {
            let key = KeyFile::read(&text).map_err(|error| invalid(error.to_string()))?;
            Ok((by_key(&key, client, now).await?, None))
        }
        CredentialsFile::AuthorizedUser(user) => {
            let fields = [
                ("grant_type", "refresh_token"),
                ("client_id", user.client_id.as_str()),
                ("client_secret", user.client_secret.as_str()),
                ("refresh_token", user.refresh_token.as_str()),
            ];
            Ok((token_of(&client.post_form("https://oauth2.googleapis.com/token", &fields).await?, now)?, None))
        }
        CredentialsFile::ExternalAccount(account) => {
            let subject = subject_token(&account.credential_source).await?;
            let fields = [
                ("grant_type", EXCHANGE_GRANT),
                ("audience", account.audience.as_str()),
                ("scope", SCOPE),
                ("requested_token_type", ACCESS_TOKEN),
                ("subject_token_type", account.subject_token_type.as_str()),
                ("subject_token", subject.as_str()),
            ];
            let token = token_of(&client.post_form(&account.token_url, &fields).await?, now)?;
            Ok((token, account.service_account_impersonation_url))
        }
    }
}

/// The pod's own token, which is exchanged.
async fn subject_token(source: &CredentialSource) -> Result<String, FetchError> {
    let missing = |what: &str| FetchError::missing(format!("{FILE}: credential_source {what}"));
    let path = source.file.as_deref().ok_or_else(|| missing("is none that pods have: it must name a file"))?;
    let text = file(&format!("{FILE}: credential_source.file"), path).await?;
    match &source.format {
        Some(Format { type_, subject_token_field_name }) if type_ == "json" => {
            let name = subject_token_field_name.as_deref().unwrap_or_default();
            let value: serde_json::Value =
                serde_json::from_str(&text).map_err(|_| missing("names a file that is not JSON"))?;
            let token = value.get(name).and_then(serde_json::Value::as_str);
            token.map(str::to_owned).ok_or_else(|| missing("names a member that its file does not have"))
        }
        _ => Ok(text),
    }
}

/// The token of a service account that the first token may impersonate.
async fn impersonated(url: &str, own: &Authorization, client: &TokenClient) -> Result<Authorization, FetchError> {
    let Authorization::Header { value, .. } = own else { return Err(FetchError::unreachable("no token")) };
    let body = serde_json::json!({ "scope": [SCOPE], "lifetime": "3600s" }).to_string();
    let now = clock::now();
    let answer = client.post_json(url, (AUTHORIZATION, value.clone()), Bytes::from(body)).await?;
    let stated: Impersonated = serde_json::from_slice(answer.success().map_err(at_google)?)
        .map_err(|_| FetchError::unreachable("the answer holds no accessToken with expireTime").at("Google Cloud"))?;
    let life = stated.expire_time.as_millisecond().saturating_sub(now.unix_ms);
    let life = std::time::Duration::from_millis(u64::try_from(life).unwrap_or(0));
    bearer(&stated.access_token, life, now)
}

fn token_of(answer: &Answer, now: Now) -> Result<Authorization, FetchError> {
    let (token, life) = answer.oauth_token().map_err(at_google)?;
    bearer(&token, life, now)
}

fn at_google(error: FetchError) -> FetchError {
    error.at("Google Cloud")
}
