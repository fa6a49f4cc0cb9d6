use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use super::*;
use crate::{
    app::{App, Files, Running, Settings, ShutdownTimeouts, Source},
    config::local::{Loader, values::Values},
    request::RequestSettings,
    server::Limits,
    upstream::{CloudEnvironment, ConnectionLifetimes, Egress},
};

const HELLO: &str = "\
{apiVersion: routeapi.dev/v1alpha1, kind: AIProvider, metadata: {name: echo}, spec: {type: Echo}}
---
apiVersion: routeapi.dev/v1alpha1
kind: AIRoute
metadata: {name: hello}
spec: {model: hello, upstreams: [{name: echo, providerRef: {name: echo}}]}
---
{apiVersion: routeapi.dev/v1alpha1, kind: ApiToken, metadata: {name: app}, spec: {models: ['*']}}
";

/// A gateway and the key of its token.
fn gateway() -> (Running, String) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("all.yaml"), HELLO).unwrap();
    let mut loader = Loader::new(vec![directory.path().to_owned()], Values::random()).unwrap();
    let loaded = loader.load(&|_| None);
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    let key = loaded.tokens[0].value.expose().to_owned();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let running = App::start(Settings {
        listen: any,
        listen_tls: None,
        admin: any,
        source: Source::Files(Box::new(Files { loader, loaded, on_reload: Box::new(|_| {}) })),
        limits: Limits::default(),
        requests: RequestSettings::default(),
        egress: Egress::default(),
        cloud: CloudEnvironment::default(),
        upstreams: ConnectionLifetimes::default(),
        limit_store: None,
        shutdown: ShutdownTimeouts { delay: Duration::ZERO, timeout: Duration::ZERO, on_signals: false },
        workers: Some(1),
        access_log: None,
        ledger: None,
    });
    (running.unwrap(), key)
}

/// Something that answers everything alike, until its thread is the last thing left of the test.
fn stranger(status: &str, headers: &str, body: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            // The first connection only looks whether one is taken.
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
                request.push(byte[0]);
            }
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

fn within(deadline: Duration) -> Deadlines {
    Deadlines { reached: Instant::now() + deadline, answered: Instant::now() + deadline }
}

/// What is said of the gateway there, and whether all is well.
async fn told(url: &str, deadline: Duration, token: Option<&str>) -> (bool, String) {
    let gateway = Gateway::new(&url.parse().unwrap(), None, within(deadline)).unwrap();
    let mut out = Vec::new();
    let well = examine(&gateway, token, Vantage::Pod, &mut out).await.unwrap();
    (well, String::from_utf8(out).unwrap())
}

const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn working_gateway_passes_every_check() {
    let (running, key) = gateway();
    let (well, text) = told(&format!("http://{}/v1", running.gateway), ANSWER_TIMEOUT, Some(&key)).await;
    assert!(well && text.lines().count() == 6 && text.lines().all(|line| line.starts_with("ok ")), "{text}");
    for part in ["format of OpenAI", "format of Anthropic", "format of Gemini", "has a configuration", "1 model: hello"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(&key));

    let (well, text) = told(&format!("http://{}", running.gateway), ANSWER_TIMEOUT, Some("sk-nobodys")).await;
    assert!(!well && text.contains("failed the key is rejected") && text.contains("kubectl get apitokens"), "{text}");
}

#[tokio::test]
async fn other_server_at_the_address_is_detected() {
    let address = stranger("200 OK", "content-type: text/html\r\n", "<h1>\nWelcome</h1>");
    let (well, text) = told(&format!("http://{address}"), ANSWER_TIMEOUT, None).await;
    assert!(!well && text.contains("so this is not RouteAPI: <h1> Welcome</h1>"), "{text}");
    assert_eq!(text.matches("endpointslices").count(), 1, "advice is given once: {text}");
}

#[tokio::test]
async fn error_shape_is_checked_per_dialect() {
    let body = r#"{"error":{"message":"no","type":"authentication_error"}}"#;
    let address = stranger("401 Unauthorized", "x-routeapi-request-id: r1\r\n", body);
    let (well, text) = told(&format!("http://{address}"), ANSWER_TIMEOUT, None).await;
    assert!(
        !well && text.contains("ok     GET /v1/models without a key: rejected in the format of OpenAI, request r1"),
        "{text}"
    );
    assert!(
        text.contains("GET /v1/models with anthropic-version: the error is not in the format of Anthropic"),
        "{text}"
    );
    assert!(text.contains("GET /v1beta/models: the error is not in the format of Gemini"), "{text}");
}

#[tokio::test]
async fn unconfigured_gateway_is_reported() {
    let body = r#"{"error":{"message":"no configuration yet","type":"server_error"}}"#;
    let address = stranger("503 Service Unavailable", "x-routeapi-request-id: r1\r\n", body);
    let (well, text) = told(&format!("http://{address}"), ANSWER_TIMEOUT, None).await;
    assert!(!well && text.contains("runs but has no configuration: no configuration yet"), "{text}");
    assert!(text.contains("component=operator"), "{text}");
}

#[tokio::test]
async fn unreachable_gateway_is_retried_then_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (well, text) = told(&format!("http://{address}"), Duration::ZERO, None).await;
    assert!(!well && text.starts_with(&format!("failed cannot connect to {address}")), "{text}");
    assert!(text.contains("kubectl get pods -A -l app.kubernetes.io/part-of=routeapi"), "{text}");

    // A Service may need a moment: what comes up after the first attempt was refused is found.
    let gateway = Gateway::new(&format!("http://{address}").parse().unwrap(), None, within(ANSWER_TIMEOUT)).unwrap();
    let (reached, _listener) = tokio::join!(gateway.reach(), async { TcpListener::bind(address).unwrap() });
    assert_eq!(reached.unwrap(), address);
}

/// As long as nobody says otherwise, what takes no connection is given up on in 5 s, though answers may take 30 s.
#[test]
fn closed_port_fails_fast() {
    use clap::Parser;
    let cli = crate::cli::Cli::try_parse_from(["routeapi", "selftest", "--gateway=http://127.0.0.1:1"]).unwrap();
    let crate::cli::Command::Selftest(args) = cli.command else { panic!("it is a selftest") };
    let before = Instant::now();
    let Deadlines { reached, answered } = args.deadlines();
    let after = Instant::now();
    for (end, seconds) in [(reached, 5), (answered, 30)] {
        let deadline = Duration::from_secs(seconds);
        assert!(before + deadline <= end && end <= after + deadline, "{seconds} s");
    }
}

#[test]
fn unusable_gateway_url_is_refused() {
    for (url, says) in
        [("http://h/v1/chat/completions", "leave it out"), ("h:80", "must be http"), ("ftp://h", "must be")]
    {
        let error = Gateway::new(&url.parse().unwrap(), None, within(ANSWER_TIMEOUT)).err().unwrap().to_string();
        assert!(error.contains(says), "{url}: {error}");
    }
}
