//! Responses clients of upstreams that have no Responses API: whole, streamed, tools, failures, fallback, leaving.

use std::time::Duration;

use routeapi_dataplane::request::RequestSettings;
use routeapi_tests::upstream::{CutAt, CutHow, Outcome, Script, Upstream};
use serde_json::{Value, json};

use crate::{
    gateway::{Gateway, Manifests, SOON},
    request::{Answer, Ask},
};

/// Providers of these types have no Responses API here; a server that is compatible with OpenAI has Chat.
const KINDS: [&str; 3] = ["OpenAI", "Anthropic", "Gemini"];

async fn one(kind: &str, script: Script) -> (Upstream, Gateway) {
    let upstream = Upstream::start(script).await;
    let manifests = Manifests::new().provider("up", kind, &upstream).route("m", &["up"]).token();
    let gateway = Gateway::start(&manifests);
    (upstream, gateway)
}

fn asks(stream: bool, more: &Value) -> Ask {
    let mut body = json!({"model": "m", "stream": stream, "input": "tell me something", "instructions": "be brief"});
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    Ask::post("/v1/responses", body.to_string())
}

fn tools() -> Value {
    json!({"tools": [
        {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}},
        {"type": "file_search"}], "tool_choice": "required"})
}

/// The types of the events, each run of one type once.
fn kinds(answer: &Answer) -> Vec<String> {
    let mut kinds: Vec<String> =
        answer.events().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
    kinds.dedup();
    kinds
}

#[tokio::test]
async fn every_kind_of_upstream_answers_whole_and_streamed() {
    for kind in KINDS {
        let (upstream, gateway) = one(kind, Script::new().text("hello you")).await;
        let whole = asks(false, &json!({"metadata": {"k": "v"}})).send(&gateway).await;
        assert_eq!(whole.status, 200, "{kind}: {}", whole.text());
        let answer = whole.json();
        assert_eq!(
            (&answer["object"], &answer["status"], &answer["model"]),
            (&"response".into(), &"completed".into(), &"m".into())
        );
        assert_eq!(answer["output"][0]["content"][0]["text"], "hello you", "{kind}: {answer:#}");
        assert_eq!(
            (&answer["instructions"], &answer["metadata"]["k"], &answer["store"]),
            (&"be brief".into(), &"v".into(), &false.into())
        );
        assert_eq!(whole.header("x-routeapi-warnings"), Some("dropped;field=metadata"), "{kind}");

        let streamed = asks(true, &json!({})).send(&gateway).await;
        assert_eq!(streamed.header("content-type"), Some("text/event-stream"), "{kind}");
        assert_eq!(
            kinds(&streamed),
            [
                "response.created",
                "response.in_progress",
                "response.output_item.added",
                "response.content_part.added",
                "response.output_text.delta",
                "response.output_text.done",
                "response.content_part.done",
                "response.output_item.done",
                "response.completed"
            ],
            "{kind}: {}",
            streamed.text()
        );
        let events = streamed.events();
        let numbers: Vec<u64> = events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "{kind}");
        let end = &events.last().unwrap()["response"];
        assert_eq!(end["output"][0]["content"], answer["output"][0]["content"], "{kind}");
        for (at, record) in gateway.records(2).await.into_iter().enumerate() {
            let truth = &upstream.ledger()[at];
            let counted = [&answer, end][at]["usage"].clone();
            assert_eq!(
                (&counted["input_tokens"], &counted["output_tokens"]),
                (&truth.input_tokens.into(), &truth.output_tokens.into()),
                "{kind}"
            );
            assert_eq!(
                (&record["operation"], &record["outcome"]),
                (&"responses".into(), &"completed".into()),
                "{record:#}"
            );
            assert_eq!(
                (&record["usage_source"], &record["usage"]["output"]),
                (&"reported".into(), &truth.output_tokens.into()),
                "{record:#}"
            );
        }
        let sent = upstream.received()[0].json().to_string();
        assert!(sent.contains("be brief") && sent.contains("tell me something"), "{kind}: {sent}");
    }
}

