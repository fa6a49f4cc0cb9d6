//! Limits that several gateways count together, in a store that can be away.

use std::{sync::Arc, time::Duration};

use routeapi_channel::ObjectId;
use routeapi_dataplane::{
    clock,
    limits::{
        Account, LimitBackend, LimitStore, LostAction, OnStoreFailure, Refused, Reservation, Settler, SharedLimits,
        TokenLimits,
    },
};
use routeapi_metering::{Actual, Estimate, Limit, Period, Quantity};
use routeapi_tests::{
    gateway::Setup,
    limit_store::{Connection, MemoryLimitStore},
    upstream::{Script, Upstream},
    wait,
};

use crate::{
    gateway::{Gateway, Manifests, SOON, TOKEN},
    request::{Ask, chat, dialects},
};

fn manifests(upstream: &Upstream, spec: &str) -> Manifests {
    Manifests::new().provider("up", "OpenAI", upstream).route("m", &["up"]).token_with(
        "main",
        TOKEN,
        &format!("models: [\"*\"], {spec}"),
    )
}

fn start(manifests: &Manifests, store: &Arc<MemoryLimitStore>) -> Gateway {
    let limit_store = SharedLimits::new(Arc::clone(store) as Arc<dyn LimitStore>);
    Gateway::start_as(manifests, Setup { limit_store: Some(limit_store), ..Setup::default() })
}

fn token() -> ObjectId {
    ObjectId::new("apps", "main")
}

async fn all_settled(store: &MemoryLimitStore) {
    wait::until_true("every reservation is settled", SOON, || store.open() == 0).await;
}

#[tokio::test]
async fn unavailable_store_is_503_in_every_dialect_and_asks_no_upstream() {
    let (upstream, store) = (Upstream::start(Script::new()).await, Arc::new(MemoryLimitStore::default()));
    let gateway = start(&manifests(&upstream, "limits: [{name: few, per: Day, requests: 9}]"), &store);
    store.set(Connection::Refused);
    let mut asked = 0;
    for stream in [false, true] {
        for (path, body) in dialects("m", stream) {
            let answer = Ask::post(&path, body).send(&gateway).await;
            asked += 1;
            assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{path}: {}", answer.text());
            assert!(!answer.text().contains("connection refused"), "that is the operator's business");
            let error = &answer.json()["error"];
            match path.as_str() {
                "/v1/chat/completions" => assert_eq!(error["code"], "limit_store_unavailable"),
                "/v1/messages" => assert_eq!(error["type"], "api_error"),
                _ => assert_eq!(error["status"], "UNAVAILABLE"),
            }
        }
    }
    assert!(upstream.received().is_empty());
    for record in gateway.records(asked).await {
        assert_eq!(record["error"], "limit_store_unavailable");
        assert_eq!(record["outcome"], "gateway_stopped");
        assert_eq!(record["message"], "the limit store cannot be asked: connection refused");
    }
    let page = gateway.page().await;
    let counted = page.lines().filter(|line| line.contains("error_type=\"limit_store_unavailable\""));
    assert!(counted.count() > 0, "{page}");
    store.set(Connection::Up);
    assert_eq!(Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await.status, 200);
}

#[tokio::test]
async fn token_without_limits_needs_no_store() {
    let (upstream, store) = (Upstream::start(Script::new()).await, Arc::new(MemoryLimitStore::default()));
    let gateway = start(&manifests(&upstream, "maxConcurrentRequests: 9"), &store);
    store.set(Connection::Refused);
    assert_eq!(Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await.status, 200);
}

#[tokio::test]
async fn hanging_store_is_given_up_after_a_second() {
    let (upstream, store) = (Upstream::start(Script::new()).await, Arc::new(MemoryLimitStore::default()));
    let gateway = start(&manifests(&upstream, "limits: [{name: few, per: Day, requests: 9}]"), &store);
    store.set(Connection::Hangs);
    let began = std::time::Instant::now();
    let answer = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
    assert_eq!(answer.status, 503);
    assert!((Duration::from_millis(900)..SOON).contains(&began.elapsed()), "{:?}", began.elapsed());
}

/// Rates fail open: what goes on is counted in the pod, and in the store once that is back.
#[tokio::test]
async fn lost_store_leaves_rates_to_the_pods_own_share() {
    let (upstream, store) = (Upstream::start(Script::new()).await, Arc::new(MemoryLimitStore::default()));
    let gateway = start(&manifests(&upstream, "limits: [{name: few, per: Hour, requests: 2}]"), &store);
    store.set(Connection::Refused);
    for (status, left) in [(200, Some("1")), (200, Some("0")), (429, Some("0"))] {
        let answer = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
        assert_eq!((answer.status, answer.header("x-ratelimit-remaining-requests")), (status, left));
    }
    let page = gateway.page().await;
    for line in ["routeapi_limit_store_lost_requests_total{decision=\"allowed\"} 3", "operation=\"reserve\"} 3"] {
        assert!(page.contains(line), "{line}: {page}");
    }
    store.set(Connection::Up);
    wait::until_true("both are settled in the store", SOON, || store.settled() == 2).await;
    assert_eq!(store.left(&token(), clock::now().unix_ms)["few"], 0);
    let answer = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
    assert_eq!(answer.status, 429, "the store knows of them");
}

