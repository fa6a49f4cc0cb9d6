//! Providers that are called with the caller's own credential (`credentials.fromClient`): it reaches the vendor as it came,
//! nobody else, and what the vendor then says of the caller's account concerns the caller alone.

use routeapi_tests::upstream::{Script, Upstream};
use serde_json::json;

use crate::{
    gateway::{Gateway, Manifests, TOKEN},
    request::{Answer, Ask, chat, dialects, messages},
};

const FROM_CLIENT: &str = "credentials: {fromClient: {}}";
/// What no page, record or other vendor may show.
const OWN: &str = "sk-ant-canary-of-the-caller";

/// A provider of this type that takes the caller's own credential, behind the model `m`.
async fn start(kind: &str, route: &str) -> (Upstream, Gateway) {
    let upstream = Upstream::start(Script::new()).await;
    let manifests = Manifests::new()
        .provider_with("seats", kind, &upstream, FROM_CLIENT)
        .route_with("m", &["seats"], route)
        .token();
    let gateway = Gateway::start(&manifests);
    (upstream, gateway)
}

/// A request with the gateway's key apart.
fn apart(path: &str, body: String) -> Ask {
    Ask::post(path, body).anonymous().header("x-routeapi-key", TOKEN)
}

async fn ask(gateway: &Gateway, name: &str, value: &str) -> Answer {
    apart("/v1/messages", messages("m", false)).header(name, value).send(gateway).await
}

#[tokio::test]
async fn callers_credential_reaches_the_vendor_unchanged() {
    let (upstream, gateway) = start("Anthropic", "").await;
    let bearer = format!("Bearer {OWN}");
    for (name, value, other) in [("authorization", &*bearer, "x-api-key"), ("x-api-key", OWN, "authorization")] {
        for stream in [false, true] {
            for (path, body) in dialects("m", stream) {
                let answer = apart(&path, body).header(name, value).header("cookie", "a=b").send(&gateway).await;
                assert_eq!(answer.status, 200, "{path} {}", answer.text());
                let received = upstream.last();
                assert_eq!(received.header(name), Some(value), "{path}");
                for absent in [other, "x-routeapi-key", "cookie"] {
                    assert_eq!(received.header(absent), None, "{path}");
                }
            }
        }
    }
    let shown = gateway.shown().await;
    assert!(!shown.contains(OWN) && !shown.contains(TOKEN), "{shown}");
    assert!(!gateway.page().await.contains(OWN));
}

#[tokio::test]
async fn key_in_its_own_header_is_the_only_key() {
    let (_upstream, gateway) = start("Anthropic", "").await;
    let wrong = Ask::post("/v1/messages", messages("m", false)).header("x-routeapi-key", "sk-unknown-key-0001");
    let answer = wrong.send(&gateway).await;
    assert_eq!(answer.status, 401, "a valid key elsewhere does not make up for it: {}", answer.text());
    let bearer = apart("/v1/messages", messages("m", false)).header("x-api-key", OWN);
    assert_eq!(bearer.send(&gateway).await.status, 200);
    let scheme = Ask::post("/v1/messages", messages("m", false)).anonymous().header("x-api-key", OWN);
    assert_eq!(scheme.header("x-routeapi-key", &format!("Bearer {TOKEN}")).send(&gateway).await.status, 200);
}

#[tokio::test]
async fn key_in_its_own_header_serves_other_providers_too() {
    let upstream = Upstream::start(Script::new()).await;
    let manifests = Manifests::new()
        .secret("key", &[("apiKey", "sk-of-the-provider")])
        .provider_with("up", "OpenAI", &upstream, "credentials: {apiKey: {secretRef: {name: key}}}")
        .route("m", &["up"])
        .token();
    let gateway = Gateway::start(&manifests);
    let asking = apart("/v1/chat/completions", chat("m", false)).header("authorization", &format!("Bearer {OWN}"));
    assert_eq!(asking.send(&gateway).await.status, 200);
    assert_eq!(upstream.last().header("authorization"), Some("Bearer sk-of-the-provider"), "off unless said");
}

