//! Providers at clouds: base URLs that follow from a location, and identities.
//!
//! A token of the data plane's own identity is worth more than one AIProvider, so it is sent to its cloud's hosts alone,
//! whatever the base URL says.

use std::borrow::Cow;

use routeapi_channel::{
    Secret,
    snapshot::{AssumeRole, Aws, AwsIdentity, Azure, AzureIdentity, Credential, Google, GoogleIdentity},
};
use routeapi_crds::{
    condition::Reason,
    v1alpha1::{
        AIProviderSpec, AwsCredential, AzureClientSecret, AzureCredential, AzureManagedIdentity, AzureWorkloadIdentity,
        GoogleCredential, SecretKeyRef,
    },
    value::{AddressPolicy, BedrockEndpoint},
};
use serde::Deserialize;

use crate::{
    address::{self, Address},
    options::Options,
    references::{self, References, Source},
    verdict::SpecError,
};

/// Ends of base URLs that vendors' SDKs want and the gateway appends itself, the longest first.
const AZURE_PATHS: [&str; 4] = ["/openai/v1", "/openai", "/anthropic/v1", "/anthropic"];
/// Hosts of Azure's that take tokens of Microsoft Entra ID for models, in the public and in the sovereign clouds.
const AZURE_HOSTS: [&str; 7] = [
    ".openai.azure.com",
    ".services.ai.azure.com",
    ".cognitiveservices.azure.com",
    ".openai.azure.us",
    ".cognitiveservices.azure.us",
    ".openai.azure.cn",
    ".cognitiveservices.azure.cn",
];
/// Microsoft Foundry's hosts.
const FOUNDRY_HOST: &str = ".services.ai.azure.com";
const FOUNDRY_SCOPE: &str = "https://ai.azure.com/.default";
const AZURE_SCOPE: &str = "https://cognitiveservices.azure.com/.default";
/// How the host of Bedrock's endpoint of vendors' own APIs begins.
const MANTLE: &str = "bedrock-mantle.";
/// Ends of its base URLs that vendors' SDKs want and the gateway appends itself, the longest first.
const MANTLE_PATHS: [&str; 4] = ["/openai/v1", "/anthropic/v1", "/anthropic", "/v1"];
/// Hosts of Amazon's, VPC endpoints among them.
const AWS_HOSTS: [&str; 3] = [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"];
/// Hosts of Google's, private endpoints (`….p.googleapis.com`) among them.
const GOOGLE_HOSTS: [&str; 1] = [".googleapis.com"];

/// The endpoint of an Azure resource, without what the gateway appends.
pub(super) fn azure_base_url(spec: &AIProviderSpec) -> Cow<'_, str> {
    let url = spec.base_url.as_deref().unwrap_or_default().trim_end_matches('/');
    AZURE_PATHS.iter().find_map(|end| url.strip_suffix(end)).unwrap_or(url).into()
}

/// The base URL of a project and a location of Vertex AI.
pub(super) fn vertex_base_url(spec: &AIProviderSpec) -> Cow<'_, str> {
    let Some(vertex) = &spec.vertex_ai else { return Cow::Borrowed("") };
    let (project, location) = (&vertex.project, &vertex.location);
    let host = match (spec.base_url.as_deref(), location.as_str()) {
        (Some(url), _) => url.trim_end_matches('/').to_owned(),
        (None, "global") => "https://aiplatform.googleapis.com".to_owned(),
        (None, "us" | "eu") => format!("https://aiplatform.{location}.rep.googleapis.com"),
        (None, region) => format!("https://{region}-aiplatform.googleapis.com"),
    };
    format!("{host}/v1/projects/{project}/locations/{location}").into()
}

/// Which of Bedrock's endpoints a provider is.
pub(super) fn bedrock_endpoint(spec: &AIProviderSpec) -> BedrockEndpoint {
    spec.bedrock.as_ref().map(|bedrock| bedrock.endpoint).unwrap_or_default()
}

