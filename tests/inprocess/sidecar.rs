//! The sidecar: the app's requests reach the gateway as the pod's, whatever becomes of connections, files and clients. A
//! scripted server stands in for the gateway where it has to misbehave.

mod behind;
mod pod;

use std::{fs, net::TcpListener, time::Duration};

use futures_util::future::join_all;
use routeapi_dataplane::sidecar::GatewayCa;
use routeapi_tests::{
    bytes,
    files::write,
    upstream::{Outcome, Script, Upstream},
    wait,
};

use self::pod::{POD_TOKEN, Pod};
use crate::{
    gateway::SOON,
    request::{Answer, Ask, chat, dialects},
};

async fn scripted(script: Script) -> Upstream {
    Upstream::builder().tls().script(script).start().await.unwrap()
}

async fn ask(pod: &Pod, model: &str, stream: bool) -> Answer {
    Ask::post("/v1/chat/completions", chat(model, stream)).open_at(pod.address).await.read().await
}

fn endless() -> Script {
    Script::new().chunks(3, "word ").delay_chunk(Duration::from_secs(600))
}

/// The machine-readable reason of a refusal in OpenAI's dialect.
fn code(answer: &Answer) -> String {
    answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_credential_of_the_app_is_replaced_by_the_pods() {
    let gateway = scripted(Script::new()).await;
    let pod = Pod::beside(&gateway);
    for (path, body) in dialects("m", false) {
        let separator = if path.contains('?') { '&' } else { '?' };
        let mut asking = Ask::post(&format!("{path}{separator}key=dummy-0"), body).anonymous();
        for name in ["authorization", "x-api-key", "x-goog-api-key", "api-key", "x-routeapi-key"] {
            asking = asking.header(name, "dummy-1");
        }
        let asking = asking.header("content-type", "application/json").header("anthropic-version", "2023-06-01");
        let answer = asking.open_at(pod.address).await.read().await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let received = gateway.last();
        assert_eq!((received.path.as_str(), received.version.as_str()), (path.as_str(), "HTTP/2.0"));
        assert!(!format!("{:?}", received.headers).contains("dummy"), "{:?}", received.headers);
        assert_eq!(received.header("authorization"), Some(format!("Bearer {POD_TOKEN}").as_str()));
        assert_eq!(received.header("x-api-key"), None);
    }
    let records = pod.records(3);
    assert!(records.iter().all(|record| record["outcome"] == "completed" && record["sent"] == 1), "{records:?}");
    let told = format!("{records:?}");
    assert!(!told.contains("dummy") && !told.contains(POD_TOKEN) && !told.contains('?'), "{told}");
    assert_eq!(gateway.accepted_connections(), 1, "one connection for all");
}

#[tokio::test(flavor = "multi_thread")]
async fn token_is_followed_under_traffic_and_without_one_nothing_is_sent() {
    let gateway = scripted(Script::new()).await;
    let pod = Pod::beside(&gateway);
    pod.is_ready("200");
    let replace = |text: &str| {
        write(&pod.token.with_extension("next"), text);
        fs::rename(pod.token.with_extension("next"), &pod.token).unwrap();
    };
    for token in ["second", "third"] {
        replace(token);
        let bearer = format!("Bearer {token}");
        let look = || async {
            assert_eq!(ask(&pod, "m", false).await.status, 200);
            (gateway.last().header("authorization") == Some(&bearer)).then_some(())
        };
        wait::until("the new token is in use", SOON, look).await;
    }
    fs::remove_file(&pod.token).unwrap();
    let look = || async { Some(ask(&pod, "m", false).await).filter(|answer| answer.status == 503) };
    let (answer, _) = wait::until("requests without a token are refused", SOON, look).await;
    assert_eq!(code(&answer), "no_service_account_token");
    assert!(answer.text().contains("No such file"), "{}", answer.text());
    let sent = gateway.received().len();
    for (path, body) in dialects("m", false) {
        let answer = Ask::post(&path, body).open_at(pod.address).await.read().await;
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
    }
    assert_eq!(gateway.received().len(), sent);
    let (status, why) = pod.readiness();
    assert!(status == "503" && why.contains("[-]service-account-token: ") && why.contains("[+]gateway"), "{why}");
    replace("fourth");
    assert_eq!(ask(&pod, "m", false).await.status, 200, "looked for at once");
    pod.is_ready("200");
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_arrives_piece_by_piece_and_one_left_by_its_client_ends_at_the_gateway() {
    let gateway = scripted(endless()).await;
    let pod = Pod::beside(&gateway);
    let mut stream = Ask::post("/v1/chat/completions", chat("m", true)).open_at(pod.address).await;
    stream.until("word").await;
    assert_eq!(gateway.in_flight(), 1);
    assert_eq!(pod.metric("routeapi_sidecar_requests_in_flight"), "1");
    stream.leave();
    assert_eq!(gateway.wait_ended(1, SOON).await.outcome, Outcome::ClientClosed);

    gateway.set(Script::silent());
    tokio::select! {
        _ = ask(&pod, "m", true) => panic!("there was an answer"),
        _ = gateway.wait_received(2, SOON) => {}
    }
    assert_eq!(gateway.wait_ended(2, SOON).await.outcome, Outcome::ClientClosed, "before the answer began, too");
    let outcomes: Vec<_> = pod.records(2).iter().map(|record| record["outcome"].clone()).collect();
    assert_eq!(outcomes, ["client_cancelled", "client_cancelled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_refused_unprocessed_or_left_out_at_a_goaway_is_sent_again() {
    let gateway = scripted(Script::new()).await;
    let pod = Pod::beside(&gateway);
    gateway.enqueue(Script::refused());
    assert_eq!(ask(&pod, "m", false).await.status, 200);
    assert_eq!(pod.records(1)[0]["sent"], 2);

    gateway.set(Script::new().delay_headers(Duration::from_millis(20)));
    let leaving = async {
        for _ in 0..8 {
            let before = gateway.received().len();
            wait::until_true("requests pass", SOON, || gateway.received().len() >= before + 20).await;
            gateway.go_away();
        }
    };
    let asking = join_all((0..20).map(|_| async {
        let mut statuses = Vec::new();
        for _ in 0..10 {
            statuses.push(ask(&pod, "m", false).await.status);
        }
        statuses
    }));
    let (statuses, ()) = tokio::join!(asking, leaving);
    let statuses = statuses.concat();
    let failed: Vec<_> = pod.records(201).into_iter().filter(|record| record["status"] != 200).collect();
    assert!(statuses.iter().all(|status| *status == 200), "{failed:#?}");
    assert!(gateway.accepted_connections() > 2, "connections were given up under the load");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_may_have_begun_is_not_sent_again() {
    let gateway = scripted(Script::new()).await;
    let pod = Pod::beside(&gateway);
    assert_eq!(ask(&pod, "m", false).await.status, 200);
    gateway.set(Script::silent());
    gateway.on_model("stream", endless());
    let mut stream = Ask::post("/v1/chat/completions", chat("stream", true)).open_at(pod.address).await;
    stream.until("word").await;
    let (answer, ()) = tokio::join!(ask(&pod, "m", false), async {
        gateway.wait_received(3, SOON).await;
        gateway.kill();
    });
    assert_eq!((answer.status, code(&answer).as_str()), (502, "gateway_connection_lost"));
    assert!(stream.read().await.broken, "a stream that broke off does not look like one that ended");
    gateway.restart().await.unwrap();
    gateway.set(Script::new());
    assert_eq!(ask(&pod, "m", false).await.status, 200);
    assert_eq!(gateway.received().len(), 4);
    let records = pod.records(4);
    let lost = records.iter().find(|record| record["error"] == "gateway_connection_lost").unwrap();
    assert_eq!((&lost["outcome"], &lost["sent"]), (&"gateway_failed".into(), &1.into()));
    let broken = records.iter().find(|record| record["error"] == "answer_broken").unwrap();
    assert_eq!((&broken["outcome"], &broken["status"]), (&"gateway_failed".into(), &200.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_a_connections_streams_open_another() {
    let gateway = Upstream::builder().tls().streams(2).start().await.unwrap();
    let pod = Pod::beside(&gateway);
    gateway.set(endless());
    let mut open = Vec::new();
    for _ in 0..6 {
        let mut stream = Ask::post("/v1/chat/completions", chat("m", true)).open_at(pod.address).await;
        stream.until("word").await;
        open.push(stream);
    }
    assert_eq!(gateway.in_flight(), 6);
    // The readiness check may have had a stream of its own when one was asked for.
    assert!((3..=4).contains(&gateway.open_connections()), "{}", gateway.open_connections());
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_pass_in_both_directions() {
    let text = "x".repeat(3 << 20);
    let gateway = scripted(Script::new().text(&text)).await;
    let pod = Pod::beside(&gateway);
    let body = chat("m", false).replace("tell me something", &"y".repeat(3 << 20));
    let length = body.len();
    let answer = Ask::post("/v1/chat/completions", body).open_at(pod.address).await.read().await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains(&text), "{} bytes came", answer.body.len());
    assert_eq!(gateway.last().body.len(), length);
    let record = &pod.records(1)[0];
    assert_eq!(
        (record["request_bytes"].as_u64(), record["outcome"].as_str()),
        (Some(length as u64), Some("completed"))
    );
    assert_eq!(record["response_bytes"].as_u64(), Some(answer.body.len() as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_end_answers_finish_and_what_does_not_is_cut_at_the_deadline() {
    let gateway = scripted(Script::new().chunks(30, "word ").delay_chunk(Duration::from_millis(20))).await;
    let pod = Pod::beside(&gateway);
    let mut stream = Ask::post("/v1/chat/completions", chat("m", true)).open_at(pod.address).await;
    stream.until("word").await;
    let address = pod.address;
    pod.shut_down();
    let refused = || async { tokio::net::TcpStream::connect(address).await.is_err().then_some(()) };
    wait::until("no connections are taken", SOON, refused).await;
    let answer = stream.read().await;
    assert!(!answer.broken && answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
    pod.join();

    gateway.set(endless());
    let pod = Pod::beside_with(&gateway, |settings| settings.shutdown.timeout = Duration::from_millis(100));
    let mut stream = Ask::post("/v1/chat/completions", chat("m", true)).open_at(pod.address).await;
    stream.until("word").await;
    pod.shut_down();
    assert!(stream.read().await.broken);
    let record = &pod.records(1)[0];
    assert_eq!((&record["outcome"], &record["error"]), (&"sidecar_stopped".into(), &"shutdown".into()));
    pod.join();
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_the_gateway() {
    let gateway = scripted(Script::new()).await;
    gateway.kill();
    let pod = Pod::beside_with(&gateway, |settings| settings.connect = Duration::from_millis(300));
    pod.is_ready("503");
    let answer = ask(&pod, "m", false).await;
    assert_eq!((answer.status, code(&answer).as_str()), (503, "gateway_unreachable"), "{}", answer.text());
    assert!(answer.text().contains(&gateway.url()), "{}", answer.text());
    assert_eq!(pod.metric("routeapi_sidecar_gateway_reachable"), "0");
    gateway.restart().await.unwrap();
    pod.is_ready("200");
    assert_eq!(pod.metric("routeapi_sidecar_gateway_reachable"), "1");
    assert_eq!(ask(&pod, "m", false).await.status, 200);
    gateway.kill();
    pod.has_no_connection();
    assert_eq!(ask(&pod, "m", false).await.status, 503);
    pod.is_ready("503");
    assert_eq!(bytes::status(&bytes::get(pod.admin, "/livez")), "200");
    assert_eq!(bytes::status(&bytes::get(pod.admin, "/config")), "404");
    pod.shut_down();
    pod.join();
}

#[tokio::test(flavor = "multi_thread")]
async fn request_outlives_a_moment_without_a_gateway() {
    let gateway = scripted(Script::new()).await;
    let pod = Pod::beside(&gateway);
    pod.is_ready("200");
    gateway.kill();
    pod.has_no_connection();
    let (answer, ()) = tokio::join!(ask(&pod, "m", false), async {
        // When a connection has been tried for in vain.
        wait::until_true("the gateway is missed", SOON, || pod.readiness().0 == "503").await;
        gateway.restart().await.unwrap();
    });
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_ca_is_explained_and_a_good_one_is_used_without_a_restart() {
    let gateway = scripted(Script::new()).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.crt");
    let ca = GatewayCa::File(file.clone());
    let pod = Pod::start(&gateway.url(), ca, POD_TOKEN, |settings| settings.connect = Duration::from_millis(300));
    let other = scripted(Script::new()).await;
    for (content, why) in [
        (None, "No such file"),
        (Some("not PEM"), "no certificate found"),
        (Some(other.ca_pem().unwrap()), "have to belong together"),
    ] {
        if let Some(content) = content {
            write(&file, content);
        }
        let answer = ask(&pod, "m", false).await;
        assert_eq!((answer.status, code(&answer).as_str()), (503, "gateway_unreachable"), "{}", answer.text());
        assert!(answer.text().contains(why), "{why}: {}", answer.text());
        assert_eq!(pod.readiness().0, "503");
    }
    write(&file, gateway.ca_pem().unwrap());
    pod.is_ready("200");
    assert_eq!(ask(&pod, "m", false).await.status, 200);
    assert!(GatewayCa::from_pem("not PEM").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_that_hangs_or_speaks_no_tls_costs_the_connect_timeout_at_most() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let ca = || GatewayCa::from_pem(&rcgen::generate_simple_self_signed(["x".to_owned()]).unwrap().cert.pem()).unwrap();
    let short = |settings: &mut routeapi_dataplane::sidecar::Settings| settings.connect = Duration::from_millis(300);
    let pod = Pod::start(&format!("https://{}", silent.local_addr().unwrap()), ca(), POD_TOKEN, short);
    for (path, body) in dialects("m", true) {
        let answer = Ask::post(&path, body).open_at(pod.address).await.read().await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.text().contains("no usable connection within 300 ms"), "{}", answer.text());
    }
    let plain = Upstream::start(Script::new()).await;
    let pod = Pod::start(&format!("https://{}", plain.address()), ca(), POD_TOKEN, short);
    let answer = ask(&pod, "m", false).await;
    assert_eq!((answer.status, code(&answer).as_str()), (503, "gateway_unreachable"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_on_loopback_may_speak_plain_http() {
    let gateway = Upstream::start(Script::new()).await;
    let pod = Pod::start(&gateway.url(), GatewayCa::File("/none".into()), POD_TOKEN, |_| {});
    pod.is_ready("200");
    for stream in [false, true] {
        assert_eq!(ask(&pod, "m", stream).await.status, 200);
        assert_eq!(gateway.last().header("authorization"), Some(format!("Bearer {POD_TOKEN}").as_str()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn web_sockets_are_refused_with_what_to_do_instead() {
    let gateway = scripted(Script::new()).await;
    let pod = Pod::beside(&gateway);
    for (path, status) in [("/v1/realtime?model=m", 501), ("/v1/responses", 426)] {
        let asking = Ask::get(path).header("connection", "Upgrade").header("upgrade", "websocket");
        let answer = asking.open_at(pod.address).await.read().await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.json()["error"]["message"].is_string(), "{}", answer.text());
        assert!(answer.header("x-routeapi-request-id").is_some());
    }
    assert!(gateway.received().is_empty());
    assert!(pod.records(2).iter().all(|record| record["outcome"] == "refused" && record["sent"] == 0));
}
