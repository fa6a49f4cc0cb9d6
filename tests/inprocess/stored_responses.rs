//! Responses that an upstream keeps: going on from one, reading, listing, cancelling and deleting it, by an id that leads to
//! the upstream that made it, for the token that it was made for.

use http::Method;
use routeapi_tests::upstream::{Script, Upstream};
use serde_json::{Value, json};

use crate::{
    gateway::{Gateway, Manifests, TOKEN},
    request::{Answer, Ask},
};

/// A token beside the usual one.
const OTHER: &str = "sk-of-another-tenant";
const RESPONSES: &str = "endpoints: [ChatCompletions, Responses]";

struct Setup {
    first: Upstream,
    second: Upstream,
    gateway: Gateway,
}

/// Two accounts behind one route, and a second token.
async fn two() -> Setup {
    let (first, second) = (Upstream::start(Script::new()).await, Upstream::start(Script::new()).await);
    let manifests = Manifests::new()
        .provider_with("first", "OpenAI", &first, RESPONSES)
        .provider_with("second", "OpenAI", &second, RESPONSES)
        .route("m", &["first", "second"])
        .token()
        .token_with("other", OTHER, "models: ['*']");
    let gateway = Gateway::start(&manifests);
    Setup { first, second, gateway }
}

fn asks(stream: bool, more: &Value) -> Ask {
    let mut body = json!({"model": "m", "stream": stream, "input": "tell me something"});
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    Ask::post("/v1/responses", body.to_string())
}

/// The id that a client is given.
async fn made(gateway: &Gateway, stream: bool) -> String {
    let answer = asks(stream, &json!({})).send(gateway).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    if !stream {
        return answer.json()["id"].as_str().unwrap().to_owned();
    }
    let ids: Vec<_> =
        answer.events().iter().filter_map(|it| it["response"]["id"].as_str().map(str::to_owned)).collect();
    assert!(ids.len() == 3 && ids.iter().all(|id| *id == ids[0]), "one id in all events: {ids:?}");
    ids[0].clone()
}

fn about(method: Method, id: &str, rest: &str) -> Ask {
    Ask::get(&format!("/v1/responses/{id}{rest}")).method(method)
}

fn error(answer: &Answer) -> (u16, Value, Value) {
    let error = &answer.json()["error"];
    (answer.status, error["param"].clone(), error["code"].clone())
}

#[tokio::test]
async fn an_id_leads_to_the_account_that_issued_it() {
    for stream in [false, true] {
        let Setup { first, second, gateway } = two().await;
        first.set(Script::failing(500));
        let id = made(&gateway, stream).await;
        assert_eq!(second.received().len(), 1, "by fallback");
        assert!(id.starts_with("resp_") && id.len() > 60, "{id}");

        let before = first.received().len();
        let answer = asks(stream, &json!({"previous_response_id": id})).send(&gateway).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let sent = second.received().pop().unwrap().json();
        let own = sent["previous_response_id"].as_str().unwrap();
        assert!(own.starts_with("resp_") && own.len() < 20, "the upstream's own: {own}");
        if !stream {
            assert_eq!(answer.json()["previous_response_id"], id.as_str(), "named as the client knows it");
        }
        assert_eq!(first.received().len(), before, "the account that does not know it is not asked");

        let read = about(Method::GET, &id, "").send(&gateway).await;
        assert_eq!((read.status, read.json()["id"].as_str()), (200, Some(id.as_str())), "{}", read.text());
        let items = about(Method::GET, &id, "/input_items?limit=2&x=1").send(&gateway).await;
        assert_eq!((items.status, &items.json()["data"][0]["content"][0]["text"]), (200, &"tell me something".into()));
        let asked = second.received().pop().unwrap();
        assert_eq!(
            (asked.method.as_str(), asked.path.as_str()),
            ("GET", &*format!("/v1/responses/{own}/input_items?limit=2"))
        );
        assert!(asked.body.is_empty() && asked.header("content-type").is_none());
        let cancelled = about(Method::POST, &id, "/cancel").send(&gateway).await;
        assert_eq!(cancelled.json()["status"], "cancelled", "{}", cancelled.text());
        let deleted = about(Method::DELETE, &id, "").send(&gateway).await;
        assert_eq!(deleted.json(), json!({"id": id, "object": "response", "deleted": true}));
        let gone = about(Method::GET, &id, "").send(&gateway).await;
        assert_eq!(gone.status, 404, "in the upstream's words: {}", gone.text());
        assert_eq!(first.received().len(), before);

        let records = gateway.records(7).await;
        let operations: Vec<_> = records.iter().map(|record| record["operation"].as_str().unwrap()).collect();
        let expected = [
            "responses",
            "responses",
            "retrieve_response",
            "response_input_items",
            "cancel_response",
            "delete_response",
            "retrieve_response",
        ];
        assert_eq!(operations, expected);
        for record in &records[2..] {
            assert_eq!((&record["usage_source"], &record["model"]), (&json!("none"), &json!("m")), "{record:#}");
        }
    }
}

