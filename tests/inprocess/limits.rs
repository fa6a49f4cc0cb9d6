//! Limits act, and say which one it was and when to come back.

use std::{sync::Arc, time::Duration};

use routeapi_tests::upstream::{Script, Upstream};
use tokio::sync::Semaphore;

use crate::{
    gateway::{Gateway, Manifests, SOON, TOKEN},
    raw,
    request::{Ask, chat, dialects},
};

async fn limited(script: Script, spec: &str, price: &str) -> (Upstream, Gateway) {
    let upstream = Upstream::start(script).await;
    let manifests = Manifests::new()
        .provider("up", "OpenAI", &upstream)
        .with(&format!(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {{name: m, namespace: apps}}\n\
             spec: {{model: m, upstreams: [{{name: up, providerRef: {{name: up}}{price}}}]}}"
        ))
        .token_with("main", TOKEN, &format!("models: [\"*\"], {spec}"));
    let gateway = Gateway::start(&manifests);
    (upstream, gateway)
}

#[tokio::test]
async fn requests_per_window() {
    let (upstream, gateway) = limited(Script::new(), "limits: [{name: few, per: Hour, requests: 2}]", "").await;
    for (at, (path, body)) in dialects("m", false).into_iter().enumerate() {
        let answer = Ask::post(&path, body).send(&gateway).await;
        assert_eq!(answer.status, if at < 2 { 200 } else { 429 }, "{}", answer.text());
        if at < 2 {
            assert_eq!(answer.header("x-ratelimit-limit-requests"), Some("2"));
            assert_eq!(answer.header("x-ratelimit-remaining-requests"), Some(["1", "0"][at]));
            assert_eq!(answer.header("x-ratelimit-remaining-tokens"), None, "it has no such limit");
        }
        if at == 2 {
            assert_eq!(answer.header("x-routeapi-limit"), Some("few"));
            assert_eq!(answer.header("x-ratelimit-limit-requests"), Some("2"));
            assert_eq!(answer.header("x-ratelimit-remaining-requests"), Some("0"));
            let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((3_590..=3_700).contains(&wait), "{wait}");
            assert_eq!(answer.json()["error"]["status"], "RESOURCE_EXHAUSTED", "in the client's dialect");
            assert!(answer.text().contains("few"), "{}", answer.text());
        }
    }
    assert_eq!(upstream.received().len(), 2, "the refused one did not go out");
    let record = gateway.records(3).await.remove(2);
    assert_eq!((&record["outcome"], &record["error"]), (&"limit_stopped".into(), &"request_limit".into()));
}

/// Several windows at once: after the time that is named, and not only after the first window, the request passes.
#[tokio::test]
async fn retry_after_of_a_limit_is_when_the_next_request_succeeds() {
    let spec = "limits: [{name: a, per: Day, tokens: 100000}, {name: b, per: Second, requests: 1}]";
    let (_upstream, gateway) = limited(Script::new(), spec, "").await;
    let mut records = 0;
    for (path, body) in dialects("m", false) {
        loop {
            let answer = Ask::post(&path, body.clone()).send(&gateway).await;
            records += 1;
            gateway.records(records).await;
            if answer.status == 200 {
                continue;
            }
            assert_eq!((answer.status, answer.header("x-routeapi-limit")), (429, Some("b")), "{}", answer.text());
            let millis: u64 = answer.header("retry-after-ms").unwrap().parse().unwrap();
            let seconds = millis.div_ceil(1_000).to_string();
            assert_eq!(answer.header("retry-after"), Some(seconds.as_str()));
            assert_eq!(answer.header("x-ratelimit-reset-requests"), Some(format!("{seconds}s").as_str()));
            tokio::time::sleep(Duration::from_millis(millis)).await;
            let answer = Ask::post(&path, body.clone()).send(&gateway).await;
            records += 1;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            break;
        }
    }
}

