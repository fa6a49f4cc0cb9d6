//! Starts gateways and talks to them byte by byte.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use routeapi_dataplane::{
    app::{self, App, Ending, Running, Settings, Source},
    config::local::{Loaded, Loader, problem::Problem, values::Values},
    request::RequestSettings,
    server::Limits,
    upstream::{Egress, Keeping},
};
use tempfile::TempDir;

/// Longer than anything here may take.
pub const SOON: Duration = Duration::from_secs(20);

pub const TOKEN: &str = "sk-made-for-this-test";

/// A provider, a route for one model and a token with a known value.
pub fn manifests(model: &str, provider: &str) -> String {
    format!(
        "apiVersion: routeapi.dev/v1alpha1\nkind: AIProvider\nmetadata: {{name: up}}\nspec: {provider}\n---\n\
         apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {{name: route}}\n\
         spec: {{model: {model}, upstreams: [{{name: up, providerRef: {{name: up}}}}]}}\n---\n\
         apiVersion: routeapi.dev/v1alpha1\nkind: ApiToken\nmetadata: {{name: app}}\n\
         spec: {{models: ['*'], secretName: app}}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {{name: app}}\nstringData: {{token: {TOKEN}}}\n"
    )
}

pub fn settings(source: Source) -> Settings {
    let local: SocketAddr = "127.0.0.1:0".parse().unwrap();
    Settings {
        listen: local,
        listen_tls: None,
        admin: local,
        source,
        limits: Limits::default(),
        requests: RequestSettings::default(),
        egress: Egress::default(),
        upstreams: Keeping::default(),
        ending: Ending { delay: Duration::ZERO, timeout: Duration::from_secs(5), on_signals: false },
        workers: Some(1),
        access_log: None,
    }
}

pub struct Files {
    pub directory: TempDir,
    pub path: PathBuf,
}

impl Files {
    pub fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("all.yaml");
        fs::write(&path, text).unwrap();
        Self { directory, path }
    }

    /// As an editor does: write beside it, then replace.
    pub fn replace(&self, text: &str) {
        let next = self.directory.path().join("all.yaml~");
        fs::write(&next, text).unwrap();
        fs::rename(next, &self.path).unwrap();
    }

    pub fn source(&self) -> Source {
        self.told(|_| {})
    }

    /// With someone who listens for reloads.
    pub fn told(&self, on_reload: impl FnMut(Result<&Loaded, &[Problem]>) + Send + 'static) -> Source {
        let mut loader = Loader::new(vec![self.path.clone()], Values::random()).unwrap();
        let loaded: Loaded = loader.load(&|_| None);
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
        Source::Files(Box::new(app::Files { loader, loaded, on_reload: Box::new(on_reload) }))
    }
}

pub fn echo() -> Files {
    Files::new(&manifests("hello", "{type: Echo}"))
}

pub fn start(files: &Files, change: impl FnOnce(&mut Settings)) -> Running {
    let mut settings = settings(files.source());
    change(&mut settings);
    App::start(settings).unwrap()
}

pub fn connect(to: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(to).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}

/// Sends bytes and reads until the other side closes.
pub fn exchange(to: SocketAddr, bytes: &[u8]) -> String {
    let mut socket = connect(to);
    socket.write_all(bytes).unwrap();
    rest(&mut socket)
}

pub fn rest(socket: &mut impl Read) -> String {
    let mut text = Vec::new();
    // A reset after the answer is a close too.
    let _ = socket.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

pub fn get(to: SocketAddr, path: &str) -> String {
    exchange(to, format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
}

pub fn chat(model: &str, more: &str) -> String {
    let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]{more}}}"#);
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

pub fn metric(admin: SocketAddr, name: &str) -> String {
    let page = get(admin, "/metrics");
    let line = page.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.rsplit(' ').next().unwrap_or_default().to_owned()
}

/// Asks until it holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}
