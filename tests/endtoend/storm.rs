//! Two hundred requests at the same moment against limits with room for five: no more than five are admitted, for every kind
//! of limit, and the others get an error in their dialect.

use crate::answer_end::{AnswerEnd, answer_end};
use futures_util::future::join_all;
use routeapi_tests::client::{Answer, Client, Dialect};
use routeapi_tests::gateway::Gateway;
use routeapi_tests::upstream::{Script, Upstream};
use serde_json::{Value, json};
use std::time::Duration;

const STORM: usize = 200;
const ROOM: usize = 5;
const TOKEN: &str = "sk-storm-of-the-test";

/// An upstream that takes its time, a gateway whose one token has these limits, and the storm's answers.
async fn storm(limits: &str, body: &Value) -> (Upstream, Gateway, Vec<Answer>) {
    let upstream = Upstream::start(Script::new().chunks(10, "word ").delay_headers(Duration::from_millis(300))).await;
    let gateway = Gateway::local(&format!(
        "apiVersion: routeapi.dev/v1alpha1
kind: AIProvider
metadata: {{name: only, namespace: apps}}
spec: {{type: OpenAI, baseURL: \"{}\"}}
---
apiVersion: routeapi.dev/v1alpha1
kind: AIRoute
metadata: {{name: storm, namespace: apps}}
spec:
  model: storm
  upstreams:
    - name: only
      providerRef: {{name: only}}
      price: {{inputPerMillion: \"1000\", outputPerMillion: \"10000\"}}
---
apiVersion: v1
kind: Secret
metadata: {{name: token, namespace: apps, labels: {{routeapi.dev/import: \"true\"}}}}
stringData: {{token: {TOKEN}}}
---
apiVersion: routeapi.dev/v1alpha1
kind: ApiToken
metadata: {{name: storm, namespace: apps}}
spec: {{models: [storm], secretName: token, {limits}}}
",
        upstream.openai_url()
    ));
    let client = Client::new(gateway.address(), TOKEN);
    let answers = join_all((0..STORM).map(|_| client.post("/v1/chat/completions", body))).await;
    (upstream, gateway, answers)
}

fn body() -> Value {
    json!({"model": "storm", "max_completion_tokens": 100, "messages": [{"role": "user", "content": "one two three four"}]})
}

/// How many were admitted; everybody else has a 429 of the dialect.
fn admitted(answers: &[Answer]) -> usize {
    let (good, bad): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    for answer in bad {
        assert_eq!(answer.status, 429, "{}", answer.text());
        assert!(answer.json()["error"]["message"].is_string(), "{}", answer.text());
    }
    assert!(good.iter().all(|answer| answer_end(Dialect::Chat, false, answer) == AnswerEnd::Whole));
    good.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_limit_holds_under_concurrent_requests() {
    let (upstream, _gateway, answers) = storm("limits: [{name: calls, per: Month, requests: 5}]", &body()).await;
    let admitted = admitted(&answers);
    println!("figure: storm requests = {STORM}, room = {ROOM}, admitted = {admitted}");
    assert_eq!((admitted, upstream.received().len()), (ROOM, ROOM));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_concurrency_limit_holds_under_concurrent_requests() {
    let (upstream, _gateway, answers) = storm("maxConcurrentRequests: 5", &body()).await;
    let admitted = admitted(&answers);
    let ledger = upstream.ledger();
    let mut moments: Vec<_> = upstream.received().iter().map(|request| (request.at, 1)).collect();
    moments.extend(ledger.iter().map(|entry| (entry.ended.unwrap(), -1)));
    moments.sort();
    let mut open = 0;
    let peak = moments
        .into_iter()
        .map(|(_, step)| {
            open += step;
            open
        })
        .max()
        .unwrap();
    println!("figure: storm concurrency cap = {ROOM}, admitted = {admitted}, at once at the upstream = {peak}");
    assert!((1..=5).contains(&peak), "{peak}");
    assert_eq!(admitted, ledger.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_limit_holds_under_concurrent_requests() {
    let cap: u64 = 520; // five times 100 tokens of output and at most four of input
    let (upstream, gateway, answers) =
        storm(&format!("limits: [{{name: volume, per: Month, tokens: {cap}}}]"), &body()).await;
    let admitted = admitted(&answers);
    let used: u64 = upstream.ledger().iter().map(|entry| entry.input_tokens + entry.output_tokens).sum();
    println!("figure: storm token cap = {cap}, admitted = {admitted}, really used = {used}");
    assert!(admitted >= 1 && used <= cap, "{admitted} admitted, {used} used");
    let records = gateway.records_of(STORM).await;
    let usage = records.iter().map(|record| &record["usage"]);
    let recorded: u64 = usage.flat_map(|usage| [&usage["input"], &usage["output"]]).filter_map(Value::as_u64).sum();
    assert_eq!(recorded, used);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spend_limit_holds_under_concurrent_requests() {
    // 100 tokens of output cost at most a dollar; a few of input, less than ten cents.
    let (_upstream, gateway, answers) = storm("limits: [{name: budget, per: Month, spendUSD: \"5.2\"}]", &body()).await;
    let admitted = admitted(&answers);
    let records = gateway.records_of(STORM).await;
    let spent: u64 = records.iter().filter_map(|record| record["cost_nano_usd"].as_u64()).sum();
    println!("figure: storm budget = 5.2 USD, admitted = {admitted}, spent = {} micro-USD", spent / 1000);
    assert!(admitted >= 1 && spent <= 5_200_000_000, "{admitted} admitted, {spent} spent");
    let truth =
        records.iter().filter(|record| record["status"] == 200).count() as u64 * (4 * 1_000_000 + 10 * 10_000_000);
    assert_eq!(spent, truth, "four tokens of input and ten of output each");
}