/// The endpoint of Bedrock in a region.
pub(super) fn bedrock_base_url(spec: &AIProviderSpec) -> Cow<'_, str> {
    let region = spec.bedrock.as_ref().map(|bedrock| bedrock.region.as_str()).unwrap_or_default();
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    match (spec.base_url.as_deref(), bedrock_endpoint(spec)) {
        (Some(url), BedrockEndpoint::Runtime) => url.trim_end_matches('/').into(),
        (Some(url), BedrockEndpoint::Mantle) => {
            let url = url.trim_end_matches('/');
            MANTLE_PATHS.iter().find_map(|end| url.strip_suffix(end)).unwrap_or(url).into()
        }
        (None, BedrockEndpoint::Runtime) => format!("https://bedrock-runtime.{region}.{domain}").into(),
        (None, BedrockEndpoint::Mantle) => format!("https://{MANTLE}{region}.api.aws").into(),
    }
}

/// Checks what can be checked without following references: whether the data plane's own identity may be used here.
pub(super) fn check(
    spec: &AIProviderSpec,
    namespace: &str,
    address: &Address,
    options: &Options,
) -> Result<(), SpecError> {
    if spec.bedrock.is_some() && bedrock_endpoint(spec).is_runtime() && address.host.starts_with(MANTLE) {
        let message =
            "spec.bedrock.endpoint: must be Mantle, because the host of spec.baseURL has the vendors' own APIs";
        return Err(invalid(message.to_owned()));
    }
    let credentials = spec.credentials.as_ref();
    let azure = credentials.and_then(|it| it.azure.as_ref());
    let google = credentials.and_then(|it| it.google.as_ref());
    let aws = credentials.and_then(|it| it.aws.as_ref());
    let (field, hosts) = match (azure, google, aws) {
        (Some(AzureCredential { workload_identity: Some(_), .. }), ..) => ("azure.workloadIdentity", &AZURE_HOSTS[..]),
        (Some(AzureCredential { managed_identity: Some(_), .. }), ..) => ("azure.managedIdentity", &AZURE_HOSTS[..]),
        (_, Some(GoogleCredential { workload_identity: Some(_), .. }), _) => {
            ("google.workloadIdentity", &GOOGLE_HOSTS[..])
        }
        (.., Some(AwsCredential { workload_identity: Some(_), .. })) => ("aws.workloadIdentity", &AWS_HOSTS[..]),
        _ => return Ok(()),
    };
    let refused = |what: String| Err(invalid(format!("spec.credentials.{field}: {what}")));
    if !options.workload_identity.allows(namespace) {
        return refused(format!(
            "the namespace {namespace:?} may not use the data plane's own identity; add it to the operator's \
             --workload-identity-namespaces, or use credentials from a Secret"
        ));
    }
    if options.addresses.policy() == AddressPolicy::Workstation {
        return Ok(());
    }
    let is_theirs = !address.plain && hosts.iter().any(|host| address.host.ends_with(host));
    if is_theirs {
        return Ok(());
    }
    refused(format!(
        "tokens of the data plane's own identity are only sent by https to hosts below {}; {:?} is none of them",
        hosts.join(", ").replace(", .", ", ").trim_start_matches('.'),
        address.host
    ))
}

/// The identity at Azure, for the snapshot.
pub(super) fn azure(
    credential: &AzureCredential,
    host: &str,
    references: &References<'_>,
) -> Result<Credential, SpecError> {
    let AzureCredential { workload_identity, managed_identity, client_secret, scope } = credential;
    let identity = match (workload_identity, managed_identity, client_secret) {
        (Some(AzureWorkloadIdentity { client_id, tenant_id }), ..) => {
            AzureIdentity::Workload { client_id: client_id.clone(), tenant_id: tenant_id.clone() }
        }
        (_, Some(AzureManagedIdentity { client_id }), _) => AzureIdentity::Managed { client_id: client_id.clone() },
        (.., Some(client)) => AzureIdentity::Client {
            tenant_id: client.tenant_id.clone(),
            client_id: client.client_id.clone(),
            client_secret: client_secret_of(client, references)?,
        },
        (None, None, None) => {
            return Err(invalid("spec.credentials.azure: exactly one identity must be set".to_owned()));
        }
    };
    let usual = if host.ends_with(FOUNDRY_HOST) { FOUNDRY_SCOPE } else { AZURE_SCOPE };
    Ok(Credential::Azure(Azure { scope: scope.as_deref().unwrap_or(usual).to_owned(), identity }))
}

