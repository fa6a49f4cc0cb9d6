use routeapi_channel::{ObjectId, Snapshot};
use routeapi_metering::{Actual, Estimate};
use serde_json::{Value, json};

use super::*;
use crate::{config::store::Link, limits::Account, upstream::AddressPolicy};

struct Installed {
    installer: Installer,
    state: Value,
}

impl Installed {
    /// A provider with a key, a route, and a token that may use 100 tokens a minute.
    fn new() -> Self {
        let store = Arc::new(Store::new(Runtime::default(), Link::Local));
        let shared = Arc::new(SharedState::new(AddressPolicy::Workstation));
        let state = json!({
            "providers": {"a/p": {
                "type": "OpenAI", "baseUrl": "http://127.0.0.1:1/v1", "endpoints": ["ChatCompletions"],
                "credential": {"apiKey": "k"}, "eviction": {"consecutiveFailures": 5, "duration": "30s"},
            }},
            "routes": {"a/r": {
                "models": ["m"], "listed": true, "created": 0, "allowedNamespaces": {"only": ["a"]},
                "translation": "Default",
                "upstreams": [{"name": "u", "provider": "a/p", "priority": 0, "weight": 1, "timeouts":
                    {"connect": "1s", "firstContent": "1s", "streamIdle": "1s", "request": "1s"}}],
                "fallback": {"conditions": [], "maxAttempts": 1, "maxRetryAfter": "2s"},
            }},
            "tokens": {"a/t": {
                "keys": [{"id": "k", "sha256": "00".repeat(32)}], "models": ["*"],
                "limits": [{"name": "volume", "per": "Minute", "quantity": {"tokens": 100}}],
            }},
        });
        let installed = Self { installer: Installer::new(store, shared), state };
        assert_eq!(installed.install(&installed.state), [""; 0]);
        installed
    }

    /// Puts a state in force; what was refused.
    fn install(&self, state: &Value) -> Vec<String> {
        let snapshot: Snapshot = serde_json::from_value(state.clone()).unwrap();
        let catalog = Catalog::of(&snapshot).unwrap();
        let refused = self.installer.install(&catalog, &catalog.revision(), Origin::Operator);
        refused.iter().map(|one| format!("{} {}", one.key.kind, one.key.id)).collect()
    }

    fn account(&self) -> Arc<Account> {
        Arc::clone(&self.installer.store().current().token(&[0; 32]).unwrap().account)
    }

    /// Cap and what is left of the only limit at this time.
    fn volume(&self, now: i64) -> (u64, u64) {
        let remaining = self.account().remaining(now);
        let [only] = remaining.as_slice() else { panic!("{remaining:?}") };
        (only.cap, only.left)
    }

    async fn uses(&self, now: i64, tokens: u64) {
        let reservation = self.account().reserve(now, Estimate { tokens, ..Estimate::default() }).await.unwrap();
        reservation.settle(now, Actual { tokens, spend: 0 });
    }
}

#[tokio::test]
async fn refused_token_does_not_change_its_counts() {
    let installed = Installed::new();
    installed.uses(0, 60).await;
    let mut broken = installed.state.clone();
    broken["tokens"]["a/t"] = json!({"keys": [{"id": "k", "sha256": "zz"}], "models": ["*"]});
    assert_eq!(installed.install(&broken), ["token a/t"]);
    assert_eq!(installed.volume(60_999), (100, 40));
    // The counts were never those of a token without this limit, which are kept by the minute.
    assert_eq!(installed.volume(61_000), (100, 100));
}

#[test]
fn refused_provider_keeps_its_key_rejection_and_cap() {
    let installed = Installed::new();
    let (id, runtime) = (ObjectId::new("a", "p"), installed.installer.store().current());
    let key = runtime.route("a", "m").unwrap().upstreams[0].provider.key.unwrap();
    assert!(installed.installer.rejected_keys().rejected(&id, key, 401, 10));
    let mut broken = installed.state.clone();
    broken["providers"]["a/p"]["baseUrl"] = "ftp://127.0.0.1".into();
    broken["providers"]["a/p"]["maxConcurrentRequests"] = 1.into();
    assert_eq!(installed.install(&broken), ["provider a/p"]);
    assert_eq!(installed.installer.rejected_keys().list().keys().collect::<Vec<_>>(), [&id]);
    let concurrency =
        Arc::clone(&installed.installer.store().current().route("a", "m").unwrap().upstreams[0].provider.concurrency);
    assert!(
        concurrency.try_acquire().and_then(|first| Some((first, concurrency.try_acquire()?))).is_some(),
        "nor is its cap taken over"
    );
}

#[tokio::test]
async fn changed_share_keeps_counts() {
    let installed = Installed::new();
    installed.uses(0, 30).await;
    installed.installer.share(Share { of: 2, rank: 1 });
    assert_eq!(installed.volume(0), (50, 20));
}

#[tokio::test]
async fn compiled_configuration_that_is_not_installed_changes_nothing() {
    let installed = Installed::new();
    installed.uses(0, 60).await;
    let key = || {
        let runtime = installed.installer.store().current();
        runtime.route("a", "m").unwrap().upstreams[0].client.credentials().unwrap().current()
    };
    let (before, shared) = (key(), &installed.installer.state);
    let mut next = installed.state.clone();
    next["tokens"]["a/t"]["limits"] = json!([{"name": "other", "per": "Minute", "quantity": {"tokens": 1}}]);
    next["providers"]["a/p"]["credential"] = json!({"apiKey": "new"});
    next["providers"]["a/q"] = next["providers"]["a/p"].clone();
    next["routes"]["a/q"] = next["routes"]["a/r"].clone();
    let shown = format!("{shared:?}");
    let snapshot: Snapshot = serde_json::from_value(next.clone()).unwrap();
    let revision = Catalog::of(&snapshot).unwrap().revision();
    let (_, changes, refused) = compile::compile(&snapshot, &revision, shared.view(), Share::default());
    assert_eq!(refused, []);
    drop(changes);
    assert_eq!(format!("{shared:?}"), shown);
    assert_eq!((installed.volume(0), key()), ((100, 40), before));
    assert_eq!(installed.install(&next), [""; 0]);
    assert_ne!(format!("{shared:?}"), shown);
    assert_eq!(installed.volume(0), (1, 0));
}
