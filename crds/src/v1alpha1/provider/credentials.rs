//! Credentials for upstreams: a key, or an identity at a cloud whose short-lived tokens the data plane fetches by itself.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::super::{
    patterns::HEADER_NAME,
    reference::{SecretKeyRef, SecretRef},
};

/// A GUID, as Microsoft Entra ID names tenants and applications; tenants also by a domain.
const GUID: &str = r"^[0-9a-fA-F-]{36}$";
/// A tenant by its GUID or by a domain.
const TENANT: &str = r"^[0-9A-Za-z.-]+$";
/// The address of a Google service account.
const SERVICE_ACCOUNT: &str = r"^[a-z0-9-]+@[a-z0-9.-]+\.gserviceaccount\.com$";

/// Credentials for an upstream; exactly one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.apiKey), has(self.aws), has(self.azure), has(self.google), has(self.fromClient)].exists_one(is_set, is_set)")
    .message("exactly one of apiKey, aws, azure, google or fromClient must be set"))]
pub struct Credentials {
    /// An API key, sent in the header of the provider type or in another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKeyCredential>,
    /// An identity at AWS, for type Bedrock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsCredential>,
    /// An identity at Microsoft Entra ID, for type AzureOpenAI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure: Option<AzureCredential>,
    /// An identity at Google Cloud, for type VertexAI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub google: Option<GoogleCredential>,
    /// The caller's own credential, as for plans that are paid per seat. The caller sends the gateway's key in
    /// x-routeapi-key, and its own in the vendor's header (such as Authorization or x-api-key), which is passed on unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_client: Option<FromClientCredential>,
}

/// The caller's own credential.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[schemars(extend("maxProperties" = 0))]
pub struct FromClientCredential {}

/// An API key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyCredential {
    /// Secret with the key, in this namespace. A trailing newline is ignored.
    pub secret_ref: SecretKeyRef,
    /// Header for the key, for gateways in front of a vendor, such as api-key or Ocp-Apim-Subscription-Key. Default:
    /// Authorization, x-api-key, x-goog-api-key or api-key, depending on the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = HEADER_NAME))]
    pub header: Option<String>,
    /// Prefix of the key in the header. Default: "Bearer " for the header Authorization, none for other headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([!-~][ -~]*)?$"))]
    pub prefix: Option<String>,
}

/// An identity at AWS; exactly one of secretRef and workloadIdentity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretRef) != has(self.workloadIdentity)")
    .message("exactly one of secretRef or workloadIdentity must be set"))]
pub struct AwsCredential {
    /// Secret in this namespace with the keys accessKeyId, secretAccessKey and, for temporary credentials, sessionToken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// The data-plane pods' own identity: a role for service accounts (IRSA) or EKS Pod Identity. The operator's
    /// --workload-identity-namespaces says in which namespaces this is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_identity: Option<AwsWorkloadIdentity>,
}

/// The pods' own identity at AWS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsWorkloadIdentity {
    /// Role to assume with it, as for another account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assume_role: Option<AwsAssumeRole>,
}

/// A role to assume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsAssumeRole {
    /// ARN of the role.
    #[serde(rename = "roleARN")]
    #[schemars(
        length(min = 20, max = 2048),
        regex(pattern = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$")
    )]
    pub role_arn: String,
    /// External ID that the role's trust policy demands.
    #[serde(default, rename = "externalID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 1224), regex(pattern = r"^[A-Za-z0-9+=,.@:/_-]+$"))]
    pub external_id: Option<String>,
    /// Whether each ApiToken gets a session of its own, so that AWS's bill and CloudTrail show which one a request was for.
    /// The session is called NAMESPACE.NAME and has the tags routeapi-namespace and routeapi-token, so the role's trust policy must
    /// allow sts:TagSession. Costs calls to STS for each token, pod and hour of use. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_per_token: Option<bool>,
}

/// An identity at Microsoft Entra ID; exactly one of workloadIdentity, managedIdentity and clientSecret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.workloadIdentity), has(self.managedIdentity), has(self.clientSecret)].exists_one(is_set, is_set)")
    .message("exactly one of workloadIdentity, managedIdentity or clientSecret must be set"))]
