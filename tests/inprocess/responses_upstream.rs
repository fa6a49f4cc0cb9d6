//! Upstreams that speak OpenAI's Responses, for clients that do not.

use routeapi_tests::upstream::{Script, Upstream};
use serde_json::{Value, json};

use crate::{
    gateway::{Gateway, Manifests},
    request::{Ask, contents, dialects, messages},
};

/// A gateway before a server that has nothing but Responses.
async fn alone(script: Script) -> (Upstream, Gateway) {
    let upstream = Upstream::start(script).await;
    let manifests =
        Manifests::new().provider_with("up", "OpenAI", &upstream, "endpoints: [Responses]").route("m", &["up"]).token();
    (upstream, Gateway::start(&manifests))
}

/// The words of an answer, whole or streamed, of any client.
fn words(path: &str, answer: &Value) -> String {
    let pointers: &[&str] = match path {
        "/v1/chat/completions" => &["/choices/0/message/content", "/choices/0/delta/content"],
        "/v1/messages" => &["/content/0/text", "/delta/text"],
        _ => &["/candidates/0/content/parts/0/text"],
    };
    pointers.iter().find_map(|pointer| answer.pointer(pointer)?.as_str()).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn events_are_read_without_a_content_type() {
    for stream in [false, true] {
        let (_upstream, gateway) = alone(Script::new().text("high water").no_content_type()).await;
        let (path, body) = dialects("m", stream).into_iter().next().unwrap();
        let answer = Ask::post(&path, body).send(&gateway).await;
        let content_type = if stream { "text/event-stream" } else { "application/json" };
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(content_type)), "{}", answer.text());
        assert!(answer.text().contains("water"), "{}", answer.text());
    }
}

#[tokio::test]
async fn every_client_gets_words_whole_and_streamed() {
    for stream in [false, true] {
        for (path, body) in dialects("m", stream) {
            let (upstream, gateway) = alone(Script::new().text("high water at six")).await;
            let answer = Ask::post(&path, body).send(&gateway).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            let said = if stream {
                answer.events().iter().map(|event| words(&path, event)).collect()
            } else {
                words(&path, &answer.json())
            };
            assert_eq!(said, "high water at six", "{path}: {}", answer.text());
            let sent = upstream.received().remove(0);
            assert_eq!(sent.path, "/v1/responses", "{path}");
            let asked = sent.json();
            assert_eq!((&asked["model"], &asked["store"]), (&json!("up-model"), &json!(false)), "{path}");
            let record = gateway.record().await;
            let truth = &upstream.ledger()[0];
            assert_eq!(record["outcome"], "completed", "{record:#}");
            assert_eq!(record["attempts"][0]["usage"]["output"], truth.output_tokens, "{record:#}");
        }
    }
}

/// A request with one tool, in each client's dialect.
fn with_tool(stream: bool) -> [(String, Value); 3] {
    let schema = json!({"type": "object", "properties": {"port": {"type": "string"}}});
    let function = json!({"name": "tide", "parameters": schema});
    let verb = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
    let mut requests = dialects("m", stream).map(|(path, body)| (path, serde_json::from_str::<Value>(&body).unwrap()));
    requests[0].1["tools"] = json!([{"type": "function", "function": function}]);
    requests[1].1["tools"] = json!([{"name": "tide", "input_schema": schema}]);
    requests[2].1["tools"] = json!([{"functionDeclarations": [{"name": "tide", "parametersJsonSchema": schema}]}]);
    requests[2].0 = format!("/v1beta/models/m:{verb}");
    requests
}

