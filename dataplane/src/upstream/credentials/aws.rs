//! Keys of AWS (docs/protocols/clouds.md): those of a Secret, or the pod's own by a projected token (IRSA) or from the agent of EKS
//! Pod Identity; each with another role assumed or not.

use http::{HeaderValue, header::AUTHORIZATION};
use routeapi_channel::{
    ObjectId, Secret,
    snapshot::{AssumeRole, Aws, AwsIdentity},
};
use routeapi_crds::value::BedrockEndpoint;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{
    environment::CloudEnvironment,
    token::{Answer, FetchError},
    token_client::{TokenClient, file, form},
};
use crate::upstream::{authorization::Authorization, aws_signer::AwsSigner};

const STS: &str = "sts";
const STS_VERSION: &str = "2011-06-15";
/// How sessions are called in CloudTrail.
const SESSION_NAME: &str = "routeapi";
/// Longest name of a session.
const MAX_SESSION_NAME: usize = 64;
/// Digits of a hash in a name that had to be changed.
const HASHED: usize = 12;

/// Keys with their end.
struct Keys {
    access_key_id: String,
    secret_access_key: Secret,
    session_token: Option<String>,
    /// Milliseconds since 1970; none for keys without an end.
    expires: Option<i64>,
}

/// What the agent of EKS Pod Identity answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerKeys {
    access_key_id: String,
    secret_access_key: String,
    token: String,
    expiration: jiff::Timestamp,
}

/// Fetches keys, for the requests of one token or of all.
pub(super) async fn fetch(
    told: &Aws,
    token: Option<&ObjectId>,
    client: &TokenClient,
) -> Result<Authorization, FetchError> {
    let own = match &told.identity {
        AwsIdentity::Keys { access_key_id, secret_access_key, session_token } => {
            Keys::stated(access_key_id, secret_access_key, session_token.as_ref())
        }
        AwsIdentity::Workload {} => of_pod(&told.region, client).await?,
    };
    match &told.assume_role {
        None => Ok(own.authorization(&told.region, service(told))),
        Some(role) => {
            let keys = assumed((role, token), &own, &told.region, client).await?;
            Ok(keys.authorization(&told.region, service(told)))
        }
    }
}

/// What signs with a Secret's own keys, which are not fetched; none if others are fetched.
pub fn fixed(told: &Aws) -> Option<Authorization> {
    match (&told.identity, &told.assume_role) {
        (AwsIdentity::Keys { access_key_id, secret_access_key, session_token }, None) => Some(
            Keys::stated(access_key_id, secret_access_key, session_token.as_ref())
                .authorization(&told.region, service(told)),
        ),
        _ => None,
    }
}

/// The service that requests are signed for.
const fn service(told: &Aws) -> &'static str {
    match told.endpoint {
        BedrockEndpoint::Runtime => "bedrock",
        BedrockEndpoint::Mantle => "bedrock-mantle",
    }
}

async fn of_pod(region: &str, client: &TokenClient) -> Result<Keys, FetchError> {
    let environment = &client.environment;
    if let (Some(path), Some(role)) = (&environment.aws_web_identity_token_file, &environment.aws_role_arn) {
        let token = file("AWS_WEB_IDENTITY_TOKEN_FILE", path).await?;
        let session = environment.aws_role_session_name.as_deref().unwrap_or(SESSION_NAME);
        let fields = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", STS_VERSION),
            ("RoleArn", role),
            ("RoleSessionName", session),
            ("WebIdentityToken", &token),
        ];
        return sts_keys(&client.post_form(&sts(environment, region), &fields).await?);
    }
    let Some(url) = &environment.aws_container_credentials_full_uri else {
        return Err(FetchError::missing(
            "the data plane's pods have no identity at AWS: neither AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN (IRSA) nor \
             AWS_CONTAINER_CREDENTIALS_FULL_URI (EKS Pod Identity) is set in their environment",
        ));
    };
    let uri: http::Uri =
        url.parse().map_err(|_| FetchError::missing("AWS_CONTAINER_CREDENTIALS_FULL_URI is no URL"))?;
    let (Some(host), Some(path)) = (uri.authority(), uri.path_and_query()) else {
        return Err(FetchError::missing("AWS_CONTAINER_CREDENTIALS_FULL_URI is no URL"));
    };
    let token = match &environment.aws_container_authorization_token_file {
        Some(path) => file("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path).await?,
        None => String::new(),
    };
    let mut value = HeaderValue::try_from(token)
        .map_err(|_| FetchError::missing("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE holds no token"))?;
    value.set_sensitive(true);
    let answer = client.get_local(host.as_str(), path.as_str(), (AUTHORIZATION, value)).await?;
    container_keys(&answer).map_err(|error| error.at("EKS Pod Identity"))
}

