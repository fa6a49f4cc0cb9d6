//! One connection to the operator: TLS with the operator's own CA, HTTP/2, one request whose body and answer are both
//! streams of lines.
//!
//! CA bundle and token are read from their files for each connection, because both are replaced while this process runs.

use std::{
    convert::Infallible,
    fs, io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use routeapi_channel::frame::{
    FEATURE_CREDENTIALS, FEATURE_LIST, FEATURE_NACK_PARTS, FEATURES_HEADER, FromDataPlane, PATH,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, InvalidDnsNameError, ServerName, pem::PemObject},
};
use tokio::{net::lookup_host, sync::mpsc, time::timeout};
use tokio_rustls::TlsConnector;

use super::session::Features;
use crate::{happy_eyeballs, spawn::Spawner};

/// For DNS and TCP together. Short: the operator's Service is headless, and the record of one that has just been rolled may
/// hold nothing but pods that are gone, which answer nothing at all, and other ones a moment later.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// For TLS and the operator's first answer, each.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// As much of an error answer as is worth repeating.
const MAX_REASON_BYTES: usize = 512;

/// Frames that may wait to be sent.
const SEND_QUEUE_FRAMES: usize = 64;

/// Where the operator is and how to be believed.
#[derive(Clone, Debug)]
pub struct Operator {
    /// `https://host:port`.
    pub url: Uri,
    /// PEM certificates of the operator's CA.
    pub ca: PathBuf,
    /// A ServiceAccount token for the channel's audience.
    pub token: PathBuf,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A file cannot be read.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// No certificate in the CA file.
    #[error("{0}: holds no PEM certificate that can be used")]
    Ca(PathBuf),
    /// The token file holds no token.
    #[error("{0}: holds no token")]
    Token(PathBuf),
    /// Not an https URL with a host.
    #[error("{0}: must be an https URL with a host")]
    Url(Uri),
    /// The URL's host is neither a name nor an address.
    #[error("the operator's host: {0}")]
    Host(#[from] InvalidDnsNameError),
    /// TCP or TLS failed.
    #[error("no connection: {0}")]
    Io(#[from] io::Error),
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// HTTP failed.
    #[error("HTTP/2: {0}")]
    Http(#[from] hyper::Error),
    /// Nothing came for too long.
    #[error("no answer within {} s", HANDSHAKE_TIMEOUT.as_secs())]
    Timeout(#[from] tokio::time::error::Elapsed),
    /// The operator said no.
    #[error("the operator answered {0}: {1}")]
    Refused(StatusCode, String),
}

impl ConnectError {
    /// What to look at, in a cluster.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::File { .. } | Self::Ca(_) | Self::Token(_) => {
                "it comes from a volume of this pod: kubectl describe pod; the CA's ConfigMap is written by the operator"
            }
            Self::Url(_) | Self::Host(_) => "see --operator",
            Self::Io(error) if is_about_a_certificate(error) => {
                "the operator's certificate and the CA in --operator-ca have to belong together"
            }
            Self::Io(_) | Self::Timeout(_) | Self::Http(_) => {
                "is an operator ready? kubectl get pods -l app.kubernetes.io/component=operator; network policies may be in the way"
            }
            Self::Refused(StatusCode::UNAUTHORIZED, _) => {
                "the token in --token-file has to be for the audience routeapi-config"
            }
            Self::Refused(StatusCode::FORBIDDEN, _) => {
                "this pod's ServiceAccount has to be one of the operator's --data-plane-service-account"
            }
            Self::Refused(..) | Self::Tls(_) => "see the operator's log",
        }
    }
}

/// An open stream.
pub struct Connection {
    /// What goes to the operator.
    pub to_operator: mpsc::Sender<FromDataPlane>,
    /// What comes from it.
    pub from_operator: Incoming,
    /// What it knows beyond the first version.
    pub features: Features,
}

struct Outgoing(mpsc::Receiver<FromDataPlane>);

/// Opens the stream. Nothing is said yet: the hello depends on what the operator knows.
///
/// # Errors
/// When anything is missing, refused or too slow.
pub async fn connect(operator: &Operator, spawner: &Spawner) -> Result<Connection, ConnectError> {
    let bad_url = || ConnectError::Url(operator.url.clone());
    let host = operator.url.host().filter(|_| operator.url.scheme_str() == Some("https")).ok_or_else(bad_url)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = operator.url.port_u16().unwrap_or(443);
    let config = trust(&operator.ca)?;
    let bearer = token(&operator.token)?;

    let connected =
        timeout(CONNECT_TIMEOUT, async { happy_eyeballs::connect(lookup_host((host, port)).await?).await }).await;
    let socket = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    socket.set_nodelay(true)?;
    let name = ServerName::try_from(host.to_owned())?;
    let socket = timeout(HANDSHAKE_TIMEOUT, TlsConnector::from(Arc::new(config)).connect(name, socket)).await??;
    let mut client = http2::Builder::new(spawner.clone());
    client.timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(20)).keep_alive_timeout(HANDSHAKE_TIMEOUT);
    let (mut sender, connection) = timeout(HANDSHAKE_TIMEOUT, client.handshake(TokioIo::new(socket))).await??;
    drop(spawner.spawn("operator connection", async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to the operator ended");
        }
    }));

    let (to_operator, outgoing) = mpsc::channel(SEND_QUEUE_FRAMES);
    let mut request = Request::new(Outgoing(outgoing));
    *request.method_mut() = Method::POST;
    *request.uri_mut() =
        Uri::try_from(format!("{}{PATH}", operator.url.to_string().trim_end_matches('/'))).map_err(|_| bad_url())?;
    request.headers_mut().insert(header::AUTHORIZATION, bearer);
    request.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/x-ndjson"));
    let response = timeout(HANDSHAKE_TIMEOUT, sender.send_request(request)).await??;
    let status = response.status();
    let features = features(response.headers());
    let from_operator = response.into_body();
    if status == StatusCode::OK {
        Ok(Connection { to_operator, from_operator, features })
    } else {
        Err(refused(status, from_operator).await)
    }
}

