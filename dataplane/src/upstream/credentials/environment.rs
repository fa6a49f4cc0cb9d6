//! The identity that the pod has, as clouds say it in the environment. The names are those of the vendors' own SDKs.

/// What the environment says. Files are named here and read each time: kubelets replace what is in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloudEnvironment {
    /// `AZURE_CLIENT_ID`
    pub azure_client_id: Option<String>,
    /// `AZURE_TENANT_ID`
    pub azure_tenant_id: Option<String>,
    /// `AZURE_FEDERATED_TOKEN_FILE`
    pub azure_federated_token_file: Option<String>,
    /// `AZURE_AUTHORITY_HOST`: where Microsoft Entra ID is, in sovereign clouds.
    pub azure_authority_host: Option<String>,
    /// `AZURE_POD_IDENTITY_AUTHORITY_HOST`: where managed identities are asked for, instead of the node's metadata service.
    pub azure_pod_identity_authority_host: Option<String>,
    /// `GOOGLE_APPLICATION_CREDENTIALS`, or the file that `gcloud auth application-default login` writes.
    pub google_credentials_file: Option<String>,
    /// `GCE_METADATA_HOST`: host and port of Google's metadata server.
    pub gce_metadata_host: Option<String>,
    /// `AWS_ROLE_ARN`
    pub aws_role_arn: Option<String>,
    /// `AWS_ROLE_SESSION_NAME`
    pub aws_role_session_name: Option<String>,
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`
    pub aws_web_identity_token_file: Option<String>,
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI`: the agent of EKS Pod Identity.
    pub aws_container_credentials_full_uri: Option<String>,
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`
    pub aws_container_authorization_token_file: Option<String>,
    /// `AWS_ENDPOINT_URL_STS`: where AWS STS is, instead of the region's public endpoint.
    pub aws_endpoint_url_sts: Option<String>,
}

/// Below the home directory.
const GCLOUD_FILE: &str = ".config/gcloud/application_default_credentials.json";

impl CloudEnvironment {
    /// The variables that [`CloudEnvironment::read`] asks for.
    pub const VARIABLES: [&str; 14] = [
        "AZURE_CLIENT_ID",
        "AZURE_TENANT_ID",
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_AUTHORITY_HOST",
        "AZURE_POD_IDENTITY_AUTHORITY_HOST",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "HOME",
        "GCE_METADATA_HOST",
        "AWS_ROLE_ARN",
        "AWS_ROLE_SESSION_NAME",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_ENDPOINT_URL_STS",
    ];

    /// Reads it. `exists` says whether there is a file.
    pub fn read(variable: impl Fn(&str) -> Option<String>, exists: impl Fn(&str) -> bool) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let gcloud = || set("HOME").map(|home| format!("{home}/{GCLOUD_FILE}")).filter(|path| exists(path));
        Self {
            azure_client_id: set("AZURE_CLIENT_ID"),
            azure_tenant_id: set("AZURE_TENANT_ID"),
            azure_federated_token_file: set("AZURE_FEDERATED_TOKEN_FILE"),
            azure_authority_host: set("AZURE_AUTHORITY_HOST"),
            azure_pod_identity_authority_host: set("AZURE_POD_IDENTITY_AUTHORITY_HOST"),
            google_credentials_file: set("GOOGLE_APPLICATION_CREDENTIALS").or_else(gcloud),
            gce_metadata_host: set("GCE_METADATA_HOST"),
            aws_role_arn: set("AWS_ROLE_ARN"),
            aws_role_session_name: set("AWS_ROLE_SESSION_NAME"),
            aws_web_identity_token_file: set("AWS_WEB_IDENTITY_TOKEN_FILE"),
            aws_container_credentials_full_uri: set("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
            aws_container_authorization_token_file: set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
            aws_endpoint_url_sts: set("AWS_ENDPOINT_URL_STS"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_variables_are_not_set_and_gclouds_file_comes_second() {
        let read = |variables: &'static [(&str, &str)], exists: bool| {
            let find =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            CloudEnvironment::read(find, |_| exists)
        };
        assert_eq!(read(&[("AZURE_CLIENT_ID", ""), ("HOME", "/h")], false), CloudEnvironment::default());
        let found = read(&[("HOME", "/h")], true).google_credentials_file.unwrap();
        assert_eq!(found, "/h/.config/gcloud/application_default_credentials.json");
        let named = read(&[("HOME", "/h"), ("GOOGLE_APPLICATION_CREDENTIALS", "/k.json")], true);
        assert_eq!(named.google_credentials_file.as_deref(), Some("/k.json"));
    }
}
