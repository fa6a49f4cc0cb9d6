//! An answer that is there before its request's body reaches the client, although that is still sending.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use routeapi_dataplane::{app::Running, server::tls::TlsFiles};
use routeapi_tests::{
    bytes::{chat, connect, eventually, exchange, metric, status},
    files::{Files, TOKEN, echo, manifests, write},
    gateway::start,
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
};

/// More than the kernel holds for a connection.
const BODY: usize = 24 << 20;

/// More than the gateway reads of a body that it wants.
const LIMIT: usize = 1 << 20;

/// Heads of requests that are answered before their body, and the status.
fn early() -> Vec<(&'static str, String)> {
    let head = |path: &str, token: &str, more: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n{more}"
        )
    };
    let length = format!("content-length: {BODY}\r\n");
    vec![
        ("401", head("/v1/chat/completions", "sk-nobody", &length)),
        ("401", head("/v1/messages", "sk-nobody", "transfer-encoding: chunked\r\n")),
        ("404", head("/v1/nothing", TOKEN, &length)),
        ("413", head("/v1/messages", TOKEN, &length)),
        ("413", head("/v1/chat/completions", TOKEN, "transfer-encoding: chunked\r\n")),
        ("415", head("/v1/chat/completions", TOKEN, "transfer-encoding: chunked\r\ncontent-encoding: deflate\r\n")),
    ]
}

/// The body as the head says that it comes.
fn body(head: &str) -> Vec<u8> {
    let bytes = vec![b'x'; BODY];
    if head.contains("chunked") {
        return [format!("{BODY:x}\r\n").as_bytes(), &bytes, b"\r\n0\r\n\r\n"].concat();
    }
    bytes
}

/// Sends all, piece by piece, and only then reads: as most clients do.
fn send_and_read(mut socket: impl Read + Write, head: &str, piece: usize) -> io::Result<String> {
    socket.write_all(format!("{head}\r\n").as_bytes())?;
    for piece in body(head).chunks(piece) {
        socket.write_all(piece)?;
    }
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    Ok(String::from_utf8(answer).unwrap())
}

