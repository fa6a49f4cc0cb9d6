//! Embeddings for a vendor that takes fewer texts at once than the client sends: several calls, and one answer.

use std::time::Duration;

use routeapi_dataplane::request::RequestSettings;
use routeapi_tests::upstream::{Script, Upstream, UsageScript};
use serde_json::{Value, json};

use crate::{
    gateway::{Gateway, Manifests, SOON},
    request::Ask,
};

/// Texts of one word each, which is one token to the scripted upstream.
fn texts(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("w{number}")).collect()
}

fn input(model: &str, count: usize) -> String {
    json!({"model": model, "input": texts(count)}).to_string()
}

/// The same as Gemini's clients ask.
fn requests(count: usize) -> String {
    let request = |text: &String| json!({"model": "models/m", "content": {"parts": [{"text": text}]}});
    json!({"requests": texts(count).iter().map(request).collect::<Vec<_>>()}).to_string()
}

/// How many texts each call held that the upstream got.
fn batches(upstream: &Upstream) -> Vec<usize> {
    let texts = |body: &Value| body["requests"].as_array().or(body["input"].as_array()).map_or(1, Vec::len);
    upstream.received().iter().map(|call| texts(&call.json())).collect()
}

/// Route `m` to a Gemini upstream first and to OpenAI's API then.
async fn start(script: Script, more: &str) -> (Upstream, Upstream, Gateway) {
    start_with(script, more, RequestSettings::default()).await
}

async fn start_with(script: Script, more: &str, settings: RequestSettings) -> (Upstream, Upstream, Gateway) {
    let (gemini, openai) = (Upstream::start(script).await, Upstream::start(Script::new()).await);
    let manifests = Manifests::new()
        .provider_with("gemini", "Gemini", &gemini, "maxConcurrentRequests: 1")
        .provider("openai", "OpenAI", &openai)
        .route_with("m", &["gemini", "openai"], more)
        .route("direct", &["openai"])
        .route_with("only", &["gemini"], more)
        .token();
    let gateway = Gateway::start_with(&manifests, settings);
    (gemini, openai, gateway)
}

/// Hard case 262, also as Node's client asks, which wants base64.
#[tokio::test]
async fn a_batch_beyond_the_upstreams_limit_is_sent_in_parts_and_answered_as_one() {
    for format in ["float", "base64"] {
        let (gemini, _openai, gateway) = start(Script::new(), "").await;
        let ask = |model: &str| json!({"model": model, "input": texts(250), "encoding_format": format}).to_string();
        let answer = Ask::post("/v1/embeddings", ask("m")).send(&gateway).await;
        assert_eq!((answer.status, answer.header("x-routeapi-warnings")), (200, None), "{}", answer.text());
        assert_eq!(batches(&gemini), [100, 100, 50]);
        // The scripted upstream's vectors depend on the text alone, whatever API it is asked in.
        let direct = Ask::post("/v1/embeddings", ask("direct")).send(&gateway).await.json();
        let answer = answer.json();
        assert_eq!(answer["data"].as_array().unwrap().len(), 250);
        assert_eq!(answer["data"], direct["data"], "as one call would have been answered");
        assert_eq!(answer["usage"], json!({"prompt_tokens": 250, "total_tokens": 250}));
        assert_eq!(answer["model"], "m");
        let record = gateway.records(2).await.remove(0);
        let attempts = record["attempts"].as_array().unwrap();
        assert_eq!((attempts.len(), &attempts[0]["upstream"]), (1, &json!("gemini")), "{record:#}");
        assert_eq!((&record["usage"]["input"], &record["usage_source"]), (&json!(250), &json!("reported")));
    }
}

