//! Who opens a stream: one TokenReview per connection.
//!
//! A data plane shows a ServiceAccount token that was issued for our audience; the API server says whose it is and to
//! which pod it is bound. While the API server cannot be reached, a token that it confirmed before is still good until it
//! ends, so that data planes can come back to a restarted stream; an unknown one is told to try later. Tokens are
//! remembered by hash only.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, header::AUTHORIZATION};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::{Api, Client, api::PostParams};
use routeapi_channel::frame::AUDIENCE;
use sha2::{Digest, Sha256};
use tokio::time;

use super::{ack::PodName, session::Peer};
use crate::settings::Account;

/// How long the API server may take.
const REVIEW: Duration = Duration::from_secs(10);

/// Tokens that are remembered at most.
const REMEMBERED: usize = 4096;

const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Asks the API server who somebody is.
pub struct Authenticator {
    client: Client,
    seen: Mutex<BTreeMap<[u8; 32], Caller>>,
}

/// Somebody whose token the API server confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    user_name: String,
    pod: Option<(String, String)>,
    expires: Option<SystemTime>,
}

/// Why somebody may not come in.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// No bearer token.
    #[error("a ServiceAccount token for the audience {AUDIENCE} is needed")]
    NoToken,
    /// The API server does not confirm it.
    #[error("the token is not valid for the audience {AUDIENCE}: {0}")]
    Invalid(String),
    /// Confirmed, but somebody else's.
    #[error("{0} may not do this")]
    NotAllowed(String),
    /// The API server cannot be asked.
    #[error("the API server cannot be asked about the token now")]
    Unavailable,
}

// === impl Authenticator ===

impl Authenticator {
    /// Asks through this client, which needs `create` on `tokenreviews`.
    pub fn new(client: Client) -> Self {
        Self { client, seen: Mutex::default() }
    }

    /// Finds out who sent a request, if it is one of these accounts.
    ///
    /// # Errors
    /// When it is not, or cannot be told.
    pub async fn admit(&self, headers: &HeaderMap, accounts: &[Account]) -> Result<Caller, Refused> {
        let token = bearer(headers).ok_or(Refused::NoToken)?;
        let caller = match self.review(token).await {
            Ok(caller) => caller?,
            Err(Unanswered) => self.remembered(token).ok_or(Refused::Unavailable)?,
        };
        match accounts.iter().any(|account| account.user_name() == caller.user_name) {
            true => Ok(caller),
            false => Err(Refused::NotAllowed(caller.user_name)),
        }
    }

    /// Completes when a caller's token has ended and the API server can confirm a new one: not before, because a data
    /// plane that came back meanwhile would find the door shut.
    pub async fn ended(&self, caller: &Caller, headers: &HeaderMap) {
        let (Some(expires), Some(token)) = (caller.expires, bearer(headers)) else {
            return std::future::pending().await;
        };
        let left = expires.duration_since(SystemTime::now()).unwrap_or_default();
        time::sleep(left).await;
        while let Err(Unanswered) = self.review(token).await {
            time::sleep(REVIEW).await;
        }
    }

    async fn review(&self, token: &str) -> Result<Result<Caller, Refused>, Unanswered> {
        let review = TokenReview {
            spec: TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![AUDIENCE.to_owned()]) },
            ..TokenReview::default()
        };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let answer = time::timeout(REVIEW, api.create(&PostParams::default(), &review)).await;
        let Ok(Ok(TokenReview { status: Some(status), .. })) = answer else { return Err(Unanswered) };
        let caller = confirmed(status, expiry(token));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match &caller {
            Ok(caller) => {
                let now = SystemTime::now();
                seen.retain(|_, held| held.expires.is_some_and(|end| end > now));
                if seen.len() < REMEMBERED {
                    seen.insert(Sha256::digest(token).into(), caller.clone());
                }
            }
            Err(_) => drop(seen.remove(&<[u8; 32]>::from(Sha256::digest(token)))),
        }
        Ok(caller)
    }

    fn remembered(&self, token: &str) -> Option<Caller> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let caller = seen.get(&<[u8; 32]>::from(Sha256::digest(token)))?;
        caller.expires.filter(|end| *end > SystemTime::now()).map(|_| caller.clone())
    }
}

/// The API server did not answer, or not with an answer.
struct Unanswered;

// === impl Caller ===

impl Caller {
    /// The pod that the token is bound to. A token that is bound to none stands for its account and one instance of it.
    pub fn peer(&self, instance: &str) -> Peer {
        let account = self.user_name.strip_prefix("system:serviceaccount:").unwrap_or(&self.user_name);
        let (namespace, account) = account.split_once(':').unwrap_or(("", account));
        let (name, uid) = self.pod.clone().unwrap_or_else(|| {
            let name = format!("{account}/{instance}");
            (name.clone(), format!("{namespace}/{name}"))
        });
        Peer { uid, pod: PodName { namespace: namespace.to_owned(), name }, expires: self.expires }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ").filter(|token| !token.is_empty())
}

fn confirmed(status: TokenReviewStatus, expires: Option<SystemTime>) -> Result<Caller, Refused> {
    let ours = status.audiences.is_some_and(|audiences| audiences.iter().any(|it| it == AUDIENCE));
    if !status.authenticated.unwrap_or_default() || !ours {
        return Err(Refused::Invalid(status.error.unwrap_or_else(|| "not authenticated".to_owned())));
    }
    let user = status.user.unwrap_or_default();
    let extra = user.extra.unwrap_or_default();
    let first = |name: &str| extra.get(name).and_then(|values| values.first()).cloned();
    Ok(Caller { user_name: user.username.unwrap_or_default(), pod: first(POD_NAME).zip(first(POD_UID)), expires })
}

/// When a token says that it ends. It is believed only of tokens that the API server confirmed.
fn expiry(token: &str) -> Option<SystemTime> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    let seconds = claims.get("exp")?.as_u64()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(value: serde_json::Value) -> TokenReviewStatus {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_confirmed_token_names_account_and_pod() {
        let caller = confirmed(
            status(json!({
                "authenticated": true, "audiences": [AUDIENCE],
                "user": {"username": "system:serviceaccount:ai:gateway",
                    "extra": {POD_NAME: ["gw-1"], POD_UID: ["u-1"]}}})),
            None,
        )
        .unwrap();
        let peer = caller.peer("boot");
        assert_eq!((peer.uid.as_str(), peer.pod.namespace.as_str(), peer.pod.name.as_str()), ("u-1", "ai", "gw-1"));
    }

    #[test]
    fn a_token_for_another_audience_or_of_nobody_is_refused() {
        let elsewhere = json!({"authenticated": true, "audiences": ["vault"], "user": {"username": "x"}});
        assert!(matches!(confirmed(status(elsewhere), None), Err(Refused::Invalid(_))));
        let nobody = json!({"error": "token expired"});
        let Err(Refused::Invalid(why)) = confirmed(status(nobody), None) else { panic!("must be refused") };
        assert_eq!(why, "token expired");
    }

    #[test]
    fn a_token_says_when_it_ends() {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"exp":1700000000}"#);
        let end = expiry(&format!("h.{payload}.s")).unwrap();
        assert_eq!(end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(), 1_700_000_000);
        assert!(expiry("opaque").is_none());
    }
}
