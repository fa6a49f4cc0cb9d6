use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use routeapi_channel::{Catalog, Snapshot};
use routeapi_metering::Share;
use serde_json::json;

use super::*;
use crate::{
    config::compile,
    state::{InFlight, SharedState},
    upstream::AddressPolicy,
};

/// Upstreams of one priority with these weights, by name `u0`, `u1` and so on.
fn upstreams(weights: &[u32]) -> Vec<Arc<Upstream>> {
    let provider = json!({"type": "Echo", "baseUrl": "", "eviction": {"consecutiveFailures": 5, "duration": "30s"}});
    let upstream = |(at, weight): (usize, &u32)| {
        json!({"name": format!("u{at}"), "provider": format!("a/p{at}"), "priority": 0, "weight": weight,
               "timeouts": {"connect": "1s", "firstContent": "1s", "streamIdle": "1s", "request": "1s"}})
    };
    let providers: serde_json::Map<_, _> =
        (0..weights.len()).map(|at| (format!("a/p{at}"), provider.clone())).collect();
    let snapshot: Snapshot = serde_json::from_value(json!({
        "providers": providers,
        "routes": {"a/m": {
            "models": ["m"], "listed": true, "created": 0, "allowedNamespaces": "all", "translation": "Default",
            "upstreams": weights.iter().enumerate().map(upstream).collect::<Vec<_>>(),
            "fallback": {"conditions": [], "maxAttempts": 1, "maxRetryAfter": "1s"},
        }},
    }))
    .unwrap();
    let revision = Catalog::of(&snapshot).unwrap().revision();
    let state = SharedState::new(AddressPolicy::Workstation);
    let (runtime, changes, refused) = compile::compile(&snapshot, &revision, state.view(), Share::default());
    changes.apply(&state);
    assert!(refused.is_empty(), "{refused:?}");
    runtime.route("a", "m").unwrap().upstreams.clone()
}

/// How many of the requests each upstream gets: one every 50 ms for ten minutes, each answered after its upstream's time.
fn served(strategy: LoadBalancing, weights: &[u32], millis: &[u64]) -> BTreeMap<String, u32> {
    const EVERY: Duration = Duration::from_millis(50);
    const REQUESTS: u32 = 12_000;
    let upstreams = upstreams(weights);
    let mut random = fastrand::Rng::with_seed(7);
    let start = Instant::now();
    let mut under_way: BinaryHeap<Reverse<(Instant, u32)>> = BinaryHeap::new();
    let mut held: BTreeMap<u32, InFlight> = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for number in 0..REQUESTS {
        let now = start + EVERY * number;
        while let Some(&Reverse((at, which))) = under_way.peek().filter(|Reverse((at, _))| *at <= now) {
            under_way.pop();
            held.remove(&which).unwrap().answered(at);
        }
        let order = order(&upstreams, Selection { strategy, now, tenant: "t" }, |below| random.u64(..below));
        assert_eq!(order.len(), weights.len(), "the others follow, for fallback");
        let chosen = &order[0];
        *counts.entry(chosen.name.clone()).or_default() += 1;
        let at = chosen.name[1..].parse::<usize>().unwrap();
        held.insert(number, chosen.load.begin(now));
        under_way.push(Reverse((now + Duration::from_millis(millis[at]), number)));
    }
    println!("{strategy:?}, weights {weights:?}, {millis:?} ms: {counts:?} of {REQUESTS}");
    counts
}

fn share(counts: &BTreeMap<String, u32>, name: &str) -> f64 {
    f64::from(*counts.get(name).unwrap_or(&0)) / f64::from(counts.values().sum::<u32>())
}

#[test]
fn weighted_balancing_ignores_latency() {
    let counts = served(LoadBalancing::Weighted, &[3, 1], &[100, 4_000]);
    assert!((0.2..0.3).contains(&share(&counts, "u1")), "{counts:?}");
}

#[test]
fn lowest_latency_starves_a_40_times_slower_upstream() {
    for (strategy, most) in [(LoadBalancing::LeastRequest, 0.05), (LoadBalancing::LowestLatency, 0.005)] {
        let counts = served(strategy, &[1, 1], &[100, 4_000]);
        assert!(share(&counts, "u1") <= most, "{strategy:?}: {counts:?}");
        assert!(share(&counts, "u1") > 0.0, "it is asked now and then, so that it comes back when it has recovered");
    }
    let counts = served(LoadBalancing::LowestLatency, &[1, 1, 1], &[100, 4_000, 100]);
    assert!(
        (0.000_01..=0.005).contains(&share(&counts, "u1")) && share(&counts, "u0") > 0.4 && share(&counts, "u2") > 0.4,
        "{counts:?}"
    );
}

#[test]
fn equally_fast_upstreams_share_by_weight() {
    for strategy in [LoadBalancing::Weighted, LoadBalancing::LeastRequest] {
        let counts = served(strategy, &[3, 1], &[2_000, 2_000]);
        assert!((0.2..0.3).contains(&share(&counts, "u1")), "{strategy:?}: {counts:?}");
    }
    for strategy in [LoadBalancing::LeastRequest, LoadBalancing::LowestLatency] {
        let counts = served(strategy, &[1, 1], &[2_000, 2_000]);
        assert!((0.45..0.55).contains(&share(&counts, "u1")), "{strategy:?}: {counts:?}");
    }
}
