//! Tokens of Microsoft Entra ID (docs/protocols/clouds.md): by a federated token of the pod, by a client secret, or from the
//! node's metadata service.

use http::{HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use routeapi_channel::snapshot::{Azure, AzureIdentity};
use routeapi_crds::value::METADATA_SERVICE;

use super::{
    token::{FetchError, bearer},
    token_client::{TokenClient, file, form},
};
use crate::{clock, upstream::authorization::Authorization};

/// Microsoft Entra ID of the public cloud.
const AUTHORITY: &str = "https://login.microsoftonline.com";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Fetches a token.
pub(super) async fn fetch(told: &Azure, client: &TokenClient) -> Result<Authorization, FetchError> {
    let now = clock::now();
    let answer = match &told.identity {
        AzureIdentity::Managed { client_id } => {
            let stated = client.environment.azure_pod_identity_authority_host.as_deref();
            let stated = stated.map(|host| host.trim_start_matches("http://").trim_end_matches('/').to_owned());
            let host = &stated.unwrap_or_else(|| METADATA_SERVICE.to_string());
            let header = (HeaderName::from_static("metadata"), HeaderValue::from_static("true"));
            client.get_local(host, &managed(&told.scope, client_id.as_deref()), header).await?
        }
        AzureIdentity::Workload { client_id, tenant_id } => {
            let environment = &client.environment;
            let stated = |stated: &Option<String>, from: &Option<String>, name: &str| {
                let missing = || FetchError::missing(format!("{name} is not set in the data plane's environment"));
                stated.clone().or_else(|| from.clone()).ok_or_else(missing)
            };
            let path = stated(&None, &environment.azure_federated_token_file, "AZURE_FEDERATED_TOKEN_FILE").map_err(
                |error| FetchError {
                    message: format!("{}: is azure.workload.identity/use=\"true\" a label of its pods?", error.message),
                    ..error
                },
            )?;
            let client_id = stated(client_id, &environment.azure_client_id, "AZURE_CLIENT_ID")?;
            let tenant = stated(tenant_id, &environment.azure_tenant_id, "AZURE_TENANT_ID")?;
            let assertion = file("AZURE_FEDERATED_TOKEN_FILE", &path).await?;
            let proof = [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion.as_str())];
            post(client, &tenant, &client_id, &told.scope, &proof).await?
        }
        AzureIdentity::Client { tenant_id, client_id, client_secret } => {
            post(client, tenant_id, client_id, &told.scope, &[("client_secret", client_secret.expose())]).await?
        }
    };
    let (token, life) = answer.oauth_token().map_err(|error| error.at("Microsoft Entra ID"))?;
    bearer(&token, life, now)
}

async fn post(
    client: &TokenClient,
    tenant: &str,
    client_id: &str,
    scope: &str,
    proof: &[(&str, &str)],
) -> Result<super::token::Answer, FetchError> {
    let authority = client.environment.azure_authority_host.as_deref().unwrap_or(AUTHORITY).trim_end_matches('/');
    // A tenant from the environment is not to lead elsewhere either.
    let url = format!("{authority}/{}/oauth2/v2.0/token", utf8_percent_encode(tenant, TENANT));
    let mut fields = vec![("grant_type", "client_credentials"), ("client_id", client_id), ("scope", scope)];
    fields.extend_from_slice(proof);
    client.post_form(&url, &fields).await
}

/// A GUID or a domain stays as it is.
const TENANT: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.');

/// The path of a managed identity's token. The service knows resources, which are scopes without their last part.
fn managed(scope: &str, client_id: Option<&str>) -> String {
    let resource = scope.strip_suffix("/.default").unwrap_or(scope);
    let mut fields = vec![("api-version", "2018-02-01"), ("resource", resource)];
    fields.extend(client_id.map(|id| ("client_id", id)));
    format!("/metadata/identity/oauth2/token?{}", form(&fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managed_identities_are_asked_for_a_resource() {
        let scope = "https://cognitiveservices.azure.com/.default";
        let path = managed(scope, Some("1-2"));
        assert_eq!(
            path,
            "/metadata/identity/oauth2/token?api%2Dversion=2018%2D02%2D01&resource=https%3A%2F%2Fcognitiveservices%2Eazure%2Ecom&client%5Fid=1%2D2"
        );
    }
}