#[tokio::test]
async fn a_stream_is_read_again_from_an_event_on() {
    let Setup { first: _first, second: _second, gateway } = two().await;
    let id = made(&gateway, true).await;
    let again = about(Method::GET, &id, "?stream=true&starting_after=1").send(&gateway).await;
    assert_eq!((again.status, again.header("content-type")), (200, Some("text/event-stream")));
    let events = again.events();
    assert_eq!(
        (&events[0]["sequence_number"], &events.last().unwrap()["type"]),
        (&json!(2), &json!("response.completed"))
    );
    assert_eq!(events.last().unwrap()["response"]["id"], id.as_str());
    assert_eq!(gateway.records(2).await[1]["usage_source"], "none", "what it cost was charged when it was made");
}

#[tokio::test]
async fn foreign_forged_and_forgotten_ids_are_refused_alike() {
    let Setup { first, second: _second, gateway } = two().await;
    let id = made(&gateway, false).await;
    let own = first.received().len();
    let mut forged = id.clone().into_bytes();
    forged[40] = if forged[40] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    for (id, token) in [(&*id, OTHER), (&*forged, TOKEN), ("resp_1", TOKEN), ("resp_", TOKEN), ("x", TOKEN)] {
        for path in ["/v1/responses", "/v1/responses/input_tokens", "/v1/responses/compact"] {
            let body = json!({"model": "m", "input": "x", "previous_response_id": id});
            let answer = Ask::post(path, body.to_string()).bearer(token).send(&gateway).await;
            let expected = (400, json!("previous_response_id"), json!("previous_response_not_found"));
            assert_eq!(error(&answer), expected, "{path} {id}: {}", answer.text());
        }
        for (method, rest) in [
            (Method::GET, ""),
            (Method::DELETE, ""),
            (Method::POST, "/cancel"),
            (Method::GET, "/input_items"),
            (Method::GET, "?stream=true"),
        ] {
            let answer = about(method, id, rest).bearer(token).send(&gateway).await;
            assert_eq!(answer.status, 404, "{id}{rest}: {}", answer.text());
            assert!(answer.json()["error"]["message"].as_str().unwrap().contains("not found"), "{}", answer.text());
        }
    }
    assert_eq!(first.received().len(), own, "no upstream was asked");
    let long = format!("resp_{}", "A".repeat(1 << 20));
    let answer = asks(false, &json!({"previous_response_id": long})).send(&gateway).await;
    assert_eq!((answer.status, answer.body.len() < 1_000), (400, true), "not read, and not repeated");
    let anonymous = about(Method::GET, &id, "").anonymous().send(&gateway).await;
    assert_eq!(anonymous.status, 401);
    let wrong = about(Method::POST, &id, "").send(&gateway).await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET, DELETE")));
}

#[tokio::test]
async fn what_is_found_says_nothing_of_the_model() {
    let upstream = Upstream::start(Script::new()).await;
    let manifests = Manifests::new()
        .provider_with(
            "up",
            "OpenAI",
            &upstream,
            &format!("{RESPONSES}, eviction: {{consecutiveFailures: 2, duration: 10m}}"),
        )
        .provider_with("next", "OpenAI", &upstream, RESPONSES)
        .route("m", &["up", "next"])
        .token();
    let gateway = Gateway::start(&manifests);
    let id = made(&gateway, false).await;
    for _ in 0..2 {
        upstream.on_model("up-model", Script::failing(500));
        assert_eq!(asks(false, &json!({})).send(&gateway).await.status, 200, "by the next");
        assert_eq!(about(Method::GET, &id, "").send(&gateway).await.status, 200);
    }
    let before = upstream.received().len();
    assert_eq!(asks(false, &json!({})).send(&gateway).await.status, 200);
    assert_eq!(upstream.received().len(), before + 1, "the first is left out");
}

