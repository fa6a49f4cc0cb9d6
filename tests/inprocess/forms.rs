//! Forms (`multipart/form-data`): what a client sends reaches the upstream part by part, without being held where that can
//! be helped, and with the model that its route names.

use std::{net::SocketAddr, time::Duration};

use routeapi_dataplane::request::RequestSettings;
use routeapi_tests::upstream::{Script, Upstream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use crate::{
    direct::{EVERYTHING, one, one_with, two},
    gateway::{Gateway, Manifests, TOKEN},
    request::{Ask, chat},
};

const TYPE: &str = "multipart/form-data; boundary=B0undary";

fn field(name: &str, value: &str) -> Vec<u8> {
    format!("--B0undary\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").into_bytes()
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    let head = format!(
        "--B0undary\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a.bin\"\r\nContent-Type: audio/wav\r\n\r\n"
    );
    [head.as_bytes(), content, b"\r\n"].concat()
}

fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    [&parts.concat()[..], b"--B0undary--\r\n"].concat()
}

fn ask(path: &str, parts: &[Vec<u8>]) -> Ask {
    Ask::post(path, form(parts)).header("content-type", TYPE)
}

/// Sound that is no text.
fn sound(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

#[tokio::test]
async fn a_form_reaches_the_upstream_with_another_model_and_is_metered() {
    for parts in [
        [field("model", "m"), field("language", "de"), file("file", &sound(900))],
        [file("file", &sound(900)), field("language", "de"), field("model", "m")],
    ] {
        let (upstream, gateway) = one(Script::new()).await;
        let answer = ask("/v1/audio/transcriptions", &parts).send(&gateway).await;
        assert_eq!((answer.status, &answer.json()["text"]), (200, &"I heard 900 bytes of \"a.bin\"".into()));
        let received = upstream.last();
        assert_eq!(upstream.ledger()[0].model, "up-model");
        let kind = received.header("content-type").unwrap();
        let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
        assert!(boundary.len() > 32 && boundary != "B0undary", "nobody can guess it: {boundary}");
        assert_eq!(received.header("content-length"), Some(&*received.body.len().to_string()), "it is known");
        let body = String::from_utf8_lossy(&received.body).into_owned();
        assert!(
            body.contains("name=\"language\"\r\n\r\nde\r\n") && body.contains("content-type: audio/wav\r\n"),
            "{body}"
        );
        assert!(received.body.windows(900).any(|part| part == sound(900)));
        let record = gateway.record().await;
        assert_eq!((&record["operation"], &record["model"]), (&"transcriptions".into(), &"m".into()));
        assert_eq!((&record["usage"]["input"], &record["usage"]["output"]), (&9.into(), &6.into()), "{record:#}");
        assert_eq!(record["usage_source"], "reported");
    }
}

#[tokio::test]
async fn every_endpoint_of_forms_and_every_shape_of_answer_passes() {
    let (upstream, gateway) = one(Script::new()).await;
    let pictures = [field("model", "m"), field("prompt", "a b"), file("image", b"PNG"), field("n", "2")];
    let edited = ask("/v1/images/edits", &pictures).send(&gateway).await;
    assert_eq!(edited.json()["data"].as_array().unwrap().len(), 2);
    let json = Ask::post("/v1/images/edits", r#"{"model":"m","prompt":"a b","image":"data:image/png;base64,AAAA"}"#);
    assert_eq!(json.header("content-type", "application/json").send(&gateway).await.status, 200, "JSON as well");
    let varied = ask("/v1/images/variations", &[field("model", "m"), file("image", b"PNG")]).send(&gateway).await;
    assert_eq!(varied.status, 200, "{}", varied.text());
    let sound = [field("model", "m"), field("response_format", "text"), file("file", b"RIFF")];
    let text = ask("/v1/audio/translations", &sound).send(&gateway).await;
    assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(text.text(), "I heard 4 bytes of \"a.bin\"");
    let streamed = [field("model", "m"), field("stream", "true"), file("file", b"RIFF")];
    let events = ask("/v1/audio/transcriptions", &streamed).send(&gateway).await;
    assert!(events.text().contains("transcript.text.done"), "{}", events.text());
    let deployment = "/openai/deployments/m/audio/transcriptions?api-version=2025-01-01";
    let azure = ask(deployment, &[file("file", b"RIFF")]).send(&gateway).await;
    assert_eq!(azure.status, 200, "the path names the model: {}", azure.text());
    let records = gateway.records(6).await;
    for (record, truth) in records.iter().zip(upstream.ledger()) {
        assert_eq!((&record["outcome"], truth.model.as_str()), (&"completed".into(), "up-model"), "{record:#}");
    }
    assert_eq!(records[4]["stream"], true);
    assert_eq!((&records[4]["usage_source"], &records[4]["usage"]["output"]), (&"reported".into(), &6.into()));
    assert_eq!(records[3]["usage_source"], "estimated", "text alone says nothing of usage");
}

#[tokio::test]
async fn a_small_form_falls_back_and_a_large_one_does_not_once_its_rest_was_sent() {
    for (model_first, size, saved) in [(true, 1_000, true), (true, 8 << 20, false), (false, 8 << 20, true)] {
        let (first, second, gateway) = two(Script::failing(503), "").await;
        let mut parts = vec![field("model", "m"), file("file", &sound(size))];
        if !model_first {
            parts.reverse();
        }
        let answer = ask("/v1/audio/transcriptions", &parts).send(&gateway).await;
        assert_eq!(answer.status, if saved { 200 } else { 503 }, "{model_first} {size}: {}", answer.text());
        assert_eq!((first.received().len(), second.received().len()), (1, usize::from(saved)), "{model_first} {size}");
    }
}

#[tokio::test]
async fn a_large_form_goes_to_the_next_upstream_if_the_first_cannot_be_reached() {
    let second = Upstream::start(Script::new()).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let manifests = Manifests::new()
        .with(&format!(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIProvider\nmetadata: {{name: first, namespace: apps}}\n\
             spec: {{type: OpenAI, baseURL: \"http://{closed}/v1\", {EVERYTHING}}}"
        ))
        .provider_with("second", "OpenAI", &second, EVERYTHING)
        .route("m", &["first", "second"])
        .token();
    let gateway = Gateway::start(&manifests);
    let parts = [field("model", "m"), file("file", &sound(8 << 20))];
    let answer = ask("/v1/audio/transcriptions", &parts).send(&gateway).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["text"], format!("I heard {} bytes of \"a.bin\"", 8 << 20));
    assert_eq!(second.last().header("transfer-encoding"), Some("chunked"), "its length is not known");
}

/// A gateway whose only upstream is a server that hands over its first connection once it has this many bytes.
async fn watched(bytes: usize, more: &str) -> (Gateway, oneshot::Receiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let (mut seen, mut buffer) = (0, vec![0; 64 << 10]);
        while seen < bytes {
            match socket.read(&mut buffer).await.unwrap() {
                0 => return,
                more => seen += more,
            }
        }
        drop(tell.send(socket));
    });
    let manifests = Manifests::new()
        .with(&format!(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIProvider\nmetadata: {{name: up, namespace: apps}}\n\
             spec: {{type: OpenAI, baseURL: \"http://{address}/v1\", {EVERYTHING}}}"
        ))
        .route_with("m", &["up"], more)
        .token();
    let settings = RequestSettings { max_buffered_bytes: 4 << 20, ..RequestSettings::default() };
    (Gateway::start_with(&manifests, settings), told)
}

/// Sends the head of a form of this length, and this much of the form.
async fn begin(address: SocketAddr, length: usize, part: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {TOKEN}\r\n\
         content-type: {TYPE}\r\ncontent-length: {length}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(part).await.unwrap();
    socket
}

async fn answered(mut socket: TcpStream) -> String {
    let (mut answer, mut buffer) = (String::new(), [0; 4_096]);
    while !answer.contains("\r\n\r\n") || !answer.contains('}') {
        match socket.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => answer.push_str(&String::from_utf8_lossy(&buffer[..read])),
        }
    }
    answer
}

#[tokio::test]
async fn sound_flows_to_the_upstream_while_the_client_still_sends_it() {
    let whole = form(&[field("model", "m"), file("file", &sound(16 << 20))]);
    let (gateway, upstream) = watched(8 << 20, "").await;
    let (now, later) = whole.split_at(9 << 20);
    let mut client = begin(gateway.address(), whole.len(), now).await;
    let mut upstream = upstream.await.unwrap();
    gateway.under_way(1).await;
    // Both at once: what the sockets in between hold is the kernel's to say, and may be less than the rest.
    let reading = async {
        let mut seen = Vec::new();
        while !seen.ends_with(b"--\r\n\r\n0\r\n\r\n") {
            assert_ne!(upstream.read_buf(&mut seen).await.unwrap(), 0);
        }
    };
    let (written, ()) = tokio::join!(client.write_all(later), reading);
    written.unwrap();
    let answer = br#"{"text":"done"}"#;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", answer.len());
    upstream.write_all(&[head.as_bytes(), answer].concat()).await.unwrap();
    let answer = answered(client).await;
    assert!(answer.contains(r#"{"text":"done"}"#), "{answer}");
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_breaks_its_request_off() {
    let whole = form(&[field("model", "m"), file("file", &sound(8 << 20))]);
    let (gateway, upstream) = watched(3 << 20, "").await;
    let client = begin(gateway.address(), whole.len(), &whole[..5 << 20]).await;
    let mut upstream = upstream.await.unwrap();
    drop(client);
    let mut rest = Vec::new();
    // The request is broken off and not completed.
    drop(upstream.read_to_end(&mut rest).await);
    assert!(!rest.ends_with(b"0\r\n\r\n"));
    let record = gateway.record().await;
    assert_eq!(record["outcome"], "client_cancelled", "{record:#}");
}

#[tokio::test]
async fn a_form_that_turns_illegal_in_its_rest_is_the_clients_error() {
    let whole = form(&[field("model", "m"), file("file", &sound(3 << 20)), field("model", "other")]);
    let (gateway, _upstream) = watched(usize::MAX, "").await;
    let client = begin(gateway.address(), whole.len(), &whole).await;
    let answer = answered(client).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("`model` is given twice"), "{answer}");
    let record = gateway.record().await;
    assert_eq!((&record["outcome"], &record["error"]), (&"completed".into(), &"malformed".into()), "{record:#}");
}

#[tokio::test]
async fn illegal_forms_are_refused_with_their_reason_before_anything_is_sent() {
    let settings = RequestSettings { max_body_bytes: 4 << 20, ..RequestSettings::default() };
    let (upstream, gateway) = one_with(Script::new(), settings).await;
    let path = "/v1/audio/transcriptions";
    let m = || field("model", "m");
    for (ask, status, why) in [
        (ask(path, &[file("file", b"x")]), 400, "`model` is required"),
        (ask(path, &[m(), m(), file("file", b"x")]), 400, "`model` is given twice"),
        (ask(path, &[file("file", &sound(5 << 20)), m()]), 413, "larger than"),
        (ask(path, &[field("model", "unknown"), file("file", b"x")]), 404, "\\\"unknown\\\""),
        (Ask::post(path, form(&[m()])).header("content-type", "multipart/form-data"), 400, "no boundary"),
        (
            Ask::post(path, form(&[m()]))
                .header("content-type", &format!("multipart/form-data; boundary={}", "b".repeat(1_000))),
            400,
            "boundary",
        ),
        (Ask::post(path, "--B0undary\r\n").header("content-type", TYPE), 400, "not legal multipart/form-data"),
        (Ask::post(path, r#"{"model":"m"}"#), 400, "has to be multipart/form-data"),
        (ask("/v1/images/generations", &[m()]), 400, "has to be application/json"),
        (ask(path, &[m()]).header("content-encoding", "gzip"), 400, "no content-encoding"),
    ] {
        let answer = ask.send(&gateway).await;
        assert_eq!(answer.status, status, "{why}: {}", answer.text());
        assert!(answer.text().contains(why), "{why}: {}", answer.text());
    }
    // A form within a form is content like any other.
    let inner = form(&[field("model", "inner")]);
    let inner = String::from_utf8(inner).unwrap().replace("B0undary", "Inner");
    let nested = ask(path, &[m(), file("file", inner.as_bytes())]).send(&gateway).await;
    assert_eq!(nested.status, 200, "{}", nested.text());
    assert_eq!((upstream.received().len(), upstream.ledger()[0].model.as_str()), (1, "up-model"));
    assert_eq!(Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await.status, 200);
}

#[tokio::test]
async fn an_upstream_that_refuses_early_is_heard_while_the_client_sends() {
    let whole = form(&[field("model", "m"), file("file", &sound(16 << 20))]);
    let (gateway, upstream) = watched(2 << 20, "").await;
    let client = begin(gateway.address(), whole.len(), &whole[..4 << 20]).await;
    let mut upstream = upstream.await.unwrap();
    let error = br#"{"error":{"message":"too long","type":"invalid_request_error"}}"#;
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        error.len()
    );
    upstream.write_all(&[head.as_bytes(), error].concat()).await.unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(10), answered(client)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("too long"), "{answer}");
}
