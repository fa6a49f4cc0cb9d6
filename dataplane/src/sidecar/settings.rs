//! What can be chosen about a sidecar, and how it is told where its gateway is.

use std::{fmt, io, net::IpAddr, net::SocketAddr, path::PathBuf, time::Duration};

use http::{
    Uri,
    uri::{Authority, PathAndQuery, Scheme},
};

use super::ca::GatewayCa;
use crate::app::ShutdownTimeouts;

/// For a connection to the gateway: name lookup, TCP and TLS together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Everything that can be chosen about a sidecar.
pub struct Settings {
    /// Where the app's requests are taken; a loopback address.
    pub listen: SocketAddr,
    /// Admin.
    pub admin: SocketAddr,
    /// Where requests go.
    pub gateway: GatewayUrl,
    /// Whom to trust as the gateway.
    pub ca: GatewayCa,
    /// File with the pod's ServiceAccount token.
    pub token: PathBuf,
    /// For a connection to the gateway.
    pub connect: Duration,
    /// How to end.
    pub shutdown: ShutdownTimeouts,
    /// Where the access log goes; none for nowhere.
    pub access_log: Option<Box<dyn io::Write + Send>>,
}

/// Scheme, host and port of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayUrl {
    /// `https`, or `http`.
    pub(super) scheme: Scheme,
    /// Host, and port if it is not the scheme's own.
    pub(super) authority: Authority,
}

/// Not where a gateway can be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGateway {
    /// No scheme or no host, or another scheme.
    #[error("{0:?} must be a URL with a host: https://NAME.NAMESPACE.svc")]
    NoUrl(String),
    /// A path or query, which would be in front of every request's own.
    #[error("{0:?} must end behind the host and the port; paths such as /v1 belong into the app's base URL")]
    Path(String),
    /// A user and password.
    #[error("the gateway's URL must hold no user and no password")]
    Credentials,
    /// The ServiceAccount token would be sent in plain text.
    #[error("{0:?} would send the ServiceAccount token in plain text: use https, or --allow-plain-http")]
    PlainText(String),
}

impl GatewayUrl {
    /// Reads a URL. `http` is for loopback, unless `allow_plain_http`.
    ///
    /// # Errors
    /// When it is no URL of a host alone, or its requests could be read on their way.
    pub fn read(text: &str, allow_plain_http: bool) -> Result<Self, InvalidGateway> {
        let no_url = || InvalidGateway::NoUrl(text.to_owned());
        let parts = text.parse::<Uri>().map_err(|_| no_url())?.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else { return Err(no_url()) };
        if authority.as_str().contains('@') {
            return Err(InvalidGateway::Credentials);
        }
        if authority.host().is_empty() || ![Scheme::HTTPS, Scheme::HTTP].contains(&scheme) {
            return Err(no_url());
        }
        if parts.path_and_query.is_some_and(|path| path != "/" && !path.as_str().is_empty()) {
            return Err(InvalidGateway::Path(text.to_owned()));
        }
        if scheme == Scheme::HTTP && !allow_plain_http && !is_loopback(authority.host()) {
            return Err(InvalidGateway::PlainText(text.to_owned()));
        }
        Ok(Self { scheme, authority })
    }

    /// A path there.
    pub(super) fn join(&self, path: PathAndQuery) -> Result<Uri, http::Error> {
        Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone()).path_and_query(path).build()
    }
}

impl fmt::Display for GatewayUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}", self.scheme, self.authority)
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_is_a_host_with_tls_or_on_loopback() {
        let read = |text| GatewayUrl::read(text, false);
        for text in [
            "https://routeapi.ai.svc",
            "https://routeapi.ai.svc:8443",
            "https://[fd00::1]:8443",
            "http://127.0.0.1:8080",
            "http://localhost:8080",
            "http://[::1]:8080",
        ] {
            assert_eq!(read(text).unwrap().to_string(), text);
        }
        assert_eq!(read("https://gateway/").unwrap().to_string(), "https://gateway");
        for (text, why) in [
            ("", "must be a URL"),
            ("routeapi.ai.svc", "must be a URL"),
            ("ftp://gateway", "must be a URL"),
            ("https://gateway/v1", "must end behind the host"),
            ("https://gateway?x=1", "must end behind the host"),
            ("https://me:secret@gateway", "no user"),
            ("http://routeapi.ai.svc", "plain text"),
            ("http://127.0.0.1.example", "plain text"),
            ("http://localhost.example", "plain text"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("secret"), "{text}: {error}");
        }
        assert!(GatewayUrl::read("http://routeapi.ai.svc", true).is_ok());
    }
}
