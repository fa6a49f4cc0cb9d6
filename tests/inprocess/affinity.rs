//! A session stays on one upstream: in two data planes that know nothing of each other, through an outage and a change of
//! weights, and whatever the client calls it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use routeapi_tests::upstream::{Script, Upstream};
use serde_json::{Value, json};

use crate::{
    gateway::{Gateway, Manifests, SOON},
    request::{Ask, chat},
};

const NAMES: [&str; 3] = ["one", "two", "three"];
const SESSIONS: usize = 60;

/// A data plane with upstreams of its own, which have the same names as those of others.
struct DataPlane {
    upstreams: BTreeMap<&'static str, Upstream>,
    gateway: Gateway,
    reversed: bool,
    asked: usize,
}

fn manifests(upstreams: &BTreeMap<&'static str, Upstream>, weights: [u32; 3], reversed: bool) -> Manifests {
    let mut list: Vec<String> = NAMES
        .iter()
        .zip(weights)
        .map(|(name, weight)| format!("{{name: {name}, providerRef: {{name: {name}}}, model: m, weight: {weight}}}"))
        .collect();
    if reversed {
        list.reverse();
    }
    let eviction = "eviction: {consecutiveFailures: 1, duration: 1s}";
    let providers = upstreams.iter().fold(Manifests::new(), |manifests, (name, upstream)| {
        manifests.provider_with(name, "OpenAI", upstream, eviction)
    });
    let route = format!(
        "apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {{name: m, namespace: apps}}\n\
         spec: {{model: m, affinity: {{}}, upstreams: [{}]}}",
        list.join(", ")
    );
    providers.with(&route).token().token_with("second", "sk-test-token-0002", "models: [\"*\"]")
}

impl DataPlane {
    async fn start(weights: [u32; 3], reversed: bool) -> Self {
        let mut upstreams = BTreeMap::new();
        for name in NAMES {
            upstreams.insert(name, Upstream::start(Script::new()).await);
        }
        let gateway = Gateway::start(&manifests(&upstreams, weights, reversed));
        Self { upstreams, gateway, reversed, asked: 0 }
    }

    async fn weigh(&self, weights: [u32; 3]) {
        self.gateway.apply(&manifests(&self.upstreams, weights, self.reversed)).await;
    }

    /// The record of an answered request.
    async fn ask(&mut self, ask: Ask) -> Value {
        let answer = ask.send(&self.gateway).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.asked += 1;
        self.gateway.records(self.asked).await.pop().unwrap()
    }

