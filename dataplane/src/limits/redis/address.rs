//! Where a server is, how it is trusted, and who we are to it.

use std::{fmt, io, path::PathBuf, pin::Pin, sync::Arc};

use http::Uri;
use redis::RedisConnectionInfo;
use routeapi_channel::Secret;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::keepalive;

/// Of Redis and Valkey.
const DEFAULT_PORT: u16 = 6379;

/// A server's address, as the option says it.
#[derive(Clone, Debug)]
pub struct Address {
    host: String,
    port: u16,
    database: i64,
    tls: Option<Roots>,
    username: Option<String>,
    password: Password,
}

/// What proves who we are.
#[derive(Clone, Debug, Default)]
pub enum Password {
    /// Nothing is asked for.
    #[default]
    None,
    /// From an environment variable.
    Value(Secret),
    /// Read for each connection, so that it can be replaced.
    File(PathBuf),
}

/// Whom to trust as the server.
#[derive(Clone)]
enum Roots {
    /// As upstreams are trusted.
    Usual(Arc<RootCertStore>),
    /// PEM certificates, read for each connection.
    File(PathBuf),
}

/// An address, or what belongs to it, that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// Not a URL of the kind.
    #[error("{0:?} is not a URL such as redis://HOST:6379 or rediss://HOST:6379/0")]
    Url(String),
    /// A secret where others can read it.
    #[error("put the user name and password elsewhere than into the URL, which process lists and logs show")]
    Credentials,
    /// A file of certificates.
    #[error("{0}")]
    Certificates(String),
    /// A CA without TLS.
    #[error("a CA is of use with rediss:// only")]
    CaWithoutTls,
}

/// A byte stream to a server.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

// === impl Address ===

impl Address {
    /// Reads `redis://HOST[:PORT][/DATABASE]`, or `rediss://` for TLS; Valkey's own schemes mean the same. `roots` are
    /// trusted with TLS, unless there is a file of other ones.
    ///
    /// # Errors
    /// What cannot be used, and why.
    pub fn new(url: &str, roots: &Arc<RootCertStore>, ca: Option<PathBuf>) -> Result<Self, InvalidAddress> {
        // The URL is not repeated then.
        if url.contains('@') {
            return Err(InvalidAddress::Credentials);
        }
        let invalid = || InvalidAddress::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| invalid())?;
        let is_tls = match uri.scheme_str() {
            Some("redis" | "valkey") => false,
            Some("rediss" | "valkeys") => true,
            _ => return Err(invalid()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(invalid)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let database = match uri.path().trim_start_matches('/') {
            "" => 0,
            number => number.parse::<u16>().map_err(|_| invalid())?.into(),
        };
        if uri.query().is_some() {
            return Err(invalid());
        }
        let tls = match (is_tls, ca) {
            (false, None) => None,
            (false, Some(_)) => return Err(InvalidAddress::CaWithoutTls),
            (true, None) => Some(Roots::Usual(Arc::clone(roots))),
            (true, Some(file)) => Some(Roots::File(file)),
        };
        if let Some(roots) = &tls {
            roots.read().map_err(InvalidAddress::Certificates)?;
        }
        let port = uri.port_u16().unwrap_or(DEFAULT_PORT);
        Ok(Self { host, port, database, tls, username: None, password: Password::None })
    }

    /// Logs in; without a user name, as the default user.
    #[must_use]
    pub fn with_login(mut self, username: Option<String>, password: Password) -> Self {
        (self.username, self.password) = (username, password);
        self
    }

    /// A connection to the server, before anything is said.
    pub(super) async fn connect(&self) -> Result<Pin<Box<dyn Stream>>, String> {
        let failed = |error: io::Error| format!("{}:{}: {error}", self.host, self.port);
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        keepalive::enable(&tcp).map_err(failed)?;
        let Some(roots) = &self.tls else { return Ok(Box::pin(tcp)) };
        let name = ServerName::try_from(self.host.clone()).map_err(|error| format!("{}: {error}", self.host))?;
        let config = client_config(roots.read()?)?;
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(failed)?;
        Ok(Box::pin(tls))
    }

    /// What is said first.
    pub(super) fn login(&self) -> Result<RedisConnectionInfo, String> {
        let mut login = RedisConnectionInfo::default().set_db(self.database).set_skip_set_lib_name();
        if let Some(username) = &self.username {
            login = login.set_username(username);
        }
        match &self.password {
            Password::None => Ok(login),
            Password::Value(password) => Ok(login.set_password(password.expose())),
            Password::File(file) => {
                let password = std::fs::read_to_string(file)
                    .map_err(|error| format!("the password: {}: {error}", file.display()))?;
                Ok(login.set_password(password.trim_end_matches(['\r', '\n'])))
            }
        }
    }
}

// === impl Roots ===

impl Roots {
    fn read(&self) -> Result<Arc<RootCertStore>, String> {
        let file = match self {
            Self::Usual(roots) => return Ok(Arc::clone(roots)),
            Self::File(file) => file,
        };
        let unusable = |why: String| format!("{}: {why}", file.display());
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(file).map_err(|error| unusable(error.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
            roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(unusable("holds no certificate".to_owned()));
        }
        Ok(Arc::new(roots))
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usual(roots) => write!(out, "{} roots", roots.len()),
            Self::File(file) => write!(out, "{}", file.display()),
        }
    }
}

fn client_config(roots: Arc<RootCertStore>) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = versions.map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Address, InvalidAddress> {
        Address::new(url, &Arc::new(RootCertStore::empty()), None)
    }

    #[test]
    fn urls_of_both_products_are_read() {
        for (url, host, port, database, is_tls) in [
            ("redis://limits", "limits", 6379, 0, false),
            ("redis://limits:7000/", "limits", 7000, 0, false),
            ("valkey://limits.ai.svc:6380/3", "limits.ai.svc", 6380, 3, false),
            ("rediss://[::1]:6390", "::1", 6390, 0, true),
            ("valkeys://10.0.0.7", "10.0.0.7", 6379, 0, true),
        ] {
            let found = read(url).unwrap();
            assert_eq!(
                (found.host.as_str(), found.port, found.database, found.tls.is_some()),
                (host, port, database, is_tls),
                "{url}"
            );
        }
    }

    #[test]
    fn unusable_urls_are_refused_and_credentials_are_not_repeated() {
        for url in
            ["", "limits:6379", "http://limits", "redis://", "redis://limits/db", "redis://limits/0?protocol=resp3"]
        {
            assert!(matches!(read(url), Err(InvalidAddress::Url(_))), "{url}");
        }
        let error = read("redis://:hunter2@limits").unwrap_err();
        assert_eq!(error, InvalidAddress::Credentials);
        assert!(!error.to_string().contains("hunter2"));
        let roots = Arc::new(RootCertStore::empty());
        assert_eq!(Address::new("redis://h", &roots, Some("ca.pem".into())).unwrap_err(), InvalidAddress::CaWithoutTls);
        let error = Address::new("rediss://h", &roots, Some("/absent/ca.pem".into())).unwrap_err().to_string();
        assert!(error.starts_with("/absent/ca.pem: "), "{error}");
    }
}
