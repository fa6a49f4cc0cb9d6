//! One question and its answer, over the gateway's own HTTP client.

use std::{fmt, io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, Request, StatusCode, Uri,
    header::{AUTHORIZATION, USER_AGENT},
};
use http_body_util::BodyExt;
use routeapi_protocol::dialect::Family;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, sleep, timeout_at},
};

use super::wrong::Wrong;
use crate::upstream::{AddressPolicy, Clients, Host, MarkedBody, Trust};

/// Between two attempts to reach the gateway.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// How long one answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// As much of an answer as is read: a list of some ten thousand models.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// Where it is, and until when it may take.
pub(super) struct Gateway {
    scheme: &'static str,
    host: String,
    port: u16,
    client: Arc<Host>,
    deadlines: Deadlines,
}

/// Until when what has to be done.
#[derive(Clone, Copy)]
pub(super) struct Deadlines {
    /// A connection is taken.
    pub(super) reached: Instant,
    /// Everything is answered.
    pub(super) answered: Instant,
}

/// What is asked.
pub(super) struct Question {
    family: Family,
    key: Option<HeaderValue>,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

// === impl Gateway ===

impl Gateway {
    /// From an app's base URL.
    pub(super) fn new(url: &Uri, ca: Option<&Path>, deadlines: Deadlines) -> anyhow::Result<Self> {
        let host = url.host().with_context(|| format!("--gateway {url}: must be http://HOST or https://HOST"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let path = url.path().trim_end_matches('/');
        ensure!(
            matches!(path, "" | "/v1" | "/v1beta"),
            "--gateway {url}: the path {path} is none that apps use; leave it out"
        );
        let (scheme, port) = match url.scheme_str() {
            Some("http") => ("http", 80),
            Some("https") => ("https", 443),
            _ => bail!("--gateway {url}: must be http://HOST or https://HOST"),
        };
        let read = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("--ca {}", path.display()));
        let trust = Trust { ca_certificates: ca.map(read).transpose()?, ..Trust::default() };
        let pool = Clients::new(AddressPolicy::Workstation).new_pool(&trust, ANSWER_TIMEOUT).context("--ca")?;
        let port = url.port_u16().unwrap_or(port);
        let client = pool.new_host(&scheme.parse()?, &authority(&host, port).parse()?)?;
        Ok(Self { scheme, port, host, client, deadlines })
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Whether its name resolves and a connection is taken, tried until its time is over.
    pub(super) async fn reach(&self) -> Result<SocketAddr, Wrong> {
        loop {
            let wrong = match self.try_to_reach().await {
                Ok(address) => return Ok(address),
                Err(wrong) => wrong,
            };
            if Instant::now() + RETRY_INTERVAL >= self.deadlines.reached {
                return Err(wrong);
            }
            sleep(RETRY_INTERVAL).await;
        }
    }

    async fn try_to_reach(&self) -> Result<SocketAddr, Wrong> {
        let until = self.deadlines.reached;
        let slow = || io::Error::from(io::ErrorKind::TimedOut);
        let nameless = |error: io::Error| Wrong::Nameless { host: self.host.clone(), error: error.to_string() };
        let found = timeout_at(until, lookup_host((self.host.as_str(), self.port))).await;
        let addresses: Vec<_> = found.unwrap_or_else(|_| Err(slow())).map_err(nameless)?.collect();
        let connected = timeout_at(until, TcpStream::connect(addresses.as_slice())).await;
        let address = connected.unwrap_or_else(|_| Err(slow())).and_then(|stream| stream.peer_addr());
        address.map_err(|error| Wrong::Unreached { gateway: self.to_string(), error: error.to_string() })
    }

    /// Asks once.
    pub(super) async fn ask(&self, question: &Question) -> Result<Answer, Wrong> {
        let silent = |what: String| Wrong::Silent { question: question.to_string(), what };
        match timeout_at(self.deadline(), self.exchange(question)).await {
            Ok(answered) => answered.map_err(|error| silent(format!("{error:#}"))),
            Err(_) => Err(silent("it took too long".to_owned())),
        }
    }

    async fn exchange(&self, question: &Question) -> anyhow::Result<Answer> {
        let request = question.request(&format!("{}://{self}", self.scheme))?;
        let (head, mut body) = self.client.request(|| request.clone()).await?.into_parts();
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            bytes.extend_from_slice(frame?.data_ref().map(Bytes::as_ref).unwrap_or_default());
            ensure!(bytes.len() <= MAX_ANSWER_BYTES, "it is longer than {MAX_ANSWER_BYTES} bytes");
        }
        Ok(Answer { status: head.status, headers: head.headers, body: bytes.freeze() })
    }

    fn deadline(&self) -> Instant {
        self.deadlines.answered.min(Instant::now() + ANSWER_TIMEOUT)
    }
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&authority(&self.host, self.port))
    }
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

// === impl Question ===

impl Question {
    /// For the list of models, in a vendor's way.
    pub(super) fn models(family: Family, key: Option<&str>) -> Self {
        let bearer = |key| HeaderValue::try_from(format!("Bearer {key}"));
        // What no header can carry is nobody's key, which the gateway says of an empty one too.
        Self { family, key: key.map(|key| bearer(key).unwrap_or(HeaderValue::from_static("Bearer"))) }
    }

    fn path(&self) -> &'static str {
        match self.family {
            Family::OpenAi | Family::Anthropic | Family::Bedrock => "/v1/models",
            Family::Gemini => "/v1beta/models",
        }
    }

    fn request(&self, base: &str) -> http::Result<Request<MarkedBody>> {
        let request = Request::get(format!("{base}{}", self.path())).header(USER_AGENT, "routeapi-selftest");
        let request = match self.family {
            Family::Anthropic => request.header("anthropic-version", "2023-06-01"),
            Family::OpenAi | Family::Gemini | Family::Bedrock => request,
        };
        let request = match &self.key {
            Some(key) => request.header(AUTHORIZATION, key),
            None => request,
        };
        request.body(MarkedBody::default())
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = if self.family == Family::Anthropic { " with anthropic-version" } else { "" };
        write!(f, "GET {}{header}", self.path())
    }
}
