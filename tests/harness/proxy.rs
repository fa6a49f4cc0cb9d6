//! Egress proxies: a real one ([`Tinyproxy`]), and one that does as it is told ([`ScriptedProxy`]).

use crate::process::{Child, Program};
use crate::{tools, wait};
use anyhow::Result;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

/// How long a proxy may take to start.
const SOON: Duration = Duration::from_secs(20);

/// The proxy of that name, from Debian. Dropping it kills it.
pub struct Tinyproxy {
    address: SocketAddr,
    directory: tempfile::TempDir,
    _child: Child,
}

impl Tinyproxy {
    /// Starts it on a free port, with these further lines of configuration.
    ///
    /// # Errors
    /// When the program cannot be had or does not start.
    pub async fn start(configuration: &str) -> Result<Self> {
        let program = tools::debian("tinyproxy-bin", "tinyproxy")?;
        let directory = tempfile::tempdir()?;
        // It cannot choose a port by itself. One that was free a moment ago is.
        let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let file = directory.path().join("tinyproxy.conf");
        let log = directory.path().join("tinyproxy.log");
        let lines = format!(
            "Port {port}\nListen 127.0.0.1\nAllow 127.0.0.1\nTimeout 60\nMaxClients 100\nLogFile \"{}\"\n{configuration}\n",
            log.display()
        );
        std::fs::write(&file, lines)?;
        let arguments = ["-d".into(), "-c".into(), file.into_os_string()];
        let child = Child::start(&Program::new(program, directory.path().join("output")).args(arguments))?;
        let address: SocketAddr = (Ipv4Addr::LOCALHOST, port).into();
        let reach = || async { TcpStream::connect(address).await.ok() };
        wait::until("tinyproxy listens", SOON, reach).await;
        Ok(Self { address, directory, _child: child })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it has written to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("tinyproxy.log")).unwrap_or_default()
    }
}

/// What a scripted proxy does with a request.
#[derive(Clone, Debug)]
pub enum Act {
    /// A tunnel to this address, whatever was asked for: as a proxy that resolves names by itself.
    Tunnel(SocketAddr),
    /// These bytes, and then the end.
    Say(&'static [u8]),
    /// Nothing, for ever.
    Wait,
}

/// A proxy on a free loopback port. Dropping it closes the port.
pub struct ScriptedProxy {
    address: SocketAddr,
    scheme: &'static str,
    heads: Arc<Mutex<Vec<String>>>,
    server: AbortHandle,
}

impl ScriptedProxy {
    /// Starts it.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn start(act: Act) -> Self {
        Self::serve(act, None).await
    }

    /// One that speaks TLS itself, as `localhost`, and the PEM certificate by which clients know it.
    ///
    /// # Panics
    /// When no port or certificate can be had.
    pub async fn start_secure(act: Act) -> (Self, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("PKCS #8");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("usual versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a key and its certificate");
        (Self::serve(act, Some(TlsAcceptor::from(Arc::new(config)))).await, made.cert.pem())
    }

    async fn serve(act: Act, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let seen = Arc::clone(&heads);
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (act, seen, tls) = (act.clone(), Arc::clone(&seen), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(client, act, seen).await,
                        Some(tls) => serve(tls.accept(client).await.ok()?, act, seen).await,
                    }
                });
            }
        });
        Self { address, scheme, heads, server: server.abort_handle() }
    }

    /// `http://127.0.0.1:PORT`, or `https://localhost:PORT`.
    pub fn url(&self) -> String {
        match self.scheme {
            "https" => format!("https://localhost:{}", self.address.port()),
            _ => format!("http://{}", self.address),
        }
    }

    /// The heads of the requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

impl Drop for ScriptedProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve<S>(mut client: S, act: Act, heads: Arc<Mutex<Vec<String>>>) -> Option<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    heads.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
    match act {
        Act::Wait => std::future::pending().await,
        Act::Say(bytes) => client.write_all(bytes).await.ok()?,
        Act::Tunnel(target) => {
            let mut server = TcpStream::connect(target).await.ok()?;
            client.write_all(b"HTTP/1.1 200 Connection established\r\nproxy-agent: test\r\n\r\n").await.ok()?;
            copy_bidirectional(&mut client, &mut server).await.ok()?;
        }
    }
    client.shutdown().await.ok()
}