#[tokio::test]
async fn a_call_goes_to_the_client_and_its_output_back() {
    for kind in KINDS {
        let (upstream, gateway) = one(kind, Script::new()).await;
        for stream in [false, true] {
            upstream.clear();
            let answer = asks(stream, &tools()).send(&gateway).await;
            assert_eq!(answer.status, 200, "{kind}: {}", answer.text());
            let warned = answer.header("x-routeapi-warnings").unwrap();
            assert!(warned.contains("dropped;field=tools[].file_search"), "{kind}: {warned}");
            let response = match stream {
                true => answer.events().pop().unwrap()["response"].take(),
                false => answer.json(),
            };
            let call = &response["output"][0];
            assert_eq!(
                (&call["type"], &call["name"], &call["status"]),
                (&"function_call".into(), &"get_weather".into(), &"completed".into()),
                "{kind}: {response:#}"
            );
            assert!(serde_json::from_str::<Value>(call["arguments"].as_str().unwrap()).unwrap()["city"].is_string());
            assert_eq!(response["tools"], tools()["tools"], "as the client wrote them");

            let output = json!({"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"});
            let mut more = tools();
            more["input"] = json!([{"role": "user", "content": "weather?"}, call, output]);
            more["tool_choice"] = "auto".into();
            let answer = asks(false, &more).send(&gateway).await;
            assert_eq!(answer.status, 200, "{kind}: {}", answer.text());
            let sent = upstream.received()[1].json().to_string();
            assert!(sent.contains("sunny") && upstream.ledger()[1].refusal.is_none(), "{kind}: {sent}");
        }
    }
}

