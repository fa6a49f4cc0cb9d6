//! Limits in a real Redis: the same decisions as in process, shared by gateways, and what holds while it is lost.

mod figures;
mod lost;
mod oracle;
mod shared;

use std::{sync::Arc, time::Duration};

use routeapi_channel::ObjectId;
use routeapi_dataplane::limits::{
    LimitStore, SharedLimits,
    redis::{Address, Password, RedisSettings, RedisStore, StoreClock},
};
use routeapi_metering::{Actual, Estimate, Limit, Period, Quantity};
use routeapi_tests::{gateway::Setup, redis::Redis, upstream::Upstream};
use rustls::RootCertStore;
use tokio::task::JoinHandle;

use crate::gateway::{Gateway, Manifests, TOKEN};

/// Long enough for a machine that does much else.
const PATIENT: Duration = Duration::from_secs(30);

/// Longer than any test.
const LONG_LEASE: Duration = Duration::from_secs(600);

fn settings(redis: &Redis) -> RedisSettings {
    let address = Address::new(&redis.url(), &Arc::new(RootCertStore::empty()), None).unwrap();
    RedisSettings {
        address: address.with_login(None, Password::None),
        prefix: "test".to_owned(),
        timeout: PATIENT,
        lease: LONG_LEASE,
        clock: StoreClock::Server,
    }
}

/// A store that runs, as in a pod. Stopping it is what a killed pod leaves behind.
struct Pod {
    store: Arc<RedisStore>,
    running: JoinHandle<()>,
}

impl Pod {
    fn start(settings: RedisSettings) -> Self {
        let store = Arc::new(RedisStore::new(settings));
        let running = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.run().await }
        });
        Self { store, running }
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn token() -> ObjectId {
    ObjectId::new("apps", "main")
}

fn limit(name: &str, period: Period, quantity: Quantity) -> Limit {
    Limit { name: name.to_owned(), period, quantity, is_strict: false }
}

fn tokens(tokens: u64) -> Estimate {
    Estimate { tokens, spend: 0, is_single: true }
}

fn used(tokens: u64) -> Option<(i64, Actual)> {
    Some((0, Actual { tokens, spend: 0 }))
}

fn manifests(upstream: &Upstream, limits: &str) -> Manifests {
    Manifests::new().provider("up", "OpenAI", upstream).route("m", &["up"]).token_with(
        "main",
        TOKEN,
        &format!("models: [\"*\"], limits: [{limits}]"),
    )
}

/// A gateway whose requests wait for the store as long as that itself.
fn gateway(manifests: &Manifests, settings: RedisSettings) -> Gateway {
    let timeout = settings.timeout.saturating_mul(2);
    let limit_store = Some(SharedLimits::new(Arc::new(RedisStore::new(settings))).within(timeout));
    Gateway::start_as(manifests, Setup { limit_store, ..Setup::default() })
}
