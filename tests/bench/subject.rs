//! The programs that are measured, and how each is set up to forward to the mock.

use std::{fs, net::TcpListener, path::Path};

use anyhow::Context;

use crate::process::Process;

/// One way to the mock.
pub struct Subject {
    /// In the table.
    pub name: &'static str,
    /// None: straight to the mock.
    pub process: Option<Process>,
    /// Path of the workload.
    pub url: String,
    /// Token to send.
    pub token: Option<String>,
    _files: Option<tempfile::TempDir>,
}

const GATEWAY_CPU: u32 = 1;

/// No gateway at all.
pub fn direct(mock: &Process) -> Subject {
    let url = format!("{}/v1/chat/completions", mock.url);
    Subject { name: "direct", process: None, url, token: None, _files: None }
}

/// hyper and nothing else.
pub fn bare(mock: &Process) -> anyhow::Result<Subject> {
    let process = Process::start(GATEWAY_CPU, &std::env::current_exe()?, &["bare", &mock.url])?;
    let url = format!("{}/v1/chat/completions", process.url);
    Ok(Subject { name: "bare hyper proxy", process: Some(process), url, token: None, _files: None })
}

/// nginx with one worker, unbuffered, keeping connections to the mock.
pub fn nginx(mock: &Process) -> anyhow::Result<Subject> {
    let files = tempfile::tempdir()?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let config = files.path().join("nginx.conf");
    let root = files.path().display();
    let upstream = mock.url.trim_start_matches("http://");
    fs::write(
        &config,
        format!(
            "worker_processes 1; pid {root}/pid; error_log /dev/null; daemon off;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log off; keepalive_requests 1000000000;\n\
             client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;\n\
             uwsgi_temp_path {root}/u; scgi_temp_path {root}/s; tcp_nodelay on;\n\
             upstream mock {{ server {upstream}; keepalive 256; keepalive_requests 1000000000; }}\n\
             server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://mock; proxy_http_version 1.1;\n\
             proxy_set_header Connection \"\"; proxy_buffering off; }} }} }}\n"
        ),
    )?;
    let url = format!("http://127.0.0.1:{port}");
    let config = config.to_str().context("path")?;
    let process = Process::start_quiet(GATEWAY_CPU, "nginx", &["-c", config], &url)?;
    let url = format!("{url}/v1/chat/completions");
    Ok(Subject { name: "nginx", process: Some(process), url, token: None, _files: Some(files) })
}

/// RouteAPI, passing Chat through or translating it to Messages. `program` is the gateway's, or a tool whose first arguments
/// name it.
pub fn routeapi(
    name: &'static str,
    (program, first): (&Path, &[&str]),
    mock: &Process,
    translate: bool,
) -> anyhow::Result<Subject> {
    let files = tempfile::tempdir()?;
    let (kind, base) = if translate { ("Anthropic", mock.url.clone()) } else { ("OpenAI", format!("{}/v1", mock.url)) };
    let manifest = files.path().join("bench.yaml");
    fs::write(
        &manifest,
        format!(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIProvider\nmetadata: {{name: mock}}\n\
             spec: {{type: {kind}, baseURL: {base}}}\n---\n\
             apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {{name: all}}\n\
             spec: {{model: \"*\", upstreams: [{{name: mock, providerRef: {{name: mock}}}}]}}\n---\n\
             apiVersion: routeapi.dev/v1alpha1\nkind: ApiToken\nmetadata: {{name: bench}}\n\
             spec: {{models: [\"*\"], secretName: bench}}\n---\n\
             apiVersion: v1\nkind: Secret\nmetadata: {{name: bench}}\nstringData: {{token: bench-token-of-16-bytes}}\n"
        ),
    )?;
    let manifest = manifest.to_str().context("path")?;
    let args = ["run", "-f", manifest, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let process = Process::start(GATEWAY_CPU, program, &[first, &args].concat())?;
    let url = format!("{}/v1/chat/completions", process.url);
    Ok(Subject {
        name,
        process: Some(process),
        url,
        token: Some("bench-token-of-16-bytes".to_owned()),
        _files: Some(files),
    })
}
