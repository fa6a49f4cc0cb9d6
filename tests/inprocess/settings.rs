//! What a provider's owner adds to requests, seen by the upstream; and who may see it.

use routeapi_tests::upstream::{Script, Upstream};

use crate::{
    gateway::{Gateway, Manifests},
    request::{Ask, chat, messages},
};

const ADDITIONS: &str = "request: {\
    headers: [{name: X-Team, value: platform}, {name: X-Tenant, valueFrom: {secretKeyRef: {name: own, key: tenant}}}], \
    queryParameters: [{name: api-version, value: 2024-10-21}, {name: subscription-key, valueFrom: {secretKeyRef: {name: own, key: tenant}}}], \
    bodyDefaults: {store: false, temperature: 0.5}, \
    forwardHeaders: [User-Agent, x-session-id]}";

async fn start(more: &str) -> (Upstream, Gateway) {
    let upstream = Upstream::start(Script::new().text("done").tolerate_unknown()).await;
    let manifests = Manifests::new()
        .secret("own", &[("tenant", "canary/1"), ("key", "canary-key")])
        .provider_with("up", "OpenAI", &upstream, more)
        .route("m", &["up"])
        .token();
    let gateway = Gateway::start(&manifests);
    (upstream, gateway)
}

#[tokio::test]
async fn provider_headers_query_and_body_defaults_are_sent_in_both_lanes_without_showing_secrets() {
    let (upstream, gateway) = start(ADDITIONS).await;
    for (path, body) in [("/v1/chat/completions", chat("m", false)), ("/v1/messages", messages("m", true))] {
        let ask = Ask::post(path, body).header("user-agent", "my-app/1").header("x-session-id", "s1");
        let answer = ask.header("cookie", "a=b").header("x-other", "c").send(&gateway).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let sent = upstream.last();
        assert_eq!(sent.path, "/v1/chat/completions?api-version=2024-10-21&subscription-key=canary%2F1");
        for (name, value) in
            [("x-team", "platform"), ("x-tenant", "canary/1"), ("user-agent", "my-app/1"), ("x-session-id", "s1")]
        {
            assert_eq!(sent.header(name), Some(value), "{path}");
        }
        assert!(["cookie", "x-other", "authorization"].iter().all(|name| sent.header(name).is_none()), "{sent:?}");
        let body = sent.json();
        assert_eq!((&body["store"], &body["temperature"]), (&false.into(), &0.5.into()), "{body}");
        let warnings = answer.header("x-routeapi-warnings").unwrap();
        assert!(
            warnings.contains("defaulted;field=store") && warnings.contains("defaulted;field=temperature"),
            "{warnings}"
        );
        assert!(!warnings.contains("0.5"), "names alone: {warnings}");
    }
    let shown = gateway.shown().await;
    assert!(!shown.contains("canary"), "{shown}");
    assert!(shown.contains("platform"), "what is no secret is shown: {shown}");
}

#[tokio::test]
async fn body_defaults_do_not_replace_what_the_client_sets() {
    let (upstream, gateway) = start(ADDITIONS).await;
    let body = r#"{"model":"m", "temperature" : null,"store":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let answer = Ask::post("/v1/chat/completions", body).send(&gateway).await;
    assert_eq!((answer.status, answer.header("x-routeapi-warnings")), (200, None), "{}", answer.text());
    let expected = body.replace(r#""m""#, r#""up-model""#);
    assert_eq!(upstream.last().body, expected.as_bytes());

    let answer = Ask::post("/v1/embeddings", r#"{"model":"m","input":"hi"}"#).send(&gateway).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(upstream.last().body, br#"{"model":"up-model","input":"hi"}"#.as_slice(), "no text is generated");
}

#[tokio::test]
async fn passed_headers_are_bounded() {
    let (upstream, gateway) = start(ADDITIONS).await;
    let ask = |bytes| Ask::post("/v1/chat/completions", chat("m", false)).header("x-session-id", &"s".repeat(bytes));
    assert_eq!(ask(8 << 10).send(&gateway).await.status, 200);
    let answer = ask((8 << 10) + 1).send(&gateway).await;
    assert!(answer.status == 400 && answer.text().contains("x-session-id"), "{}", answer.text());
    assert_eq!(upstream.received().len(), 1);
}

#[tokio::test]
async fn the_key_goes_into_the_header_that_the_owner_names() {
    for (more, name, value) in [
        ("header: Ocp-Apim-Subscription-Key", "ocp-apim-subscription-key", "canary-key"),
        ("header: Authorization, prefix: 'Token '", "authorization", "Token canary-key"),
        ("header: X-Auth, prefix: 'Bearer '", "x-auth", "Bearer canary-key"),
    ] {
        let credentials = format!("credentials: {{apiKey: {{secretRef: {{name: own, key: key}}, {more}}}}}");
        let (upstream, gateway) = start(&credentials).await;
        let answer = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let sent = upstream.last();
        assert_eq!(sent.header(name), Some(value));
        assert!(name == "authorization" || sent.header("authorization").is_none(), "{sent:?}");
        let shown = gateway.shown().await;
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_the_one_in_force() {
    let upstream = Upstream::builder().mutual_tls().script(Script::new().text("done")).start().await.unwrap();
    let stranger = Upstream::builder().mutual_tls().start().await.unwrap();
    let with = |identity: Option<(String, String)>| {
        let own = if identity.is_some() { ", clientCertificateRef: {name: own}" } else { "" };
        let tls = format!("tls: {{caCertificateRef: {{kind: Secret, name: ca}}{own}}}");
        let (certificate, key) = identity.unwrap_or_default();
        Manifests::new()
            .secret("ca", &[("ca.crt", upstream.ca_pem().unwrap())])
            .secret("own", &[("tls.crt", &certificate), ("tls.key", &key)])
            .provider_with("up", "OpenAI", &upstream, &tls)
            .route("m", &["up"])
            .token()
    };
    let ask = |gateway| Ask::post("/v1/chat/completions", chat("m", false)).send(gateway);
    let gateway = Gateway::start(&with(None));
    assert_eq!(ask(&gateway).await.status, 502, "without a certificate");
    gateway.apply(&with(Some(upstream.client_certificate("gateway")))).await;
    assert_eq!(ask(&gateway).await.status, 200);
    assert_eq!(ask(&gateway).await.status, 200);
    let connections = upstream.accepted_connections();
    gateway.apply(&with(Some(upstream.client_certificate("gateway-renewed")))).await;
    assert_eq!(ask(&gateway).await.status, 200);
    assert_eq!(upstream.accepted_connections(), connections + 1, "a renewed certificate is shown on a new connection");
    gateway.apply(&with(Some(stranger.client_certificate("gateway")))).await;
    assert_eq!(ask(&gateway).await.status, 502, "a certificate of another authority");
    let shown = gateway.shown().await;
    assert!(!shown.contains("PRIVATE KEY"), "{shown}");
}
