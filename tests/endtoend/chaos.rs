//! A thousand requests, fifty at a time, half of them streams, in three dialects, while one of two upstreams is killed and
//! comes back, again and again. No request may fail that had not sent content; nothing may be lost, counted twice or
//! leaked.

use crate::answer_end::{AnswerEnd, answer_end};
use futures_util::{StreamExt as _, stream};
use routeapi_dataplane::clock;
use routeapi_tests::client::{Client, Dialect};
use routeapi_tests::gateway::Gateway;
use routeapi_tests::upstream::{Entry, Outcome, Script, Upstream};
use routeapi_tests::wait;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const REQUESTS: usize = 1_000;
const AT_ONCE: usize = 50;
/// More than can be needed: an answer's end reaches the client a moment before its slot is free again.
const SLOTS: usize = 2 * AT_ONCE;
const KILLS: usize = 8;
const TOKEN: &str = "sk-chaos-of-the-test";
const LIMIT: Duration = Duration::from_secs(60);
const REQUESTS_CAP: u64 = 5_000;
const TOKENS_CAP: u64 = 1_000_000;

/// What a request was and how it ended.
struct Done {
    number: usize,
    stream: bool,
    id: String,
    end: AnswerEnd,
}

/// A small generator (xorshift64*), so that a seed says everything about what clients do and when upstreams die.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end
    }
}

