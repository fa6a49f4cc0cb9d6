//! Each token sees the models it may use, in the shape its SDK reads.

use routeapi_tests::{
    upstream::{Script, Upstream},
    wait,
};
use serde_json::{Value, json};

use crate::{
    gateway::{Gateway, Manifests, SOON},
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

#[tokio::test]
async fn a_routes_model_limits_narrow_the_providers() {
    let upstream = Upstream::start(Script::new()).await;
    let takes =
        "models: [{model: up-model, maxOutputTokens: 500, unsupported: [Temperature, StreamOptions]}, {model: \"*\"}]";
    let narrowed = |model: &str, more: &str| {
        format!(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {{name: {model}, namespace: apps}}\nspec: {{model: {model}, \
             upstreams: [{{name: up, providerRef: {{name: up}}, model: up-model, maxOutputTokens: 100, unsupported: [Seed]}}]{more}}}"
        )
    };
    let manifests = Manifests::new()
        .provider_with("up", "OpenAI", &upstream, takes)
        .route("m", &["up"])
        .with(&narrowed("narrow", ""))
        .with(&narrowed("strict", ", translation: Strict"))
        .token();
    let gateway = Gateway::start(&manifests);
    let chat = |model: &str| {
        json!({"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 900, "temperature": 0.5,
               "seed": 7, "stream": true, "stream_options": {"include_usage": true}})
    };
    let messages = |model: &str| json!({"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 900, "temperature": 0.5});
    let rows = [
        ("/v1/chat/completions", chat("m"), 500, true, "max_completion_tokens;from=900;to=500"),
        ("/v1/chat/completions", chat("narrow"), 100, false, "field=seed"),
        ("/v1/messages", messages("m"), 500, false, "max_tokens;from=900;to=500"),
        ("/v1/messages", messages("narrow"), 100, false, "max_tokens;from=900;to=100"),
    ];
    for (path, body, most, keeps_seed, warning) in rows {
        let answer = Ask::post(path, body.to_string()).send(&gateway).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let warnings = answer.header("x-routeapi-warnings").unwrap_or_default().to_owned();
        assert!(warnings.contains(warning) && warnings.contains("dropped;field=temperature"), "{path}: {warnings}");
        let sent = upstream.last().json();
        assert_eq!(sent["max_tokens"], most, "{path}: {sent:#}");
        assert!(sent.get("temperature").is_none() && sent.get("stream_options").is_none(), "{path}: {sent:#}");
        assert_eq!(sent.get("seed").is_some(), keeps_seed, "{path}: {sent:#}");
    }
    let unlimited = json!({"model": "narrow", "messages": [{"role": "user", "content": "hi"}]});
    Ask::post("/v1/chat/completions", unlimited.to_string()).send(&gateway).await;
    assert_eq!(upstream.last().json()["max_tokens"], 100, "a route's limit holds for who names none");
    let refused = Ask::post("/v1/messages", messages("strict").to_string()).send(&gateway).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
}

/// Waits until the list for this token has so many entries, and gives it.
async fn listed(gateway: &Gateway, path: &str, member: &str, count: usize) -> Value {
    let look = || async {
        let list = Ask::get(path).send(gateway).await.json();
        (list[member].as_array().is_some_and(|entries| entries.len() == count)).then_some(list)
    };
    wait::until("the list is as long as expected", SOON, look).await.0
}

#[tokio::test]
async fn a_prefix_lists_what_its_provider_offers() {
    let upstream = Upstream::start(Script::new()).await;
    for (kind, family_path) in
        [("OpenAI", "/v1/models"), ("Anthropic", "/v1/models?limit=1000"), ("Gemini", "/v1beta/models?pageSize=1000")]
    {
        let manifests = Manifests::new()
            .provider("up", kind, &upstream)
            .with(
                "apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {name: any, namespace: apps}\n\
                 spec: {model: \"scripted-*\", upstreams: [{name: up, providerRef: {name: up}}]}",
            )
            .route("scripted-small", &["up"])
            .route("other", &["up"])
            .token()
            .token_with("narrow", "sk-narrow-token-01", "models: [\"other\"]");
        let gateway = Gateway::start(&manifests);
        let list = listed(&gateway, "/v1beta/models", "models", 3).await;
        assert_eq!(ids(&list, "models", "name"), ["models/other", "models/scripted-large", "models/scripted-small"]);
        assert_eq!(list["models"][1]["inputTokenLimit"].is_u64(), kind != "OpenAI", "{list:#}");
        let openai = Ask::get("/v1/models").send(&gateway).await.json();
        assert_eq!(ids(&openai, "data", "id"), ["other", "scripted-large", "scripted-small"]);
        let narrow = Ask::get("/v1/models").bearer("sk-narrow-token-01").send(&gateway).await.json();
        assert_eq!(ids(&narrow, "data", "id"), ["other"], "what a token may not use it does not see");
        assert_eq!(upstream.listings().last().unwrap().path, family_path);
        assert!(upstream.received().is_empty(), "no client's request");
    }
}

#[tokio::test]
async fn a_provider_that_gives_no_list_harms_nobody() {
    for script in [
        Script::failing(500),
        Script::failing(200).body("<html>", "text/html"),
        Script::failing(200).body("{}", "application/json"),
    ] {
        let upstream = Upstream::start(Script::new()).await;
        upstream.on_model_list(script);
        let manifests = Manifests::new()
            .provider("up", "OpenAI", &upstream)
            .with(
                "apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {name: any, namespace: apps}\n\
                 spec: {model: \"*\", upstreams: [{name: up, providerRef: {name: up}}]}",
            )
            .token();
        let gateway = Gateway::start(&manifests);
        wait::until_true("the list was asked for", SOON, || !upstream.listings().is_empty()).await;
        let answer = Ask::post("/v1/chat/completions", chat("anything", false)).send(&gateway).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(ids(&Ask::get("/v1/models").send(&gateway).await.json(), "data", "id"), [""; 0]);
    }
}

#[tokio::test]
async fn routes_without_a_prefix_and_hidden_ones_ask_for_no_list() {
    let upstream = Upstream::start(Script::new()).await;
    let manifests = Manifests::new()
        .provider("up", "OpenAI", &upstream)
        .with(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {name: any, namespace: apps}\n\
             spec: {model: \"*\", visibility: Unlisted, upstreams: [{name: up, providerRef: {name: up}}]}",
        )
        .with(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {name: renamed, namespace: apps}\n\
             spec: {model: \"my-*\", upstreams: [{name: up, providerRef: {name: up}, model: one}]}",
        )
        .route("named", &["up"])
        .token();
    let seen = Upstream::start(Script::new()).await;
    let manifests = manifests.provider("seen", "OpenAI", &seen).with(
        "apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {name: seen, namespace: apps}\n\
         spec: {model: \"scripted-*\", upstreams: [{name: up, providerRef: {name: seen}}]}",
    );
    let gateway = Gateway::start(&manifests);
    // Those that are asked are asked in the same round.
    let list = listed(&gateway, "/v1/models", "data", 3).await;
    assert_eq!(ids(&list, "data", "id"), ["named", "scripted-large", "scripted-small"]);
    assert!(upstream.listings().is_empty(), "{:?}", upstream.listings());
}