#[tokio::test]
async fn a_part_that_fails_ends_the_attempt_and_what_was_answered_is_still_charged() {
    let (gemini, openai, gateway) = start(Script::new(), "").await;
    gemini.enqueue(Script::new());
    gemini.enqueue(Script::failing(500));
    let answer = Ask::post("/v1/embeddings", input("m", 250)).send(&gateway).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!((batches(&gemini), batches(&openai)), (vec![100, 100], vec![250]), "the next one gets all of it");
    let answer = answer.json();
    assert_eq!((answer["data"].as_array().unwrap().len(), &answer["usage"]["prompt_tokens"]), (250, &json!(250)));
    let record = gateway.record().await;
    let attempts = record["attempts"].as_array().unwrap();
    let of = |at: usize| ["upstream", "error", "status", "usage_source"].map(|name| attempts[at][name].clone());
    assert_eq!(attempts.len(), 2, "{record:#}");
    assert_eq!(json!(of(0)), json!(["gemini", "server_error", 500, "reported"]), "{record:#}");
    assert_eq!(json!(of(1)), json!(["openai", null, 200, "reported"]), "{record:#}");
    assert_eq!((&attempts[0]["usage"]["input"], &attempts[1]["usage"]["input"]), (&json!(100), &json!(250)));
    assert_eq!(record["usage"]["input"], 350, "{record:#}");
}

/// What was answered in vain is bounded, as it is for answers that were generated in vain.
#[tokio::test]
async fn a_batch_that_breaks_off_in_the_middle_spends_the_retry_budget() {
    for (answered, expected) in [(0, 20..=20), (1, 10..=15)] {
        // A 404 is not held against the upstream, so that every request goes there first.
        let (gemini, openai, gateway) = start(Script::new(), "fallback: {conditions: [ModelNotFound]}").await;
        for _ in 0..20 {
            for _ in 0..answered {
                gemini.enqueue(Script::new());
            }
            gemini.enqueue(Script::failing(404));
            let answer = Ask::post("/v1/embeddings", input("m", 101)).send(&gateway).await;
            assert!(answer.status == 200 || answered > 0 && answer.status == 404, "{}", answer.text());
        }
        let served = openai.received().len();
        assert!(expected.contains(&served), "{answered} parts answered: {served} requests were made good");
    }
}

/// The last upstream that is left is asked again from the first text on, after the pause that it wanted.
#[tokio::test]
async fn a_batch_begins_anew_after_a_pause() {
    let (gemini, _openai, gateway) = start(Script::new(), "").await;
    gemini.enqueue(Script::new());
    gemini.enqueue(Script::rate_limited(1));
    let answer = Ask::post("/v1/embeddings", input("only", 101)).send(&gateway).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(batches(&gemini), [100, 1, 100, 1]);
    let record = gateway.record().await;
    assert_eq!(
        (record["attempts"].as_array().unwrap().len(), &record["usage"]["input"]),
        (2, &json!(201)),
        "{record:#}"
    );
}

#[tokio::test]
async fn an_answer_that_does_not_fit_its_part_is_a_failure() {
    let (gemini, openai, gateway) = start(Script::new(), "").await;
    gemini.enqueue(Script::new());
    let one = r#"{"embeddings":[{"values":[1]}]}"#;
    gemini.enqueue(Script::failing(200).body(one, "application/json"));
    let answer = Ask::post("/v1/embeddings", input("m", 250)).send(&gateway).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!((batches(&gemini), batches(&openai)), (vec![100, 100], vec![250]), "the third was not sent");
    let record = gateway.record().await;
    let failed = &record["attempts"][0];
    let input = failed["usage"]["input"].as_u64().unwrap();
    assert_eq!(failed["usage_source"], "estimated", "{record:#}");
    assert!((101..250).contains(&input), "100 are reported, and the second part's are estimated: {record:#}");
}

#[tokio::test]
async fn one_deadline_holds_for_all_parts() {
    let slow = Script::new().delay_headers(Duration::from_secs(2));
    let (gemini, openai, gateway) = start(slow, "timeouts: {request: 3s}").await;
    let answer = Ask::post("/v1/embeddings", input("m", 250)).send(&gateway).await;
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert_eq!((batches(&gemini), openai.received().len()), (vec![100, 100], 0));
    assert_eq!(gateway.record().await["attempts"][0]["error"], "request_timeout");
}