#[tokio::test]
async fn a_forced_tool_of_the_vendors_and_kept_state_are_refused_in_openais_shape() {
    let (upstream, gateway) = one("Anthropic", Script::new()).await;
    for (more, field) in [
        (json!({"tools": [{"type": "file_search"}], "tool_choice": {"type": "file_search"}}), "tools[].file_search"),
        (json!({"previous_response_id": "resp_1"}), "previous_response_id"),
        (json!({"conversation": "conv_1"}), "conversation"),
        (json!({"prompt": {"id": "pmpt_1"}}), "prompt"),
        (json!({"background": true}), "background"),
        (json!({"input": [{"type": "item_reference", "id": "msg_1"}]}), "input[].item_reference"),
    ] {
        for stream in [false, true] {
            let answer = asks(stream, &more).send(&gateway).await;
            let error = &answer.json()["error"];
            assert_eq!(
                (answer.status, &error["type"], &error["param"]),
                (400, &"invalid_request_error".into(), &field.into()),
                "{}",
                answer.text()
            );
        }
    }
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn an_upstream_that_keeps_the_state_serves_what_the_first_cannot() {
    let (first, second) = (Upstream::start(Script::new()).await, Upstream::start(Script::new().text("kept")).await);
    let manifests = Manifests::new()
        .provider("first", "Anthropic", &first)
        .provider_with("second", "OpenAI", &second, "endpoints: [Responses]")
        .route("m", &["first", "second"])
        .token();
    let gateway = Gateway::start(&manifests);
    let prompt = json!({"prompt": {"id": "pmpt_1"}});
    let answer = asks(false, &prompt).send(&gateway).await;
    assert_eq!((answer.status, first.received().len()), (200, 0), "{}", answer.text());
    assert_eq!(second.received()[0].json()["prompt"], prompt["prompt"]);
}

#[tokio::test]
async fn a_failure_before_content_is_an_http_error_and_after_it_a_failed_response() {
    for kind in KINDS {
        let (_upstream, gateway) = one(kind, Script::rate_limited(7)).await;
        for stream in [false, true] {
            let answer = asks(stream, &json!({})).send(&gateway).await;
            assert_eq!(
                (answer.status, &answer.json()["error"]["code"]),
                (429, &"rate_limit_exceeded".into()),
                "{kind}: {}",
                answer.text()
            );
            assert!(answer.header("retry-after").is_some());
        }
        let (upstream, gateway) = one(kind, Script::new()).await;
        for (at, how) in [(CutAt::Events(5), CutHow::Close), (CutAt::InsideEvent(5), CutHow::End)] {
            upstream.set(Script::new().chunks(20, "word ").delay_chunk(Duration::from_millis(3)).cut(at, how));
            let answer = asks(true, &json!({})).send(&gateway).await;
            let events = answer.events();
            let end = events.last().unwrap();
            assert_eq!((answer.status, &end["type"]), (200, &"response.failed".into()), "{kind}: {}", answer.text());
            assert_eq!(end["response"]["error"]["code"], "server_error", "{kind}");
            assert!(!answer.text().contains("response.completed") && !answer.broken);
            assert_eq!(events[events.len() - 2]["item"]["status"], "incomplete", "what was open is closed");
        }
    }
}

#[tokio::test]
async fn the_next_upstream_answers_whatever_it_speaks() {
    let first = Upstream::start(Script::failing(500)).await;
    let second = Upstream::start(Script::new().text("saved")).await;
    for (one, other) in [("OpenAI", "Anthropic"), ("Anthropic", "Gemini"), ("Gemini", "OpenAI")] {
        let manifests = Manifests::new()
            .provider("first", one, &first)
            .provider("second", other, &second)
            .route("m", &["first", "second"])
            .token();
        let gateway = Gateway::start(&manifests);
        for stream in [false, true] {
            let answer = asks(stream, &json!({})).send(&gateway).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert!(answer.text().contains("saved"), "{one} to {other}: {}", answer.text());
        }
        let record = gateway.records(2).await.remove(1);
        assert_eq!(record["attempts"].as_array().unwrap().len(), 2, "{record:#}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_upstream_and_one_that_has_all_was_served() {
    for kind in KINDS {
        let endless = Script::new().chunks(5_000, "word ").delay_chunk(Duration::from_millis(5));
        let (upstream, gateway) = one(kind, endless).await;
        let mut opened = asks(true, &json!({})).open(&gateway).await;
        opened.until("word").await;
        let id = upstream.received()[0].id;
        opened.leave();
        assert_eq!(upstream.wait_ended(id, SOON).await.outcome, Outcome::ClientClosed, "{kind}");
        let record = gateway.record().await;
        assert_eq!(
            (&record["outcome"], &record["usage_source"]),
            (&"client_cancelled".into(), &"counted".into()),
            "{record:#}"
        );

        // Hard case 40: the connection is closed right behind the last event.
        upstream.set(Script::new().text("all of it"));
        let mut opened = asks(true, &json!({})).open(&gateway).await;
        opened.until("event: response.completed").await;
        opened.leave();
        let record = gateway.records(2).await.remove(1);
        assert_eq!(
            (&record["outcome"], &record["usage_source"]),
            (&"completed".into(), &"reported".into()),
            "{record:#}"
        );
    }
}

#[tokio::test]
async fn an_idle_client_hears_the_response_again_under_the_next_number() {
    let settings = RequestSettings { heartbeat: Some(Duration::from_millis(50)), ..RequestSettings::default() };
    let upstream = Upstream::start(Script::new().chunks(20, "word ").stall_after(6)).await;
    let manifests = Manifests::new()
        .provider("up", "Anthropic", &upstream)
        .route_with("m", &["up"], "timeouts: {streamIdle: 400ms}")
        .token();
    let gateway = Gateway::start_with(&manifests, settings);
    let answer = asks(true, &json!({})).send(&gateway).await;
    let events = answer.events();
    let beats = events.iter().filter(|event| event["type"] == "response.in_progress").count();
    assert!(beats >= 3, "{}", answer.text());
    assert!(events.iter().enumerate().all(|(at, event)| event["sequence_number"] == at), "{}", answer.text());
    assert_eq!(events.last().unwrap()["type"], "response.failed");
}
