//! Conversations that an upstream keeps: making one, going on in it, its items, by an id that leads to the upstream that made
//! it, for the token that it was made for.

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

/// Two accounts behind one route, a second route to the second of them, and a second token.
struct Setup {
    first: Upstream,
    second: Upstream,
    gateway: Gateway,
}

async fn two() -> Setup {
    let (first, second) = (Upstream::start(Script::new()).await, Upstream::start(Script::new()).await);
    let manifests = Manifests::new()
        .provider_with("first", "OpenAI", &first, RESPONSES)
        .provider_with("second", "OpenAI", &second, RESPONSES)
        .route("m", &["first", "second"])
        .route("other-model", &["second"])
        .token()
        .token_with("other", OTHER, "models: ['*']");
    let gateway = Gateway::start(&manifests);
    Setup { first, second, gateway }
}

async fn made(gateway: &Gateway, query: &str, body: &Value) -> Answer {
    Ask::post(&format!("/v1/conversations{query}"), body.to_string()).send(gateway).await
}

fn id_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

fn about(method: Method, id: &str, rest: &str) -> Ask {
    Ask::get(&format!("/v1/conversations/{id}{rest}")).method(method)
}

fn says(model: &str, stream: bool, conversation: &Value) -> Ask {
    let body = json!({"model": model, "stream": stream, "input": "go on", "conversation": conversation});
    Ask::post("/v1/responses", body.to_string())
}

#[tokio::test]
async fn a_conversation_stays_with_the_account_that_made_it() {
    let Setup { first, second, gateway } = two().await;
    first.set(Script::failing(500));
    let begun =
        json!({"metadata": {"topic": "demo"}, "items": [{"type": "message", "role": "user", "content": "hello"}]});
    let created = made(&gateway, "?model=m", &begun).await;
    let id = id_of(&created);
    assert!(id.starts_with("conv_") && id.len() > 60, "{id}");
    assert_eq!(created.json()["metadata"], json!({"topic": "demo"}));
    let sent = second.received().pop().unwrap();
    assert_eq!((sent.path.as_str(), sent.json()), ("/v1/conversations", begun), "as it was, without a model");
    first.set(Script::new());
    let before = first.received().len();

    for named in [json!(id), json!({"id": id})] {
        let answer = says("m", false, &named).send(&gateway).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let own = second.received().pop().unwrap().json()["conversation"].clone();
        assert!(
            own.as_str().is_some_and(|own| own.starts_with("conv_") && own.len() < 20),
            "the upstream's own: {own}"
        );
        assert_eq!(answer.json()["conversation"], json!({"id": id}));
    }
    let streamed = says("other-model", true, &json!(id)).send(&gateway).await;
    let events = streamed.events();
    let seen: Vec<_> = events.iter().filter_map(|event| event["response"]["conversation"]["id"].as_str()).collect();
    assert!(seen.len() == 3 && seen.iter().all(|seen| *seen == id), "one id, whichever model is asked: {seen:?}");
    let counted = json!({"model": "m", "input": "x", "conversation": id});
    let counted = Ask::post("/v1/responses/input_tokens", counted.to_string()).send(&gateway).await;
    assert_eq!(counted.status, 200, "{}", counted.text());

    let items = about(Method::GET, &id, "/items?limit=20&x=1").send(&gateway).await.json();
    assert_eq!(items["data"].as_array().unwrap().len(), 7, "{items:#}");
    let item = items["data"][0]["id"].as_str().unwrap().to_owned();
    let read = about(Method::GET, &id, &format!("/items/{item}")).send(&gateway).await;
    assert_eq!((read.status, &read.json()["id"]), (200, &json!(item)), "an item's id is the vendor's own");
    let added = json!({"items": [{"type": "message", "role": "user", "content": "more"}]}).to_string();
    let added = Ask::post(&format!("/v1/conversations/{id}/items"), added).send(&gateway).await;
    assert_eq!(added.json()["data"][0]["content"][0]["text"], "more", "{}", added.text());
    let shorter = about(Method::DELETE, &id, &format!("/items/{item}")).send(&gateway).await;
    assert_eq!(shorter.json()["id"], id.as_str(), "{}", shorter.text());
    let updated = json!({"metadata": {"topic": "done"}}).to_string();
    let updated = Ask::post(&format!("/v1/conversations/{id}"), updated).send(&gateway).await;
    assert_eq!((&updated.json()["id"], &updated.json()["metadata"]["topic"]), (&json!(id), &json!("done")));
    let read = about(Method::GET, &id, "").send(&gateway).await;
    assert_eq!((&read.json()["id"], &read.json()["metadata"]["topic"]), (&json!(id), &json!("done")));
    let deleted = about(Method::DELETE, &id, "").send(&gateway).await;
    assert_eq!(deleted.json(), json!({"id": id, "object": "conversation.deleted", "deleted": true}));
    let gone = about(Method::GET, &id, "").send(&gateway).await;
    assert_eq!(gone.status, 404, "in the upstream's words: {}", gone.text());
    assert_eq!(first.received().len(), before, "the account that does not know it is not asked");

    let records = gateway.records(13).await;
    assert_eq!(
        (&records[0]["operation"], &records[0]["usage_source"]),
        (&json!("create_conversation"), &json!("none"))
    );
    assert_eq!(
        (&records[1]["operation"], &records[12]["operation"]),
        (&json!("responses"), &json!("retrieve_conversation"))
    );
}

