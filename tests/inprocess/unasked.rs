//! What the gateway asks of an upstream beside what the client asked for is left out where it is refused.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::net::TcpListener;

use crate::{
    gateway::{Gateway, Manifests},
    request::{Ask, chat, dialects},
};

const STREAM: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"hello\"},\"finish_reason\":null}]}\n\n\
    data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

/// A Chat server that refuses `stream_options`, and any request that holds `wrong`, naming what it holds; and how often it
/// was asked.
async fn strict(status: u16) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            let serve = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                count.fetch_add(1, Ordering::Relaxed);
                async move {
                    let (mut body, mut text) = (request.into_body(), String::new());
                    while let Some(frame) = body.frame().await {
                        text.push_str(&String::from_utf8_lossy(&frame.unwrap().into_data().unwrap_or_default()));
                    }
                    let refused = text.contains("\"stream_options\":{") || text.contains("wrong");
                    let mut response = Response::new(Full::new(Bytes::from_static(STREAM.as_bytes())));
                    response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
                    if refused {
                        let error = serde_json::json!({"detail": [{"loc": ["body"], "msg": "extra: stream_options"}]});
                        response = Response::new(Full::new(Bytes::from(error.to_string())));
                        *response.status_mut() = StatusCode::from_u16(status).unwrap();
                    }
                    Ok::<_, Infallible>(response)
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), serve));
        }
    });
    (address, asked)
}

fn manifests(address: SocketAddr, more: &str) -> Manifests {
    Manifests::new()
        .with(&format!(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIProvider\nmetadata: {{name: up, namespace: apps}}\n\
             spec: {{type: OpenAI, baseURL: \"http://{address}/v1\", eviction: {{consecutiveFailures: 1}}{more}}}"
        ))
        .route_with("m", &["up"], "fallback: {maxAttempts: 1}")
        .token()
}

#[tokio::test]
async fn a_refusal_of_stream_options_is_repeated_without_them_and_remembered() {
    for status in [400, 422] {
        for (path, body) in dialects("m", true) {
            let (address, asked) = strict(status).await;
            let gateway = Gateway::start(&manifests(address, ""));
            for (at, expected) in [(1, 2), (2, 3), (3, 4)] {
                let answer = Ask::post(&path, body.clone()).send(&gateway).await;
                assert_eq!(answer.status, 200, "{status} {path}: {}", answer.text());
                assert!(answer.text().contains("hello"), "{path}: {}", answer.text());
                assert_eq!(asked.load(Ordering::Relaxed), expected, "{path}: only the first request is made twice");
                let record = gateway.records(at).await.remove(at - 1);
                assert_eq!(
                    (&record["outcome"], &record["usage_source"]),
                    (&"completed".into(), &"estimated".into()),
                    "{record:#}"
                );
            }
            let page = Ask::get("/config").open_at(gateway.admin()).await.read().await.json();
            let state = &page["upstreams"]["apps/m"]["up"];
            assert_eq!((&state["state"], &state["refusesStreamOptions"]), (&"ready".into(), &true.into()), "{state:#}");
            assert_eq!(state["byNamespace"], serde_json::Value::Null, "no failure of the upstream's");
        }
    }
}

#[tokio::test]
async fn a_change_of_the_provider_forgets_what_was_learned() {
    let (address, asked) = strict(400).await;
    let gateway = Gateway::start(&manifests(address, ""));
    let ask = || Ask::post("/v1/chat/completions", chat("m", true)).send(&gateway);
    assert_eq!(ask().await.status, 200);
    gateway.apply(&manifests(address, ", maxConcurrentRequests: 7")).await;
    assert_eq!(ask().await.status, 200);
    assert_eq!(asked.load(Ordering::Relaxed), 4, "it was asked again");
}

#[tokio::test]
async fn a_clients_own_stream_options_do_not_change_what_is_learned_of_an_upstream() {
    let (address, asked) = strict(400).await;
    let gateway = Gateway::start(&manifests(address, ""));
    let own = chat("m", true).replace("\"stream\":true", "\"stream\":true,\"stream_options\":{\"include_usage\":true}");
    let answer = Ask::post("/v1/chat/completions", own).send(&gateway).await;
    assert_eq!(
        (answer.status, asked.load(Ordering::Relaxed)),
        (400, 1),
        "what the client asks for is its own: {}",
        answer.text()
    );
    let wrong = chat("m", true).replace("something", "wrong: stream_options");
    let answer = Ask::post("/v1/chat/completions", wrong.clone()).send(&gateway).await;
    assert_eq!((answer.status, asked.load(Ordering::Relaxed)), (400, 3), "{}", answer.text());
    let page = Ask::get("/config").open_at(gateway.admin()).await.read().await.json();
    assert_eq!(page["upstreams"]["apps/m"]["up"]["refusesStreamOptions"], serde_json::Value::Null, "{page:#}");
    assert_eq!(page["upstreams"]["apps/m"]["up"]["state"], "ready");
    // Repetitions draw from the retry budget, so that wrong requests are not doubled without end.
    for _ in 0..40 {
        assert_eq!(Ask::post("/v1/chat/completions", wrong.clone()).send(&gateway).await.status, 400);
    }
    let asked = asked.load(Ordering::Relaxed);
    assert!(asked < 3 + 40 + 10 + 10, "{asked} requests for 42");
}
