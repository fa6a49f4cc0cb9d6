//! What an upstream's model refuses is left out if it is a hint, and remembered if it is the model's own word.

use routeapi_tests::upstream::{Script, Upstream};
use serde_json::{Value, json};

use crate::{
    gateway::{Gateway, Manifests},
    request::{Answer, Ask},
};

/// A second tenant.
const OTHER: &str = "sk-other-token-0001";

/// OpenAI's and Azure's words.
fn refusal(name: &str) -> String {
    let message = format!("Unsupported parameter: '{name}' is not supported with this model.");
    json!({"error": {"message": message, "type": "invalid_request_error", "param": name, "code": "unsupported_parameter"}})
        .to_string()
}

/// An error in words alone.
fn words(message: &str) -> String {
    json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": null}}).to_string()
}

/// Routes of each mode and one with a prefix, all at one Chat server.
async fn gateway(script: Script) -> (Upstream, Gateway) {
    let upstream = Upstream::start(script.tolerate_unknown()).await;
    let manifests = Manifests::new()
        .provider("up", "OpenAI", &upstream)
        .route("m", &["up"])
        .route_with("strict", &["up"], "translation: Strict")
        .with(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {name: any, namespace: apps}\n\
             spec: {model: \"any-*\", upstreams: [{name: up, providerRef: {name: up}}]}",
        )
        .token()
        .token_with("other", OTHER, "models: [\"*\"]");
    let gateway = Gateway::start(&manifests);
    (upstream, gateway)
}

fn with(model: &str, members: &Value) -> String {
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    body.to_string()
}

async fn chat(gateway: &Gateway, model: &str, members: Value) -> Answer {
    Ask::post("/v1/chat/completions", with(model, &members)).send(gateway).await
}

fn warnings(answer: &Answer) -> &str {
    answer.header("x-routeapi-warnings").unwrap_or_default()
}

/// How often the upstream was asked, and whether it was sent a member the last time.
fn asked(upstream: &Upstream, member: &str) -> (usize, bool) {
    (upstream.received().len(), upstream.last().json().get(member).is_some())
}

async fn learned(gateway: &Gateway) -> Value {
    let page = Ask::get("/config").open_at(gateway.admin()).await.read().await.json();
    page["upstreams"]["apps/m"]["up"].clone()
}

#[tokio::test]
async fn a_refused_hint_is_left_out_with_a_warning_and_remembered() {
    let asks = [
        ("/v1/chat/completions", with("m", &json!({"temperature": 0.2})), "temperature"),
        ("/v1/messages", with("m", &json!({"temperature": 0.2, "max_tokens": 99})), "temperature"),
        (
            "/v1beta/models/m:generateContent",
            json!({"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {"temperature": 0.2}}).to_string(),
            "generationConfig.temperature",
        ),
        (
            "/v1/responses",
            json!({"model": "m", "input": "hi", "temperature": 0.2, "store": false}).to_string(),
            "temperature",
        ),
    ];
    for (path, body, field) in asks {
        let (upstream, gateway) = gateway(Script::new().refusing("temperature", &refusal("temperature"))).await;
        for (at, expected) in [(1, 2), (2, 3), (3, 4)] {
            let answer = Ask::post(path, body.clone()).send(&gateway).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            let told = warnings(&answer);
            assert!(told.contains(&format!("dropped;field={field}")), "{path}: {told}");
            assert_eq!(asked(&upstream, "temperature"), (expected, false), "{path}: only the first is made twice");
            let record = gateway.records(at).await.remove(at - 1);
            assert_eq!(record["outcome"], "completed", "{record:#}");
            assert_eq!(record["attempts"].as_array().unwrap().len(), if at == 1 { 2 } else { 1 }, "{record:#}");
        }
        let state = learned(&gateway).await;
        assert_eq!((&state["state"], &state["byNamespace"]), (&"ready".into(), &Value::Null), "{state:#}");
        assert_eq!(state["learned"], json!({"up-model": {"unsupported": ["Temperature"]}}), "{path}");
    }
}

#[tokio::test]
async fn a_strict_route_hands_the_refusal_on_whatever_others_have_learned() {
    let (upstream, gateway) = gateway(Script::new().refusing("temperature", &refusal("temperature"))).await;
    let strict = || chat(&gateway, "strict", json!({"temperature": 0.2}));
    let answer = strict().await;
    assert_eq!((answer.status, answer.text()), (400, refusal("temperature").as_str()), "the vendor's own words");
    assert_eq!(asked(&upstream, "temperature"), (1, true));
    let body = with("strict", &json!({"temperature": 0.2, "max_tokens": 99}));
    let answer = Ask::post("/v1/messages", body).send(&gateway).await;
    let error = answer.json();
    assert_eq!((answer.status, &error["type"]), (400, &"error".into()), "{error:#}");
    assert_eq!(error["error"]["type"], "invalid_request_error", "{error:#}");
    assert_eq!(asked(&upstream, "temperature"), (2, true));
    assert_eq!(chat(&gateway, "m", json!({"temperature": 0.2})).await.status, 200);
    assert_eq!(asked(&upstream, "temperature"), (4, false));
    assert_eq!(strict().await.status, 400);
    assert_eq!(asked(&upstream, "temperature"), (5, true));
}

#[tokio::test]
async fn parameters_that_are_refused_one_by_one_are_left_out_one_by_one() {
    let names = ["temperature", "top_p", "presence_penalty"];
    let script = names.iter().fold(Script::new(), |script, name| script.refusing(name, &refusal(name)));
    let (upstream, gateway) = gateway(script).await;
    let members = json!({"temperature": 0.2, "top_p": 0.5, "presence_penalty": 0.1, "seed": 7});
    for expected in [4, 5] {
        let answer = chat(&gateway, "m", members.clone()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        for name in names {
            assert!(warnings(&answer).contains(&format!("dropped;field={name}")), "{}", warnings(&answer));
        }
        assert_eq!(asked(&upstream, "seed"), (expected, true));
    }
}

#[tokio::test]
async fn a_refused_name_of_the_output_limit_is_replaced_by_the_other() {
    let (upstream, gateway) = gateway(Script::new().refusing("max_tokens", &refusal("max_tokens"))).await;
    for expected in [2, 3] {
        let answer = chat(&gateway, "m", json!({"max_tokens": 77})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(warnings(&answer), "adapted;field=max_tokens;from=max_tokens;to=max_completion_tokens");
        assert_eq!(asked(&upstream, "max_tokens"), (expected, false));
        assert_eq!(upstream.last().json()["max_completion_tokens"], 77);
    }
    let body = with("m", &json!({"max_tokens": 88}));
    let answer = Ask::post("/v1/messages", body).send(&gateway).await;
    assert_eq!((answer.status, warnings(&answer)), (200, ""), "{}", answer.text());
    assert_eq!(
        (asked(&upstream, "max_tokens"), &upstream.last().json()["max_completion_tokens"]),
        ((4, false), &88.into())
    );
    assert_eq!(learned(&gateway).await["learned"]["up-model"]["outputLimit"], "max_tokens");
}

#[tokio::test]
async fn what_one_model_refuses_is_sent_to_others_of_the_same_server() {
    let (upstream, gateway) = gateway(Script::new()).await;
    upstream.on_model("any-reasoner", Script::new().refusing("temperature", &refusal("temperature")));
    let ask = |model: &'static str| chat(&gateway, model, json!({"temperature": 0.2}));
    assert_eq!(ask("any-reasoner").await.status, 200);
    assert_eq!(asked(&upstream, "temperature"), (2, false));
    assert_eq!(warnings(&ask("any-other").await), "");
    assert_eq!(asked(&upstream, "temperature"), (3, true));
    assert_eq!(ask("any-reasoner").await.status, 200);
    assert_eq!(asked(&upstream, "temperature"), (4, false));
}

/// What is learned holds for everybody, so that nobody may teach what is not so.
#[tokio::test]
async fn no_tenant_can_make_another_lose_a_field() {
    let (upstream, gateway) = gateway(Script::new()).await;
    let bystander = async |members: Value| {
        let answer = Ask::post("/v1/chat/completions", with("m", &members)).bearer(OTHER).send(&gateway).await;
        assert_eq!((answer.status, warnings(&answer)), (200, ""), "{}", answer.text());
        for name in members.as_object().unwrap().keys() {
            assert_eq!(upstream.last().json()[name], members[name], "{name} was lost");
        }
    };
    let refuse_next = |body: &str| upstream.enqueue(Script::failing(400).body(body, "application/json"));

    // A request that fails without the parameter as well.
    refuse_next(&refusal("temperature"));
    refuse_next(&refusal("temperature"));
    let answer = chat(&gateway, "m", json!({"temperature": 0.2})).await;
    assert_eq!((answer.status, asked(&upstream, "temperature")), (400, (2, false)), "{}", answer.text());
    bystander(json!({"temperature": 0.2})).await;

    // A value that the model does not know says nothing of others.
    refuse_next(&words(
        "Unsupported value: 'reasoning_effort' does not support 'minimal' with this model. Supported values are: 'low' and 'high'.",
    ));
    let answer = chat(&gateway, "m", json!({"reasoning_effort": "minimal"})).await;
    assert_eq!((answer.status, warnings(&answer)), (200, "dropped;field=reasoning_effort"), "{}", answer.text());
    bystander(json!({"reasoning_effort": "high"})).await;

    // An error that quotes a sentence of the client's.
    let sentence = "`user` is not supported with this model";
    refuse_next(&words(sentence));
    let answer = chat(&gateway, "m", json!({"user": sentence})).await;
    assert_eq!((answer.status, warnings(&answer)), (200, "dropped;field=user"), "{}", answer.text());
    bystander(json!({"user": "somebody"})).await;
    let sentence = "`top_p` is not supported with this model";
    refuse_next(&words(sentence));
    refuse_next(&refusal("stop"));
    let answer = chat(&gateway, "m", json!({"stop": [sentence], "top_p": 0.5})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    bystander(json!({"top_p": 0.5, "stop": ["END"]})).await;

    // What the answer would lack is never left out.
    refuse_next(&refusal("logprobs"));
    let answer = chat(&gateway, "m", json!({"logprobs": true})).await;
    assert_eq!((answer.status, asked(&upstream, "logprobs").1), (400, true), "{}", answer.text());
    assert_eq!(learned(&gateway).await["learned"], Value::Null);

    // Repetitions draw from the retry budget.
    let before = upstream.received().len();
    for _ in 0..60 {
        refuse_next(&words(
            "Unsupported value: 'temperature' does not support 9 with this model. Supported values are: 1 and 2.",
        ));
        chat(&gateway, "m", json!({"temperature": 9})).await;
    }
    let asked = upstream.received().len() - before;
    assert!(asked < 60 + 40, "{asked} requests for 60");
}

/// Anthropic's search, in the place of OpenAI's, has to be switched on for an account. That it is not is not remembered: another
/// client's tool may be fine.
#[tokio::test]
async fn a_web_search_that_the_account_lacks_is_left_out_with_a_warning() {
    let refusal = json!({"type": "error", "error": {
        "type": "invalid_request_error", "message": "tools.0: Web search is not enabled for this organization."}});
    let upstream = Upstream::start(Script::new().tolerate_unknown().refusing("tools", &refusal.to_string())).await;
    let manifests = Manifests::new()
        .provider("up", "Anthropic", &upstream)
        .route("m", &["up"])
        .route_with("strict", &["up"], "translation: Strict")
        .token();
    let gateway = Gateway::start(&manifests);
    let ask = |model: &str| {
        let body = json!({"model": model, "input": "hi", "tools": [{"type": "web_search"}], "store": false});
        Ask::post("/v1/responses", body.to_string())
    };
    let strict = ask("strict").send(&gateway).await;
    assert_eq!((strict.status, asked(&upstream, "tools")), (400, (1, true)), "{}", strict.text());
    for expected in [3, 5] {
        let answer = ask("m").send(&gateway).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(warnings(&answer).contains("dropped;field=tools[].web_search"), "{}", warnings(&answer));
        assert_eq!(asked(&upstream, "tools"), (expected, false), "each is made twice");
    }
}