#[tokio::test]
async fn the_model_says_where_one_is_made_unless_there_is_but_one_place() {
    let Setup { first, second, gateway } = two().await;
    let unclear = made(&gateway, "", &json!({})).await;
    let error = unclear.json()["error"].clone();
    assert_eq!((unclear.status, &error["param"]), (400, &json!("model")), "{error}");
    assert!(error["message"].as_str().unwrap().contains("/v1/conversations?model=MODEL"), "{error}");
    id_of(&made(&gateway, "?model=other-model", &json!({})).await);
    assert_eq!((first.received().len(), second.received().len()), (0, 1));
    let unknown = made(&gateway, "?model=nothing", &json!({})).await;
    assert_eq!((unknown.status, &unknown.json()["error"]["param"]), (404, &json!("model")), "{}", unknown.text());

    let chat = Upstream::start(Script::new()).await;
    let manifests = Manifests::new()
        .provider_with("keeps", "OpenAI", &second, RESPONSES)
        .provider("forgets", "Anthropic", &chat)
        .route("a", &["forgets", "keeps"])
        .route("b", &["keeps"])
        .route("c", &["forgets"])
        .token()
        .token_with("other", OTHER, "models: [c]");
    let gateway = Gateway::start(&manifests);
    let id = id_of(&made(&gateway, "", &json!({})).await);
    assert_eq!(says("b", false, &json!(id)).send(&gateway).await.status, 200);
    assert_eq!(says("a", false, &json!(id)).send(&gateway).await.status, 200, "by the upstream that knows it");
    assert!(chat.received().is_empty());
    let nowhere = Ask::post("/v1/conversations", "{}").bearer(OTHER).send(&gateway).await;
    assert_eq!(nowhere.status, 400, "{}", nowhere.text());
    let refused = Ask::post("/v1/conversations?model=c", "{}").bearer(OTHER).send(&gateway).await;
    assert!(refused.status == 400 && refused.text().contains("upstream forgets"), "{}", refused.text());
}

#[tokio::test]
async fn foreign_forged_and_forgotten_ids_are_refused_alike() {
    let Setup { first, second, gateway } = two().await;
    let id = id_of(&made(&gateway, "?model=m", &json!({})).await);
    let response = says("m", false, &json!(id)).send(&gateway).await.json()["id"].as_str().unwrap().to_owned();
    let asked = || first.received().len() + second.received().len();
    let own = asked();
    let mut forged = id.clone().into_bytes();
    forged[40] = if forged[40] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    let renamed = response.replacen("resp_", "conv_", 1);
    for (id, token) in [(&*id, OTHER), (&*forged, TOKEN), (&*renamed, TOKEN), ("conv_00000001", TOKEN), ("", TOKEN)] {
        for named in [json!(id), json!({"id": id}), json!({"id": "conv_9", "id ": id}), json!([id]), json!(7)] {
            let answer = says("m", false, &named).bearer(token).send(&gateway).await;
            let error = answer.json()["error"].clone();
            assert_eq!((answer.status, &error["param"]), (404, &json!("conversation")), "{named}: {error}");
        }
        if id.is_empty() {
            continue;
        }
        for (method, rest) in [
            (Method::GET, ""),
            (Method::DELETE, ""),
            (Method::GET, "/items"),
            (Method::GET, "/items/msg_1"),
            (Method::DELETE, "/items/msg_1"),
        ] {
            let answer = about(method, id, rest).bearer(token).send(&gateway).await;
            assert_eq!(answer.status, 404, "{id}{rest}: {}", answer.text());
            assert!(answer.json()["error"]["message"].as_str().unwrap().contains("not found"), "{}", answer.text());
        }
        for rest in ["", "/items"] {
            let answer = Ask::post(&format!("/v1/conversations/{id}{rest}"), "{}").bearer(token).send(&gateway).await;
            assert_eq!(answer.status, 404, "{}", answer.text());
        }
    }
    let twice = format!(r#"{{"model":"m","input":"x","conversation":{{"id":"{id}","id":"conv_00000001"}}}}"#);
    Ask::post("/v1/responses", twice).send(&gateway).await;
    assert_eq!(asked(), own, "no upstream was asked");
    let other_way = format!(r#"{{"model":"m","input":"x","conversation":{{"id":"conv_00000001","id":"{id}"}}}}"#);
    assert_eq!(Ask::post("/v1/responses", other_way).send(&gateway).await.status, 200);
    let last = [&first, &second].into_iter().filter_map(|upstream| upstream.received().pop());
    let sent: Vec<_> = last.filter(|it| it.path == "/v1/responses").map(|it| it.json()).collect();
    assert!(!sent.is_empty() && sent.iter().all(|it| it["conversation"].is_string()), "one id and no other: {sent:?}");
    let wrong = about(Method::PUT, &id, "").send(&gateway).await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET, POST, DELETE")));
    assert_eq!(about(Method::GET, &id, "/items/..%2f..").send(&gateway).await.status, 404);
}
