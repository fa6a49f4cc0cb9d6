//! Pods call with their ServiceAccount tokens: accepted, refused with the reason, revoked, and served without the operator.

use std::{net::SocketAddr, path::Path};

use routeapi_channel::{
    Catalog,
    frame::{FEATURE_SERVICE_ACCOUNTS, FromDataPlane, FromOperator},
};
use routeapi_compile::{Manifests, Options, compile};
use routeapi_crds::yaml;
use routeapi_dataplane::{
    app::{App, Running, Source},
    config::subscribe::{Settings, connect},
    upstream::AddressPolicy,
};
use routeapi_tests::{
    bytes::{eventually, exchange, status},
    fake_operator::{FakeOperator, Stream},
    gateway::{self, Lines},
    token_issuer::TokenIssuer,
};
use serde_json::{Value, json};

/// A model at Echo, and an ApiToken without a key for these ServiceAccounts of the namespace `default`.
fn catalog(accounts: &[&str], more: &str) -> Catalog {
    let subjects: Vec<_> = accounts.iter().map(|name| format!("{{serviceAccountName: {name}}}")).collect();
    let text = format!(
        "apiVersion: routeapi.dev/v1alpha1\nkind: AIProvider\nmetadata: {{name: up}}\nspec: {{type: Echo}}\n---\n\
         apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {{name: route}}\n\
         spec: {{model: m, upstreams: [{{name: up, providerRef: {{name: up}}}}]}}\n---\n\
         apiVersion: routeapi.dev/v1alpha1\nkind: ApiToken\nmetadata: {{name: app}}\n\
         spec: {{models: ['*'], secretKeys: None, subjects: [{}]{more}}}\n",
        subjects.join(", ")
    );
    let mut objects = Manifests::default();
    for document in yaml::read(&text).unwrap() {
        objects.add(&document.value).unwrap();
    }
    Catalog::of(&compile(&objects.finish(), &Options::default()).snapshot).unwrap()
}

fn start(operator: &FakeOperator, state: &Path) -> (Running, Lines) {
    let records = Lines::default();
    let url = format!("https://{}", operator.address).parse().unwrap();
    let source = Source::Operator(Settings {
        operator: connect::Operator { url, ca: operator.ca.clone(), token: operator.token.clone() },
        pod: "pod-1".to_owned(),
        instance: "boot-1".to_owned(),
        state: Some(state.to_owned()),
        addresses: AddressPolicy::Cluster.into(),
    });
    let mut settings = gateway::settings(source);
    settings.access_log = Some(Box::new(records.clone()));
    (App::start(settings).unwrap(), records)
}

/// Puts a state in force; `before` is the one that is.
fn tell(operator: &FakeOperator, stream: &mut Stream, before: Option<&Catalog>, target: &Catalog, floor: u64) {
    stream.tell(before.map(|before| (before, before.revision())), target, floor);
    assert!(matches!(operator.hear(stream), FromDataPlane::Ack { .. }));
}

fn post(to: SocketAddr, path: &str, header: &str, body: &Value) -> (String, Value) {
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: gateway\r\n{header}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(to, request.as_bytes());
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (status(&answer).to_owned(), serde_json::from_str(body).unwrap_or_default())
}

