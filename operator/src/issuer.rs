//! Who issues the cluster's ServiceAccount tokens, and with which keys: read from the API server again and again, for data
//! planes to verify the tokens of pods without asking anybody. Every replica reads, because every replica serves.
//!
//! While keys are rotated, API servers behind one address may disagree. So a key counts for [`KEY_GRACE`] after it was last
//! listed, and what has changed is read again soon. What cannot be read changes nothing.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use http::Request;
use kube::Client;
use routeapi_channel::{ServiceAccountIssuer, VerificationKey};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{
    sync::watch,
    time::{self, MissedTickBehavior},
};
use tracing::{info, warn};

/// OpenID Connect discovery; only its issuer is used. The address of keys in it may be outside the cluster.
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// The public keys, at the API server itself.
const KEYS: &str = "/openid/v1/jwks";

/// How often they are read: two small requests. A new signing key is used from its first second, so this is how long its
/// tokens may be refused where it was not published ahead.
const INTERVAL: Duration = Duration::from_secs(10);

/// How often they are read for [`CHANGING`] after a change, and after a failure.
const SOON: Duration = Duration::from_secs(2);

/// How long after a change another one is likely: API servers are restarted one after the other.
const CHANGING: Duration = Duration::from_secs(60);

/// How long a key counts that is no longer listed.
const KEY_GRACE: Duration = Duration::from_secs(120);

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What a failure may mean.
const RIGHTS: &str = "The operator needs the rights of the ClusterRole system:service-account-issuer-discovery";

/// Most keys that are taken, and the longest member of one: that of an RSA key with 16,384 bits has 2,731 characters.
const MAX_KEYS: usize = 64;
const MAX_MEMBER: usize = 4 << 10;

/// The issuer, once it is known.
#[derive(Default)]
pub struct Issuer(watch::Sender<Option<Arc<ServiceAccountIssuer>>>);

/// What was listed, and when last.
#[derive(Debug, Default)]
struct Listed {
    issuer: String,
    keys: BTreeMap<VerificationKey, Instant>,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<VerificationKey>,
}