fn manifests(mortal: (&str, &Upstream), lasting: (&str, &Upstream)) -> String {
    let provider = |name: &str, (kind, upstream): (&str, &Upstream)| {
        let url = if kind == "OpenAI" { upstream.openai_url() } else { upstream.url() };
        format!(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIProvider\nmetadata: {{name: {name}, namespace: apps}}\nspec:\n  \
             type: {kind}\n  baseURL: \"{url}\"\n  maxConcurrentRequests: {SLOTS}\n  \
             eviction: {{consecutiveFailures: 5, duration: 100ms}}\n---\n"
        )
    };
    format!(
        "{}{}
apiVersion: routeapi.dev/v1alpha1
kind: AIRoute
metadata: {{name: chaos, namespace: apps}}
spec:
  model: chaos
  upstreams:
    - {{name: mortal, providerRef: {{name: mortal}}}}
    - {{name: lasting, providerRef: {{name: lasting}}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: token, namespace: apps, labels: {{routeapi.dev/import: \"true\"}}}}
stringData: {{token: {TOKEN}}}
---
apiVersion: routeapi.dev/v1alpha1
kind: ApiToken
metadata: {{name: chaos, namespace: apps}}
spec:
  models: [chaos]
  secretName: token
  maxConcurrentRequests: {SLOTS}
  limits:
    - {{name: calls, per: Month, requests: {REQUESTS_CAP}}}
    - {{name: volume, per: Month, tokens: {TOKENS_CAP}}}
",
        provider("mortal", mortal),
        provider("lasting", lasting)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_upstream_fails_no_request_and_loses_no_usage() {
    chaos("OpenAI", "OpenAI", "chaos").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_upstream_with_fallback_to_another_dialect_fails_no_request() {
    chaos("Anthropic", "Gemini", "chaos across dialects").await;
}

/// `mortal` and `lasting` are types of providers; `name` is what figures are called.
async fn chaos(mortal_type: &str, lasting_type: &str, name: &str) {
    let seed = std::env::var("ROUTEAPI_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_123);
    println!("figure: {name}: seed = {seed} (ROUTEAPI_TEST_SEED)");
    let mut random = Random(seed);
    let script = || {
        Script::new().chunks(12, "word ").delay_headers(Duration::from_millis(4)).delay_chunk(Duration::from_millis(2))
    };
    let (mortal, lasting) = (Upstream::start(script()).await, Upstream::start(script()).await);
    let gateway = Gateway::local(&manifests((mortal_type, &mortal), (lasting_type, &lasting)));
    let client = Client::new(gateway.address(), TOKEN);

    let plan: Vec<(usize, Dialect, bool)> =
        (0..REQUESTS).map(|number| (number, Dialect::ALL[random.below(3) as usize], number % 2 == 0)).collect();
    let kills: Vec<usize> = (0..KILLS).map(|nth| nth * REQUESTS / KILLS + 20 + random.below(60) as usize).collect();
    let answered = AtomicUsize::new(0);
    let started = Instant::now();
    let asking = stream::iter(plan)
        .map(|(number, dialect, stream)| {
            let (client, answered) = (client.clone(), &answered);
            async move {
                let answer = client.ask(dialect, "chaos", stream, &format!("request-{number:04}")).await;
                answered.fetch_add(1, Ordering::Relaxed);
                let id = answer.header("x-routeapi-request-id").unwrap_or_default().to_owned();
                Done { number, stream, id, end: answer_end(dialect, stream, &answer) }
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<Done>>();
    let killing = async {
        for kill in kills {
            wait::until_true("requests are answered", LIMIT, || answered.load(Ordering::Relaxed) >= kill).await;
            mortal.kill();
            wait::until_true("requests are answered", LIMIT, || answered.load(Ordering::Relaxed) >= kill + 25).await;
            mortal.restart().await.unwrap();
        }
    };
    let (done, ()) = tokio::join!(asking, killing);
    println!("figure: {name}: requests = {}, kills = {KILLS}, took = {:?}", done.len(), started.elapsed());

    endings(name, &done);
    let records = gateway.records_of(REQUESTS).await;
    reconcile(name, &done, &records, [("mortal", &mortal), ("lasting", &lasting)]);
    nothing_is_left(name, &gateway, &records, [&mortal, &lasting]).await;
}

fn endings(name: &str, done: &[Done]) {
    let failed: Vec<_> =
        done.iter().filter(|answer| matches!(answer.end, AnswerEnd::Failed(_))).map(|answer| &answer.end).collect();
    let cut = done.iter().filter(|answer| answer.end == AnswerEnd::CutAfterContent).count();
    let streams = done.iter().filter(|answer| answer.stream).count();
    println!(
        "figure: {name}: streams = {streams}, cut after content = {cut}, failed before content = {}",
        failed.len()
    );
    assert!(failed.is_empty(), "{} failed, such as {:?}", failed.len(), failed.first());
    assert!(cut > 0, "no stream was cut, so nothing was tried");
}

/// What one request was to an upstream, by the upstream's own ledger.
type Truth<'a> = BTreeMap<(usize, &'a str), Vec<Entry>>;

fn truth<'a>(upstreams: [(&'a str, &Upstream); 2]) -> Truth<'a> {
    let mut truth = Truth::new();
    for (name, upstream) in upstreams {
        let ledger: BTreeMap<u64, Entry> = upstream.ledger().into_iter().map(|entry| (entry.id, entry)).collect();
        for received in upstream.received() {
            let body = String::from_utf8_lossy(&received.body).into_owned();
            let at = body.find("request-").expect("our text reaches the upstream") + "request-".len();
            let number: usize = body[at..at + 4].parse().unwrap();
            truth.entry((number, name)).or_default().push(ledger[&received.id].clone());
        }
    }
    truth
}

fn reconcile(name: &str, done: &[Done], records: &[Value], upstreams: [(&str, &Upstream); 2]) {
    let truth = truth(upstreams);
    let by_id: BTreeMap<&str, &Value> = records.iter().map(|record| (record["id"].as_str().unwrap(), record)).collect();
    let lost = done.iter().filter(|answer| !by_id.contains_key(answer.id.as_str())).count();
    let duplicated = records.len() - by_id.len();
    let (mut misstated, mut unrecorded, mut again, mut exact) = (Vec::new(), 0, 0, 0);
    for request in done {
        let Some(record) = by_id.get(request.id.as_str()) else { continue };
        let attempts = record["attempts"].as_array().unwrap();
        for (upstream, _) in upstreams {
            let entries = truth.get(&(request.number, upstream)).map(Vec::as_slice).unwrap_or_default();
            let of_it: Vec<&Value> = attempts.iter().filter(|attempt| attempt["upstream"] == upstream).collect();
            // A request that a kept connection lost goes out once more within its attempt: the upstream has read it twice
            // and answered it once.
            let answered = entries.iter().filter(|entry| entry.delivered_tokens > 0).count();
            again += entries.len().saturating_sub(of_it.len());
            unrecorded += answered.saturating_sub(of_it.len());
            for attempt in of_it {
                match misstatement(attempt, attempts.last() == Some(attempt), entries, request) {
                    Some(what) => misstated.push(format!("{what}: {attempt} but {entries:?}")),
                    None => exact += usize::from(attempt["usage_source"] == "reported"),
                }
            }
        }
    }
    println!(
        "figure: {name}: ledger lost = {lost}, duplicated = {duplicated}, unrecorded attempts = {unrecorded}, sent again within one = {again}, mis-stated = {}, exact = {exact}",
        misstated.len()
    );
    assert_eq!((lost, duplicated, unrecorded), (0, 0, 0));
    assert!(misstated.is_empty(), "{} are mis-stated, such as {:?}", misstated.len(), misstated.first());
}

/// What is wrong about a recorded attempt, given what the upstream did for that request.
fn misstatement(attempt: &Value, last: bool, entries: &[Entry], request: &Done) -> Option<&'static str> {
    let count = |member: &str| attempt["usage"][member].as_u64().unwrap_or(0);
    let equals = |entry: &Entry| (count("input"), count("output")) == (entry.input_tokens, entry.output_tokens);
    let served = attempt.get("error").is_none();
    if served && request.end == AnswerEnd::Whole {
        // After a dialect's last event the gateway is done, and may have hung up before the upstream has closed the body.
        let all_sent =
            |entry: &Entry| entry.outcome == Outcome::ClientClosed && entry.delivered_tokens == entry.output_tokens;
        let complete =
            entries.iter().any(|entry| (entry.outcome == Outcome::Completed || all_sent(entry)) && equals(entry));
        return (attempt["usage_source"] != "reported" || !complete).then_some("served, but not as the upstream says");
    }
    // Anthropic reports the input ahead: an attempt that died before any content has that, and no output.
    let output = attempt["usage"].get("output").and_then(Value::as_u64);
    let said = |entry: &Entry| {
        count("input") == entry.input_tokens && output.is_none_or(|tokens| tokens == entry.output_tokens)
    };
    if attempt["usage_source"] == "reported" && !entries.iter().any(said) {
        return Some("reported, but by nobody");
    }
    // Killed on the way: the upstream's report never came. If the client saw content, what came is counted.
    let cut = last && request.end == AnswerEnd::CutAfterContent;
    (cut && (attempt["usage_source"] == "none" || count("output") == 0))
        .then_some("cut after content, but nothing counted")
}

async fn nothing_is_left(name: &str, gateway: &Gateway, records: &[Value], upstreams: [&Upstream; 2]) {
    for upstream in upstreams {
        upstream.wait_idle(LIMIT).await;
    }
    assert_eq!(gateway.metrics().await.sum("routeapi_requests_in_flight", &[]), 0.0);
    let runtime = gateway.running().store.current();
    for upstream in &runtime.route("apps", "chaos").unwrap().upstreams {
        assert_eq!(upstream.provider.concurrency.in_use(), 0, "{}", upstream.name);
    }
    let token = runtime.token(&Sha256::digest(TOKEN).into()).unwrap();
    let now = clock::now().unix_ms;
    let left: BTreeMap<String, u64> =
        token.account.remaining(now).into_iter().map(|balance| (balance.limit.name, balance.left)).collect();
    let used: u64 =
        records.iter().flat_map(|record| record["usage"].as_object().unwrap().values()).filter_map(Value::as_u64).sum();
    println!("figure: {name}: tokens recorded = {used}, taken from the limit = {}", TOKENS_CAP - left["volume"]);
    assert_eq!(
        left,
        BTreeMap::from([("calls".into(), REQUESTS_CAP - REQUESTS as u64), ("volume".into(), TOKENS_CAP - used)])
    );
    let estimate = routeapi_metering::Estimate::default();
    let all = futures_util::future::join_all((0..SLOTS).map(|_| token.account.reserve(now, estimate))).await;
    assert!(all.iter().all(Result::is_ok), "some concurrency was never given back");
    let models: BTreeSet<&str> = records.iter().filter_map(|record| record["model"].as_str()).collect();
    assert_eq!(models, BTreeSet::from(["chaos"]));
}
