//! What a call costs, printed.

use std::{sync::Arc, time::Instant};

use hdrhistogram::Histogram;
use routeapi_dataplane::limits::{LimitStore, Settlement};
use routeapi_metering::{Period, Quantity};
use routeapi_tests::redis::Redis;

use super::{Pod, limit, settings, token, tokens, used};

const ROUNDS: u32 = 500;

#[tokio::test]
async fn latency_and_cpu_of_a_call() {
    let redis = Redis::start(&[]).await.unwrap();
    let pod = Pod::start(settings(&redis));
    let limits = [
        limit("rpm", Period::Minute, Quantity::Requests(1_000_000)),
        limit("tpd", Period::Day, Quantity::Tokens(1 << 40)),
        limit("budget", Period::Month, Quantity::Spend(1 << 40)),
    ];
    let [mut reserving, mut settling] = [0; 2].map(|_| Histogram::<u64>::new(3).unwrap());
    let micros = |begun: Instant| u64::try_from(begun.elapsed().as_micros()).unwrap();
    let cpu = own_cpu_micros();
    for lease in 0..u128::from(ROUNDS) {
        let begun = Instant::now();
        pod.store.reserve(&token(), lease, &limits, 0, tokens(5_000)).await.unwrap();
        reserving.record(micros(begun)).unwrap();
        let begun = Instant::now();
        let settlement =
            Settlement { lease, limits: Arc::from(limits.clone()), estimate: tokens(5_000), used: used(700) };
        pod.store.settle(&token(), &settlement).await.unwrap();
        settling.record(micros(begun)).unwrap();
    }
    let cpu = own_cpu_micros().saturating_sub(cpu);
    for (name, histogram) in [("reserve", &reserving), ("settle", &settling)] {
        println!("{name}: p50 {} µs, p99 {} µs", histogram.value_at_quantile(0.5), histogram.value_at_quantile(0.99));
    }
    println!(
        "gateway's CPU for both: {} µs (all tests of this process that ran beside it included)",
        cpu / u64::from(ROUNDS)
    );
    let statistics = redis.ask(&["INFO", "commandstats"]).await.concat();
    let scripts = statistics.lines().find(|line| line.starts_with("cmdstat_evalsha:")).unwrap();
    println!("{scripts}");
    assert_eq!(reserving.len() + settling.len(), u64::from(2 * ROUNDS));
}

/// User and system time of this process, as far as the kernel's ticks of 10 ms tell.
fn own_cpu_micros() -> u64 {
    let statistics = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = statistics.rsplit(')').next().unwrap();
    let fields: Vec<u64> = after_name.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
    (fields[11] + fields[12]) * 10_000
}
