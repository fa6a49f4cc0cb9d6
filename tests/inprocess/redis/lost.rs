//! Redis killed, frozen and started again.

use std::{sync::Arc, time::Duration};

use routeapi_dataplane::limits::{
    LimitBackend, LimitStore, Refused, SharedLimits, TokenLimits,
    redis::{RedisSettings, RedisStore},
};
use routeapi_metering::{Actual, Period, Quantity, Share};
use routeapi_tests::{
    gateway::Setup,
    redis::Redis,
    upstream::{Script, Upstream},
    wait,
};

use super::{Pod, gateway, limit, manifests, settings, token, tokens};
use crate::{
    gateway::{Gateway, Manifests, SOON, TOKEN},
    request::{Ask, chat},
};

/// Short enough for a test, long enough for a busy machine.
const DEADLINE: Duration = Duration::from_millis(2_000);

async fn status(gateway: &Gateway) -> u16 {
    Ask::post("/v1/chat/completions", chat("m", false)).send(gateway).await.status
}

fn budget_and_rate(upstream: &Upstream) -> [Manifests; 2] {
    [
        manifests(upstream, "{name: volume, per: Month, tokens: 1000000}"),
        manifests(upstream, "{name: rpm, per: Minute, requests: 500}"),
    ]
}

async fn connected(gateway: &Gateway, is_connected: bool) {
    let line = format!("routeapi_limit_store_connected {}", u8::from(is_connected));
    let look = || async { gateway.page().await.lines().any(|found| found == line).then_some(()) };
    wait::until(&line, Duration::from_secs(20), look).await;
}

#[tokio::test]
async fn killed_redis_rejects_budgets_allows_rates_and_comes_back() {
    let mut redis = Redis::start(&[]).await.unwrap();
    let upstream = Upstream::start(Script::new()).await;
    let gateways = budget_and_rate(&upstream).map(|manifests| gateway(&manifests, settings(&redis)));
    for gateway in &gateways {
        assert_eq!(status(gateway).await, 200);
    }
    redis.kill();
    for (gateway, expected) in gateways.iter().zip([503, 200]) {
        connected(gateway, false).await;
        for _ in 0..3 {
            assert_eq!(status(gateway).await, expected);
        }
    }
    redis.restart().await.unwrap();
    for gateway in &gateways {
        connected(gateway, true).await;
        assert_eq!(status(gateway).await, 200);
        let page = gateway.page().await;
        assert!(page.contains("routeapi_limit_store_lost_requests_total"), "{page}");
    }
    for gateway in gateways {
        gateway.stop().await;
    }
    let leases = redis.ask(&["KEYS", "test:*:leases"]).await;
    for member in redis.ask(&["ZRANGE", &leases[0], "0", "-1"]).await {
        assert!(member.starts_with("d:"), "{member}: every lease was settled, in the end");
    }
}

/// A server that hangs costs a few requests their deadline, and the others nothing.
#[tokio::test]
async fn frozen_redis_holds_up_few_requests_and_thaws_without_leftovers() {
    let redis = Redis::start(&[]).await.unwrap();
    let upstream = Upstream::start(Script::new()).await;
    let manifests = manifests(&upstream, "{name: volume, per: Month, tokens: 1000000}");
    let gateway = gateway(&manifests, RedisSettings { timeout: DEADLINE, ..settings(&redis) });
    connected(&gateway, true).await;
    assert_eq!(status(&gateway).await, 200);
    redis.freeze().unwrap();
    for _ in 0..30 {
        assert_eq!(status(&gateway).await, 503);
    }
    let records = gateway.records(31).await;
    let late = records.iter().filter(|record| {
        record["message"].as_str().is_some_and(|message| message.contains("no answer within"))
            && record["duration_ms"].as_u64().is_some_and(|took| took + 50 >= 2_000)
    });
    assert!((1..=3).contains(&late.count()), "{records:?}");
    redis.thaw().unwrap();
    connected(&gateway, true).await;
    assert_eq!(status(&gateway).await, 200);
    gateway.stop().await;
    // The frozen server has read what it was asked for before; nobody waited for that any more.
    let pod = Pod::start(settings(&redis));
    let limits = [limit("volume", Period::Month, Quantity::Tokens(1_000_000))];
    let headroom = pod.store.reserve(&token(), 1, &limits, 0, tokens(0)).await.unwrap();
    let leases = redis.ask(&["KEYS", "test:*:leases"]).await;
    let open = redis.ask(&["ZRANGE", &leases[0], "0", "-1"]).await;
    assert_eq!(open.iter().filter(|member| !member.starts_with("d:")).count(), 1, "{open:?}");
    assert!(headroom.tokens.unwrap().left > 999_000, "two short answers were used");
}