/// Why the issuer is not known.
#[derive(Debug, thiserror::Error)]
enum IssuerError {
    #[error("GET {0}: {1}")]
    Request(&'static str, Box<kube::Error>),
    #[error("GET {path}: no answer within {} s", TIMEOUT.as_secs())]
    TimedOut { path: &'static str },
    #[error("GET {KEYS}: no usable key is listed")]
    NoKeys,
}

// === impl Issuer ===

impl Issuer {
    /// The issuer, and every later change; none until it could be read.
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<ServiceAccountIssuer>>> {
        self.0.subscribe()
    }

    /// Reads until aborted.
    pub async fn follow(self: Arc<Self>, client: Client) {
        let mut ticks = time::interval(SOON);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut listed = Listed::default();
        let (mut read_at, mut changed_at, mut last_failure) = (None, None, None);
        loop {
            let now = ticks.tick().await.into_std();
            let is_within = |at: Option<Instant>, time| at.is_some_and(|at| now.saturating_duration_since(at) < time);
            if is_within(read_at, INTERVAL) && !is_within(changed_at, CHANGING) {
                continue;
            }
            match read(&client).await {
                Ok((issuer, keys)) => {
                    (read_at, last_failure) = (Some(now), None);
                    if self.set(listed.observe(issuer, keys, now)) {
                        changed_at = Some(now);
                    }
                }
                Err(error) => {
                    read_at = None; // the next tick tries again
                    let reason = error.to_string();
                    if last_failure.as_ref() != Some(&reason) {
                        warn!(
                            reason,
                            "cannot read who issues ServiceAccount tokens; data planes keep what they know. {RIGHTS}"
                        );
                    }
                    last_failure = Some(reason);
                }
            }
        }
    }

    /// Sets it; whether that is a change.
    pub fn set(&self, next: ServiceAccountIssuer) -> bool {
        self.0.send_if_modified(|current| {
            let changed = current.as_deref() != Some(&next);
            if changed {
                info!(issuer = next.issuer, keys = next.keys.len(), "the issuer of ServiceAccount tokens has changed");
                *current = Some(Arc::new(next));
            }
            changed
        })
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Issuer")
    }
}

// === impl Listed ===

impl Listed {
    /// Takes in what was listed now; what counts.
    fn observe(&mut self, issuer: String, keys: Vec<VerificationKey>, now: Instant) -> ServiceAccountIssuer {
        if self.issuer != issuer {
            *self = Self { issuer, keys: BTreeMap::new() };
        }
        self.keys.extend(keys.into_iter().map(|key| (key, now)));
        self.keys.retain(|_, last| now.saturating_duration_since(*last) < KEY_GRACE);
        ServiceAccountIssuer { issuer: self.issuer.clone(), keys: self.keys.keys().cloned().collect() }
    }
}

async fn read(client: &Client) -> Result<(String, Vec<VerificationKey>), IssuerError> {
    let Discovery { issuer } = get(client, DISCOVERY).await?;
    let KeySet { keys } = get(client, KEYS).await?;
    let usable: Vec<_> = keys.into_iter().filter(is_usable).take(MAX_KEYS).collect();
    if usable.is_empty() { Err(IssuerError::NoKeys) } else { Ok((issuer, usable)) }
}

async fn get<T: DeserializeOwned>(client: &Client, path: &'static str) -> Result<T, IssuerError> {
    let failed = |error| IssuerError::Request(path, Box::new(error));
    let request = Request::get(path).body(Vec::new()).map_err(|error| failed(kube::Error::HttpError(error)))?;
    let answer = time::timeout(TIMEOUT, client.request(request)).await;
    answer.map_err(|_| IssuerError::TimedOut { path })?.map_err(failed)
}

/// Whether it is a key of a kind that data planes verify with, and no longer than one can be.
fn is_usable(key: &VerificationKey) -> bool {
    let VerificationKey { kid, kty, alg, n, e, crv, x, y } = key;
    let members = [alg, n, e, crv, x, y].into_iter().flatten();
    matches!(kty.as_str(), "RSA" | "EC") && members.chain([kid]).all(|member| member.len() <= MAX_MEMBER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kid: &str) -> VerificationKey {
        serde_json::from_value(serde_json::json!({"kid": kid, "kty": "RSA", "use": "sig", "n": "AQAB", "e": "AQAB"}))
            .unwrap()
    }

    fn kids(issuer: &ServiceAccountIssuer) -> Vec<&str> {
        issuer.keys.iter().map(|key| key.kid.as_str()).collect()
    }

    #[test]
    fn key_that_is_no_longer_listed_counts_for_a_while() {
        let (start, mut listed) = (Instant::now(), Listed::default());
        let mut observe = |keys: &[&str], seconds| {
            let keys = keys.iter().map(|kid| key(kid)).collect();
            listed.observe("https://a".to_owned(), keys, start + Duration::from_secs(seconds))
        };
        assert_eq!(kids(&observe(&["old"], 0)), ["old"]);
        assert_eq!(kids(&observe(&["old", "new"], 10)), ["new", "old"]);
        assert_eq!(kids(&observe(&["new"], 20)), ["new", "old"]);
        assert_eq!(kids(&observe(&["new"], 129)), ["new", "old"]);
        assert_eq!(kids(&observe(&["new"], 130)), ["new"]);
    }

    #[test]
    fn keys_of_another_issuer_do_not_count() {
        let (now, mut listed) = (Instant::now(), Listed::default());
        listed.observe("https://a".to_owned(), vec![key("old")], now);
        let issuer = listed.observe("https://b".to_owned(), vec![key("new")], now);
        assert_eq!((issuer.issuer.as_str(), kids(&issuer)), ("https://b", vec!["new"]));
    }

    #[test]
    fn same_keys_are_no_change() {
        let (issuer, mut listed, now) = (Issuer::default(), Listed::default(), Instant::now());
        let mut changes = issuer.subscribe();
        assert!(issuer.set(listed.observe("https://a".to_owned(), vec![key("1"), key("2")], now)));
        assert!(!issuer.set(listed.observe("https://a".to_owned(), vec![key("2"), key("1")], now)));
        assert!(changes.has_changed().unwrap() && changes.borrow_and_update().is_some());
    }

    #[test]
    fn unusable_keys_are_left_out() {
        assert!(is_usable(&key("a")));
        assert!(!is_usable(&VerificationKey { kty: "OKP".to_owned(), ..key("a") }));
        assert!(!is_usable(&VerificationKey { n: Some("A".repeat(MAX_MEMBER + 1)), ..key("a") }));
    }
}
