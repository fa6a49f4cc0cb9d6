//! What the process's environment says about leaving the network: egress proxies, and authorities to trust beside the
//! built-in ones. Read once, when the process starts.

use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::RootCertStore;
use rustls_native_certs::load_certs_from_paths;

use super::proxies::{EnvironmentProxies, InvalidProxy};

/// How connections to upstreams leave the network.
#[derive(Clone, Debug)]
pub struct Egress {
    /// For providers that name no proxy of their own.
    pub(super) proxies: Arc<EnvironmentProxies>,
    /// For upstreams without authorities of their own, and for proxies that speak TLS.
    pub(super) roots: Arc<RootCertStore>,
}

/// The environment asks for something that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEgress {
    /// A proxy.
    #[error(transparent)]
    Proxy(#[from] InvalidProxy),
    /// Certificates.
    #[error("{variable}: {path}: {why}")]
    Certificates {
        /// Which variable names them.
        variable: &'static str,
        /// What it names.
        path: String,
        /// What is wrong there.
        why: String,
    },
}

impl Egress {
    /// The variables that [`Egress::read`] asks for; those of proxies in lower case too.
    pub const VARIABLES: [&str; 6] =
        ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"];

    /// What these variables say: those of [`EnvironmentProxies`], `SSL_CERT_FILE` (a PEM bundle) and `SSL_CERT_DIR`
    /// (directories of PEM files, separated by colons), as OpenSSL reads them.
    ///
    /// # Errors
    /// When a proxy cannot be used, or a file or directory cannot be read or holds no certificate.
    pub fn read(environment: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidEgress> {
        let mut roots = public_roots();
        let set = |name: &str| environment(name).filter(|value| !value.is_empty());
        if let Some(file) = set("SSL_CERT_FILE") {
            add(&mut roots, "SSL_CERT_FILE", Path::new(&file), true)?;
        }
        for directory in set("SSL_CERT_DIR").iter().flat_map(|directories| env::split_paths(directories)) {
            add(&mut roots, "SSL_CERT_DIR", &directory, false)?;
        }
        Ok(Self { proxies: Arc::new(EnvironmentProxies::read(environment)?), roots: Arc::new(roots) })
    }

    /// Whom to trust where nothing else is said.
    pub fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }
}

impl Default for Egress {
    /// Straight, with the built-in authorities.
    fn default() -> Self {
        Self { proxies: Arc::default(), roots: Arc::new(public_roots()) }
    }
}

fn public_roots() -> RootCertStore {
    RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned())
}

/// Adds what is at a path. A bundle may hold certificates that TLS cannot use, and a directory nothing.
fn add(roots: &mut RootCertStore, variable: &'static str, path: &Path, is_file: bool) -> Result<(), InvalidEgress> {
    let invalid = |why: String| InvalidEgress::Certificates { variable, path: path.display().to_string(), why };
    let found = if is_file { load_certs_from_paths(Some(path), None) } else { load_certs_from_paths(None, Some(path)) };
    if let (Some(error), true) = (found.errors.first(), found.certs.is_empty()) {
        return Err(invalid(error.to_string()));
    }
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    if added == 0 && (is_file || ignored > 0) {
        return Err(invalid("holds no usable certificate".to_owned()));
    }
    let unread = found.errors.len().saturating_add(ignored);
    if unread > 0 {
        tracing::warn!(variable, path = %PathBuf::from(path).display(), added, unread, "some certificates cannot be used and are left out");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(variable: &str, value: &Path) -> Result<usize, String> {
        let value = value.display().to_string();
        let found = Egress::read(|name| (name == variable).then(|| value.clone()));
        found.map(|egress| egress.roots.len() - public_roots().len()).map_err(|error| error.to_string())
    }

    fn certificate() -> String {
        rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap().cert.pem()
    }

    #[test]
    fn ssl_cert_file_and_dir_add_to_the_built_in_authorities() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("a.pem"), certificate() + &certificate()).unwrap();
        assert_eq!(read("SSL_CERT_FILE", &path("a.pem")), Ok(2));
        fs::write(path("b.pem"), certificate()).unwrap();
        assert_eq!(read("SSL_CERT_DIR", directory.path()), Ok(3));
        let broken = "-----BEGIN CERTIFICATE-----\nMAEH\n-----END CERTIFICATE-----\n";
        fs::write(path("a.pem"), certificate() + broken).unwrap();
        assert_eq!(read("SSL_CERT_FILE", &path("a.pem")), Ok(1), "the one that can be used");
    }

    #[test]
    fn unusable_bundle_is_named_by_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let error = read("SSL_CERT_FILE", &path).unwrap_err();
        assert!(error.starts_with(&format!("SSL_CERT_FILE: {}: ", path.display())), "{error}");
        for text in ["", "hello", "-----BEGIN CERTIFICATE-----\nMAEH\n-----END CERTIFICATE-----\n"] {
            fs::write(&path, text).unwrap();
            let error = read("SSL_CERT_FILE", &path).unwrap_err();
            assert!(error.ends_with("holds no usable certificate"), "{text:?}: {error}");
        }
        let error = read("SSL_CERT_DIR", &directory.path().join("absent")).unwrap_err();
        assert!(error.starts_with("SSL_CERT_DIR: "), "{error}");
    }
}
