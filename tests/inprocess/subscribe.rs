//! Configuration over the operator's stream: applied, refused in part, resumed, and served again after a restart.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    path::Path,
    sync::Arc,
};

use routeapi_channel::{
    Catalog, Entry, Key, Kind, ObjectId,
    frame::{FromDataPlane, FromOperator},
};
use routeapi_compile::{Manifests, Options, compile};
use routeapi_crds::yaml;
use routeapi_dataplane::{
    app::{self, App, Running, Source},
    config::subscribe::{Settings, connect},
    upstream::{AddressPolicy, Egress},
};
use routeapi_tests::{
    bytes::{SOON, chat, eventually, exchange, get, metric, status},
    fake_operator::{FakeOperator, Stream},
    files::{TOKEN, manifests},
    gateway,
};

fn catalog(model: &str) -> Catalog {
    catalog_of(&manifests(model, "{type: Echo}"), &Options::default())
}

fn catalog_of(manifests: &str, options: &Options) -> Catalog {
    let hash = routeapi_channel::token_format::sha256(TOKEN);
    let mut objects = Manifests::default();
    for document in yaml::read(manifests).unwrap() {
        let mut value = document.value;
        if value["kind"] == "ApiToken" {
            let key = serde_json::json!({"id": "k", "sha256": hash, "issuedTime": "2026-01-01T00:00:00Z"});
            value["status"] = serde_json::json!({ "keys": [key] });
        }
        objects.add(&value).unwrap();
    }
    Catalog::of(&compile(&objects.finish(), options).snapshot).unwrap()
}

fn at(operator: &FakeOperator) -> connect::Operator {
    let url = format!("https://{}", operator.address).parse().unwrap();
    connect::Operator { url, ca: operator.ca.clone(), token: operator.token.clone() }
}

fn start(operator: &FakeOperator, state: &Path) -> Running {
    start_at(at(operator), state)
}

fn start_at(operator: connect::Operator, state: &Path) -> Running {
    App::start(settings(operator, state)).unwrap()
}

fn settings(operator: connect::Operator, state: &Path) -> app::Settings {
    gateway::settings(Source::Operator(Settings {
        operator,
        pod: "pod-1".to_owned(),
        instance: "boot-1".to_owned(),
        state: Some(state.to_owned()),
        addresses: AddressPolicy::Cluster.into(),
    }))
}

fn ask(app: &Running, model: &str) -> String {
    status(&exchange(app.gateway, chat(model, "").as_bytes())).to_owned()
}

fn acked(operator: &FakeOperator, stream: &mut Stream, target: &Catalog) {
    match operator.hear(stream) {
        FromDataPlane::Ack { revision } => assert_eq!(revision, target.revision()),
        other => panic!("{other:?}"),
    }
}

/// An upstream that rejects every key, in words of its own.
fn rejecting() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let (mut socket, mut head) = (socket.unwrap(), [0; 4096]);
            let _ = socket.read(&mut head);
            let _ = socket.write_all(b"HTTP/1.1 401 No\r\ncontent-length: 6\r\nconnection: close\r\n\r\ncanary");
        }
    });
    address
}

#[test]
fn the_operator_is_told_of_a_key_that_the_upstream_rejects() {
    let mut operator = FakeOperator::start();
    let state = tempfile::tempdir().unwrap();
    let mut settings = settings(at(&operator), state.path());
    if let Source::Operator(settings) = &mut settings.source {
        settings.addresses = AddressPolicy::Workstation.into();
    }
    let app = App::start(settings).unwrap();
    let (mut stream, _) = operator.accept();
    let options = Options { addresses: AddressPolicy::Workstation.into(), ..Options::default() };
    let of = |key: &str| {
        let provider = format!(
            "{{type: OpenAI, baseURL: \"http://{}/v1\", credentials: {{apiKey: {{secretRef: {{name: vendor}}}}}}}}",
            rejecting()
        );
        let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: vendor}\nstringData: {apiKey: ";
        catalog_of(&format!("{}{secret}{key}}}\n", manifests("m", &provider)), &options)
    };
    let first = of("one");
    stream.tell(None, &first, 1);
    acked(&operator, &mut stream, &first);
    assert_eq!(ask(&app, "m"), "502");
    let told = loop {
        let told = operator.hear_keys(&mut stream);
        if !told.is_empty() {
            break told;
        }
    };
    assert_eq!((told.len(), told[0].provider.name(), told[0].status), (1, "up", 401));
    let second = of("two");
    stream.tell(Some((&first, first.revision())), &second, 2);
    assert_eq!(operator.hear_keys(&mut stream), [], "nothing is known of the new key");
}