#[tokio::test]
async fn every_client_gets_calls_and_gives_results() {
    for stream in [false, true] {
        for (path, mut body) in with_tool(stream) {
            let (upstream, gateway) = alone(Script::new()).await;
            let answer = Ask::post(&path, body.to_string()).send(&gateway).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            assert!(answer.text().contains("tide") && answer.text().contains("port"), "{path}: {}", answer.text());
            let tool = &upstream.received()[0].json()["tools"][0];
            assert_eq!(
                (&tool["type"], &tool["name"], &tool["strict"]),
                (&json!("function"), &json!("tide"), &json!(false))
            );
            let (list, turns) = match path.as_str() {
                "/v1/chat/completions" => (
                    "messages",
                    json!([
                        {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "tide", "arguments": "{}"}}]},
                        {"role": "tool", "tool_call_id": "call_1", "content": "at six"}
                    ]),
                ),
                "/v1/messages" => (
                    "messages",
                    json!([
                        {"role": "assistant", "content": [{"type": "tool_use", "id": "call_1", "name": "tide", "input": {}}]},
                        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "at six"}]}
                    ]),
                ),
                _ => (
                    "contents",
                    json!([
                        {"role": "model", "parts": [{"functionCall": {"id": "call_1", "name": "tide", "args": {}}}]},
                        {"role": "user", "parts": [{"functionResponse": {"id": "call_1", "name": "tide", "response": {"output": "at six"}}}]}
                    ]),
                ),
            };
            body[list].as_array_mut().unwrap().extend(turns.as_array().unwrap().iter().cloned());
            let answer = Ask::post(&path, body.to_string()).send(&gateway).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            assert!(answer.text().contains("six"), "{path}: {}", answer.text());
            let input = &upstream.received()[1].json()["input"];
            assert_eq!(input[1]["type"], "function_call", "{path}: {input:#}");
            assert_eq!(
                (&input[2]["call_id"], &input[2]["output"]),
                (&json!("call_1"), &json!("at six")),
                "{path}: {input:#}"
            );
        }
    }
}

const REASONING: &str = r#"{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"up-model","output":[{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"Hm."}],"encrypted_content":"gAAA=="},{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Six.","annotations":[]}]}],"usage":{"input_tokens":5,"output_tokens":6,"total_tokens":11}}"#;