#[tokio::test]
async fn lost_store_rejects_rates_or_allows_budgets_if_told_to() {
    let (upstream, store) = (Upstream::start(Script::new()).await, Arc::new(MemoryLimitStore::default()));
    store.set(Connection::Refused);
    let contrary = OnStoreFailure { budgets: LostAction::Allow, rates: LostAction::Reject };
    for (per, status) in [("Hour", 503), ("Day", 200)] {
        let shared = SharedLimits::new(Arc::clone(&store) as Arc<dyn LimitStore>);
        let limit_store = Some(shared.on_failure(contrary));
        let manifests = manifests(&upstream, &format!("limits: [{{name: few, per: {per}, requests: 9}}]"));
        let gateway = Gateway::start_as(&manifests, Setup { limit_store, ..Setup::default() });
        let answer = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
        assert_eq!(answer.status, status, "{per}");
    }
}

#[tokio::test]
async fn gateways_share_a_limit_through_a_store() {
    let (upstream, store) = (Upstream::start(Script::new()).await, Arc::new(MemoryLimitStore::default()));
    let manifests = manifests(&upstream, "limits: [{name: few, per: Hour, requests: 3}]");
    let gateways = [start(&manifests, &store), start(&manifests, &store)];
    for (at, left) in [(0, Some("2")), (1, Some("1")), (0, Some("0")), (1, None)] {
        let answer = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateways[at]).await;
        match left {
            Some(_) => {
                assert_eq!((answer.status, answer.header("x-ratelimit-remaining-requests")), (200, left));
            }
            None => assert_eq!((answer.status, answer.header("x-routeapi-limit")), (429, Some("few"))),
        }
    }
    all_settled(&store).await;
}

#[tokio::test]
async fn usage_is_settled_in_the_store() {
    let upstream = Upstream::start(Script::new().chunks(10, "word ")).await;
    let store = Arc::new(MemoryLimitStore::default());
    let gateway = start(&manifests(&upstream, "limits: [{name: volume, per: Day, tokens: 100000}]"), &store);
    let answer = Ask::post("/v1/chat/completions", chat("m", true)).send(&gateway).await;
    assert_eq!(answer.status, 200);
    let usage = gateway.record().await["usage"].clone();
    let used: u64 = usage.as_object().unwrap().values().filter_map(serde_json::Value::as_u64).sum();
    all_settled(&store).await;
    assert!(used > 0);
    assert_eq!(store.left(&token(), clock::now().unix_ms)["volume"], 100_000 - used);
}

#[tokio::test]
async fn strict_limit_of_a_store_ends_an_answer() {
    let upstream = Upstream::start(Script::new().chunks(400, "many words in one piece ")).await;
    let store = Arc::new(MemoryLimitStore::default());
    let spec = "limits: [{name: hard, per: Day, tokens: 100000, enforcement: Strict}]";
    let gateway = start(&manifests(&upstream, spec), &store);
    let body = r#"{"model":"m","max_tokens":20,"stream":true,"messages":[{"role":"user","content":"x"}]}"#;
    let answer = Ask::post("/v1/chat/completions", body).send(&gateway).await;
    assert!(answer.text().contains("hard"), "{}", answer.text());
    assert_eq!(gateway.record().await["outcome"], "limit_stopped");
    all_settled(&store).await;
}

#[tokio::test]
async fn concurrency_is_counted_in_each_gateway() {
    let upstream = Upstream::start(Script::new().delay_headers(Duration::from_secs(3600))).await;
    let store = Arc::new(MemoryLimitStore::default());
    let spec = "maxConcurrentRequests: 1, limits: [{name: few, per: Hour, requests: 9}]";
    let gateway = start(&manifests(&upstream, spec), &store);
    let held = tokio::spawn({
        let address = gateway.address();
        async move { Ask::post("/v1/chat/completions", chat("m", false)).open_at(address).await }
    });
    upstream.wait_received(1, SOON).await;
    let answer = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
    assert_eq!((answer.status, answer.header("x-routeapi-limit")), (429, Some("maxConcurrentRequests")));
    assert_eq!(store.granted(), 1, "the store was not asked in vain");
    held.abort();
}