/// It goes into a form and not into a header, so that it may hold what is no control character.
fn client_secret_of(client: &AzureClientSecret, references: &References<'_>) -> Result<Secret, SpecError> {
    let field = "spec.credentials.azure.clientSecret.secretRef";
    let source = Source::secret(field.to_owned(), &client.secret_ref.name, &client.secret_ref.key);
    let check = |text: &str| {
        if text.is_empty() {
            return Err("is empty");
        }
        if text.chars().any(char::is_control) { Err("contains control characters") } else { Ok(()) }
    };
    references::text(references, &source, check).map(Secret::new)
}

/// The identity at Google Cloud, for the snapshot.
pub(super) fn google(
    credential: &GoogleCredential,
    references: &References<'_>,
    options: &Options,
) -> Result<Credential, SpecError> {
    let GoogleCredential { workload_identity, service_account_key } = credential;
    let impersonate = workload_identity.as_ref().and_then(|identity| identity.impersonate.clone());
    let identity = match service_account_key {
        None => GoogleIdentity::Workload {},
        Some(key) => {
            let field = "spec.credentials.google.serviceAccountKey.secretRef";
            let source = Source::secret(field.to_owned(), &key.secret_ref.name, &key.secret_ref.key);
            let file = references::text(references, &source, |text| is_key_file(text, options))?;
            GoogleIdentity::ServiceAccountKey(Secret::new(file))
        }
    };
    Ok(Credential::Google(Google { identity, impersonate }))
}

/// The identity at AWS, for the snapshot.
pub(super) fn aws(
    spec: &AIProviderSpec,
    credential: &AwsCredential,
    references: &References<'_>,
) -> Result<Credential, SpecError> {
    let AwsCredential { secret_ref, workload_identity } = credential;
    let region = spec.bedrock.as_ref().map(|bedrock| bedrock.region.clone()).unwrap_or_default();
    let endpoint = bedrock_endpoint(spec);
    let Some(secret) = secret_ref else {
        let role = workload_identity.as_ref().and_then(|identity| identity.assume_role.as_ref());
        let assume_role = role.map(|role| AssumeRole {
            role_arn: role.role_arn.clone(),
            external_id: role.external_id.clone(),
            session_per_token: role.session_per_token.unwrap_or(false),
        });
        return Ok(Credential::Aws(Aws { region, endpoint, identity: AwsIdentity::Workload {}, assume_role }));
    };
    let field = "spec.credentials.aws.secretRef";
    let value = |key: &str| {
        let key = SecretKeyRef { name: secret.name.clone(), key: key.to_owned() };
        references::key(references, field, &key)
    };
    let identity = AwsIdentity::Keys {
        access_key_id: value("accessKeyId")?,
        secret_access_key: value("secretAccessKey")?,
        session_token: references.has_key(&secret.name, "sessionToken").then(|| value("sessionToken")).transpose()?,
    };
    Ok(Credential::Aws(Aws { region, endpoint, identity, assume_role: None }))
}

/// What of a key file is needed to ask for tokens.
#[derive(Deserialize)]
struct KeyFile {
    #[serde(rename = "client_email")]
    _client_email: String,
    private_key: String,
    token_uri: String,
}

fn is_key_file(text: &str, options: &Options) -> Result<(), &'static str> {
    if text == references::ASSUMED {
        return Ok(());
    }
    let file: KeyFile = serde_json::from_str(text)
        .map_err(|_| "is not the key file of a service account (JSON with client_email, private_key and token_uri)")?;
    if !file.private_key.contains("-----BEGIN PRIVATE KEY-----") {
        return Err("has a private_key that is not PEM");
    }
    match address::parse(&file.token_uri, options) {
        Ok(address) if !address.plain || options.addresses.policy() == AddressPolicy::Workstation => Ok(()),
        _ => Err("has a token_uri that is not an https URL that the data plane may connect to"),
    }
}

fn invalid(message: String) -> SpecError {
    SpecError::new(Reason::InvalidConfig, message)
}