#[test]
fn the_operator_is_reached_without_the_proxy_of_the_environment() {
    let operator = FakeOperator::start();
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let state = tempfile::tempdir().unwrap();
    let mut settings = settings(at(&operator), state.path());
    settings.egress = Egress::read(|name| ["HTTPS_PROXY", "ALL_PROXY"].contains(&name).then(|| url.clone())).unwrap();
    let app = App::start(settings).unwrap();
    let mut operator = operator;
    let (mut stream, _) = operator.accept();
    let target = catalog("hello");
    stream.tell(None, &target, 1);
    acked(&operator, &mut stream, &target);
    assert_eq!(ask(&app, "hello"), "200");
    assert_eq!(proxy.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nobody asked the proxy");
}

#[test]
fn a_route_whose_upstreams_cannot_be_used_is_not_ready_and_is_not_called_overloaded() {
    let mut operator = FakeOperator::start();
    let state = tempfile::tempdir().unwrap();
    let app = start(&operator, state.path());
    let (mut stream, _) = operator.accept();
    let broken = catalog_of(
        &manifests("m", "{type: OpenAI, credentials: {apiKey: {secretRef: {name: absent}}}}"),
        &Options::default(),
    );
    stream.tell(None, &broken, 1);
    acked(&operator, &mut stream, &broken);
    let messages = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#;
    let chat = r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#;
    for (path, body, field, word) in [
        ("/v1/chat/completions", chat, "/error/code", "route_not_ready"),
        ("/v1/responses", r#"{"model":"m","input":"x"}"#, "/error/code", "route_not_ready"),
        ("/v1/embeddings", r#"{"model":"m","input":"x"}"#, "/error/code", "route_not_ready"),
        ("/v1/messages", messages, "/error/type", "api_error"),
        (
            "/v1beta/models/m:generateContent",
            r#"{"contents":[{"parts":[{"text":"x"}]}]}"#,
            "/error/status",
            "UNAVAILABLE",
        ),
    ] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = exchange(app.gateway, request.as_bytes());
        assert_eq!(status(&answer), "503", "{path}: {answer}");
        let told: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert_eq!(told.pointer(field).unwrap(), word, "{path}: {told}");
        let message = told["error"]["message"].as_str().unwrap();
        assert!(message.contains("is not ready: none of its upstreams can be used"), "{path}: {message}");
        assert!(!message.contains("absent"), "details are in the object's status: {message}");
    }
}

#[test]
fn a_state_is_applied_acknowledged_and_survives_a_restart_without_the_operator() {
    let mut operator = FakeOperator::start();
    let state = tempfile::tempdir().unwrap();
    let app = start(&operator, state.path());
    let (mut stream, hello) = operator.accept();
    assert!(hello.revision.is_none() && hello.held.is_empty());
    assert_eq!((hello.pod.as_str(), hello.instance.as_str()), ("pod-1", "boot-1"));
    assert_eq!(status(&get(app.admin, "/readyz")), "503");

    let first = catalog("hello");
    stream.tell(None, &first, 1);
    acked(&operator, &mut stream, &first);
    assert_eq!((ask(&app, "hello").as_str(), status(&get(app.admin, "/readyz"))), ("200", "200"));
    assert_eq!(metric(app.admin, "routeapi_config_connected"), "1");
    stream.say(FromOperator::Ping {});
    assert!(matches!(operator.hear(&mut stream), FromDataPlane::Pong {}));

    let second = catalog("later");
    stream.tell(Some((&first, first.revision())), &second, 2);
    acked(&operator, &mut stream, &second);
    assert_eq!((ask(&app, "hello").as_str(), ask(&app, "later").as_str()), ("404", "200"));

    // The connection breaks: what runs keeps running, and the next hello says what is held.
    drop(stream);
    let (stream, hello) = operator.accept();
    assert_eq!((hello.revision, hello.held.len()), (Some(second.revision()), second.len()));
    assert_eq!(hello.floor.get("apitokens"), Some(&2));
    eventually("the state is on disk", || {
        std::fs::read_to_string(state.path().join("last-good.json"))
            .is_ok_and(|text| text.contains(&second.revision().to_string()))
    });

    drop((app, stream, operator));
    let mut gone = FakeOperator::start();
    gone.token = gone.ca.clone();
    let app = start(&gone, state.path());
    assert_eq!((ask(&app, "later").as_str(), status(&get(app.admin, "/readyz"))), ("200", "200"));
    assert_eq!(metric(app.admin, "routeapi_config_connected"), "0");
}

#[test]
fn a_resource_that_cannot_be_used_keeps_its_previous_version_and_costs_the_others_nothing() {
    let mut operator = FakeOperator::start();
    let state = tempfile::tempdir().unwrap();
    let app = start(&operator, state.path());
    let (mut stream, _) = operator.accept();
    let first = catalog("hello");
    stream.tell(None, &first, 1);
    acked(&operator, &mut stream, &first);

    let mut second = catalog("hello");
    let route = Key { kind: Kind::Route, id: ObjectId::new("default", "route") };
    let body = serde_json::value::RawValue::from_string(r#"{"fromTheFuture":true}"#.to_owned()).unwrap();
    second.insert(route.clone(), Entry::new(Arc::from(body)));
    stream.tell(Some((&first, first.revision())), &second, 2);
    match operator.hear(&mut stream) {
        FromDataPlane::Nack { revision, errors, more: false } => {
            assert_eq!(revision, second.revision());
            assert_eq!((errors.len(), &errors[0].key), (1, &route));
            assert!(errors[0].message.contains("fromTheFuture"), "{}", errors[0].message);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(ask(&app, "hello"), "200");
    assert_eq!(metric(app.admin, "routeapi_config_rejected_resources"), "1");

    // The next transaction counts from what was told, and repairs it.
    let third = catalog("repaired");
    stream.tell(Some((&second, second.revision())), &third, 3);
    acked(&operator, &mut stream, &third);
    assert_eq!(ask(&app, "repaired"), "200");
}

#[test]
fn a_state_below_the_floor_waits_and_a_newer_one_is_taken_at_once() {
    let mut operator = FakeOperator::start();
    let state = tempfile::tempdir().unwrap();
    let app = start(&operator, state.path());
    let (mut stream, _) = operator.accept();
    let first = catalog("new");
    stream.tell(None, &first, 10);
    acked(&operator, &mut stream, &first);
    let stale = catalog("stale");
    stream.tell(Some((&first, first.revision())), &stale, 9);
    stream.say(FromOperator::Ping {});
    assert!(matches!(operator.hear(&mut stream), FromDataPlane::Pong {}), "the stale state was answered");
    assert_eq!((ask(&app, "new").as_str(), ask(&app, "stale").as_str()), ("200", "404"));
    let newer = catalog("newer");
    stream.tell(Some((&stale, stale.revision())), &newer, 11);
    acked(&operator, &mut stream, &newer);
    assert_eq!(ask(&app, "newer"), "200");
    assert!(SOON.as_secs() < 30, "a test that waits for the floor rule's patience shows nothing");
}

#[test]
fn a_pod_that_gets_no_configuration_says_why_and_what_to_look_at() {
    let operator = FakeOperator::start();
    let directory = tempfile::tempdir().unwrap();
    let url = format!("https://{}", operator.address);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (ca, token) = (&operator.ca, &operator.token);
    for (url, ca, token, parts) in [
        (&url, &directory.path().join("ca.crt"), token, ["ca.crt: No such file", "kubectl describe pod"]),
        (&url, ca, &directory.path().join("token"), ["token: No such file", "kubectl describe pod"]),
        (&format!("https://{nobody}"), ca, token, ["Connection refused", "component=operator"]),
    ] {
        let at = connect::Operator { url: url.parse().unwrap(), ca: ca.clone(), token: token.clone() };
        let app = start_at(at, directory.path());
        let said = |answer: &str| parts.iter().all(|part| answer.contains(part)) && answer.contains(url.as_str());
        eventually(parts[0], || said(&get(app.admin, "/readyz")));
        assert_eq!(status(&get(app.admin, "/readyz")), "503");
    }
}
