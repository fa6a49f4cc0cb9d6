//! Egress proxies: a real one, and what becomes of a request when one fails.

use routeapi_tests::{
    proxy::{Act, ScriptedProxy, Tinyproxy},
    upstream::{Script, Upstream},
};

use crate::{
    gateway::{Gateway, Manifests},
    request::{Ask, chat, dialects},
};

const PASSWORD: &str = "canary-p:ss wörd";

async fn secure() -> Upstream {
    Upstream::builder().tls().script(Script::new().text("through the tunnel")).start().await.unwrap()
}

/// The provider `up` at a TLS upstream, which a proxy of its own leads to.
fn through(upstream: &Upstream, proxy: &str) -> Manifests {
    let more = format!("tls: {{caCertificateRef: {{kind: Secret, name: ca}}}}, proxy: {proxy}");
    Manifests::new()
        .secret("ca", &[("ca.crt", upstream.ca_pem().unwrap())])
        .secret("proxy", &[("username", "gateway"), ("password", PASSWORD)])
        .provider_with("up", "OpenAI", upstream, &more)
        .route("m", &["up"])
        .token()
}

fn with_credentials(url: &str) -> String {
    format!("{{url: \"{url}\", basicAuth: {{secretRef: {{name: proxy}}}}}}")
}

#[tokio::test]
async fn a_real_proxy_makes_tunnels_with_credentials_from_a_secret() {
    // Its configuration knows no spaces in passwords.
    let proxy = Tinyproxy::start("BasicAuth gateway canary").await.unwrap();
    let upstream = secure().await;
    let manifests = through(&upstream, &with_credentials(&proxy.url()));
    let manifests = manifests.clone().secret("real", &[("username", "gateway"), ("password", "canary")]).provider_with(
        "real",
        "OpenAI",
        &upstream,
        &format!(
            "tls: {{caCertificateRef: {{kind: Secret, name: ca}}}}, proxy: {{url: \"{}\", basicAuth: {{secretRef: {{name: real}}}}}}",
            proxy.url()
        ),
    );
    let gateway = Gateway::start(&manifests.route("through", &["real"]));
    for stream in [false, true] {
        let answer = Ask::post("/v1/chat/completions", chat("through", stream)).send(&gateway).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.text().contains("tunnel"), "{}", answer.text());
    }
    let received = upstream.last();
    assert_eq!((received.path.as_str(), received.version.as_str()), ("/v1/chat/completions", "HTTP/2.0"));
    assert_eq!(received.header("proxy-authorization"), None);
    assert_eq!(upstream.accepted_connections(), 1, "a tunnel is kept as any connection");
    let target = format!("CONNECT localhost:{}", upstream.address().port());
    assert!(proxy.log().contains(&target), "{}", proxy.log());

    // Other credentials: 407.
    let refused = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
    let said = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!(refused.status, 502, "{said}");
    assert!(said.contains("does not accept the gateway's credentials") && said.contains(&proxy.url()), "{said}");
    let shown = gateway.shown().await + &said;
    assert!(!shown.contains("canary") && !shown.contains("Y2FuYXJ5"), "{shown}");
}

#[tokio::test]
async fn a_real_proxy_makes_tunnels_to_plain_upstreams_too() {
    let proxy = Tinyproxy::start("").await.unwrap();
    let upstream = Upstream::start(Script::new().text("in the clear")).await;
    let more = format!("proxy: {{url: \"{}/\"}}", proxy.url());
    let manifests = Manifests::new().provider_with("up", "OpenAI", &upstream, &more).route("m", &["up"]).token();
    let gateway = Gateway::start(&manifests);
    let answer = Ask::post("/v1/chat/completions", chat("m", true)).send(&gateway).await;
    assert!(answer.status == 200 && answer.text().contains("clear"), "{}", answer.text());
    let received = upstream.last();
    assert_eq!(received.path, "/v1/chat/completions", "as if there were no proxy");
    assert!(received.header("via").is_none() && received.header("proxy-connection").is_none());
    assert!(proxy.log().contains(&format!("CONNECT {}", upstream.address())), "{}", proxy.log());
}

