//! Authenticates callers: one TokenReview per connection, repeated from time to time while it is open.
//!
//! A data plane presents a ServiceAccount token that was issued for our audience; the API server says whose it is and to which
//! pod it is bound. **The review decides, never our own clock**: the expiry in a token is only a hint when to review it again,
//! because the clocks of operator and API server may be hours apart. While the API server is unreachable, a token that it has
//! confirmed before stays valid for the lifetime of such a token, so that data planes can reconnect; an unknown one is
//! rejected until later. Tokens are stored by hash only.
//!
//! Invalid tokens cost the API server little: see [`super::review_cache`].

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, header::AUTHORIZATION};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::{Api, Client, api::PostParams};
use routeapi_channel::frame::AUDIENCE;
use tokio::time;

use super::{
    pod_name::PodName,
    review_cache::{Lookup, ReviewCache, digest},
    session::Peer,
};
use crate::{service_account::claims, settings::Account};

/// How long the API server may take for a review, and the wait after a failed one. A review takes milliseconds; a longer
/// wait means that the API server is unavailable.
const REVIEW_TIMEOUT: Duration = Duration::from_secs(10);

/// The interval between reviews of an open stream's token, whatever expiry it has: a wrong clock must neither cause a review per
/// second nor keep a stream open long after its token.
const MIN_REVIEW_INTERVAL: Duration = Duration::from_secs(60);
const MAX_REVIEW_INTERVAL: Duration = Duration::from_secs(600);

/// How long a confirmed token is cached: without an expiry as long as the shortest lifetime that Kubernetes issues, else
/// until it expires, but at most a day.
const DEFAULT_TOKEN_LIFETIME: Duration = Duration::from_secs(600);
const MAX_TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 3600);

const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Authenticates callers with TokenReviews.
pub struct Authenticator {
    client: Client,
    cache: ReviewCache<Caller, AuthError>,
    wall_clock: fn() -> SystemTime,
}

/// A caller whose token the API server has confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    user_name: String,
    pod: Option<(String, String)>,
}

/// Why a caller is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No bearer token.
    #[error("missing bearer token: a ServiceAccount token for the audience {AUDIENCE} is required")]
    NoToken,
    /// The API server does not confirm the token; its error.
    #[error("the token is not valid for the audience {AUDIENCE}: {0}")]
    Invalid(String),
    /// The token is valid, but for another user.
    #[error("{0} is not allowed to do this")]
    Forbidden(String),
    /// This address has presented too many invalid tokens.
    #[error("too many invalid tokens from this address; try again later")]
    RateLimited,
    /// There are too many authenticated connections, or this one was evicted.
    #[error("too many connections; try again later")]
    TooManyConnections,
    /// The API server is unreachable.
    #[error("cannot verify the token: the API server is unavailable")]
    Unavailable,
}

/// The API server did not respond, or not with a result.
struct ReviewUnavailable;

// === impl Authenticator ===

impl Authenticator {
    /// An authenticator with this client, which needs `create` on `tokenreviews`.
    pub fn new(client: Client) -> Self {
        Self { client, cache: ReviewCache::default(), wall_clock: SystemTime::now }
    }