/// The client is the storage: what it was given comes back in the next request, the blob under its own id.
#[tokio::test]
async fn reasoning_goes_round_through_every_client() {
    for (path, body) in dialects("m", false) {
        let (upstream, gateway) = alone(Script::failing(200).body(REASONING, "application/json")).await;
        let answer = Ask::post(&path, body.clone()).send(&gateway).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let answer = answer.json();
        let (list, said, more) = match path.as_str() {
            "/v1/chat/completions" => {
                ("messages", answer["choices"][0]["message"].clone(), json!({"role": "user", "content": "and?"}))
            }
            "/v1/messages" => {
                let said = json!({"role": "assistant", "content": answer["content"]});
                ("messages", said, json!({"role": "user", "content": "and?"}))
            }
            _ => (
                "contents",
                answer["candidates"][0]["content"].clone(),
                json!({"role": "user", "parts": [{"text": "and?"}]}),
            ),
        };
        let mut next: Value = serde_json::from_str(&body).unwrap();
        next[list].as_array_mut().unwrap().extend([said, more]);
        let again = Ask::post(&path, next.to_string()).send(&gateway).await;
        assert_eq!((again.status, again.header("x-routeapi-warnings")), (200, None), "{path}: {}", again.text());
        let input = &upstream.received()[1].json()["input"];
        let reasoning = json!({"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}], "encrypted_content": "gAAA=="});
        assert_eq!(input[1], reasoning, "{path}: {input:#}");
        assert_eq!(input[2], json!({"type": "message", "role": "assistant", "content": "Six."}), "{path}: {input:#}");
    }
}

/// A blob of another account: no client sees its refusal, and the conversation goes on without it.
#[tokio::test]
async fn reasoning_of_another_account_is_left_out() {
    const REFUSED: &str = r#"{"error":{"message":"The encrypted content for item rs_1 could not be verified.","type":"invalid_request_error","param":null,"code":"invalid_encrypted_content"}}"#;
    const HISTORY: &str = r#"{"model":"m","max_tokens":99,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"thinking","thinking":"Hm.","signature":"gw1.openai.thought.cnNfMS5nQUFBPT0"},{"type":"text","text":"Six."}]},{"role":"user","content":"and?"}]}"#;
    let (upstream, gateway) = alone(Script::new().text("at noon")).await;
    upstream.enqueue(Script::failing(400).body(REFUSED, "application/json"));
    let answer = Ask::post("/v1/messages", HISTORY).send(&gateway).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.header("x-routeapi-warnings").unwrap_or_default();
    assert!(told.contains("dropped;field=messages[].content[].thinking"), "{told}");
    let sent: Vec<bool> = upstream.received().iter().map(|one| one.json().to_string().contains("rs_1")).collect();
    assert_eq!(sent, [true, false]);
    // A request that is wrong in itself is not repeated.
    upstream.enqueue(Script::failing(400).body(REFUSED, "application/json"));
    let answer = Ask::post("/v1/messages", messages("m", false)).send(&gateway).await;
    assert_eq!((answer.status, upstream.received().len()), (400, 3), "{}", answer.text());
}

#[tokio::test]
async fn failures_are_told_in_the_clients_dialect() {
    for (path, body) in dialects("m", true) {
        let (_upstream, gateway) = alone(Script::rate_limited(60)).await;
        let answer = Ask::post(&path, body).send(&gateway).await;
        assert_eq!(answer.status, 429, "{path}: {}", answer.text());
        assert!(answer.json()["error"]["message"].is_string(), "{path}: {}", answer.text());
    }
    for (path, body) in dialects("m", true) {
        let (_upstream, gateway) = alone(Script::new().chunks(5, "word ").error_after(2)).await;
        let answer = Ask::post(&path, body).send(&gateway).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let last = answer.events().pop().unwrap();
        assert!(last["error"]["message"].is_string(), "{path}: {}", answer.text());
        assert!(
            !answer.text().contains("[DONE]") && !answer.text().contains("message_stop"),
            "{path}: {}",
            answer.text()
        );
        assert_eq!(gateway.record().await["outcome"], "upstream_failed", "{path}");
    }
}

/// `response.failed` before any content is no answer.
#[tokio::test]
async fn a_failure_before_content_is_made_good_by_another_upstream() {
    const FAILED: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"status\":\"in_progress\"}}\n\n\
        event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"id\":\"resp_1\",\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"it broke\"}}}\n\n";
    for script in [Script::failing(503), Script::failing(200).body(FAILED, "text/event-stream")] {
        for (path, body) in dialects("m", true) {
            let first = Upstream::start(script.clone()).await;
            let second = Upstream::start(Script::new().text("saved by the second")).await;
            let manifests = Manifests::new()
                .provider_with("first", "OpenAI", &first, "endpoints: [Responses]")
                .provider("second", "Anthropic", &second)
                .route("m", &["first", "second"])
                .token();
            let gateway = Gateway::start(&manifests);
            let answer = Ask::post(&path, body).send(&gateway).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            assert!(answer.text().contains("second"), "{path}: {}", answer.text());
            assert_eq!((first.received().len(), second.received().len()), (1, 1), "{path}");
        }
    }
}

#[tokio::test]
async fn of_two_apis_the_route_or_the_request_decides() {
    const CHAT: &str = "/v1/chat/completions";
    const RESPONSES: &str = "/v1/responses";
    let stopping = messages("m", false).replacen('{', r#"{"stop_sequences":["END"],"#, 1);
    let seeded = contents().replacen('{', r#"{"generationConfig":{"seed":7},"#, 1);
    let [(chat_path, chat_body), (messages_path, messages_body), (gemini_path, gemini_body)] = dialects("m", false);
    let (own_path, own_body) = (RESPONSES.to_owned(), r#"{"model":"m","input":"tell me something"}"#.to_owned());
    let rows = [
        ("Auto", &chat_path, &chat_body, CHAT),
        ("Auto", &messages_path, &messages_body, RESPONSES),
        ("Auto", &messages_path, &stopping, CHAT),
        ("Auto", &gemini_path, &gemini_body, RESPONSES),
        ("Auto", &gemini_path, &seeded, CHAT),
        ("Responses", &chat_path, &chat_body, RESPONSES),
        ("Responses", &messages_path, &stopping, RESPONSES),
        ("ChatCompletions", &chat_path, &chat_body, CHAT),
        ("ChatCompletions", &messages_path, &messages_body, CHAT),
        ("ChatCompletions", &gemini_path, &gemini_body, CHAT),
        ("Auto", &own_path, &own_body, RESPONSES),
        ("ChatCompletions", &own_path, &own_body, CHAT),
    ];
    for (api, path, body, called) in rows {
        let upstream = Upstream::start(Script::new()).await;
        let manifests = Manifests::new()
            .provider_with("up", "OpenAI", &upstream, "endpoints: [ChatCompletions, Responses]")
            .with(&format!(
                "apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {{name: m, namespace: apps}}\n\
                 spec: {{model: m, upstreams: [{{name: up, providerRef: {{name: up}}, model: gpt-4.1, api: {api}}}]}}"
            ))
            .token();
        let gateway = Gateway::start(&manifests);
        let answer = Ask::post(path, body.clone()).send(&gateway).await;
        assert_eq!(answer.status, 200, "{api} {path}: {}", answer.text());
        assert_eq!(upstream.received()[0].path, called, "{api} {path} {body}");
        let loses = called == RESPONSES && body.contains("END");
        let warned = answer.header("x-routeapi-warnings").is_some_and(|told| told.contains("stop_sequences"));
        assert_eq!(warned, loses, "{api} {path}: {:?}", answer.header("x-routeapi-warnings"));
    }
}
