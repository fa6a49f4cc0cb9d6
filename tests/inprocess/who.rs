//! Who called, as the access log shows it; and whose word is taken for it.

use std::net::SocketAddr;

use routeapi_dataplane::{
    request::RequestSettings,
    server::{Limits, TrustedProxies},
};
use routeapi_tests::{
    gateway::Setup,
    upstream::{Script, Upstream},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::{
    gateway::{Gateway, Manifests, TOKEN},
    request::{Ask, chat},
};

const CHAT: &str = "/v1/chat/completions";

fn trusting(ranges: &[&str]) -> TrustedProxies {
    TrustedProxies::new(ranges.iter().map(|range| range.parse().unwrap()).collect())
}

async fn gateway(setup: impl FnOnce(&mut Setup)) -> (Upstream, Gateway) {
    let upstream = Upstream::start(Script::new()).await;
    let manifests = Manifests::new().provider("up", "OpenAI", &upstream).route("m", &["up"]).token();
    let mut settings = Setup::default();
    setup(&mut settings);
    (upstream, Gateway::start_as(&manifests, settings))
}

/// Behind proxies of these addresses, which speak the PROXY protocol or only HTTP.
async fn behind(ranges: &[&str], proxy_protocol: bool) -> (Upstream, Gateway) {
    let trusted_proxies = trusting(ranges);
    gateway(|setup| {
        setup.limits = Limits { trusted_proxies: trusted_proxies.clone(), proxy_protocol, ..Limits::default() };
        setup.requests = RequestSettings { trusted_proxies, ..RequestSettings::default() };
    })
    .await
}

fn text<'a>(record: &'a Value, name: &str) -> Option<&'a str> {
    record[name].as_str()
}

