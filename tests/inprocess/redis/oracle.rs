//! Random histories: the scripts decide as metering's arithmetic does, to the unit and the millisecond.

use std::sync::Arc;

use routeapi_channel::ObjectId;
use routeapi_dataplane::limits::{LimitStore, Refused, Settlement};
use routeapi_metering::{Actual, Estimate, Limit, Period, Quantity};
use routeapi_tests::{limit_store::MemoryLimitStore, redis::Redis};

use super::{Pod, settings};
use routeapi_dataplane::limits::redis::{RedisSettings, StoreClock};

const HISTORIES: u64 = 60;
const STEPS: usize = 80;

/// Longer than any history, in its own time.
const LEASE: std::time::Duration = std::time::Duration::from_secs(400 * 86_400);

/// Both stores, and what is open in both.
struct History {
    redis: Arc<dyn LimitStore>,
    memory: MemoryLimitStore,
    random: fastrand::Rng,
    token: ObjectId,
    limits: Arc<[Limit]>,
    now: i64,
    lease: u128,
    open: Vec<(u128, Estimate)>,
    last: Option<Settlement>,
    granted: usize,
    refused: usize,
}

#[tokio::test]
async fn scripts_decide_as_the_arithmetic_in_process() {
    let redis = Redis::start(&[]).await.unwrap();
    let pod = Pod::start(RedisSettings { clock: StoreClock::Caller, lease: LEASE, ..settings(&redis) });
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let (mut granted, mut refused) = (0, 0);
    for number in 0..HISTORIES {
        let store = Arc::clone(&pod.store) as Arc<dyn LimitStore>;
        let mut history = History::new(store, seed.wrapping_add(number));
        for _ in 0..STEPS {
            history.step().await;
        }
        (granted, refused) = (granted + history.granted, refused + history.refused);
    }
    println!("{granted} granted, {refused} refused");
    assert!(granted > 200 && refused > 200, "the histories show both");
}

impl History {
    fn new(redis: Arc<dyn LimitStore>, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let limits: Vec<_> = (0..random.usize(1..4)).map(|number| any_limit(&mut random, number)).collect();
        Self {
            redis,
            memory: MemoryLimitStore::default(),
            token: ObjectId::new("apps", format!("t{seed}")),
            limits: limits.into(),
            // Around the end of a February of a leap year, and of other months.
            now: 1_709_164_800_000 + random.i64(0..200 * 86_400_000),
            lease: u128::from(seed) << 64,
            random,
            open: Vec::new(),
            last: None,
            granted: 0,
            refused: 0,
        }
    }

    async fn step(&mut self) {
        match self.random.u8(0..10) {
            0..4 => self.arrive().await,
            4..6 => self.end(true).await,
            6 => self.end(false).await,
            7 => self.say_again().await,
            _ => self.wait(),
        }
    }

    async fn arrive(&mut self) {
        let (tokens, spend) = (self.random.u64(0..60), self.random.u64(0..60));
        let estimate = Estimate { tokens, spend, is_single: self.random.bool() };
        self.lease += 1;
        let (token, lease, now) = (&self.token, self.lease, self.now);
        let theirs = self.redis.reserve(token, lease, &self.limits, now, estimate).await;
        let ours = self.memory.reserve(token, lease, &self.limits, now, estimate).await;
        assert_eq!(theirs, ours, "{:?} at {now} of {token}", self.limits);
        match ours {
            Ok(_) => {
                self.granted += 1;
                self.open.push((lease, estimate));
            }
            Err(Refused::Exceeded(_)) => self.refused += 1,
            Err(lost) => panic!("{lost}"),
        }
    }

    async fn end(&mut self, is_used: bool) {
        if self.open.is_empty() {
            return;
        }
        let (lease, estimate) = self.open.swap_remove(self.random.usize(0..self.open.len()));
        let part = self.random.u64(0..130);
        let actual = Actual { tokens: estimate.tokens * part / 100, spend: estimate.spend * part / 100 };
        let used = is_used.then_some((self.now, actual));
        let settlement = Settlement { lease, limits: Arc::clone(&self.limits), estimate, used };
        self.settle(&settlement).await;
        self.last = Some(settlement);
    }

    async fn say_again(&mut self) {
        if let Some(last) = self.last.clone() {
            self.settle(&last).await;
        }
    }

    async fn settle(&self, settlement: &Settlement) {
        self.redis.settle(&self.token, settlement).await.unwrap();
        self.memory.settle(&self.token, settlement).await.unwrap();
    }

    /// Clocks are set back, too, by less than a period.
    fn wait(&mut self) {
        let longest = [500, 20_000, 1_800_000, 30_000_000, 20 * 86_400_000][self.random.usize(0..5)];
        self.now += self.random.i64(0..longest);
        if self.random.u8(0..8) == 0 {
            self.now -= self.random.i64(0..500);
        }
    }
}

fn any_limit(random: &mut fastrand::Rng, number: usize) -> Limit {
    let periods = [Period::Second, Period::Minute, Period::Hour, Period::Day, Period::Month];
    let quantity = match random.u8(0..3) {
        0 => Quantity::Requests(random.u64(0..9)),
        1 => Quantity::Tokens(random.u64(0..150)),
        _ => Quantity::Spend(random.u64(0..150)),
    };
    let period = periods[random.usize(0..5)];
    Limit { name: format!("l{number}"), period, quantity, is_strict: random.bool() }
}
