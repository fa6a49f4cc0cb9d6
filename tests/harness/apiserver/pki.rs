//! Keys and certificates of one throw-away control plane: a CA, the server's certificate, an admin's and those of other
//! users, and the key that signs ServiceAccount tokens.

use anyhow::Result;
use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use std::path::{Path, PathBuf};

/// Where the files are, and what a kubeconfig embeds.
#[derive(Debug)]
pub(super) struct Pki {
    pub ca: PathBuf,
    pub server_certificate: PathBuf,
    pub server_key: PathBuf,
    pub service_account_key: PathBuf,
    pub service_account_public: PathBuf,
    ca_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    pub fn create(dir: &Path) -> Result<Self> {
        let ca_key = KeyPair::generate()?;
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name.push(DnType::CommonName, "routeapi-tests");
        let ca_pem = ca.self_signed(&ca_key)?.pem();
        let issuer = Issuer::new(ca, ca_key);

        let names = ["localhost", "127.0.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        let mut server = CertificateParams::new(names.map(String::from))?;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        let server_key = KeyPair::generate()?;
        let server_pem = server.signed_by(&server_key, &issuer)?.pem();

        let accounts = KeyPair::generate()?;
        let write = |name: &str, text: &str| -> Result<PathBuf> {
            let path = dir.join(name);
            std::fs::write(&path, text)?;
            Ok(path)
        };
        Ok(Self {
            ca: write("ca.crt", &ca_pem)?,
            server_certificate: write("server.crt", &server_pem)?,
            server_key: write("server.key", &server_key.serialize_pem())?,
            service_account_key: write("sa.key", &accounts.serialize_pem())?,
            service_account_public: write("sa.pub", &accounts.public_key_pem())?,
            ca_pem,
            issuer,
        })
    }

    /// Another key for ServiceAccount tokens, as files in this directory: the key itself and its public half.
    pub fn service_account_key(dir: &Path, name: &str) -> Result<(PathBuf, PathBuf)> {
        let key = KeyPair::generate()?;
        let (private, public) = (dir.join(format!("{name}.key")), dir.join(format!("{name}.pub")));
        std::fs::write(&private, key.serialize_pem())?;
        std::fs::write(&public, key.public_key_pem())?;
        Ok((private, public))
    }

    /// A kubeconfig for a user, and a group of it, by a client certificate of its own; all embedded.
    pub fn kubeconfig_for_user(&self, server: &str, user: &str, group: Option<&str>) -> Result<String> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        let data = |pem: &str| base64::engine::general_purpose::STANDARD.encode(pem);
        let credentials = serde_json::json!({
            "client-certificate-data": data(&certificate), "client-key-data": data(&key.serialize_pem()),
        });
        Ok(self.kubeconfig(server, user, &credentials))
    }

    /// A kubeconfig for the bearer of `token`.
    pub fn kubeconfig_for_token(&self, server: &str, token: &str) -> String {
        self.kubeconfig(server, "bearer", &serde_json::json!({"token": token}))
    }

    fn kubeconfig(&self, server: &str, user: &str, credentials: &serde_json::Value) -> String {
        let ca = base64::engine::general_purpose::STANDARD.encode(&self.ca_pem);
        let config = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
            "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority-data": ca}}],
            "users": [{"name": user, "user": credentials}],
        });
        config.to_string() // JSON is YAML
    }
}
