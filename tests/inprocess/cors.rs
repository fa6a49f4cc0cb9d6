//! Pages of other origins, where the gateway was told to let them call.

use std::sync::Arc;

use http::Method;
use routeapi_dataplane::server::{
    Limits,
    cors::{Cors, Origin},
};
use routeapi_tests::upstream::{Script, Upstream};

use crate::{
    gateway::{Gateway, Manifests},
    request::{Answer, Ask, chat},
};

const PAGE: &str = "https://chat.example.com";
const CHAT: &str = "/v1/chat/completions";

async fn gateway(origins: &[&str]) -> (Upstream, Gateway) {
    let upstream = Upstream::start(Script::new()).await;
    let manifests = Manifests::new().provider("up", "OpenAI", &upstream).route("m", &["up"]).token();
    let origins: Vec<Origin> = origins.iter().map(|origin| origin.parse().unwrap()).collect();
    let limits = Limits { cors: Cors::new(origins).map(Arc::new), ..Limits::default() };
    (upstream, Gateway::start_within(&manifests, limits))
}

fn preflight(origin: &str) -> Ask {
    Ask::get(CHAT)
        .method(Method::OPTIONS)
        .anonymous()
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,x-stainless-os")
}

fn allowed(answer: &Answer) -> Option<&str> {
    answer.header("access-control-allow-origin")
}

#[tokio::test]
async fn cors_lets_a_listed_origin_read_answers_and_errors() {
    let (_upstream, gateway) = gateway(&[PAGE]).await;
    let answer = preflight(PAGE).send(&gateway).await;
    assert_eq!((answer.status, allowed(&answer)), (204, Some(PAGE)));
    assert_eq!(answer.header("access-control-allow-headers"), Some("authorization, content-type, x-stainless-os"));
    let streamed = Ask::post(CHAT, chat("m", true)).header("origin", PAGE).send(&gateway).await;
    assert_eq!((streamed.status, allowed(&streamed)), (200, Some(PAGE)));
    let exposed = streamed.header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("x-routeapi-request-id") && exposed.contains("retry-after"), "{exposed}");
    let ask = || Ask::post(CHAT, chat("m", false)).header("origin", PAGE);
    for (ask, status) in [
        (ask().anonymous(), 401),
        (Ask::post(CHAT, chat("other", false)).header("origin", PAGE), 404),
        (Ask::post("/v1/nothing", "{}").header("origin", PAGE), 404),
        (Ask::get(CHAT).header("origin", PAGE), 405),
        // Refused before the gateway's own handler is asked.
        (ask().header("host", "another"), 400),
    ] {
        let answer = ask.send(&gateway).await;
        assert_eq!((answer.status, allowed(&answer)), (status, Some(PAGE)), "{}", answer.text());
        assert_eq!(answer.header("vary"), Some("origin"));
    }
    let records = gateway.records(5).await;
    assert!(records.iter().all(|record| record["method"] != "OPTIONS"), "a preflight writes no record");
}

#[tokio::test]
async fn cors_gives_unlisted_origins_no_access() {
    let (_upstream, gateway) = gateway(&[PAGE]).await;
    for origin in ["null", "https://evil.example", "https://chat.example.com.evil.example", "http://chat.example.com"] {
        let answer = preflight(origin).send(&gateway).await;
        assert_eq!((answer.status, allowed(&answer)), (403, None), "{origin}");
        let answer = Ask::post(CHAT, chat("m", false)).header("origin", origin).send(&gateway).await;
        assert_eq!((answer.status, allowed(&answer), answer.header("vary")), (200, None, Some("origin")), "{origin}");
    }
    let answer = Ask::post(CHAT, chat("m", false)).send(&gateway).await;
    assert_eq!((allowed(&answer), answer.header("vary")), (None, Some("origin")), "caches keep pages apart");
}

#[tokio::test]
async fn cors_allows_every_origin_for_a_star_and_none_by_default() {
    let (_upstream, open) = gateway(&["*"]).await;
    let answer = preflight("null").send(&open).await;
    assert_eq!((answer.status, allowed(&answer)), (204, Some("*")));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    let (_upstream, closed) = gateway(&[]).await;
    let answer = preflight(PAGE).send(&closed).await;
    assert_eq!((answer.status, allowed(&answer), answer.header("vary")), (405, None, None));
    let admin = preflight(PAGE).open_at(open.admin()).await.read().await;
    assert_eq!(allowed(&admin), None, "the admin listener takes no part");
}
