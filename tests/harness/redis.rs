//! A real Redis, from Debian, on a free port of this machine: stopped, frozen and started again as a test wants.

use crate::process::{Child, Program};
use crate::{tools, wait};
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// How long a server may take to start.
const SOON: Duration = Duration::from_secs(20);

/// A server. Dropping it kills it.
pub struct Redis {
    address: SocketAddr,
    tls: Option<SocketAddr>,
    program: Program,
    child: Option<Child>,
    _directory: tempfile::TempDir,
}

/// Certificates for TLS, in PEM.
#[derive(Clone, Copy, Debug)]
pub struct Certificate<'a> {
    /// For `localhost`.
    pub certificate: &'a str,
    /// Its key.
    pub key: &'a str,
}

impl Redis {
    /// Starts one with these further arguments, such as `["--requirepass", "secret"]`.
    ///
    /// # Errors
    /// When the program cannot be had or does not start.
    pub async fn start(arguments: &[&str]) -> Result<Self> {
        Self::start_as(arguments, None).await
    }

    /// One that speaks TLS on another port as well.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub async fn start_as(arguments: &[&str], tls: Option<Certificate<'_>>) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let program = program(directory.path())?;
        let address = free_port()?;
        let mut all: Vec<OsString> =
            ["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", ""].map(OsString::from).to_vec();
        all.extend([OsString::from("--dir"), directory.path().into()]);
        let mut tls_address = None;
        if let Some(Certificate { certificate, key }) = tls {
            let file = |name: &str, text: &str| {
                let path = directory.path().join(name);
                std::fs::write(&path, text).map(|()| path.into_os_string())
            };
            let (certificate, key, at) = (file("tls.crt", certificate)?, file("tls.key", key)?, free_port()?);
            all.extend(["--tls-port", &at.port().to_string(), "--tls-auth-clients", "no"].map(OsString::from));
            all.extend(["--tls-cert-file".into(), certificate.clone(), "--tls-key-file".into(), key]);
            all.extend(["--tls-ca-cert-file".into(), certificate]);
            tls_address = Some(at);
        }
        all.extend(arguments.iter().map(OsString::from));
        let program = program.args(all);
        let mut redis = Self { address, tls: tls_address, program, child: None, _directory: directory };
        redis.restart().await?;
        Ok(redis)
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// `rediss://localhost:PORT`.
    ///
    /// # Panics
    /// When it was started without a certificate.
    pub fn tls_url(&self) -> String {
        format!("rediss://localhost:{}", self.tls.expect("it speaks TLS").port())
    }

    /// Kills it, at once.
    pub fn kill(&mut self) {
        self.child = None;
    }

    /// Starts it again, on the same port and with nothing in it.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill();
        self.child = Some(Child::start(&self.program)?);
        let address = self.address;
        let reach = || async { TcpStream::connect(address).await.ok() };
        wait::until("redis listens", SOON, reach).await;
        Ok(())
    }

    /// Freezes it: connections are accepted by the kernel, and nothing is answered.
    ///
    /// # Errors
    /// When it has ended.
    pub fn freeze(&self) -> Result<()> {
        self.child.as_ref().context("it was killed")?.pause()
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it has ended.
    pub fn thaw(&self) -> Result<()> {
        self.child.as_ref().context("it was killed")?.resume()
    }

    /// What it answers to a command, on a connection of its own: lines without their marks.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn ask(&self, command: &[&str]) -> Vec<String> {
        let mut stream = BufReader::new(TcpStream::connect(self.address).await.expect("redis listens"));
        let mut text = format!("*{}\r\n", command.len());
        for word in command {
            text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        stream.write_all(text.as_bytes()).await.expect("redis reads");
        let mut lines = Vec::new();
        read_reply(&mut stream, &mut lines).await;
        lines
    }
}

/// Reads one answer in its flat form: arrays within arrays are not asked for by tests.
async fn read_reply(stream: &mut BufReader<TcpStream>, lines: &mut Vec<String>) {
    let mut left = 1;
    while left > 0 {
        left -= 1;
        let mut line = String::new();
        stream.read_line(&mut line).await.expect("redis answers");
        let line = line.trim_end();
        let (mark, rest) = line.split_at(1);
        let number = || rest.parse::<i64>().unwrap_or(-1);
        match mark {
            "*" => left += usize::try_from(number()).unwrap_or(0),
            "$" if number() < 0 => lines.push(String::new()),
            "$" => {
                let mut bytes = vec![0; usize::try_from(number()).unwrap() + 2];
                stream.read_exact(&mut bytes).await.expect("redis answers");
                bytes.truncate(bytes.len() - 2);
                lines.push(String::from_utf8_lossy(&bytes).into_owned());
            }
            _ => lines.push(rest.to_owned()),
        }
    }
}

/// One program does all that Debian's package does, by the name that it is called with.
fn program(directory: &Path) -> Result<Program> {
    let found = tools::debian_with("redis-tools", "redis-check-rdb", &["libjemalloc2", "liblzf1"])?;
    let link: PathBuf = directory.join("redis-server");
    std::os::unix::fs::symlink(&found, &link)?;
    let program = Program::new(link, directory.join("output"));
    // Where it was unpacked, its libraries are beside it.
    let libraries = found.parent().and_then(Path::parent).map(|usr| usr.join("lib"));
    let places: Vec<_> = libraries.iter().flat_map(std::fs::read_dir).flatten().flatten().collect();
    let of_machine = places.iter().find(|place| place.file_name().to_string_lossy().ends_with("-linux-gnu"));
    Ok(match of_machine {
        Some(place) => program.env("LD_LIBRARY_PATH", place.path().display().to_string()),
        None => program,
    })
}

/// One that was free a moment ago is.
fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