#[tokio::test]
async fn a_refusal_says_what_is_left() {
    let spec = "limits: [{name: budget, per: Day, tokens: 1000}]";
    let (_upstream, gateway) = limited(Script::new().chunks(10, "word "), spec, "").await;
    let body =
        |most: u64| format!(r#"{{"model":"m","max_tokens":{most},"messages":[{{"role":"user","content":"x"}}]}}"#);
    assert_eq!(Ask::post("/v1/chat/completions", body(100)).send(&gateway).await.status, 200);
    let used = tokens_of(&gateway.record().await);
    let answer = Ask::post("/v1/chat/completions", body(990)).send(&gateway).await;
    let left = (1_000 - used).to_string();
    assert_eq!((answer.status, answer.header("x-ratelimit-remaining-tokens")), (429, Some(left.as_str())));
    let until_midnight: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!(until_midnight <= 86_400, "{until_midnight}");
}

#[tokio::test]
async fn tokens_are_reserved_before_and_settled_after() {
    let spec = "limits: [{name: budget, per: Day, tokens: 100000}]";
    let (upstream, gateway) = limited(Script::new().chunks(10, "word "), spec, "").await;
    // Each asks for 60,000 and uses a few: one after the other they all fit, because they are settled in between.
    let body = r#"{"model":"m","max_tokens":60000,"messages":[{"role":"user","content":"x"}]}"#;
    for _ in 0..5 {
        let answer = Ask::post("/v1/chat/completions", body).send(&gateway).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        gateway.records(upstream.received().len()).await;
    }
    // At once only one fits.
    upstream.set(Script::new().delay_headers(Duration::from_millis(500)));
    let asks = (0..4).map(|_| Ask::post("/v1/chat/completions", body).send(&gateway));
    let answers = futures_util::future::join_all(asks).await;
    let granted = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(granted, 1);
    let refused = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(refused.header("x-routeapi-limit"), Some("budget"));
}

#[tokio::test]
async fn money_stops_at_the_cap() {
    let spec = "limits: [{name: allowance, per: Month, spendUSD: \"0.001\"}]";
    let price = ", price: {inputPerMillion: \"1\", outputPerMillion: \"100\"}";
    let (upstream, gateway) = limited(Script::new().chunks(10, "word "), spec, price).await;
    let body = r#"{"model":"m","max_tokens":10,"messages":[{"role":"user","content":"x"}]}"#;
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(Ask::post("/v1/chat/completions", body).send(&gateway).await);
        gateway.records(answers.len()).await;
    }
    let last = answers.last().unwrap();
    assert_eq!(answers[0].status, 200);
    assert_eq!(last.status, 429, "{}", last.text());
    assert_eq!((last.header("x-routeapi-limit"), last.header("x-should-retry")), (Some("allowance"), Some("false")));
    assert_eq!(last.json()["error"]["code"], "insufficient_quota", "{}", last.text());
    let spent: u64 = gateway.records(3).await.iter().map(|record| record["cost_nano_usd"].as_u64().unwrap()).sum();
    assert!(spent <= 1_000_000 + 10 * 100_000, "{spent}");
    assert!(!upstream.received().is_empty());
}