#[tokio::test]
async fn a_real_proxy_that_refuses_a_port_is_told_with_its_status() {
    let proxy = Tinyproxy::start("ConnectPort 443").await.unwrap();
    let upstream = secure().await;
    let gateway = Gateway::start(&through(&upstream, &format!("{{url: \"{}\"}}", proxy.url())));
    let answer = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
    let said = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    let expected =
        format!("the egress proxy {} refused a tunnel to localhost:{}: 403 ", proxy.url(), upstream.address().port());
    assert!(answer.status == 502 && said.contains(&expected), "{said}");
    assert_eq!(upstream.received().len(), 0);
}

#[tokio::test]
async fn whatever_a_proxy_does_wrong_is_a_failed_connection_that_others_make_good() {
    let upstream = secure().await;
    let spare = Upstream::start(Script::new().text("spare")).await;
    let cases: [(Act, &str); 6] = [
        (Act::Say(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno"), "refused a tunnel to localhost"),
        (
            Act::Say(b"HTTP/1.1 407 Auth\r\nproxy-authenticate: Basic realm=\"x\"\r\n\r\n"),
            "credentials for it, or asks for some (407 ",
        ),
        (Act::Say(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), "its answer is not HTTP/1"),
        (Act::Say(b""), "it closed the connection without an answer"),
        (Act::Say(b"HTTP/1.1 200 OK\r\n\r\nhello"), "it sent more than the end of its headers"),
        (Act::Wait, "no usable connection within 300 ms through the egress proxy http://127.0.0.1"),
    ];
    for (act, expected) in cases {
        let proxy = ScriptedProxy::start(act.clone()).await;
        let manifests = through(&upstream, &with_credentials(&proxy.url()))
            .provider("spare", "OpenAI", &spare)
            .route_with("alone", &["up"], "timeouts: {connect: 300ms}")
            .route_with("pair", &["up", "spare"], "timeouts: {connect: 300ms}");
        let gateway = Gateway::start(&manifests);
        for (path, body) in dialects("alone", false) {
            let answer = Ask::post(&path, body).send(&gateway).await;
            let timeout = matches!(act, Act::Wait);
            assert_eq!(answer.status, if timeout { 504 } else { 502 }, "{act:?} {}", answer.text());
            assert!(answer.text().contains(expected), "{act:?} {}", answer.text());
        }
        let answer = Ask::post("/v1/chat/completions", chat("pair", true)).send(&gateway).await;
        assert!(answer.status == 200 && answer.text().contains("spare"), "{act:?} {}", answer.text());
        let heads = proxy.heads();
        let target = format!("localhost:{}", upstream.address().port());
        assert!(heads[0].starts_with(&format!("CONNECT {target} HTTP/1.1\r\n")), "{heads:?}");
        assert!(heads[0].contains("proxy-authorization: Basic "), "{heads:?}");
        let shown = gateway.shown().await;
        assert!(!shown.contains("canary") && !shown.contains("Z2F0ZXdheTpj"), "{shown}");
    }
    assert_eq!(upstream.accepted_connections(), 0);
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let upstream = secure().await;
    let url = ScriptedProxy::start(Act::Wait).await.url();
    let gateway = Gateway::start(&through(&upstream, &with_credentials(&url)));
    let answer = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
    let expected = format!("the egress proxy {url} cannot be reached: ");
    assert!(answer.status == 502 && answer.text().contains(&expected), "{}", answer.text());
    let record = gateway.record().await.to_string();
    assert!(record.contains("connect_failed"), "{record}");
}

#[tokio::test]
async fn the_environments_proxy_resolves_names_and_is_asked_for_nothing_near() {
    let (upstream, near) = (secure().await, Upstream::start(Script::new().text("near")).await);
    let proxy = ScriptedProxy::start(Act::Tunnel(upstream.address())).await;
    let provider = |name: &str, more: &str| {
        format!(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIProvider\nmetadata: {{name: {name}, namespace: apps}}\n\
             spec: {{type: OpenAI, baseURL: 'https://{name}.corp.invalid/v1', \
             tls: {{caCertificateRef: {{kind: Secret, name: ca}}, serverName: localhost}}{more}}}"
        )
    };
    let manifests = Manifests::new()
        .secret("ca", &[("ca.crt", upstream.ca_pem().unwrap())])
        .with(&provider("far", ""))
        .with(&provider("direct", ", proxy: {mode: Direct}"))
        .with(&provider("excepted", ""))
        .provider("near", "OpenAI", &near)
        .route("far", &["far"])
        .route("direct", &["direct"])
        .route("excepted", &["excepted"])
        .route("near", &["near"])
        .token();
    let url = proxy.url().replace("http://", "http://user:canary@");
    let environment =
        [("HTTPS_PROXY", &*url), ("http_proxy", &url), ("NO_PROXY", "example.com, .excepted.corp.invalid")];
    let gateway = Gateway::start_through(&manifests, &environment);
    let ask = |model| Ask::post("/v1/chat/completions", chat(model, false)).send(&gateway);
    let far = ask("far").await;
    assert!(far.status == 200 && far.text().contains("tunnel"), "{}", far.text());
    let near = ask("near").await;
    assert!(near.status == 200 && near.text().contains("near"), "{}", near.text());
    for model in ["direct", "excepted"] {
        let answer = ask(model).await;
        assert!(answer.status == 502 && !answer.text().contains("proxy"), "{}", answer.text());
    }
    let heads = proxy.heads();
    assert!(heads.len() == 1 && heads[0].starts_with("CONNECT far.corp.invalid:443 HTTP/1.1\r\n"), "{heads:?}");
    assert!(heads[0].contains("proxy-authorization: Basic dXNlcjpjYW5hcnk="), "{heads:?}");
}

#[tokio::test]
async fn a_proxy_that_speaks_tls_carries_the_upstreams_tls_inside_its_own() {
    let upstream = secure().await;
    let (proxy, certificate) = ScriptedProxy::start_secure(Act::Tunnel(upstream.address())).await;
    let directory = tempfile::tempdir().unwrap();
    let bundle = directory.path().join("ca.pem");
    std::fs::write(&bundle, certificate).unwrap();
    let manifests = through(&upstream, &with_credentials(&proxy.url()));
    let gateway = Gateway::start_through(&manifests, &[("SSL_CERT_FILE", bundle.to_str().unwrap())]);
    for stream in [true, false] {
        let answer = Ask::post("/v1/chat/completions", chat("m", stream)).send(&gateway).await;
        assert!(answer.status == 200 && answer.text().contains("tunnel"), "{}", answer.text());
    }
    assert_eq!(upstream.last().version, "HTTP/2.0");
    assert_eq!(proxy.heads().len(), 1);
    // Whom nobody vouches for gets no credentials.
    let gateway = Gateway::start(&manifests);
    let answer = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
    let expected = format!("the egress proxy {} cannot be reached: invalid peer certificate", proxy.url());
    assert!(answer.status == 502 && answer.text().contains(&expected), "{}", answer.text());
    assert_eq!(proxy.heads().len(), 1);
}

#[tokio::test]
async fn authorities_of_the_environment_are_trusted_beside_the_public_ones() {
    let upstream = secure().await;
    let manifests = Manifests::new().provider("up", "OpenAI", &upstream).route("m", &["up"]).token();
    let directory = tempfile::tempdir().unwrap();
    let bundle = directory.path().join("ca.pem");
    std::fs::write(&bundle, upstream.ca_pem().unwrap()).unwrap();
    let gateway = Gateway::start_through(&manifests, &[("SSL_CERT_FILE", bundle.to_str().unwrap())]);
    let answer = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let gateway = Gateway::start(&manifests);
    let answer = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
    assert!(answer.status == 502 && answer.text().contains("certificate"), "{}", answer.text());
}