#[tokio::test]
async fn the_record_says_who_called() {
    let (_upstream, gateway) = gateway(|_| {}).await;
    let user = json!({"role": "user", "content": "x"});
    let said = |more: Value| {
        let mut body = json!({"model": "m", "max_tokens": 9, "messages": [user]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body.to_string()
    };
    let asks = [
        (Ask::post(CHAT, said(json!({"user": "ann"}))), Some("ann")),
        (Ask::post(CHAT, said(json!({"user": "ann", "safety_identifier": "h4sh"}))), Some("h4sh")),
        (Ask::post("/v1/messages", said(json!({"metadata": {"user_id": "bob"}}))), Some("bob")),
        (Ask::post("/v1/responses", json!({"model": "m", "input": "x", "user": "cy"}).to_string()), Some("cy")),
        (Ask::post("/v1/embeddings", json!({"model": "m", "input": "x", "user": "di"}).to_string()), Some("di")),
        (Ask::post(CHAT, json!({"model": "m", "input": "x", "user": "eve"}).to_string()), Some("eve")),
        (Ask::post(CHAT, said(json!({"user": "ann"}))).header("x-openwebui-user-id", "u-1"), Some("u-1")),
        (Ask::post(CHAT, said(json!({}))).header("x-openwebui-user-email", "a@b.example"), Some("a@b.example")),
        (Ask::post(CHAT, said(json!({"user": null, "metadata": {"user_id": 7}}))), None),
    ];
    for (index, (ask, expected)) in asks.into_iter().enumerate() {
        let answer = ask.header("user-agent", "OpenAI/Python 2.9").send(&gateway).await;
        // Also a request that no upstream can serve has its record.
        assert!(answer.status < 500, "{}", answer.text());
        let records = gateway.records(index + 1).await;
        let id = answer.header("x-routeapi-request-id").unwrap();
        let record = records.iter().find(|record| record["id"] == id).unwrap();
        assert_eq!(text(record, "enduser_id"), expected, "{record:#}");
        assert_eq!(text(record, "user_agent_original"), Some("OpenAI/Python 2.9"));
        assert_eq!(text(record, "client_address"), Some("127.0.0.1"));
    }
    let page = gateway.page().await;
    assert!(!page.contains("ann") && !page.contains("Python"), "no caller's word is a label");
}

#[tokio::test]
async fn what_callers_say_is_bounded_and_harmless_also_when_refused() {
    let (_upstream, gateway) = gateway(|_| {}).await;
    let hostile = "\u{1b}[31m\r\n{\"id\":\"forged\"}\u{2028}\u{202e}";
    let long = format!("{hostile}{}", "\u{e9}".repeat(100_000));
    let body = json!({"model": "m", "user": long, "messages": [{"role": "user", "content": "x"}]}).to_string();
    let agent = "a".repeat(9_000);
    assert_eq!(Ask::post(CHAT, body).header("user-agent", &agent).send(&gateway).await.status, 200);
    assert_eq!(
        Ask::post(CHAT, chat("m", false)).anonymous().header("user-agent", &agent).send(&gateway).await.status,
        401
    );
    for record in gateway.records(2).await {
        assert_eq!(text(&record, "user_agent_original").unwrap().chars().count(), 257);
        let user = text(&record, "enduser_id").unwrap_or_default();
        assert!(
            user.chars().count() <= 257 && !user.contains(|it: char| it.is_control() || it == '\u{202e}'),
            "{user:?}"
        );
    }
}

#[tokio::test]
async fn nothing_of_a_client_is_recorded_where_that_is_switched_off() {
    let (_upstream, gateway) = gateway(|setup| setup.requests.record_client = "none".parse().unwrap()).await;
    let body = json!({"model": "m", "user": "ann", "messages": [{"role": "user", "content": "x"}]}).to_string();
    let ask = Ask::post(CHAT, body).header("user-agent", "x").header("x-openwebui-user-email", "a@b.example");
    assert_eq!(ask.send(&gateway).await.status, 200);
    let records = gateway.records(1).await;
    for name in ["peer", "client_address", "user_agent_original", "enduser_id"] {
        assert_eq!(records[0].get(name), None, "{name}");
    }
    assert!(!gateway.shown().await.contains("a@b.example"));
}

#[tokio::test]
async fn a_forwarded_address_counts_from_trusted_proxies_alone() {
    for (ranges, client) in [(&["127.0.0.0/8"][..], "192.0.2.1"), (&["127.0.0.2"], "127.0.0.1"), (&[], "127.0.0.1")] {
        let (_upstream, gateway) = behind(ranges, false).await;
        let ask = Ask::post(CHAT, chat("m", false)).header("x-forwarded-for", "6.6.6.6, 192.0.2.1, 127.0.0.9");
        assert_eq!(ask.send(&gateway).await.status, 200);
        let records = gateway.records(1).await;
        assert_eq!(text(&records[0], "client_address"), Some(client), "{ranges:?}");
        assert!(text(&records[0], "peer").unwrap().starts_with("127.0.0.1:"));
    }
}

async fn connect(from: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Sends these bytes and a request behind them; gives all that is answered.
async fn sent(from: &str, gateway: &Gateway, header: &[u8], more: &str) -> String {
    let mut socket = connect(from, gateway.address()).await;
    let body = chat("m", false);
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n{more}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    // The other side may have closed already.
    let _ = socket.write_all(&[header, request.as_bytes()].concat()).await;
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

/// Version 2: a client at 192.0.2.1:12345.
const PROXIED: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\x0a\0\0\x01\x30\x39\x01\xbb";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

#[tokio::test]
async fn a_proxy_header_tells_the_client() {
    let (_upstream, gateway) = behind(&["127.0.0.1"], true).await;
    for (index, (header, more, peer, client)) in [
        (PROXIED, "", "192.0.2.1:12345", "192.0.2.1"),
        (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "", "[2001:db8::1]:1", "2001:db8::1"),
        (LOCAL, "", "127.0.0.1:", "127.0.0.1"),
        // Through another proxy behind the balancer, which is trusted, and through one that is not.
        (b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n", "x-forwarded-for: 192.0.2.9\r\n", "127.0.0.1:1", "192.0.2.9"),
        (PROXIED, "x-forwarded-for: 192.0.2.9\r\n", "192.0.2.1:12345", "192.0.2.1"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = sent("127.0.0.1", &gateway, header, more).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let record = gateway.records(index + 1).await.pop().unwrap();
        assert!(text(&record, "peer").unwrap().starts_with(peer), "{record:#}");
        assert_eq!(text(&record, "client_address"), Some(client));
    }
}

#[tokio::test]
async fn proxy_protocol_headers_are_accepted_from_trusted_proxies_only() {
    let (_upstream, gateway) = behind(&["127.0.0.2"], true).await;
    let answer = sent("127.0.0.1", &gateway, b"", "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "others are served without one: {answer}");
    let answer = sent("127.0.0.1", &gateway, PROXIED, "").await;
    assert!(!answer.starts_with("HTTP/1.1 200"), "nor may they send one: {answer}");
    assert!(sent("127.0.0.2", &gateway, PROXIED, "").await.starts_with("HTTP/1.1 200"));
    assert_eq!(sent("127.0.0.2", &gateway, b"", "").await, "", "a trusted proxy has to");
    gateway.shows("routeapi_proxy_protocol_failures_total 1").await;
}

#[tokio::test]
async fn proxy_protocol_without_trusted_proxies_requires_a_header_on_every_connection() {
    let (_upstream, gateway) = behind(&[], true).await;
    assert!(sent("127.0.0.1", &gateway, PROXIED, "").await.starts_with("HTTP/1.1 200"));
    for header in [&b""[..], b"PROXY TCP4 1.1.1.1\r\n", &[&PROXIED[..12], b"\x11\x11\0\x0c"].concat()] {
        assert_eq!(sent("127.0.0.1", &gateway, header, "").await, "", "{header:x?}");
    }
    gateway.shows("routeapi_proxy_protocol_failures_total 3").await;
    // A port scan, or a health check by TCP alone.
    drop(connect("127.0.0.1", gateway.address()).await);
    gateway.shows("routeapi_connections_open 0").await;
    gateway.shows("routeapi_proxy_protocol_failures_total 3").await;
    let admin = Ask::get("/livez").open_at(gateway.admin()).await.read().await;
    assert_eq!(admin.status, 200, "the admin port has no part in it");
}

#[tokio::test]
async fn connections_count_for_the_client_that_is_announced() {
    // The admin port is asked from loopback too.
    let trusted_proxies = trusting(&["127.0.0.0/8"]);
    let (_upstream, gateway) = gateway(|setup| {
        setup.limits = Limits { trusted_proxies, proxy_protocol: true, connections_per_client: 1, ..Limits::default() };
    })
    .await;
    let mut held = Vec::new();
    for client in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        let mut socket = connect("127.0.0.2", gateway.address()).await;
        socket
            .write_all(format!("PROXY TCP4 {client} 127.0.0.1 1 2\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200", "{client}: the proxy's own address has no limit");
        held.push(socket);
    }
    let answer = sent("127.0.0.2", &gateway, b"PROXY TCP4 192.0.2.1 127.0.0.1 9 2\r\n", "").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    gateway.shows("routeapi_connections_shed_total 1").await;
    held.remove(0);
    gateway.shows("routeapi_connections_open 2").await;
    let answer = sent("127.0.0.2", &gateway, b"PROXY TCP4 192.0.2.1 127.0.0.1 9 2\r\n", "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