/// A reservation that is older than the outage is settled once, and one that the server has lost gives nothing back.
#[tokio::test]
async fn settlements_of_an_outage_count_once_and_refund_nothing_twice() {
    let mut redis = Redis::start(&[]).await.unwrap();
    let pod = Pod::start(settings(&redis));
    let shared = SharedLimits::new(Arc::clone(&pod.store) as Arc<dyn LimitStore>);
    let settler = shared.settler.clone();
    let backend = LimitBackend::Shared(shared);
    let account = Arc::new(backend.account(&token()));
    let limits = vec![limit("volume", Period::Month, Quantity::Tokens(1_000))];
    account.configure(TokenLimits { limits: limits.clone(), max_concurrent: None, share: Share::default() });
    let held: Vec<_> = [account.reserve(0, tokens(100)).await, account.reserve(0, tokens(200)).await]
        .into_iter()
        .map(Result::unwrap)
        .collect();
    redis.kill();
    let mut held = held.into_iter();
    held.next().unwrap().settle(0, Actual { tokens: 70, spend: 0 });
    assert_eq!(settler.flush(Duration::from_millis(200)).await, 1, "it is kept");
    // With nothing in it.
    redis.restart().await.unwrap();
    assert_eq!(settler.flush(Duration::from_secs(20)).await, 0);
    held.next().unwrap().settle(0, Actual { tokens: 250, spend: 0 });
    assert_eq!(settler.flush(SOON).await, 0);
    let headroom = pod.store.reserve(&token(), 1, &limits, 0, tokens(0)).await.unwrap();
    assert_eq!(headroom.tokens.unwrap().left, 680);
}

/// Long streams outlive their lease, also in a server that has lost it.
#[tokio::test]
async fn open_reservations_are_made_again_in_a_server_that_has_lost_them() {
    let mut redis = Redis::start(&[]).await.unwrap();
    let pod = Pod::start(RedisSettings { lease: Duration::from_millis(900), ..settings(&redis) });
    let limits = [limit("volume", Period::Month, Quantity::Tokens(100))];
    pod.store.reserve(&token(), 1, &limits, 0, tokens(100)).await.unwrap();
    redis.restart().await.unwrap();
    let mut next = 10;
    let look = || {
        next += 1;
        let (store, limits, lease) = (Arc::clone(&pod.store), limits.clone(), next);
        async move {
            let answer = store.reserve(&token(), lease, &limits, 0, tokens(0)).await;
            matches!(answer, Err(Refused::Exceeded(_))).then_some(())
        }
    };
    wait::until("it is reserved again", Duration::from_secs(20), look).await;
}

/// The store is not in the way of tokens that need it not.
#[tokio::test]
async fn token_without_limits_is_served_while_redis_is_frozen() {
    let redis = Redis::start(&[]).await.unwrap();
    let upstream = Upstream::start(Script::new()).await;
    redis.freeze().unwrap();
    let manifests = Manifests::new().provider("up", "OpenAI", &upstream).route("m", &["up"]).token_with(
        "main",
        TOKEN,
        "models: [\"*\"], maxConcurrentRequests: 9",
    );
    let shared = SharedLimits::new(Arc::new(RedisStore::new(settings(&redis))));
    let gateway = Gateway::start_as(&manifests, Setup { limit_store: Some(shared), ..Setup::default() });
    assert_eq!(status(&gateway).await, 200);
    assert!(!gateway.page().await.contains("routeapi_limit_store_failures_total"), "it was not asked");
    assert_eq!(Ask::get("/readyz").open_at(gateway.admin()).await.read().await.status, 200, "nor is it unready");
}