/// Status and message in the dialect of Chat Completions.
fn chat(to: SocketAddr, token: &str) -> (String, String) {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    let (status, answer) = post(to, "/v1/chat/completions", &format!("authorization: Bearer {token}"), &body);
    (status, answer["error"]["message"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn pod_calls_in_every_dialect_and_its_record_names_it() {
    let (mut operator, state, issuer) = (FakeOperator::start(), tempfile::tempdir().unwrap(), TokenIssuer::new());
    let (app, records) = start(&operator, state.path());
    let (mut stream, hello) = operator.accept();
    assert!(hello.knows(FEATURE_SERVICE_ACCOUNTS));
    stream.say(FromOperator::ServiceAccountIssuer(issuer.told()));
    tell(&operator, &mut stream, None, &catalog(&["checkout"], ""), 1);
    let token = issuer.token("default", "checkout");
    let messages = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
    let contents = json!({"contents": [{"parts": [{"text": "hi"}]}]});
    for (path, header, body) in [
        ("/v1/chat/completions", "authorization: Bearer", &messages),
        ("/v1/messages", "x-api-key:", &messages),
        ("/v1beta/models/m:generateContent", "x-goog-api-key:", &contents),
    ] {
        let (status, answer) = post(app.gateway, path, &format!("{header} {token}"), body);
        assert_eq!(status, "200", "{path}: {answer}");
    }
    eventually("three requests are recorded", || records.records().len() == 3);
    for record in records.records() {
        assert_eq!((&record["token"], &record["key_id"]), (&json!("default/app"), &json!("serviceaccount/checkout")));
        assert_eq!(record["k8s_pod_name"], "checkout-0");
        assert!(!record.to_string().contains("eyJ"), "{record}");
    }
}

#[test]
fn every_bad_token_is_refused_with_its_reason() {
    let (mut operator, state, issuer) = (FakeOperator::start(), tempfile::tempdir().unwrap(), TokenIssuer::new());
    let (app, _) = start(&operator, state.path());
    let (mut stream, _) = operator.accept();
    stream.say(FromOperator::ServiceAccountIssuer(issuer.told()));
    tell(&operator, &mut stream, None, &catalog(&["checkout"], ""), 1);
    let good = issuer.token("default", "checkout");
    let with = |member: &str, value: Value| {
        let mut claims = TokenIssuer::claims("default", "checkout");
        claims[member] = value;
        issuer.sign(&claims)
    };
    let (_, rest) = good.split_once('.').unwrap();
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", rest.split_once('.').unwrap().0);
    for (token, code, words) in [
        (with("exp", json!(1)), "401", "expired at 1970-01-01T00:00:01Z"),
        (with("nbf", json!(4_000_000_000_i64)), "401", "is not valid before"),
        (with("aud", json!(["vault"])), "401", "with the audience routeapi-gateway"),
        (with("iss", json!("https://elsewhere")), "401", "not issued by this cluster"),
        (with("kubernetes.io", Value::Null), "401", "not one of a ServiceAccount"),
        (TokenIssuer::new().token("default", "checkout"), "401", "signature"),
        (unsigned, "401", "truncated or damaged"),
        (good[..good.len() / 2].to_owned(), "401", "truncated or damaged"),
        (good[..good.len() - 9].to_owned(), "401", "truncated or damaged"),
        (issuer.token("default", "mail"), "403", "lists ServiceAccount default/mail"),
        (issuer.token("other", "checkout"), "403", "lists ServiceAccount other/checkout"),
    ] {
        let (status, message) = chat(app.gateway, &token);
        assert_eq!(status, code, "{words}: {message}");
        assert!(message.contains(words), "{message}");
        assert!(!message.contains("eyJ"), "{message}");
    }
    assert_eq!(chat(app.gateway, &good).0, "200");
    let contents = json!({"contents": [{"parts": [{"text": "hi"}]}]});
    let header = format!("x-goog-api-key: {}", issuer.token("default", "mail"));
    let (status, answer) = post(app.gateway, "/v1beta/models/m:generateContent", &header, &contents);
    assert_eq!((status.as_str(), &answer["error"]["status"]), ("403", &json!("PERMISSION_DENIED")));
    let messages = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
    let header = format!("x-api-key: {}", with("exp", json!(1)));
    let (status, answer) = post(app.gateway, "/v1/messages", &header, &messages);
    assert_eq!((status.as_str(), &answer["error"]["type"]), ("401", &json!("authentication_error")));
}

#[test]
fn subject_that_is_removed_is_refused_and_limits_hold_for_all_subjects_together() {
    let (mut operator, state, issuer) = (FakeOperator::start(), tempfile::tempdir().unwrap(), TokenIssuer::new());
    let (app, _) = start(&operator, state.path());
    let (mut stream, _) = operator.accept();
    stream.say(FromOperator::ServiceAccountIssuer(issuer.told()));
    let limit = ", limits: [{name: few, per: Month, requests: 2}]";
    let both = catalog(&["checkout", "cart"], limit);
    tell(&operator, &mut stream, None, &both, 1);
    let (checkout, cart) = (issuer.token("default", "checkout"), issuer.token("default", "cart"));
    assert_eq!((chat(app.gateway, &checkout).0.as_str(), chat(app.gateway, &cart).0.as_str()), ("200", "200"));
    assert_eq!(chat(app.gateway, &checkout).0, "429");
    let one = catalog(&["cart"], limit);
    tell(&operator, &mut stream, Some(&both), &one, 2);
    assert_eq!(chat(app.gateway, &checkout).0, "403");
    assert_eq!(chat(app.gateway, &cart).0, "429");
}

#[test]
fn issuer_is_waited_for_followed_and_kept_over_a_restart() {
    let (mut operator, state, issuer) = (FakeOperator::start(), tempfile::tempdir().unwrap(), TokenIssuer::new());
    let (app, _) = start(&operator, state.path());
    let (mut stream, _) = operator.accept();
    let target = catalog(&["checkout"], "");
    tell(&operator, &mut stream, None, &target, 1);
    let token = issuer.token("default", "checkout");
    let (status, message) = chat(app.gateway, &token);
    assert_eq!(status, "503", "{message}");
    assert!(message.contains("does not know yet who issues"), "{message}");

    stream.say(FromOperator::ServiceAccountIssuer(issuer.told()));
    eventually("the issuer is known", || chat(app.gateway, &token).0 == "200");
    let next = TokenIssuer::new();
    stream.say(FromOperator::ServiceAccountIssuer(next.told()));
    let of_next = next.token("default", "checkout");
    eventually("the next issuer is known", || chat(app.gateway, &of_next).0 == "200");
    assert_eq!(chat(app.gateway, &token).0, "401", "a token that was verified with a key that is gone");
    let kept = next.told().keys[0].x.clone().unwrap();
    eventually("the issuer is on disk", || {
        std::fs::read_to_string(state.path().join("last-good.json")).is_ok_and(|text| text.contains(&kept))
    });

    drop((app, stream, operator));
    let mut gone = FakeOperator::start();
    gone.token = gone.ca.clone();
    let (app, _) = start(&gone, state.path());
    assert_eq!(chat(app.gateway, &of_next).0, "200");
}