#[tokio::test]
async fn members_that_decide_the_upstream_may_not_repeat() {
    let Setup { first, second: _second, gateway } = two().await;
    let id = made(&gateway, false).await;
    for body in [
        format!(r#"{{"model":"m","input":"x","previous_response_id":"{id}","previous_response_id":"resp_9"}}"#),
        format!(r#"{{"model":"m","input":"x","previous_response_id":"{id}","previous\u005fresponse_id":"resp_9"}}"#),
        r#"{"model":"m","input":"x","conversation":null,"conversation":"conv_9"}"#.to_owned(),
    ] {
        let answer = Ask::post("/v1/responses", body).send(&gateway).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
    let both = asks(false, &json!({"conversation": "conv_9", "previous_response_id": id})).send(&gateway).await;
    assert_eq!((both.status, &both.json()["error"]["param"]), (400, &"conversation".into()), "{}", both.text());
    assert_eq!(first.received().len(), 1);
}

#[tokio::test]
async fn a_conversation_goes_on_at_an_account_that_gets_nothing_new() {
    let (old, new) = (Upstream::start(Script::new()).await, Upstream::start(Script::new()).await);
    let manifests = |weights: [u32; 2]| {
        Manifests::new()
            .provider_with("old", "OpenAI", &old, RESPONSES)
            .provider_with("new", "OpenAI", &new, RESPONSES)
            .with(&format!(
                "apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {{name: m, namespace: apps}}\n\
                 spec: {{model: m, upstreams: [{{name: old, providerRef: {{name: old}}, weight: {}}}, \
                 {{name: new, providerRef: {{name: new}}, weight: {}}}]}}",
                weights[0], weights[1]
            ))
            .token()
    };
    let gateway = Gateway::start(&manifests([1, 0]));
    let id = made(&gateway, false).await;
    gateway.apply(&manifests([0, 1])).await;
    made(&gateway, false).await;
    assert_eq!(new.received().len(), 1);
    let answer = asks(false, &json!({"previous_response_id": id})).send(&gateway).await;
    assert_eq!((answer.status, old.received().len(), new.received().len()), (200, 2, 1), "{}", answer.text());
}

#[tokio::test]
async fn where_nothing_is_kept_the_refusal_says_why() {
    let upstream = Upstream::start(Script::new()).await;
    let gateway = Gateway::start(&Manifests::new().provider("up", "Anthropic", &upstream).route("m", &["up"]).token());
    let id = made(&gateway, false).await;
    let answer = asks(false, &json!({"previous_response_id": id})).send(&gateway).await;
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &"previous_response_id".into()));
    assert!(answer.text().contains("upstream up"), "{}", answer.text());
    assert_eq!(about(Method::GET, &id, "").send(&gateway).await.status, 404);
}

#[tokio::test]
async fn a_large_event_keeps_its_place_and_gets_its_id() {
    let long = "x".repeat(200_000);
    let upstream = Upstream::start(Script::new().text(&long)).await;
    let manifests = Manifests::new().provider_with("up", "OpenAI", &upstream, RESPONSES).route("m", &["up"]).token();
    let gateway = Gateway::start(&manifests);
    let answer = asks(true, &json!({})).send(&gateway).await;
    let events = answer.events();
    let last = &events.last().unwrap()["response"];
    assert_eq!(last["output"][0]["content"][0]["text"].as_str().unwrap().len(), long.len());
    assert!(last["id"] == events[0]["response"]["id"] && last["id"].as_str().unwrap().len() > 60, "{}", last["id"]);
}

#[tokio::test]
async fn an_account_that_takes_over_an_upstreams_name_meanwhile_is_not_asked() {
    let (first, second) = (Upstream::start(Script::new()).await, Upstream::start(Script::new()).await);
    let manifests = |backup: &str| {
        Manifests::new()
            .provider_with("first", "OpenAI", &first, RESPONSES)
            .provider_with("second", "OpenAI", &second, RESPONSES)
            .with(&format!(
                "apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {{name: m, namespace: apps}}\n\
                 spec: {{model: m, upstreams: [{{name: main, providerRef: {{name: first}}}}, \
                 {{name: backup, providerRef: {{name: {backup}}}, priority: 1}}]}}",
            ))
            .token()
    };
    let gateway = Gateway::start(&manifests("first"));
    let id = made(&gateway, false).await;
    first.set(Script::silent());
    let asking = about(Method::GET, &id, "");
    let (answer, ()) = tokio::join!(asking.send(&gateway), async {
        first.wait_received(2, std::time::Duration::from_secs(10)).await;
        gateway.apply(&manifests("second")).await;
        first.kill();
    });
    assert_eq!((answer.status, second.received().len()), (502, 0), "{}", answer.text());
}