#[tokio::test]
async fn shutdown_settles_cut_requests() {
    let upstream = Upstream::start(Script::new().stall_after(5)).await;
    let store = Arc::new(MemoryLimitStore::default());
    let gateway = start(&manifests(&upstream, "limits: [{name: few, per: Hour, requests: 9}]"), &store);
    let mut open = Ask::post("/v1/chat/completions", chat("m", true)).open(&gateway).await;
    open.next().await.unwrap().unwrap();
    assert_eq!(store.open(), 1);
    gateway.stop().await;
    assert_eq!((store.open(), store.settled()), (0, 1));
}

/// A token with one limit, counted in a store by way of a settler with so many places.
fn account(store: &Arc<MemoryLimitStore>, settler: &Settler) -> Arc<Account> {
    let mut shared = SharedLimits::new(Arc::clone(store) as Arc<dyn LimitStore>);
    shared.settler = settler.clone();
    let backend = LimitBackend::Shared(shared);
    let account = Arc::new(backend.account(&token()));
    let quantity = Quantity::Tokens(1_000);
    let limit = Limit { name: "volume".to_owned(), period: Period::Day, quantity, is_strict: false };
    account.configure(TokenLimits { limits: vec![limit], ..TokenLimits::default() });
    account
}

async fn reserve(account: &Arc<Account>) -> Result<Reservation, Refused> {
    account.reserve(clock::now().unix_ms, Estimate { tokens: 100, ..Estimate::default() }).await
}

fn used(tokens: u64) -> (i64, Actual) {
    (clock::now().unix_ms, Actual { tokens, spend: 0 })
}

#[tokio::test]
async fn full_settler_refuses_requests_and_loses_no_settlement() {
    let (store, settler) = (Arc::new(MemoryLimitStore::default()), Settler::with_capacity(2));
    let account = account(&store, &settler);
    let held = [reserve(&account).await.unwrap(), reserve(&account).await.unwrap()];
    let refused = reserve(&account).await.unwrap_err();
    assert!(matches!(refused, Refused::StoreUnavailable(_)), "{refused}");
    store.set(Connection::Refused);
    for reservation in held {
        let (now, actual) = used(30);
        reservation.settle(now, actual);
    }
    assert!(reserve(&account).await.is_err(), "they wait in the places");
    store.set(Connection::Up);
    assert_eq!(settler.flush(SOON).await, 0);
    assert_eq!((store.open(), store.left(&token(), clock::now().unix_ms)["volume"]), (0, 940));
    drop(reserve(&account).await.unwrap());
}

#[tokio::test]
async fn unaccepted_settlements_are_retried_and_count_once() {
    let (store, settler) = (Arc::new(MemoryLimitStore::default()), Settler::default());
    let account = account(&store, &settler);
    let (first, second) = (reserve(&account).await.unwrap(), reserve(&account).await.unwrap());
    let running = tokio::spawn({
        let settler = settler.clone();
        async move { settler.run().await }
    });
    // Heard, but nobody learns of it.
    store.set(Connection::LosesAnswers);
    let (now, actual) = used(70);
    first.settle(now, actual);
    wait::until_true("the store has heard of the first", SOON, || store.settled() == 1).await;
    store.set(Connection::Refused);
    drop(second);
    // Whoever tells it may be stopped at any moment.
    running.abort();
    assert!(running.await.is_err());
    assert_eq!(settler.flush(Duration::from_millis(200)).await, 2, "none of them is forgotten");
    store.set(Connection::Up);
    assert_eq!(settler.flush(SOON).await, 0);
    assert_eq!((store.open(), store.settled()), (0, 2));
    assert_eq!(store.left(&token(), clock::now().unix_ms)["volume"], 930, "the first once, the second given back");
}

/// Nobody knows whether the store has granted what it did not answer, or what nobody waited for.
#[tokio::test]
async fn unanswered_and_cancelled_reservations_are_given_back() {
    let (store, settler) = (Arc::new(MemoryLimitStore::default()), Settler::default());
    let account = account(&store, &settler);
    store.set(Connection::LosesAnswers);
    assert!(matches!(reserve(&account).await, Err(Refused::StoreUnavailable(_))));
    assert_eq!(store.open(), 1, "it did grant it");
    store.set(Connection::Hangs);
    let cancelled = tokio::time::timeout(Duration::from_millis(1), reserve(&account)).await;
    assert!(cancelled.is_err());
    store.set(Connection::Up);
    assert_eq!(settler.flush(SOON).await, 0);
    assert_eq!((store.open(), store.settled()), (0, 2));
    assert_eq!(store.left(&token(), clock::now().unix_ms)["volume"], 1_000);
}

#[tokio::test]
async fn refused_request_holds_no_slot() {
    let (store, settler) = (Arc::new(MemoryLimitStore::default()), Settler::with_capacity(11));
    let account = account(&store, &settler);
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(reserve(&account).await.unwrap());
    }
    for _ in 0..20 {
        let refused = reserve(&account).await.unwrap_err();
        assert!(matches!(&refused, Refused::Exceeded(exceeded) if exceeded.limit == "volume"), "{refused}");
    }
}