fn features(headers: &header::HeaderMap) -> Features {
    let text = headers.get(FEATURES_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let knows = |feature| text.split(',').any(|it| it.trim() == feature);
    Features {
        list: knows(FEATURE_LIST),
        nack_parts: knows(FEATURE_NACK_PARTS),
        credentials: knows(FEATURE_CREDENTIALS),
    }
}

async fn refused(status: StatusCode, mut body: Incoming) -> ConnectError {
    let mut text = Vec::new();
    while let Ok(Some(Ok(frame))) = timeout(HANDSHAKE_TIMEOUT, body.frame()).await {
        text.extend_from_slice(frame.data_ref().map(Bytes::as_ref).unwrap_or_default());
        if text.len() >= MAX_REASON_BYTES {
            break;
        }
    }
    text.truncate(MAX_REASON_BYTES);
    ConnectError::Refused(status, String::from_utf8_lossy(&text).trim().to_owned())
}

fn is_about_a_certificate(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    cause.is_some_and(|it| matches!(it, rustls::Error::InvalidCertificate(_)))
}

fn read(path: &Path) -> Result<Vec<u8>, ConnectError> {
    fs::read(path).map_err(|error| ConnectError::File { path: path.to_owned(), error })
}

fn trust(path: &Path) -> Result<ClientConfig, ConnectError> {
    let bad = || ConnectError::Ca(path.to_owned());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&read(path)?) {
        roots.add(certificate.map_err(|_| bad())?)?;
    }
    if roots.is_empty() {
        return Err(bad());
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn token(path: &Path) -> Result<http::HeaderValue, ConnectError> {
    let bad = || ConnectError::Token(path.to_owned());
    let text = String::from_utf8(read(path)?).map_err(|_| bad())?;
    let text = text.trim();
    if text.is_empty() {
        return Err(bad());
    }
    let mut value = http::HeaderValue::try_from(format!("Bearer {text}")).map_err(|_| bad())?;
    value.set_sensitive(true);
    Ok(value)
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| {
            let mut line = serde_json::to_vec(&frame?).ok()?;
            line.push(b'\n');
            Some(Ok(Frame::data(line.into())))
        })
    }
}

#[cfg(test)]
mod tests {
    use rustls::CertificateError;

    use super::*;

    #[test]
    fn wrong_ca_and_absent_operator_give_different_hints() {
        let stranger = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrong = ConnectError::Io(io::Error::new(io::ErrorKind::InvalidData, stranger));
        assert!(wrong.to_string().contains("UnknownIssuer") && wrong.hint().contains("--operator-ca"), "{wrong}");
        let absent = ConnectError::Io(io::ErrorKind::ConnectionRefused.into());
        assert!(absent.hint().contains("kubectl get pods"));
    }
}
