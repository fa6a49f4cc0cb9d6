//! Closed-loop load: a fixed number of connections, each sending its next request when the last answer is complete.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Request, header::AUTHORIZATION, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

/// What to send.
#[derive(Clone)]
pub struct Workload {
    /// Where.
    pub url: String,
    /// As whom, where that is asked for.
    pub token: Option<String>,
    /// The model, which tells the mock what to answer.
    pub model: String,
    /// Whether a stream is wanted.
    pub stream: bool,
    /// Requests in all.
    pub requests: u64,
    /// Connections.
    pub connections: u64,
}

/// What came of it.
pub struct Outcome {
    /// Answers that were not a complete 200.
    pub failures: u64,
    /// Bytes of all answers.
    pub bytes: u64,
    /// Microseconds per request.
    pub latency: Histogram<u64>,
}

/// Sends it all.
pub async fn run(workload: &Workload) -> anyhow::Result<Outcome> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let left = Arc::new(AtomicU64::new(workload.requests));
    let mut connections = Vec::new();
    for _ in 0..workload.connections {
        connections.push(tokio::spawn(connection(client.clone(), workload.clone(), Arc::clone(&left))));
    }
    let mut outcome = Outcome { failures: 0, bytes: 0, latency: Histogram::new(3)? };
    for connection in connections {
        let part = connection.await??;
        outcome.failures += part.failures;
        outcome.bytes += part.bytes;
        outcome.latency.add(part.latency)?;
    }
    Ok(outcome)
}

async fn connection(
    client: Client<HttpConnector, Full<Bytes>>,
    workload: Workload,
    left: Arc<AtomicU64>,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome { failures: 0, bytes: 0, latency: Histogram::new(3)? };
    let take = |left: u64| left.checked_sub(1);
    while let Ok(number) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
        let started = Instant::now();
        match exchange(&client, &workload, number).await {
            Ok(bytes) => outcome.bytes += bytes,
            Err(_) => outcome.failures += 1,
        }
        outcome.latency.record(u64::try_from(started.elapsed().as_micros())?)?;
    }
    Ok(outcome)
}

async fn exchange(
    client: &Client<HttpConnector, Full<Bytes>>,
    workload: &Workload,
    number: u64,
) -> anyhow::Result<u64> {
    // A nonce, so that nothing on the way can answer from a cache; 1 KiB in all.
    let body = format!(
        r#"{{"model":"{}","stream":{},"messages":[{{"role":"user","content":"{number:016} {}"}}]}}"#,
        workload.model,
        workload.stream,
        "lorem ipsum ".repeat(76),
    );
    let mut request = Request::post(&workload.url).header(CONTENT_TYPE, "application/json");
    if let Some(token) = &workload.token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let response = client.request(request.body(Full::from(body))?).await?;
    anyhow::ensure!(response.status() == 200, "status {}", response.status());
    let mut body = response.into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, Bytes::len) as u64;
    }
    Ok(bytes)
}