#[tokio::test]
async fn what_to_send_is_said_when_no_credential_came() {
    let (upstream, gateway) = start("Anthropic", "").await;
    let without = apart("/v1/messages", messages("m", false));
    let not_apart = Ask::post("/v1/messages", messages("m", false)).header("x-api-key", OWN);
    let ours_twice = apart("/v1/messages", messages("m", false)).header("authorization", &format!("Bearer {TOKEN}"));
    for asking in [without, not_apart, ours_twice] {
        let answer = asking.send(&gateway).await;
        assert_eq!(answer.status, 401, "{}", answer.text());
        let error = &answer.json()["error"];
        assert_eq!(error["type"], "authentication_error");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("your own credential; send it in authorization or x-api-key"), "{message}");
        assert!(message.contains("the gateway's key in x-routeapi-key"), "{message}");
    }
    assert_eq!(upstream.received().len(), 0);
    let records = gateway.records(3).await;
    assert!(records.iter().all(|record| record["error"] == "no_client_credential"), "{records:#?}");
}

#[tokio::test]
async fn credential_never_goes_to_another_provider_on_fallback() {
    for failing in [Script::failing(500), Script::rate_limited(60), Script::failing(401)] {
        let seats = Upstream::start(failing).await;
        let second = Upstream::start(Script::new()).await;
        let manifests = Manifests::new()
            .provider_with("seats", "Anthropic", &seats, FROM_CLIENT)
            .provider("open", "Anthropic", &second)
            .route_with("m", &["seats", "open"], "fallback: {conditions: [ServerError, RateLimited, AuthFailure]}")
            .token();
        let gateway = Gateway::start(&manifests);
        let answer = ask(&gateway, "x-api-key", OWN).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(seats.last().header("x-api-key"), Some(OWN));
        let received = second.last();
        assert!(!format!("{received:?}").contains(OWN), "{received:?}");
    }
}

#[tokio::test]
async fn without_a_credential_the_next_provider_serves() {
    let seats = Upstream::start(Script::new()).await;
    let second = Upstream::start(Script::new()).await;
    let manifests = Manifests::new()
        .provider_with("seats", "Anthropic", &seats, FROM_CLIENT)
        .provider("open", "Anthropic", &second)
        .route("m", &["seats", "open"])
        .token();
    let gateway = Gateway::start(&manifests);
    let answer = Ask::post("/v1/messages", messages("m", false)).send(&gateway).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!((seats.received().len(), second.received().len()), (0, 1));
}

#[tokio::test]
async fn refused_credential_is_the_callers_and_harms_nobody_else() {
    let (upstream, gateway) = start("Anthropic", "").await;
    for failing in [Script::failing(401), Script::rate_limited(60)] {
        upstream.set(failing);
        for _ in 0..8 {
            let answer = ask(&gateway, "x-api-key", "sk-ant-used-up").await;
            assert!(matches!(answer.status, 401 | 429), "the vendor's own answer: {}", answer.text());
        }
        upstream.set(Script::new());
        let answer = ask(&gateway, "x-api-key", OWN).await;
        assert_eq!(answer.status, 200, "no eviction, no cool-down: {}", answer.text());
    }
    let page = gateway.page().await;
    assert!(!page.contains("routeapi_provider_credentials_rejected{"), "{page}");
}

#[tokio::test]
async fn account_headers_go_with_the_credential() {
    let (upstream, gateway) = start("OpenAI", "").await;
    let asking = apart("/v1/chat/completions", chat("m", false)).header("authorization", &format!("Bearer {OWN}"));
    let answer = asking.header("openai-organization", "org-1").header("x-goog-user-project", "p").send(&gateway).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let received = upstream.last();
    assert_eq!((received.header("openai-organization"), received.header("x-goog-user-project")), (Some("org-1"), None));
}

#[tokio::test]
async fn no_model_list_is_asked_for_without_a_caller() {
    let upstream = Upstream::start(Script::new()).await;
    let manifests = Manifests::new()
        .provider_with("seats", "OpenAI", &upstream, FROM_CLIENT)
        .with(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {name: all, namespace: apps}\n\
             spec: {model: \"gpt-*\", upstreams: [{name: seats, providerRef: {name: seats}}]}",
        )
        .token();
    let gateway = Gateway::start(&manifests);
    let listed = Ask::get("/v1/models").send(&gateway).await.json();
    assert_eq!(listed["object"], json!("list"));
    let asking = apart("/v1/chat/completions", chat("gpt-5", false)).header("authorization", &format!("Bearer {OWN}"));
    assert_eq!(asking.send(&gateway).await.status, 200);
    assert_eq!(upstream.received().len(), 1, "only the caller's request");
}