    /// The sender of a request from an address, if it is one of these accounts.
    ///
    /// # Errors
    /// When it is not, or when that cannot be determined.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        from: IpAddr,
        accounts: &[Account],
    ) -> Result<Caller, AuthError> {
        let token = bearer(headers).ok_or(AuthError::NoToken)?;
        let hash = digest(token);
        let lookup = self.cache.lookup(&hash, from, time::Instant::now());
        match lookup {
            Lookup::Denied(why) => return Err(why),
            Lookup::RateLimited => return Err(AuthError::RateLimited),
            Lookup::NotCached | Lookup::Confirmed(_) => {}
        }
        let reviewed = match self.review(token).await {
            // Any tenant can get a token for our audience for an account of its own.
            Ok(Ok(caller)) if !accounts.iter().any(|account| account.user_name() == caller.user_name) => {
                Err(AuthError::Forbidden(caller.user_name))
            }
            Ok(reviewed) => reviewed.map_err(AuthError::Invalid),
            Err(ReviewUnavailable) => {
                self.cache.unavailable(from);
                return match lookup {
                    Lookup::Confirmed(caller) => Ok(caller),
                    _ => Err(AuthError::Unavailable),
                };
            }
        };
        match &reviewed {
            Ok(caller) => self.cache.confirmed(hash, from, caller.clone(), lifetime(token), time::Instant::now()),
            Err(why) => self.cache.denied(hash, why.clone(), time::Instant::now()),
        }
        reviewed
    }

    /// Completes when the API server no longer confirms a caller's token: it has expired, or its pod was deleted. Not while the API
    /// server is unreachable, because the data plane could not reconnect then.
    pub async fn until_revoked(&self, headers: &HeaderMap) {
        let Some(token) = bearer(headers) else { return };
        loop {
            time::sleep(next_review(expiry(token), (self.wall_clock)())).await;
            loop {
                match self.review(token).await {
                    Ok(Ok(_)) => break,
                    Ok(Err(_)) => return,
                    Err(ReviewUnavailable) => time::sleep(REVIEW_TIMEOUT).await,
                }
            }
        }
    }

    /// The owner of a token, or why it is invalid.
    async fn review(&self, token: &str) -> Result<Result<Caller, String>, ReviewUnavailable> {
        let review = TokenReview {
            spec: TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![AUDIENCE.to_owned()]) },
            ..TokenReview::default()
        };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let asked = async {
            let _turn = self.cache.acquire().await;
            api.create(&PostParams::default(), &review).await
        };
        match time::timeout(REVIEW_TIMEOUT, asked).await {
            Ok(Ok(TokenReview { status: Some(status), .. })) => Ok(caller_of(status)),
            _ => Err(ReviewUnavailable),
        }
    }
}

// === impl Caller ===

impl Caller {
    /// The pod that the token is bound to. An unbound token identifies its account and one instance of it.
    pub fn peer(&self, instance: &str) -> Peer {
        let account = self.user_name.strip_prefix("system:serviceaccount:").unwrap_or(&self.user_name);
        let (namespace, account) = account.split_once(':').unwrap_or(("", account));
        let (name, uid) = self.pod.clone().unwrap_or_else(|| {
            let name = format!("{account}/{instance}");
            (name.clone(), format!("{namespace}/{name}"))
        });
        Peer { uid, pod: PodName { namespace: namespace.to_owned(), name } }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ").filter(|token| !token.is_empty())
}

fn caller_of(status: TokenReviewStatus) -> Result<Caller, String> {
    let ours = status.audiences.is_some_and(|audiences| audiences.iter().any(|audience| audience == AUDIENCE));
    if !status.authenticated.unwrap_or_default() || !ours {
        return Err(status.error.unwrap_or_else(|| "not authenticated".to_owned()));
    }
    let user = status.user.unwrap_or_default();
    let extra = user.extra.unwrap_or_default();
    let first = |name: &str| extra.get(name).and_then(|values| values.first()).cloned();
    Ok(Caller { user_name: user.username.unwrap_or_default(), pod: first(POD_NAME).zip(first(POD_UID)) })
}

/// When to review a token again: shortly after its expiry, but within limits that do not depend on our clock.
fn next_review(expires: Option<SystemTime>, now: SystemTime) -> Duration {
    let left = expires.map(|end| end.duration_since(now).unwrap_or_default()).unwrap_or(MAX_REVIEW_INTERVAL);
    (left + Duration::from_secs(1)).clamp(MIN_REVIEW_INTERVAL, MAX_REVIEW_INTERVAL)
}

/// The expiry in a token.
fn expiry(token: &str) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(claims(token)?.get("exp")?.as_u64()?))
}

/// The lifetime of a token, from its own claims: both times are from the API server's clock.
fn lifetime(token: &str) -> Duration {
    let issued = || {
        let claims = claims(token)?;
        claims.get("exp")?.as_u64()?.checked_sub(claims.get("iat")?.as_u64()?)
    };
    issued().map_or(DEFAULT_TOKEN_LIFETIME, Duration::from_secs).min(MAX_TOKEN_LIFETIME)
}

#[cfg(test)]
pub(super) mod tests;