/// Keys of a role that the first keys may assume.
async fn assumed(
    (role, token): (&AssumeRole, Option<&ObjectId>),
    own: &Keys,
    region: &str,
    client: &TokenClient,
) -> Result<Keys, FetchError> {
    let session = token.map_or_else(|| SESSION_NAME.to_owned(), session_name);
    let mut fields = vec![
        ("Action", "AssumeRole"),
        ("Version", STS_VERSION),
        ("RoleArn", role.role_arn.as_str()),
        ("RoleSessionName", session.as_str()),
    ];
    fields.extend(role.external_id.as_deref().map(|id| ("ExternalId", id)));
    fields.extend(token.into_iter().flat_map(tags));
    let url = sts(&client.environment, region);
    let signer = own.authorization(region, STS);
    sts_keys(&client.post_signed_form(&url, form(&fields), &signer).await?)
}

/// How a token's session is called: as the token, in the letters that AWS takes. What had to be changed for that ends in a part
/// of its hash, so that no two tokens have one name.
fn session_name(token: &ObjectId) -> String {
    let name = format!("{}.{}", token.namespace(), token.name());
    let is_taken = |letter: char| letter.is_ascii_alphanumeric() || "_+=,.@-".contains(letter);
    if name.len() <= MAX_SESSION_NAME && name.chars().all(is_taken) {
        return name;
    }
    let hash = hex::encode(Sha256::digest(&name));
    let kept = name.chars().map(|letter| if is_taken(letter) { letter } else { '-' });
    let kept: String = kept.take(MAX_SESSION_NAME - 1 - HASHED).collect();
    format!("{kept}-{}", hash.get(..HASHED).unwrap_or_default())
}

/// The tags of a token's session, which bills can be grouped by.
fn tags(token: &ObjectId) -> [(&'static str, &str); 4] {
    [
        ("Tags.member.1.Key", "routeapi-namespace"),
        ("Tags.member.1.Value", token.namespace()),
        ("Tags.member.2.Key", "routeapi-token"),
        ("Tags.member.2.Value", token.name()),
    ]
}

/// Where AWS STS is: in the provider's region, so that an outage elsewhere is none here.
fn sts(environment: &CloudEnvironment, region: &str) -> String {
    let stated = environment.aws_endpoint_url_sts.clone();
    stated.unwrap_or_else(|| format!("https://sts.{region}.{}/", domain(region)))
}

/// The domain of a region's services.
fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}

/// Keys in an answer of STS, which is XML.
fn sts_keys(answer: &Answer) -> Result<Keys, FetchError> {
    let text = String::from_utf8_lossy(&answer.body);
    if !answer.status.is_success() {
        let said = element(&text, "Message").or_else(|| element(&text, "Code"));
        return Err(FetchError::stated(answer, said.as_deref()).at("AWS STS"));
    }
    let missing = || FetchError::unreachable("the answer holds no credentials").at("AWS STS");
    let part = |name| element(&text, name).ok_or_else(missing);
    let expiration: jiff::Timestamp = part("Expiration")?.parse().map_err(|_| missing())?;
    Ok(Keys {
        access_key_id: part("AccessKeyId")?,
        secret_access_key: Secret::new(part("SecretAccessKey")?),
        session_token: Some(part("SessionToken")?),
        expires: Some(expiration.as_millisecond()),
    })
}

/// The text of the first element of this name. What is looked for never holds elements of its own.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, behind) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = behind.split_once(&format!("</{name}>"))?;
    let decoded = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    Some(decoded.iter().fold(text.trim().to_owned(), |text, (from, to)| text.replace(from, to)))
}

fn container_keys(answer: &Answer) -> Result<Keys, FetchError> {
    let body = answer.success()?;
    let keys: ContainerKeys = serde_json::from_slice(body)
        .map_err(|_| FetchError::unreachable("the answer holds no credentials with their expiration"))?;
    Ok(Keys {
        access_key_id: keys.access_key_id,
        secret_access_key: Secret::new(keys.secret_access_key),
        session_token: Some(keys.token),
        expires: Some(keys.expiration.as_millisecond()),
    })
}

impl Keys {
    /// As a Secret has them.
    fn stated(access_key_id: &Secret, secret_access_key: &Secret, session_token: Option<&Secret>) -> Self {
        Self {
            access_key_id: access_key_id.expose().to_owned(),
            secret_access_key: secret_access_key.clone(),
            session_token: session_token.map(|token| token.expose().to_owned()),
            expires: None,
        }
    }

    /// What signs with them.
    fn authorization(&self, region: &str, service: &'static str) -> Authorization {
        let token = self.session_token.as_deref();
        let signer = AwsSigner::new(&self.access_key_id, self.secret_access_key.expose(), token, region, service);
        Authorization::Aws { signer, expires: self.expires }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_called_as_their_tokens_and_no_two_alike() {
        let name = |namespace: &str, token: &str| session_name(&ObjectId::new(namespace, token));
        assert_eq!(name("team-a", "app"), "team-a.app");
        let long = "x".repeat(63);
        assert_eq!(name("y", &"x".repeat(62)).len(), 64);
        let (one, other) = (name(&long, "app-1"), name(&long, "app-2"));
        for name in [&one, &other, &name("team", "with space"), &name("team", "é")] {
            assert!(name.len() <= MAX_SESSION_NAME, "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte)), "{name}");
        }
        assert_ne!(one, other);
        assert_ne!(name("team", "a b"), name("team", "a-b"));
    }
}
