//! Keys and certificates of one throw-away control plane: a CA, the server's certificate, an admin's, and the key that
//! signs ServiceAccount tokens.

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
    admin_pem: String,
    admin_key_pem: String,
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

        let mut admin = CertificateParams::new(Vec::new())?;
        admin.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        admin.distinguished_name.push(DnType::CommonName, "admin");
        admin.distinguished_name.push(DnType::OrganizationName, "system:masters");
        let admin_key = KeyPair::generate()?;
        let admin_pem = admin.signed_by(&admin_key, &issuer)?.pem();

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
            admin_pem,
            admin_key_pem: admin_key.serialize_pem(),
        })
    }

    /// A kubeconfig for the admin, all embedded.
    pub fn kubeconfig(&self, server: &str) -> String {
        let data = |pem: &str| base64::engine::general_purpose::STANDARD.encode(pem);
        let config = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "clusters": [{"name": "test", "cluster": {
                "server": server, "certificate-authority-data": data(&self.ca_pem)}}],
            "users": [{"name": "admin", "user": {
                "client-certificate-data": data(&self.admin_pem), "client-key-data": data(&self.admin_key_pem)}}],
        });
        config.to_string() // JSON is YAML
    }

    /// A kubeconfig for the bearer of `token`.
    pub fn kubeconfig_for_token(&self, server: &str, token: &str) -> String {
        let ca = base64::engine::general_purpose::STANDARD.encode(&self.ca_pem);
        let config = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "bearer"}}],
            "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority-data": ca}}],
            "users": [{"name": "bearer", "user": {"token": token}}],
        });
        config.to_string()
    }
}
