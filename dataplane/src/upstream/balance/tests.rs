use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use routeapi_channel::{Catalog, ObjectId, Snapshot};
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
        let order =
            order(&upstreams, Selection { strategy, now, tenant: "t", session: None }, |below| random.u64(..below));
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

/// Where sessions are before, during and after an outage, and what moves with the weights.
mod sessions {
    use super::*;

    const SESSIONS: u32 = 10_000;

    struct Population {
        seed: u64,
        sessions: Vec<Session>,
    }

    /// The first choice of each session now, by name.
    type Places = Vec<String>;

    impl Population {
        fn new() -> Self {
            let seed = fastrand::u64(..);
            let mut random = fastrand::Rng::with_seed(seed);
            let mut session = |at: u32| {
                let token = ObjectId::new("a", format!("token-{}", at % 50));
                Session::new(&token, &std::array::from_fn(|_| random.u8(..)))
            };
            Self { seed, sessions: (0..SESSIONS).map(&mut session).collect() }
        }

        fn places(&self, upstreams: &[Arc<Upstream>], now: Instant) -> Places {
            let first = |session: &Session| {
                let selection =
                    Selection { strategy: LoadBalancing::LeastRequest, now, tenant: "t", session: Some(*session) };
                order(upstreams, selection, |_| panic!("nothing is left to chance"))[0].name.clone()
            };
            self.sessions.iter().map(first).collect()
        }

        /// The share of sessions that are at different places, printed.
        fn moved(&self, what: &str, before: &Places, after: &Places) -> f64 {
            let moved = before.iter().zip(after).filter(|(before, after)| before != after).count();
            let share = ratio(moved, SESSIONS as usize);
            println!("seed {}: {what}: {:.2} % of {SESSIONS} sessions moved", self.seed, share * 100.0);
            share
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    fn ratio(part: usize, whole: usize) -> f64 {
        part as f64 / whole as f64
    }

    fn at(places: &Places, name: &str) -> f64 {
        ratio(places.iter().filter(|place| *place == name).count(), places.len())
    }

    /// Six standard deviations of a share among so many.
    fn is_near(share: f64, expected: f64, of: usize) -> bool {
        (share - expected).abs() <= 6.0 * (expected * (1.0 - expected) * ratio(1, of)).sqrt()
    }

    #[test]
    fn a_session_moves_only_while_its_own_upstream_is_out() {
        let population = Population::new();
        let upstreams = upstreams(&[3, 2, 1]);
        let start = Instant::now();
        let before = population.places(&upstreams, start);
        for (name, share) in [("u0", 3.0 / 6.0), ("u1", 2.0 / 6.0), ("u2", 1.0 / 6.0)] {
            println!("{name}: {:.2} % of sessions for a weight of {:.2} %", at(&before, name) * 100.0, share * 100.0);
            assert!(is_near(at(&before, name), share, before.len()), "{name} {}", at(&before, name));
        }
        let homes = population.sessions.iter().map(|session| home(&upstreams, *session).unwrap().name.clone());
        assert_eq!(before, homes.collect::<Places>());
        let backwards: Vec<_> = upstreams.iter().rev().cloned().collect();
        assert_eq!(before, population.places(&backwards, start + Duration::from_secs(5)), "neither order nor time");

        for tenant in ["t", "another"] {
            for _ in 0..5 {
                upstreams[1].health.failed(start, tenant);
            }
        }
        let during = population.places(&upstreams, start + Duration::from_secs(1));
        let moved = population.moved("an upstream is evicted", &before, &during);
        assert!((moved - at(&before, "u1")).abs() < f64::EPSILON, "exactly its sessions");
        let (from, to): (Places, Places) = before.iter().cloned().zip(during).filter(|(was, is)| was != is).unzip();
        assert_eq!((at(&from, "u1"), at(&to, "u1")), (1.0, 0.0), "nobody else's, and none stays there");
        assert!(is_near(at(&to, "u0"), 3.0 / 4.0, to.len()), "by the weights of the others: {}", at(&to, "u0"));

        let after = population.places(&upstreams, start + Duration::from_secs(31));
        assert_eq!(population.moved("it is back, compared with before", &before, &after), 0.0);

        upstreams[0].health.cool_down(start + Duration::from_secs(40), Duration::from_secs(10));
        let cooling = population.places(&upstreams, start + Duration::from_secs(41));
        let moved = population.moved("an upstream asks for a pause", &before, &cooling);
        assert!((moved - at(&before, "u0")).abs() < f64::EPSILON);
        assert_eq!(before, population.places(&upstreams, start + Duration::from_secs(51)));
    }

    #[test]
    fn weights_move_the_difference_and_nothing_else() {
        let population = Population::new();
        let now = Instant::now();
        let of = |weights: &[u32]| population.places(&upstreams(weights), now);
        let before = of(&[3, 2, 1]);
        for (what, weights, gains, share) in [
            ("3, 2, 1 become 3, 2, 3", &[3, 2, 3][..], "u2", 3.0 / 8.0 - 1.0 / 6.0),
            ("3, 2, 1 become 3, 2, 1, 2", &[3, 2, 1, 2], "u3", 2.0 / 8.0),
        ] {
            let after = of(weights);
            let moved = population.moved(what, &before, &after);
            assert!(is_near(moved, share, before.len()), "{what}: {moved} and not {share}");
            let others = before.iter().zip(&after).filter(|(was, is)| was != is && *is != gains).count();
            assert_eq!(others, 0, "{what}: sessions moved between upstreams whose weight is as it was");
        }
        // One that is drained gives up its own, and takes them again.
        let drained = of(&[3, 0, 1]);
        let moved = population.moved("3, 2, 1 become 3, 0, 1", &before, &drained);
        assert!((moved - at(&before, "u1")).abs() < f64::EPSILON);
        assert_eq!(population.moved("3, 2, 1 become 300, 200, 100", &before, &of(&[300, 200, 100])), 0.0);
    }

    #[test]
    fn tokens_with_the_same_session_are_independent() {
        let seed = fastrand::u64(..);
        let upstreams = upstreams(&[1, 1, 1]);
        let place = |token: &str, name: &[u8; 32]| {
            home(&upstreams, Session::new(&ObjectId::new("a", token), name)).unwrap().name.clone()
        };
        let mut random = fastrand::Rng::with_seed(seed);
        let names: Vec<[u8; 32]> = (0..SESSIONS).map(|_| std::array::from_fn(|_| random.u8(..))).collect();
        let alike = names.iter().filter(|name| place("one", name) == place("two", name)).count();
        println!("seed {seed}: {alike} of {SESSIONS} sessions at the same upstream for two tokens");
        assert!(is_near(ratio(alike, names.len()), 1.0 / 3.0, names.len()), "as by chance");
    }
}
