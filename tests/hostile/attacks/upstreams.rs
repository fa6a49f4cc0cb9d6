//! What a client can do to a provider, or make the gateway say to one.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::Result;
use routeapi_tests::{
    client::Client,
    upstream::{Script, UsageScript},
    wait,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use super::{Findings, Scale, shapes};
use crate::{
    ground::{ATTACKER, CAP, CAPPED, Ground, SOON},
    wire::{exchange, post, status},
};

/// Names that are too long for a path, or that no URL can carry. The innocent uses the same providers all the while.
pub async fn long_names(ground: &Ground, scale: Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    let names = [
        "é".repeat(11_500),
        "%".repeat(20_000),
        "\u{1F600}".repeat(9_000),
        "\\u0000\\n".repeat(200),
        "a".repeat(70_000),
    ];
    let mut answers = Vec::new();
    for _ in 0..scale.of(4, 20) {
        for name in &names {
            for prefix in ["gem-", "chat-", "claude-"] {
                let body = shapes::plain(0, &format!("{prefix}{name}"), "", "");
                answers
                    .push(status(&exchange(ground.gateway, &post("/v1/chat/completions", "", body.as_bytes())).await?));
            }
        }
    }
    answers.sort_unstable();
    let server = answers.iter().filter(|status| **status >= 500).count();
    findings.note(format!("{} requests, {server} answered as if an upstream had failed", answers.len()));
    findings.expect(server == 0, || format!("{server} names count against an upstream"));
    Ok(findings)
}

/// Models and queries that would change where a request goes under our key.
pub async fn paths(ground: &Ground, _: Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    let names = [
        "gem-x/../../v1beta/corpora/c",
        "gem-x/../corpora",
        "gem-x/..",
        "gem-x/.",
        "gem-x/%2e%2e/%2e%2e/corpora",
        "gem-x\\\\..\\\\corpora",
        "gem-x?key=stolen",
        "gem-x#fragment",
        "gem-x:countTokens?x=",
        "gem-..;/corpora",
        "gem-x//corpora",
    ];
    let queries =
        ["$httpMethod=DELETE", "callback=evil", "userProject=other", "$key=stolen", "%24httpMethod=PUT", "alt=media"];
    for name in names {
        for call in 0..2 {
            let body = shapes::plain(call, name, "", "");
            exchange(ground.gateway, &post(&shapes::path(call, name), "", body.as_bytes())).await?;
        }
        let encoded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let body = shapes::plain(2, "", "", "");
        for name in [name, &encoded] {
            exchange(ground.gateway, &post(&shapes::path(2, name), "", body.as_bytes())).await?;
        }
    }
    for query in queries {
        let path = format!("{}?{query}", shapes::path(2, "gem-x"));
        exchange(ground.gateway, &post(&path, "", shapes::plain(2, "", "", "").as_bytes())).await?;
    }
    let received = ground.upstream.received();
    for request in &received {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let known = match path {
            "/v1/chat/completions" | "/v1/messages" => true,
            path => path.strip_prefix("/v1beta/models/").is_some_and(|rest| !rest.contains('/')),
        };
        let lower = path.to_ascii_lowercase();
        let dots = lower.split('/').any(|segment| matches!(segment.replace("%2e", ".").as_str(), "." | ".."));
        findings.expect(known && !dots, || format!("an upstream was asked for {}", request.path));
        let names = query.split('&').filter(|pair| !pair.is_empty()).filter_map(|pair| pair.split('=').next());
        for name in names {
            findings.expect(name == "alt", || format!("an upstream was sent the parameter {name}"));
        }
        findings.expect(!query.contains("media"), || format!("an upstream was sent {query}"));
    }
    findings.note(format!("{} requests reached an upstream, paths as they should be or reported", received.len()));
    Ok(findings)
}

/// Headers that mean something to vendors or to what stands in front of them.
pub async fn headers(ground: &Ground, _: Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    const FORBIDDEN: [&str; 14] = [
        "x-goog-iap-jwt-assertion",
        "x-goog-authenticated-user-email",
        "x-goog-authenticated-user-id",
        "x-goog-user-project",
        "x-goog-request-params",
        "tracestate",
        "baggage",
        "cookie",
        "x-forwarded-for",
        "forwarded",
        "x-http-method-override",
        "openai-organization",
        "openai-project",
        "x-amz-security-token",
    ];
    let sent: String = FORBIDDEN.iter().map(|name| format!("{name}: stolen-{name}\r\n")).collect();
    let sent = format!("{sent}traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n");
    for (call, _) in shapes::CALLS.iter().enumerate() {
        for model in ["chat-x", "claude-x", "gem-x"] {
            let body = shapes::plain(call, model, "", "");
            exchange(ground.gateway, &post(&shapes::path(call, model), &sent, body.as_bytes())).await?;
        }
    }
    for request in ground.upstream.received() {
        for (name, value) in &request.headers {
            findings.expect(!value.contains("stolen-") && !value.contains(ATTACKER), || {
                format!("{} was sent {name}: {value}", request.path)
            });
        }
    }
    Ok(findings)
}

/// The token is withdrawn while a body of its comes.
pub async fn revoked(ground: &Ground, scale: Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    let body = shapes::plain(0, "chat-revoked", "", "");
    let request = post("/v1/chat/completions", "", body.as_bytes());
    let (first, rest) = request.split_at(request.len() - 20);
    let mut sockets = Vec::new();
    for _ in 0..scale.of(5, 50) {
        let mut socket = TcpStream::connect(ground.gateway).await?;
        socket.write_all(first).await?;
        sockets.push(socket);
    }
    let manifests = ground.manifests();
    let spec = "secretName: attacker";
    fs::write(&ground.manifest, manifests.replace(spec, &format!("state: Suspended, {spec}")))?;
    let begun = Instant::now();
    while ground.attacker().chat("chat-x").await.status == 200 {
        anyhow::ensure!(begun.elapsed() < SOON, "the suspension is not in force");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut served = 0;
    for mut socket in sockets {
        socket.write_all(rest).await?;
        let mut answer = String::new();
        let _ = socket.read_to_string(&mut answer).await;
        served += usize::from(status(&answer) == 200);
    }
    findings.expect(served == 0, || format!("{served} requests of a suspended token were served"));
    Ok(findings)
}

/// Requests in parallel that each ask for a hundred answers, on a token with a cap.
pub async fn many_answers(ground: &Ground, scale: Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    const ANSWERS: u64 = 100;
    const EACH: u64 = 50;
    ground.upstream.on_model("chat-many", Script::new().delay_headers(Duration::from_millis(500)).tolerate_unknown());
    let client = Client::new(ground.gateway, CAPPED);
    let bodies = [
        json!({"model": "chat-many", "n": ANSWERS, "max_tokens": EACH, "messages": [{"role": "user", "content": "hi"}]}),
        json!({"model": "chat-many", "n": ANSWERS, "max_completion_tokens": EACH,
            "messages": [{"role": "user", "content": "hi"}]}),
    ];
    let mut requests = JoinSet::new();
    for number in 0..scale.of(30, 60) {
        let (client, body) = (client.clone(), bodies[number % 2].clone());
        requests.spawn(async move { client.post("/v1/chat/completions", &body).await.status });
    }
    let mut sent = 0;
    while let Some(status) = requests.join_next().await {
        status?;
        sent += 1;
    }
    let received = ground.upstream.received();
    let reached = received.iter().filter(|request| request.path.contains("chat")).count();
    let asked = received.iter().filter(|request| String::from_utf8_lossy(&request.body).contains("chat-many")).count();
    let worst = asked as u64 * ANSWERS * EACH;
    findings.note(format!("{asked} of {sent} requests were let through: {worst} tokens at worst, {CAP} are the cap"));
    findings.expect(worst <= CAP, || format!("{worst} tokens could be spent under a cap of {CAP}; {reached} reached"));
    Ok(findings)
}

/// Usage that no answer of that size can have.
pub async fn usage(ground: &Ground, _: Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    let numbers = [
        json!(u64::MAX),
        json!(1_000_000_000_000_000_u64),
        json!(i64::MIN),
        json!(-5),
        json!(1.5),
        json!("7"),
        json!(1e300),
        Value::Null,
        json!([]),
    ];
    for (kind, number) in numbers.iter().enumerate() {
        let chat = json!({"prompt_tokens": number, "completion_tokens": number, "total_tokens": number,
            "prompt_tokens_details": {"cached_tokens": number}});
        let messages = json!({"input_tokens": number, "output_tokens": number, "cache_read_input_tokens": number});
        let gemini = json!({"promptTokenCount": number, "candidatesTokenCount": number, "totalTokenCount": number});
        for (prefix, odd) in [("chat", chat), ("claude", messages), ("gem", gemini)] {
            let model = format!("{prefix}-odd-{kind}");
            ground.upstream.on_model(&model, Script::new().usage(UsageScript::Odd(odd)).tolerate_unknown());
            for stream in [false, true] {
                let dialect = routeapi_tests::client::Dialect::Chat;
                ground.attacker().ask(dialect, &model, stream, "hello there").await;
            }
        }
    }
    let records = ground.records();
    let mut reported = 0;
    for record in records.iter().filter(|record| record["model"].as_str().is_some_and(|model| model.contains("-odd-")))
    {
        for (name, count) in record["usage"].as_object().into_iter().flatten() {
            // What was sent and answered here are a few words.
            findings.expect(count.as_f64().is_none_or(|count| (0.0..1e5).contains(&count)), || {
                format!("{}: {name} is recorded as {count}", record["model"])
            });
        }
        reported += usize::from(record["usage_source"] == "reported");
    }
    findings.note(format!("{reported} of {} records call such usage reported", 2 * 3 * numbers.len()));
    Ok(findings)
}

/// Clients that close as soon as they have sent: what an upstream received is not free.
pub async fn leavers(ground: &Ground, scale: Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    // Long enough for all of a batch to arrive.
    ground.upstream.on_model("chat-left", Script::new().delay_headers(SOON).tolerate_unknown());
    let request = post("/v1/chat/completions", "", shapes::plain(0, "chat-left", r#""stream":true"#, "").as_bytes());
    const BATCH: usize = 50;
    for batch in 0..scale.of(2, 20) {
        let mut sockets = Vec::new();
        for _ in 0..BATCH {
            let mut socket = TcpStream::connect(ground.gateway).await?;
            socket.write_all(&request).await?;
            sockets.push(socket);
        }
        let arrived = || left_at(ground) >= (batch + 1) * BATCH;
        wait::until_true("a batch reaches the upstream", SOON, arrived).await;
    }
    ground.upstream.wait_idle(SOON).await;
    let begun = Instant::now();
    while ground.metric("routeapi_requests_in_flight").await? > 3.0 && begun.elapsed() < SOON {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let records = ground.records();
    let left: Vec<&Value> = records.iter().filter(|record| record["model"] == "chat-left").collect();
    let received = left_at(ground);
    let charged = left.iter().filter(|record| input(record) > 0).count();
    findings.note(format!("{received} requests were received upstream, {} recorded, {charged} charged", left.len()));
    findings
        .expect(charged >= received, || format!("{} requests that an upstream received were free", received - charged));
    Ok(findings)
}

fn left_at(ground: &Ground) -> usize {
    let needle = b"chat-left";
    let is_one = |body: &[u8]| body.windows(needle.len()).any(|window| window == needle);
    ground.upstream.received().iter().filter(|request| is_one(&request.body)).count()
}

fn input(record: &Value) -> u64 {
    let usage = record["usage"].as_object();
    usage.into_iter().flatten().filter(|(name, _)| name.contains("input")).filter_map(|(_, count)| count.as_u64()).sum()
}