    /// Asks in this session until that upstream serves it.
    async fn wait_for(&mut self, session: usize, upstream: &str) {
        let began = Instant::now();
        while served_by(&self.ask(of_session(session)).await) != upstream {
            assert!(began.elapsed() < SOON, "{upstream} never served the session again");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Who serves each session.
    async fn places(&mut self) -> Vec<String> {
        let mut places = Vec::new();
        for session in 0..SESSIONS {
            places.push(served_by(&self.ask(of_session(session)).await));
        }
        places
    }
}

/// A request of a session, which even ones name in a header and odd ones in the body.
fn of_session(session: usize) -> Ask {
    let name = format!("canary-session-{session}");
    if session.is_multiple_of(2) {
        Ask::post("/v1/chat/completions", chat("m", false)).header("session-id", &name)
    } else {
        Ask::post("/v1/chat/completions", keyed(&json!({"prompt_cache_key": name})))
    }
}

/// A Chat request with these members beside the usual ones.
fn keyed(members: &Value) -> String {
    let mut body: Value = serde_json::from_str(&chat("m", false)).unwrap();
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    body.to_string()
}

fn served_by(record: &Value) -> String {
    let last = record["attempts"].as_array().unwrap().last().unwrap();
    assert_eq!(record["affinity"]["kept"], last["upstream"] == record["affinity"]["upstream"], "{record:#}");
    last["upstream"].as_str().unwrap().to_owned()
}

fn moved(before: &[String], after: &[String]) -> Vec<(String, String)> {
    before.iter().cloned().zip(after.iter().cloned()).filter(|(before, after)| before != after).collect()
}

#[tokio::test]
async fn two_data_planes_agree_and_sessions_return_after_an_outage() {
    let mut first = DataPlane::start([2, 1, 1], false).await;
    let mut second = DataPlane::start([2, 1, 1], true).await;
    let before = first.places().await;
    assert_eq!(before, second.places().await, "two data planes, one choice");
    assert_eq!(before, first.places().await, "and it stays");
    let shares = NAMES.map(|name| before.iter().filter(|place| *place == name).count());
    println!("{SESSIONS} sessions by weights 2, 1, 1: {shares:?}");
    assert!(shares.iter().all(|sessions| *sessions > 0), "{shares:?}");

    first.upstreams["one"].set(Script::failing(500));
    let during = first.places().await;
    let elsewhere = moved(&before, &during);
    println!("during an outage of the first: {} of {SESSIONS} moved", elsewhere.len());
    assert!(elsewhere.iter().all(|(home, _)| home == "one"), "{elsewhere:?}");
    assert_eq!(elsewhere.len(), shares[0], "all of its sessions were served elsewhere");
    assert_eq!(before, second.places().await, "what one data plane sees does not move the sessions of another");

    first.upstreams["one"].set(Script::new());
    let of_one = before.iter().position(|home| home == "one").unwrap();
    first.wait_for(of_one, "one").await;
    let after = first.places().await;
    println!("after it: {} of {SESSIONS} elsewhere than before", moved(&before, &after).len());
    assert_eq!(before, after, "they return");

    for plane in [&first, &second] {
        plane.weigh([2, 1, 3]).await;
    }
    let weighed = first.places().await;
    let difference = moved(&before, &weighed);
    println!("weights 2, 1, 3: {} of {SESSIONS} moved", difference.len());
    assert!(!difference.is_empty() && difference.iter().all(|(_, home)| home == "three"), "{difference:?}");
    assert_eq!(weighed, second.places().await);
    assert!(!second.gateway.shown().await.contains("canary-session"), "a session's name is nobody's business");
}

#[tokio::test]
async fn another_token_with_the_same_session_is_placed_by_itself() {
    let mut plane = DataPlane::start([1, 1, 1], false).await;
    let own = plane.places().await;
    let mut others = Vec::new();
    for session in 0..SESSIONS {
        others.push(served_by(&plane.ask(of_session(session).bearer("sk-test-token-0002")).await));
    }
    let alike = own.iter().zip(&others).filter(|(own, other)| own == other).count();
    println!("{alike} of {SESSIONS} sessions at the same upstream for two tokens of one namespace");
    // A third is expected. All alike would be a chance of 1 to 3^60.
    assert!(alike < SESSIONS / 2 + SESSIONS / 4, "{alike}");
}

#[tokio::test]
async fn whatever_a_client_calls_its_session_it_is_one() {
    let mut plane = DataPlane::start([1, 1, 1], false).await;
    let long = "x".repeat(1 << 20);
    let claude = r#"{"device_id":"d","account_uuid":"","session_id":"s-7"}"#;
    let mut homes = BTreeMap::new();
    for (header, members, key) in [
        (Some(("x-claude-code-session-id", "s-7")), json!({}), "x-claude-code-session-id"),
        (Some(("session_id", "s-7")), json!({"prompt_cache_key": "other"}), "session_id"),
        (Some(("x-session-affinity", "s-7")), json!({}), "x-session-affinity"),
        (None, json!({"prompt_cache_key": "s-7"}), "prompt_cache_key"),
        (None, json!({"user": "user_0a_account__session_s-7"}), "user"),
        (None, json!({"metadata": {"user_id": claude}}), "metadata.user_id"),
        (None, json!({"prompt_cache_key": long}), "prompt_cache_key"),
    ] {
        let mut ask = Ask::post("/v1/chat/completions", keyed(&members));
        if let Some((name, value)) = header {
            ask = ask.header(name, value);
        }
        let record = plane.ask(ask).await;
        assert_eq!(record["affinity"]["key"], key, "{record:#}");
        assert_eq!(record["affinity"]["kept"], true, "{record:#}");
        if members["prompt_cache_key"] != json!(long) {
            homes.insert(served_by(&record), key);
        }
    }
    assert_eq!(homes.len(), 1, "{homes:?}");
    let record = plane.ask(Ask::post("/v1/chat/completions", chat("m", false))).await;
    assert_eq!(record["affinity"], Value::Null, "no session, no affinity: {record:#}");
    plane.gateway.shows("routeapi_affinity_requests_total{route=\"apps/m\",result=\"kept\"} 7").await;
    plane.gateway.shows("routeapi_affinity_requests_total{route=\"apps/m\",result=\"no_session\"} 1").await;
}

#[tokio::test]
async fn a_session_leaves_an_upstream_only_for_what_that_cannot_do() {
    let (plain, seeing) = (Upstream::start(Script::new()).await, Upstream::start(Script::new()).await);
    let manifests = Manifests::new()
        .provider("plain", "OpenAI", &plain)
        .provider("seeing", "OpenAI", &seeing)
        .with(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {name: m, namespace: apps}\n\
             spec: {model: m, affinity: {type: Header, header: X-Team}, upstreams: [\
             {name: plain, providerRef: {name: plain}, model: m, capabilities: [Streaming]}, \
             {name: seeing, providerRef: {name: seeing}, model: m}]}",
        )
        .token();
    let gateway = Gateway::start(&manifests);
    let image = json!({"messages": [{"role": "user", "content": [
        {"type": "text", "text": "what is this"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]}]});
    let mut count = 0;
    let mut left = 0;
    for session in 0..12 {
        let mut served = Vec::new();
        for body in [chat("m", false), keyed(&image), chat("m", false)] {
            // A session in another header than the route's is none.
            let ask = Ask::post("/v1/chat/completions", body).header("session-id", "other");
            let answer = ask.header("x-team", &format!("team-{session}")).send(&gateway).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            count += 1;
            let record = gateway.records(count).await.pop().unwrap();
            assert_eq!(record["affinity"]["key"], "x-team", "{record:#}");
            served.push(served_by(&record));
        }
        assert_eq!((served[1].as_str(), &served[2]), ("seeing", &served[0]));
        left += usize::from(served[0] == "plain");
    }
    println!("{left} of 12 sessions left their upstream for an image and returned");
    assert!((1..12).contains(&left), "{left}");
    assert_eq!(plain.received().len(), 2 * left);
}
