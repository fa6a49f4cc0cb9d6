//! Each token sees the models it may use, in the shape its SDK reads.

use routeapi_tests::upstream::{Script, Upstream};
use serde_json::Value;

use crate::{
    gateway::{Gateway, Manifests},
    request::{Ask, chat},
};

async fn several() -> (Upstream, Gateway) {
    let upstream = Upstream::start(Script::new()).await;
    let manifests = Manifests::new()
        .provider("up", "OpenAI", &upstream)
        .route_with("alpha", &["up"], "ownedBy: someone, aliases: [alpha-latest]")
        .route("beta", &["up"])
        .with(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {name: any, namespace: apps}\n\
             spec: {model: \"any-*\", upstreams: [{name: up, providerRef: {name: up}}]}",
        )
        .with(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIProvider\nmetadata: {name: echo, namespace: elsewhere}\n\
             spec: {type: Echo}",
        )
        .with(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {name: hidden, namespace: elsewhere}\n\
             spec: {model: hidden, upstreams: [{name: echo, providerRef: {name: echo}}]}",
        )
        .token()
        .token_with("narrow", "sk-narrow-token-01", "models: [beta, \"any-*\"]");
    let gateway = Gateway::start(&manifests);
    (upstream, gateway)
}

fn ids(list: &Value, member: &str, name: &str) -> Vec<String> {
    list[member].as_array().unwrap().iter().map(|model| model[name].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn lists_are_scoped_to_the_token_in_three_shapes() {
    let (_upstream, gateway) = several().await;
    let openai = Ask::get("/v1/models").send(&gateway).await.json();
    assert_eq!(openai["object"], "list");
    assert_eq!(ids(&openai, "data", "id"), ["alpha", "alpha-latest", "beta"], "no wildcard, nothing of elsewhere");
    assert_eq!(openai["data"][0]["owned_by"], "someone");
    let narrow = Ask::get("/v1/models").bearer("sk-narrow-token-01").send(&gateway).await.json();
    assert_eq!(ids(&narrow, "data", "id"), ["beta"]);
    let anthropic =
        Ask::get("/v1/models?limit=1000").header("anthropic-version", "2023-06-01").send(&gateway).await.json();
    assert_eq!((&anthropic["has_more"], &anthropic["data"][0]["type"]), (&false.into(), &"model".into()));
    let key = Ask::get("/v1/models").anonymous().header("x-api-key", "sk-narrow-token-01").send(&gateway).await.json();
    assert_eq!(ids(&key, "data", "id"), ["beta"]);
    assert!(key.get("has_more").is_some(), "{key:#}");
    let gemini = Ask::get("/v1beta/models").send(&gateway).await.json();
    assert_eq!(ids(&gemini, "models", "name"), ["models/alpha", "models/alpha-latest", "models/beta"]);
}

#[tokio::test]
async fn one_model_is_shown_if_it_may_be_used() {
    let (_upstream, gateway) = several().await;
    for (path, token, status) in [
        ("/v1/models/alpha", "sk-test-token-0001", 200),
        ("/v1/models/any-thing", "sk-narrow-token-01", 200),
        ("/v1/models/alpha", "sk-narrow-token-01", 404),
        ("/v1/models/hidden", "sk-test-token-0001", 404),
        ("/v1/models/none", "sk-test-token-0001", 404),
        ("/v1beta/models/beta", "sk-test-token-0001", 200),
        ("/v1/models/beta", "sk-wrong", 401),
    ] {
        let answer = Ask::get(path).bearer(token).send(&gateway).await;
        assert_eq!(answer.status, status, "{path} {token}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_route_of_another_namespace_does_not_exist() {
    let (_upstream, gateway) = several().await;
    let hidden = Ask::post("/v1/chat/completions", chat("hidden", false)).send(&gateway).await;
    let missing = Ask::post("/v1/chat/completions", chat("missing", false)).send(&gateway).await;
    assert_eq!((hidden.status, missing.status), (404, 404));
    assert_eq!(hidden.text().replace("hidden", "missing"), missing.text(), "the two cannot be told apart");
}

#[tokio::test]
async fn a_wildcard_sends_the_id_that_the_client_wrote() {
    let (upstream, gateway) = several().await;
    let answer = Ask::post("/v1/chat/completions", chat("any-old:thing", false)).send(&gateway).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(upstream.last().json()["model"], "any-old:thing");
    let record = gateway.record().await;
    assert_eq!((&record["model"], &record["route"]), (&"any-old:thing".into(), &"apps/any".into()));
}