#[tokio::test]
async fn a_batch_takes_one_place_at_its_upstream_for_as_long_as_it_runs() {
    let (gemini, openai, gateway) = start(Script::new(), "").await;
    gemini.enqueue(Script::new());
    gemini.enqueue(Script::new().delay_headers(Duration::from_secs(60)));
    let address = gateway.address();
    let asking = tokio::spawn(async move {
        Ask::post("/v1/embeddings", input("m", 250)).open_at(address).await.leave();
    });
    let second = gemini.wait_received(2, SOON).await;
    let meanwhile = Ask::post("/v1/embeddings", input("m", 2)).send(&gateway).await;
    assert_eq!((meanwhile.status, batches(&openai)), (200, vec![2]), "gemini has no free place");
    asking.abort();
    gemini.wait_ended(second.id, SOON).await;
    let record = gateway.records(2).await.remove(1);
    assert_eq!((&record["outcome"], &record["usage_source"]), (&json!("client_cancelled"), &json!("estimated")));
    let used = record["usage"]["input"].as_u64().unwrap();
    assert!((101..250).contains(&used), "the answered part, and the one that the upstream had got: {record:#}");
    let after = Ask::post("/v1/embeddings", input("m", 101)).send(&gateway).await;
    assert_eq!((after.status, batches(&gemini)), (200, vec![100, 100, 100, 1]), "{}", after.text());
}

#[tokio::test]
async fn counts_that_no_part_has_are_warned_of_once() {
    let (_gemini, _openai, gateway) = start(Script::new().usage(UsageScript::Absent), "").await;
    let answer = Ask::post("/v1/embeddings", input("m", 250)).send(&gateway).await;
    assert_eq!((answer.status, answer.header("x-routeapi-warnings")), (200, Some("dropped;field=answer.usage")));
    assert_eq!(answer.json()["usage"]["prompt_tokens"], 0);
    let record = gateway.record().await;
    assert_eq!(
        (&record["usage_source"], &record["warnings"]),
        (&json!("estimated"), &json!(["dropped;field=answer.usage"]))
    );
    assert!(record["usage"]["input"].as_u64().unwrap() >= 250, "of all texts: {record:#}");
}

#[tokio::test]
async fn all_parts_together_are_no_longer_than_an_answer_may_be() {
    let settings = RequestSettings { max_answer_bytes: 20_000, ..RequestSettings::default() };
    let (gemini, _openai, gateway) = start_with(Script::new(), "", settings).await;
    assert_eq!(
        Ask::post("/v1/embeddings", input("m", 100)).send(&gateway).await.status,
        200,
        "one part is not too long"
    );
    gemini.clear();
    let answer = Ask::post("/v1/embeddings", input("m", 250)).send(&gateway).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(answer.text().contains("larger than 20000 bytes"), "{}", answer.text());
    assert_eq!(gateway.records(2).await[1]["error"], "answer_too_large");
    gateway.shows("routeapi_buffered_bytes 0").await;
}

#[tokio::test]
async fn more_texts_than_a_request_may_hold_are_refused_in_the_clients_words() {
    let (gemini, openai, gateway) = start(Script::new(), "").await;
    let answer = Ask::post("/v1/embeddings", input("m", 2_048)).send(&gateway).await;
    assert_eq!((answer.status, batches(&gemini).len()), (200, 21), "{}", answer.text());
    gemini.clear();
    let answer = Ask::post("/v1/embeddings", input("m", 2_049)).send(&gateway).await;
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!("input")), "{}", answer.text());
    assert!(answer.text().contains("1 to 2048 texts"), "{}", answer.text());
    let answer = Ask::post("/v1beta/models/direct:batchEmbedContents", requests(2_049)).send(&gateway).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["status"]),
        (400, &json!("INVALID_ARGUMENT")),
        "{}",
        answer.text()
    );
    assert!(gemini.received().is_empty() && openai.received().is_empty());
}

#[tokio::test]
async fn what_a_client_sends_to_its_own_vendor_is_left_whole() {
    let (gemini, openai, gateway) = start(Script::new(), "").await;
    let answer = Ask::post("/v1beta/models/only:batchEmbedContents", requests(101)).send(&gateway).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.text().contains("at most 100 requests can be in one batch"), "{}", answer.text());
    assert_eq!(batches(&gemini), [101], "the vendor's own words");
    let answer = Ask::post("/v1beta/models/direct:batchEmbedContents", requests(101)).send(&gateway).await;
    assert_eq!((answer.status, batches(&openai)), (200, vec![101]), "OpenAI takes more: {}", answer.text());
    assert_eq!(answer.json()["embeddings"].as_array().unwrap().len(), 101);
}
