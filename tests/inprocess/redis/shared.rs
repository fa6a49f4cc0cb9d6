//! Gateways that share limits.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use routeapi_channel::ObjectId;
use routeapi_dataplane::limits::{
    LimitStore, Refused, Settlement,
    redis::{Address, Password, RedisSettings},
};
use routeapi_metering::{Limit, Period, Quantity};
use routeapi_tests::{
    redis::{Certificate, Redis},
    upstream::{Script, Upstream},
    wait,
};
use rustls::RootCertStore;

use super::{Pod, gateway, limit, manifests, settings, token, tokens, used};
use crate::{
    gateway::SOON,
    request::{Ask, chat},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_2000_requests_at_once_over_three_gateways_exactly_100_are_served() {
    let (redis, upstream) = (Redis::start(&[]).await.unwrap(), Upstream::start(Script::new()).await);
    let manifests = manifests(&upstream, "{name: few, per: Month, requests: 100}");
    let gateways: Vec<_> = (0..3).map(|_| gateway(&manifests, settings(&redis))).collect();
    let asking = (0..2000).map(|number| {
        let address = gateways[number % 3].address();
        tokio::spawn(async move {
            let answer = Ask::post("/v1/chat/completions", chat("m", false)).open_at(address).await.read().await;
            (answer.status, answer.header("x-routeapi-limit").map(str::to_owned))
        })
    });
    let answers: Vec<_> = join_all(asking).await.into_iter().map(Result::unwrap).collect();
    let of_status = |status: u16| answers.iter().filter(|(found, _)| *found == status).count();
    assert_eq!((of_status(200), of_status(429)), (100, 1900));
    assert!(answers.iter().all(|(status, limit)| *status == 200 || limit.as_deref() == Some("few")));
    assert_eq!(upstream.received().len(), 100);
}

#[tokio::test]
async fn three_gateways_spend_one_budget() {
    let redis = Redis::start(&[]).await.unwrap();
    let upstream = Upstream::start(Script::new().chunks(10, "word ")).await;
    let manifests = manifests(&upstream, "{name: volume, per: Month, tokens: 1000000}");
    let gateways: Vec<_> = (0..3).map(|_| gateway(&manifests, settings(&redis))).collect();
    let mut sum = 0;
    for gateway in &gateways {
        let answer = Ask::post("/v1/chat/completions", chat("m", true)).send(gateway).await;
        assert_eq!((answer.status, answer.header("x-ratelimit-limit-tokens")), (200, Some("1000000")), "no shares");
        let usage = gateway.record().await["usage"].clone();
        sum += usage.as_object().unwrap().values().filter_map(serde_json::Value::as_u64).sum::<u64>();
    }
    let pod = Pod::start(settings(&redis));
    let limits = [limit("volume", Period::Month, Quantity::Tokens(1_000_000))];
    let left = || async {
        let lease = fastrand::u128(..);
        let headroom = pod.store.reserve(&token(), lease, &limits, 0, tokens(0)).await.unwrap();
        end(&pod, lease, &limits, None).await;
        (headroom.tokens.unwrap().left == 1_000_000 - sum).then_some(())
    };
    wait::until("all that was used, and no more, is counted", SOON, left).await;
}

async fn end(pod: &Pod, lease: u128, limits: &[Limit], tokens_used: Option<u64>) {
    let used = tokens_used.and_then(used);
    let settlement = Settlement { lease, limits: Arc::from(limits), estimate: tokens(0), used };
    pod.store.settle(&token(), &settlement).await.unwrap();
}

#[tokio::test]
async fn killed_pods_reservations_come_back_and_those_of_living_pods_stay() {
    let redis = Redis::start(&[]).await.unwrap();
    let lease = Duration::from_millis(600);
    let short = || RedisSettings { lease, ..settings(&redis) };
    let limits = [limit("volume", Period::Month, Quantity::Tokens(100))];
    let (killed, living) = (Pod::start(short()), Pod::start(short()));
    killed.store.reserve(&token(), 1, &limits, 0, tokens(60)).await.unwrap();
    living.store.reserve(&token(), 2, &limits, 0, tokens(40)).await.unwrap();
    assert!(living.store.reserve(&token(), 3, &limits, 0, tokens(60)).await.is_err());
    drop(killed);
    let mut next = 10;
    let mut reserve = || {
        next += 1;
        let (store, limits, lease) = (Arc::clone(&living.store), limits.clone(), next);
        async move { store.reserve(&token(), lease, &limits, 0, tokens(60)).await.ok() }
    };
    let (headroom, took) = wait::until("the killed pod's reservation ends", SOON, &mut reserve).await;
    println!("back after {took:?} with leases of {lease:?}");
    assert_eq!(headroom.tokens.unwrap().left, 0, "the living pod's is still held, after its lease would have ended");
    // What is settled late, after its lease has ended, counts, and gives nothing back.
    let late = Settlement { lease: 1, limits: Arc::from(limits), estimate: tokens(60), used: used(5) };
    for _ in 0..2 {
        living.store.settle(&token(), &late).await.unwrap();
    }
    let limits = [limit("more", Period::Month, Quantity::Tokens(106))];
    let headroom = living.store.reserve(&token(), 9, &limits, 0, tokens(1)).await.unwrap();
    assert_eq!(headroom.tokens.unwrap().left, 0, "5 used once, 100 reserved, 1 for this");
}

/// Whatever tokens are called: two keys each, short, and each of them ends.
#[tokio::test]
async fn memory_in_redis_is_bounded_and_every_key_expires() {
    let redis = Redis::start(&[]).await.unwrap();
    let pod = Pod::start(settings(&redis));
    let limits =
        [limit("a", Period::Second, Quantity::Tokens(u64::MAX)), limit("b", Period::Month, Quantity::Spend(u64::MAX))];
    let names = ["a", "}{", "\r\nDEL x", &"x".repeat(60_000)].map(|name| ObjectId::new("apps", name));
    for (number, name) in names.iter().enumerate() {
        for round in 0..300 {
            let lease = (number * 1000 + round) as u128;
            pod.store.reserve(name, lease, &limits, 0, tokens(u64::MAX / 1000)).await.unwrap();
            let settlement = Settlement {
                lease,
                limits: Arc::from(limits.clone()),
                estimate: tokens(u64::MAX / 1000),
                used: used(3),
            };
            pod.store.settle(name, &settlement).await.unwrap();
        }
    }
    let keys = redis.ask(&["KEYS", "test:{*"]).await;
    assert_eq!(keys.len(), 2 * names.len(), "{keys:?}");
    for key in &keys {
        assert!(key.len() <= 64, "{key}");
        let left: i64 = redis.ask(&["PTTL", key]).await[0].parse().unwrap();
        assert!((1..32 * 86_400_000).contains(&left), "{key} ends in {left} ms");
        let bytes: u64 = redis.ask(&["MEMORY", "USAGE", key]).await[0].parse().unwrap();
        println!("{key}: {bytes} bytes");
        assert!(bytes < 100_000, "{key}: {bytes} bytes");
    }
}

#[tokio::test]
async fn tls_and_passwords_are_taken_and_wrong_ones_are_refused() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (ca, other) = (file("ca.pem", &certificate), file("other.pem", &other));
    let (password, wrong) = (file("password", "hunter2\n"), file("wrong", "hunter3\n"));
    let tls = Certificate { certificate: &certificate, key: &key };
    let redis = Redis::start_as(&["--requirepass", "hunter2"], Some(tls)).await.unwrap();
    let limits = [limit("volume", Period::Month, Quantity::Tokens(100))];
    for (ca, password, why) in [
        (&ca, &password, None),
        (&other, &password, Some("certificate")),
        (&ca, &wrong, Some("Password authentication failed")),
    ] {
        let address = Address::new(&redis.tls_url(), &Arc::new(RootCertStore::empty()), Some(ca.clone())).unwrap();
        let address = address.with_login(None, Password::File(password.clone()));
        let pod = Pod::start(RedisSettings { address, ..settings(&redis) });
        let answer = pod.store.reserve(&token(), fastrand::u128(..), &limits, 0, tokens(1)).await;
        match (answer, why) {
            (Ok(_), None) => {}
            (Err(Refused::StoreUnavailable(lost)), Some(why)) => {
                let lost = lost.to_string();
                assert!(lost.contains(why) && !lost.contains("hunter"), "{lost}");
            }
            (answer, why) => panic!("{answer:?}, not {why:?}"),
        }
    }
}