/// A team's own routes to the platform's provider: without a price, with one of nothing, to a model that has none.
#[tokio::test]
async fn a_tenants_own_route_cannot_price_itself_out_of_a_spend_limit() {
    let upstream = Upstream::start(Script::new().chunks(10, "word ")).await;
    let route = |name: &str, model: &str, price: &str| {
        let object = name.trim_end_matches("-*");
        format!(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {{name: {object}, namespace: apps}}\n\
             spec: {{model: {name}, upstreams: [{{name: up, providerRef: {{name: up, namespace: platform}}{model}{price}}}]}}"
        )
    };
    let free = ", price: {inputPerMillion: \"0\", outputPerMillion: \"0\"}";
    let manifests = Manifests::new()
        .with(&format!(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIProvider\nmetadata: {{name: up, namespace: platform}}\n\
             spec: {{type: OpenAI, baseURL: \"{}/v1\", allowedRoutes: {{namespaces: {{from: All}}}}, models: [\
             {{model: gpt, price: {{inputPerMillion: \"1\", outputPerMillion: \"100\"}}}}, {{model: preview}}]}}",
            upstream.url()
        ))
        .with(&route("plain", ", model: gpt", ""))
        .with(&route("for-free", ", model: gpt", free))
        .with(&route("unpriced", ", model: preview", free))
        .with(&route("as-asked-*", "", free))
        .token_with("main", TOKEN, "models: [\"*\"], limits: [{name: allowance, per: Month, spendUSD: \"0.01\"}]");
    let gateway = Gateway::start(&manifests);
    let ask = |model: &str| {
        let body = format!(r#"{{"model":"{model}","max_tokens":10,"messages":[{{"role":"user","content":"x"}}]}}"#);
        Ask::post("/v1/chat/completions", body)
    };
    for model in ["plain", "for-free"] {
        let answer = ask(model).send(&gateway).await;
        assert_eq!(answer.status, 200, "{model}: {}", answer.text());
    }
    for (path, body) in dialects("unpriced", false) {
        let answer = Ask::post(&path, body).send(&gateway).await;
        assert_eq!(answer.status, 403, "{path}: {}", answer.text());
        assert!(answer.text().contains("no price is known"), "{path}: {}", answer.text());
    }
    let answer = ask("as-asked-anything").send(&gateway).await;
    assert_eq!(answer.status, 404, "not on the provider's list: {}", answer.text());
    assert_eq!(upstream.received().len(), 2, "nothing else went out");
    let records = gateway.records(6).await;
    let costs: Vec<u64> = records.iter().take(2).map(|record| record["cost_nano_usd"].as_u64().unwrap()).collect();
    assert!(costs.iter().all(|&cost| cost > 0), "the provider's price counts: {costs:?}");
}

#[tokio::test]
async fn concurrency_is_freed_by_every_ending() {
    let (upstream, gateway) = limited(Script::new(), "maxConcurrentRequests: 1", "").await;
    let slow = Script::new().chunks(1_000, "word ").delay_chunk(Duration::from_millis(10));
    upstream.set(slow.clone());
    let mut held = Ask::post("/v1/chat/completions", chat("m", true)).open(&gateway).await;
    held.until("word").await;
    let refused = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
    assert_eq!((refused.status, refused.header("x-routeapi-limit")), (429, Some("maxConcurrentRequests")));
    held.leave();
    gateway.records(2).await;
    for (at, script) in [Script::failing(500), Script::new().text("whole")].into_iter().enumerate() {
        upstream.set(script);
        let answer = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
        assert_ne!(answer.status, 429, "{}", answer.text());
        gateway.records(3 + at).await;
    }
    upstream.wait_idle(SOON).await;
}

#[tokio::test]
async fn a_request_that_never_went_out_counts_nowhere() {
    let spec = "limits: [{name: few, per: Hour, requests: 1}]";
    let (_upstream, gateway) = limited(Script::new(), spec, "").await;
    for _ in 0..3 {
        // Found out when the request is decoded for an upstream of another dialect.
        let body = r#"{"model":"m","messages":"not a list"}"#;
        let answer = Ask::post("/v1/messages", body).send(&gateway).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
    assert_eq!(Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await.status, 200);
    assert_eq!(Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await.status, 429);
}

#[tokio::test]
async fn many_answers_at_once_stay_within_the_cap() {
    // Each request may use 100 answers of 100 tokens; the cap has room for two of them, and for what they are asked with.
    const CAP: u64 = 21_000;
    let spec = "limits: [{name: budget, per: Day, tokens: 21000}]";
    let (upstream, gateway) = limited(Script::new().chunks(90, "word "), spec, "").await;
    let body = r#"{"model":"m","max_tokens":100,"n":100,"messages":[{"role":"user","content":"x"}]}"#;
    let asks = (0..60).map(|_| Ask::post("/v1/chat/completions", body).send(&gateway));
    let answers = futures_util::future::join_all(asks).await;
    assert!(answers.iter().all(|answer| answer.status == 200 || answer.status == 429));
    let used: u64 = gateway.records(60).await.iter().map(tokens_of).sum();
    assert!(used <= CAP, "{used}");
    assert!(!upstream.received().is_empty());
    let impossible = body.replace("\"n\":100", "\"n\":1000");
    let answer = Ask::post("/v1/chat/completions", impossible).send(&gateway).await;
    assert_eq!(answer.status, 429);
    assert!(answer.text().contains("ask for fewer or shorter answers"), "{}", answer.text());
}

/// A body in each dialect that asks for 50 tokens of a stream.
fn short_streams() -> [(String, String); 3] {
    dialects("m", true).map(|(path, body)| {
        let body = body.replace("\"max_tokens\":4096,", "");
        let most = match path.contains("generate") || path.contains("Generate") {
            true => "{\"generation_config\":{\"max_output_tokens\":50},",
            false => "{\"max_tokens\":50,",
        };
        (path, body.replacen('{', most, 1))
    })
}

#[tokio::test]
async fn a_strict_limit_ends_a_stream_where_its_reservation_does() {
    // An upstream that does not care for the maximum, and never ends. It sends a token for each that the client got, and is
    // at most two ahead: an encoder may hold the last one.
    const AHEAD: usize = 2;
    for (path, body) in short_streams() {
        let sent = body.len() as u64;
        let permits = Arc::new(Semaphore::new(AHEAD));
        let (head, event) = (raw::head("text/event-stream", ""), raw::chunk("word ").into_bytes());
        let gateway = strictly_limited(raw::Does::Paces(head, event, Arc::clone(&permits))).await;
        let mut opened = Ask::post(&path, body).open(&gateway).await;
        let (mut got, mut words) = (String::new(), 0);
        while let Some(piece) = opened.next().await {
            got.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
            let seen = got.matches("word").count();
            permits.add_permits(seen - words);
            words = seen;
        }
        let record = gateway.record().await;
        assert_eq!((&record["outcome"], &record["error"]), (&"limit_stopped".into(), &"token_limit".into()), "{path}");
        assert!(got.contains("budget"), "{path}: {got}");
        // The reservation is the maximum and the estimated input, which is less than a token for each byte; no more goes
        // out than that and what was on its way.
        let most = 50 + sent + AHEAD as u64;
        assert!((51..=most).contains(&tokens_of(&record)) && words as u64 <= most, "{path}: {words} {record:#}");
    }
}

#[tokio::test]
async fn a_strict_limit_is_exceeded_by_at_most_one_read_of_the_upstream() {
    // As fast as it is taken: the gateway reads no more at once than this.
    const READ: usize = 128 << 10;
    let event = raw::chunk("word ");
    let most = (READ / event.len()) as u64 + 1;
    let endless = raw::Does::Floods(raw::head("text/event-stream", ""), event.into_bytes());
    let gateway = strictly_limited(endless).await;
    for (at, (path, body)) in short_streams().into_iter().enumerate() {
        let sent = body.len() as u64;
        let answer = Ask::post(&path, body).send(&gateway).await;
        let record = gateway.records(at + 1).await.remove(at);
        assert_eq!((&record["outcome"], &record["error"]), (&"limit_stopped".into(), &"token_limit".into()), "{path}");
        assert!(answer.text().contains("budget"), "{path}");
        let used = tokens_of(&record);
        assert!((50..=50 + sent + most).contains(&used), "{path}: {used} of 50 + {sent} + {most}");
    }
}

/// A gateway with a strict limit before this upstream.
async fn strictly_limited(does: raw::Does) -> Gateway {
    let address = raw::upstream(does).await;
    let manifests = Manifests::new()
        .with(&format!(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIProvider\nmetadata: {{name: up, namespace: apps}}\n\
             spec: {{type: OpenAI, baseURL: \"http://{address}/v1\"}}"
        ))
        .route("m", &["up"])
        .token_with(
            "main",
            TOKEN,
            "models: [\"*\"], limits: [{name: budget, per: Day, tokens: 1000000, enforcement: Strict}]",
        );
    Gateway::start(&manifests)
}

#[tokio::test]
async fn a_limit_that_settles_ends_no_stream() {
    let spec = "limits: [{name: budget, per: Day, tokens: 1000, enforcement: Settle}]";
    let (_upstream, gateway) = limited(Script::new().chunks(400, "word "), spec, "").await;
    let [(path, body), ..] = short_streams();
    Ask::post(&path, body).send(&gateway).await;
    assert_eq!(gateway.record().await["outcome"], "completed");
}

fn tokens_of(record: &serde_json::Value) -> u64 {
    ["input", "cache_read", "cache_write", "output", "reasoning"]
        .iter()
        .map(|name| record["usage"][name].as_u64().unwrap_or(0))
        .sum()
}