pub struct AzureCredential {
    /// The data-plane pods' own identity by Microsoft Entra Workload ID: the token in AZURE_FEDERATED_TOKEN_FILE is
    /// exchanged. The operator's --workload-identity-namespaces says in which namespaces this is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_identity: Option<AzureWorkloadIdentity>,
    /// A managed identity of the node, from Azure's instance metadata service. Allowed in the same namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_identity: Option<AzureManagedIdentity>,
    /// An application with a client secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<AzureClientSecret>,
    /// OAuth scope of the tokens. Default: https://ai.azure.com/.default for hosts below services.ai.azure.com,
    /// https://cognitiveservices.azure.com/.default for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[!-~]+$"))]
    pub scope: Option<String>,
}

/// Microsoft Entra Workload ID.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureWorkloadIdentity {
    /// Application (client) ID, or that of a user-assigned managed identity. Default: AZURE_CLIENT_ID of the data plane.
    #[serde(default, rename = "clientID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 36, max = 36), regex(pattern = GUID))]
    pub client_id: Option<String>,
    /// Tenant ID. Default: AZURE_TENANT_ID of the data plane.
    #[serde(default, rename = "tenantID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = TENANT))]
    pub tenant_id: Option<String>,
}

/// A managed identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureManagedIdentity {
    /// Client ID of a user-assigned identity. Default: the system-assigned identity of the node.
    #[serde(default, rename = "clientID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 36, max = 36), regex(pattern = GUID))]
    pub client_id: Option<String>,
}

/// An application with a client secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureClientSecret {
    /// Tenant ID.
    #[serde(rename = "tenantID")]
    #[schemars(length(min = 1, max = 253), regex(pattern = TENANT))]
    pub tenant_id: String,
    /// Application (client) ID.
    #[serde(rename = "clientID")]
    #[schemars(length(min = 36, max = 36), regex(pattern = GUID))]
    pub client_id: String,
    /// Secret with the client secret, in this namespace. A trailing newline is ignored.
    pub secret_ref: SecretKeyRef,
}

/// An identity at Google Cloud; exactly one of workloadIdentity and serviceAccountKey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.workloadIdentity) != has(self.serviceAccountKey)")
    .message("exactly one of workloadIdentity or serviceAccountKey must be set"))]
pub struct GoogleCredential {
    /// The data-plane pods' own identity: the credentials file in GOOGLE_APPLICATION_CREDENTIALS if it is set (workload identity
    /// federation), otherwise the metadata server (GKE). The operator's --workload-identity-namespaces says in which namespaces
    /// this is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_identity: Option<GoogleWorkloadIdentity>,
    /// Key of a service account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_key: Option<GoogleServiceAccountKey>,
}

/// The pods' own identity at Google Cloud.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GoogleWorkloadIdentity {
    /// Service account to impersonate with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SERVICE_ACCOUNT))]
    pub impersonate: Option<String>,
}

/// The key of a service account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GoogleServiceAccountKey {
    /// Secret with the key file (JSON), in this namespace.
    pub secret_ref: SecretKeyRef,
}

impl Credentials {
    /// The Secrets that hold them, each with a key in it.
    pub fn secret_keys(&self) -> Vec<(&str, &str)> {
        // Taken apart, so that a field that is forgotten here does not compile.
        let Self { api_key, aws, azure, google, from_client: None | Some(FromClientCredential {}) } = self;
        let mut found = Vec::new();
        found.extend(api_key.iter().map(|it| &it.secret_ref).map(SecretKeyRef::parts));
        found.extend(azure.iter().filter_map(|it| it.client_secret.as_ref()).map(|it| it.secret_ref.parts()));
        found.extend(google.iter().filter_map(|it| it.service_account_key.as_ref()).map(|it| it.secret_ref.parts()));
        let keys = ["accessKeyId", "secretAccessKey", "sessionToken"];
        let aws = aws.iter().filter_map(|it| it.secret_ref.as_ref());
        found.extend(aws.flat_map(|it| keys.map(|key| (it.name.as_str(), key))));
        found
    }
}
