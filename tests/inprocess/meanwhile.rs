//! What changes while a request is under way holds for it: the body can be slow, a pause can be waited for.

use std::time::Duration;

use routeapi_dataplane::request::RequestSettings;
use routeapi_tests::upstream::{Script, Upstream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    gateway::{Gateway, Manifests, SOON, TOKEN},
    request::{Ask, chat, dialects},
};

/// A request whose body is on its way.
struct Uploading {
    socket: TcpStream,
    rest: Vec<u8>,
}

impl Uploading {
    /// Sends the head and the first half of the body.
    async fn begin(gateway: &Gateway, path: &str, body: &str) -> Self {
        let mut socket = TcpStream::connect(gateway.address()).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        let (first, rest) = body.as_bytes().split_at(body.len() / 2);
        socket.write_all(&[head.as_bytes(), first].concat()).await.unwrap();
        gateway.under_way(1).await;
        Self { socket, rest: rest.to_vec() }
    }

    /// Sends the rest; the whole answer.
    async fn end(mut self) -> String {
        self.socket.write_all(&self.rest).await.unwrap();
        self.answer().await
    }

    async fn answer(mut self) -> String {
        let mut answer = String::new();
        tokio::time::timeout(SOON, self.socket.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }
}

fn key(value: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: key, namespace: apps}}\nstringData: {{apiKey: {value}}}")
}

fn provider(manifests: Manifests, upstream: &Upstream) -> Manifests {
    manifests.provider_with("up", "OpenAI", upstream, "credentials: {apiKey: {secretRef: {name: key, key: apiKey}}}")
}

fn serving(upstream: &Upstream, value: &str) -> Manifests {
    provider(Manifests::new().with(&key(value)), upstream).route("m", &["up"])
}

#[tokio::test]
async fn a_request_is_judged_by_the_configuration_in_force_when_its_body_has_come() {
    let upstream = Upstream::start(Script::new()).await;
    let open = || serving(&upstream, "old-key");
    let unused = "models: [\"*\"]";
    let cases = [
        ("401", "unknown_token", open().token_with("other", "sk-other-test-token", unused)),
        ("403", "token_suspended", open().token_with("main", TOKEN, "models: [\"*\"], state: Suspended")),
        (
            "401",
            "token_expired",
            open().token_with("main", TOKEN, "models: [\"*\"], expirationTime: \"2020-01-01T00:00:00Z\""),
        ),
        ("403", "model_not_allowed", open().token_with("main", TOKEN, "models: [\"n\"]")),
        (
            "404",
            "unknown_model",
            provider(Manifests::new().with(&key("old-key")), &upstream).route("n", &["up"]).token(),
        ),
    ];
    for (status, word, after) in cases {
        let gateway = Gateway::start(&open().token());
        let uploading = Uploading::begin(&gateway, "/v1/chat/completions", &chat("m", false)).await;
        gateway.apply(&after).await;
        let answer = uploading.end().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{word}: {answer}");
        assert_eq!(gateway.record().await["error"], word);
    }
    assert!(upstream.received().is_empty(), "nothing was sent");
}

#[tokio::test]
async fn a_key_that_is_rotated_while_the_body_comes_is_the_one_that_is_sent() {
    let upstream = Upstream::start(Script::new()).await;
    let gateway = Gateway::start(&serving(&upstream, "old-key").token());
    let uploading = Uploading::begin(&gateway, "/v1/chat/completions", &chat("m", false)).await;
    gateway.apply(&serving(&upstream, "new-key").token()).await;
    let answer = uploading.end().await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(upstream.last().header("authorization"), Some("Bearer new-key"));
}

#[tokio::test]
async fn after_a_pause_the_current_key_is_sent_and_a_withdrawn_token_sends_nothing() {
    let upstream = Upstream::start(Script::new()).await;
    let gateway = Gateway::start(&serving(&upstream, "old-key").token());
    let waiting = || {
        upstream.enqueue(Script::rate_limited(1));
        Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway)
    };
    let rotate = async {
        upstream_has(&upstream, 1).await;
        gateway.apply(&serving(&upstream, "new-key").token()).await;
    };
    let (answer, ()) = tokio::join!(waiting(), rotate);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let keys: Vec<_> = upstream.received().iter().map(|it| it.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(keys, ["Bearer old-key", "Bearer new-key"]);

    let withdraw = async {
        upstream_has(&upstream, 3).await;
        let suspended = serving(&upstream, "new-key").token_with("main", TOKEN, "models: [\"*\"], state: Suspended");
        gateway.apply(&suspended).await;
    };
    let (answer, ()) = tokio::join!(waiting(), withdraw);
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert_eq!(upstream.received().len(), 3, "there was no second attempt");
}

async fn upstream_has(upstream: &Upstream, requests: usize) {
    upstream.wait_received(requests, SOON).await;
}

#[tokio::test]
async fn a_body_that_trickles_is_answered_with_408_in_the_clients_dialect() {
    let upstream = Upstream::start(Script::new()).await;
    let settings = RequestSettings { body_total: Duration::from_millis(300), ..RequestSettings::default() };
    let gateway = Gateway::start_with(&serving(&upstream, "key").token(), settings);
    let words = ["\"type\":", "\"type\":\"error\"", "\"code\":408"];
    for (at, ((path, body), word)) in dialects("m", false).into_iter().zip(words).enumerate() {
        let uploading = Uploading::begin(&gateway, &path, &body).await;
        let Uploading { socket, rest } = uploading;
        let (mut read, mut write) = socket.into_split();
        // A byte now and then, so that the wait for the next piece never ends it.
        let trickle = async {
            for byte in rest {
                if write.write_all(&[byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            std::future::pending::<()>().await;
        };
        let mut answer = Vec::new();
        let answered = async { while read.read_buf(&mut answer).await.is_ok_and(|count| count > 0) {} };
        tokio::select! {
            () = trickle => {}
            ended = tokio::time::timeout(SOON, answered) => ended.expect("an answer"),
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains(word), "{path}: {answer}");
        assert_eq!(gateway.records(at + 1).await[at]["error"], "body_slow");
    }
    assert!(upstream.received().is_empty());
}