fn assert_whole(answer: &io::Result<String>, expected: &str, head: &str) {
    let Ok(answer) = answer else { panic!("{head}: {answer:?}") };
    assert_eq!(status(answer), expected, "{head}: {answer}");
    assert!(answer.to_ascii_lowercase().contains("connection: close"), "{head}: {answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert!(body["error"]["message"].is_string(), "{body}");
}

#[test]
fn a_client_that_is_still_sending_reads_the_answer() {
    let files = echo();
    let app = start(&files, |settings| settings.requests.max_body_bytes = LIMIT);
    for (expected, head) in early() {
        for piece in [usize::MAX, 16 << 10] {
            assert_whole(&send_and_read(connect(app.gateway), &head, piece), expected, &head);
        }
    }
    // This one needs the body to be answered.
    let limited = manifests("hello", "{type: Echo}")
        .replace("models: ['*']", "models: ['*'], limits: [{name: few, per: Day, requests: 1}]");
    let files = Files::new(&limited);
    let app = start(&files, |_| {});
    let large = chat("hello", &format!(r#","user":"{}""#, "x".repeat(4 << 20)));
    let answers = [exchange(app.gateway, large.as_bytes()), exchange(app.gateway, large.as_bytes())];
    assert_eq!(answers.each_ref().map(|answer| status(answer)), ["200", "429"]);
}

/// A gateway with TLS, and a client's connection to it.
fn secure(files: &Files) -> (Running, impl Fn() -> StreamOwned<ClientConnection, TcpStream>) {
    let pair = rcgen::generate_simple_self_signed(["gateway.test".to_owned()]).unwrap();
    let at = files.directory.path();
    let tls = TlsFiles { certificate: at.join("tls.crt"), key: at.join("tls.key") };
    write(&tls.certificate, &pair.cert.pem());
    write(&tls.key, &pair.signing_key.serialize_pem());
    let app = start(files, |settings| {
        settings.requests.max_body_bytes = LIMIT;
        settings.listen_tls = Some(("127.0.0.1:0".parse().unwrap(), tls));
    });
    let (to, config) = (app.gateway_tls.unwrap(), trusting(pair.cert.der()));
    (app, move || {
        let name = ServerName::try_from("gateway.test").unwrap();
        StreamOwned::new(ClientConnection::new(Arc::clone(&config), name).unwrap(), connect(to))
    })
}

fn trusting(certificate: &CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

#[test]
fn a_client_over_tls_that_is_still_sending_reads_the_answer() {
    let files = echo();
    let (_app, connect) = secure(&files);
    for (expected, head) in early() {
        assert_whole(&send_and_read(connect(), &head, 64 << 10), expected, &head);
    }
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it_or_the_answer() {
    let files = echo();
    let app = start(&files, |settings| settings.requests.max_body_bytes = LIMIT);
    for (expected, head) in early().into_iter().filter(|(_, head)| head.contains("content-length")) {
        let answer = exchange(app.gateway, format!("{head}expect: 100-continue\r\n\r\n").as_bytes());
        assert_eq!(status(&answer), expected, "{head}: {answer}");
        assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    }
    let request = chat("hello", "").replace("connection: close", "connection: close\r\nexpect: 100-continue");
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut socket = connect(app.gateway);
    socket.write_all(format!("{head}\r\n\r\n").as_bytes()).unwrap();
    let mut told = [0; 25];
    socket.read_exact(&mut told).unwrap();
    assert_eq!(told, *b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert_eq!(status(&answer), "200", "{answer}");
}

#[test]
fn what_a_client_sends_after_its_answer_is_bounded() {
    let files = echo();
    let app = start(&files, |settings| settings.limits.linger_bytes = 100 << 10);
    let (_, head) = early().swap_remove(0);
    let mut socket = connect(app.gateway);
    socket.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    assert!(socket.write_all(&vec![b'x'; BODY]).is_err(), "it is not read to its end");
    eventually("its place is free", || metric(app.admin, "routeapi_connections_open") == "0");
}

#[test]
fn a_client_that_is_turned_away_reads_why() {
    let files = echo();
    let app = start(&files, |settings| settings.limits.connections = 1);
    let _first = connect(app.gateway);
    eventually("the first is accepted", || metric(app.admin, "routeapi_connections_open") == "1");
    for _ in 0..50 {
        let mut socket = connect(app.gateway);
        socket.write_all(&chat("hello", "").repeat(20).into_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert_eq!(status(&answer), "503", "{answer}");
    }
}

/// Asks over HTTP/2 with a body that never ends, and sends as much of it as is taken.
async fn ask(client: &mut h2::client::SendRequest<bytes::Bytes>, token: &str) -> (u16, h2::Reason) {
    let request = http::Request::post("http://x/v1/chat/completions")
        .header("authorization", format!("Bearer {token}"))
        .header("content-length", BODY)
        .body(())
        .unwrap();
    let (answer, mut body) = client.clone().ready().await.unwrap().send_request(request, false).unwrap();
    body.send_data(vec![b'x'; 200 << 10].into(), false).unwrap();
    let mut answer = answer.await.unwrap();
    let status = answer.status().as_u16();
    let mut text = Vec::new();
    while let Some(piece) = answer.body_mut().data().await {
        text.extend_from_slice(&piece.unwrap());
    }
    assert!(serde_json::from_slice::<serde_json::Value>(&text).unwrap()["error"]["message"].is_string());
    let reason = std::future::poll_fn(|cx| body.poll_reset(cx)).await.unwrap();
    (status, reason)
}

/// RFC 9113 section 8.1: the whole answer, then a reset that is no error; the connection and its other streams go on.
#[tokio::test]
async fn over_http2_the_stream_alone_is_reset_without_an_error() {
    let files = echo();
    let app = start(&files, |settings| settings.requests.max_body_bytes = LIMIT);
    let mut client = http2(app.gateway).await;
    for _ in 0..300 {
        assert_eq!(ask(&mut client, "sk-nobody").await, (401, h2::Reason::NO_ERROR));
    }
    assert_eq!(ask(&mut client, TOKEN).await, (413, h2::Reason::NO_ERROR));
    let models = http::Request::get("http://x/v1/models").header("authorization", format!("Bearer {TOKEN}")).body(());
    let (answer, _) = client.send_request(models.unwrap(), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
}

/// So that a client that knows how much is to come does not reset what has ended.
#[tokio::test]
async fn over_http2_the_end_comes_with_the_last_of_a_whole_answer() {
    let files = echo();
    let app = start(&files, |_| {});
    let mut client = http2(app.gateway).await;
    let question =
        serde_json::json!({"model": "hello", "messages": [{"role": "user", "content": "hello"}]}).to_string();
    for (key, status) in [(TOKEN, 200), ("sk-nobody", 401)] {
        let request =
            http::Request::post("http://x/v1/chat/completions").header("authorization", format!("Bearer {key}"));
        let (answer, mut body) = client.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data(question.clone().into(), true).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), status);
        let length: usize = answer.headers()["content-length"].to_str().unwrap().parse().unwrap();
        let mut answer = answer.into_body();
        assert_eq!(answer.data().await.unwrap().unwrap().len(), length);
        assert!(answer.is_end_stream(), "{status}");
    }
}

async fn http2(to: SocketAddr) -> h2::client::SendRequest<bytes::Bytes> {
    let socket = tokio::net::TcpStream::connect(to).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    client.ready().await.unwrap()
}
