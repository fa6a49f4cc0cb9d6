//! Who opens a stream: one TokenReview per connection, and one again from time to time while it is open.
//!
//! A data plane shows a ServiceAccount token that was issued for our audience; the API server says whose it is and to
//! which pod it is bound. **The review decides, never a clock of ours**: when a token says that it ends is a hint for when
//! to ask again, no more, because the clocks of operator and API server may be hours apart. While the API server cannot
//! be reached, a token that it confirmed before is still good for as long as such a token lives, so that data planes can
//! come back to a restarted stream; an unknown one is told to try later. Tokens are remembered by hash only.
//!
//! What strangers send costs the API server little: see [`super::reviews`].

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, header::AUTHORIZATION};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::{Api, Client, api::PostParams};
use routeapi_channel::frame::AUDIENCE;
use tokio::time;

use super::{
    ack::PodName,
    reviews::{Reviews, Sighting, digest},
    session::Peer,
};
use crate::settings::Account;

/// How long the API server may take.
const REVIEW: Duration = Duration::from_secs(10);

/// How soon and how late a token of an open stream is reviewed again, whatever it says of its end: a wrong clock of ours
/// must neither make us ask without pause nor keep a stream long after its token.
const SOONEST: Duration = Duration::from_secs(60);
const LATEST: Duration = Duration::from_secs(600);

/// How long a confirmed token is remembered that does not say how long it lives, and at most.
const LIFE: Duration = Duration::from_secs(600);
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Asks the API server who somebody is.
pub struct Authenticator {
    client: Client,
    reviews: Reviews<Caller, Refused>,
    wall: fn() -> SystemTime,
}

/// Somebody whose token the API server confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    user_name: String,
    pod: Option<(String, String)>,
}

/// Why somebody may not come in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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
    /// This address showed too many tokens that were not confirmed.
    #[error("too many invalid tokens from this address; try again later")]
    TooMany,
    /// All places for data planes are taken, or this connection lost its own.
    #[error("too many connections; try again")]
    Full,
    /// The API server cannot be asked.
    #[error("the API server cannot be asked about the token now")]
    Unavailable,
}

/// The API server did not answer, or not with an answer.
struct Unanswered;

// === impl Authenticator ===

impl Authenticator {
    /// Asks through this client, which needs `create` on `tokenreviews`.
    pub fn new(client: Client) -> Self {
        Self { client, reviews: Reviews::default(), wall: SystemTime::now }
    }

    /// Finds out who sent a request from an address, if it is one of these accounts.
    ///
    /// # Errors
    /// When it is not, or cannot be told.
    pub async fn admit(&self, headers: &HeaderMap, from: IpAddr, accounts: &[Account]) -> Result<Caller, Refused> {
        let token = bearer(headers).ok_or(Refused::NoToken)?;
        let hash = digest(token);
        let sighting = self.reviews.sight(&hash, from, time::Instant::now());
        match sighting {
            Sighting::Refused(why) => return Err(why),
            Sighting::TooMany => return Err(Refused::TooMany),
            Sighting::Unknown | Sighting::Confirmed(_) => {}
        }
        let reviewed = match self.review(token).await {
            // Anybody may have a token made for our audience, of an account of their own: that is a stranger's as well.
            Ok(Ok(caller)) if !accounts.iter().any(|account| account.user_name() == caller.user_name) => {
                Err(Refused::NotAllowed(caller.user_name))
            }
            Ok(reviewed) => reviewed.map_err(Refused::Invalid),
            Err(Unanswered) => {
                self.reviews.unanswered(from);
                return match sighting {
                    Sighting::Confirmed(caller) => Ok(caller),
                    _ => Err(Refused::Unavailable),
                };
            }
        };
        match &reviewed {
            Ok(caller) => self.reviews.confirmed(hash, from, caller.clone(), life(token), time::Instant::now()),
            Err(why) => self.reviews.refused(hash, why.clone(), time::Instant::now()),
        }
        reviewed
    }

    /// Completes when the API server no longer confirms a caller's token: it has ended, or its pod is gone. Not while the
    /// API server cannot be asked, because a data plane that came back meanwhile would find the door shut.
    pub async fn ended(&self, headers: &HeaderMap) {
        let Some(token) = bearer(headers) else { return };
        loop {
            time::sleep(again_after(expiry(token), (self.wall)())).await;
            loop {
                match self.review(token).await {
                    Ok(Ok(_)) => break,
                    Ok(Err(_)) => return,
                    Err(Unanswered) => time::sleep(REVIEW).await,
                }
            }
        }
    }

    /// Whose token it is, or why it is nobody's.
    async fn review(&self, token: &str) -> Result<Result<Caller, String>, Unanswered> {
        let review = TokenReview {
            spec: TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![AUDIENCE.to_owned()]) },
            ..TokenReview::default()
        };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let asked = async {
            let _turn = self.reviews.turn().await;
            api.create(&PostParams::default(), &review).await
        };
        match time::timeout(REVIEW, asked).await {
            Ok(Ok(TokenReview { status: Some(status), .. })) => Ok(confirmed(status)),
            _ => Err(Unanswered),
        }
    }
}

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
        Peer { uid, pod: PodName { namespace: namespace.to_owned(), name } }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ").filter(|token| !token.is_empty())
}

fn confirmed(status: TokenReviewStatus) -> Result<Caller, String> {
    let ours = status.audiences.is_some_and(|audiences| audiences.iter().any(|it| it == AUDIENCE));
    if !status.authenticated.unwrap_or_default() || !ours {
        return Err(status.error.unwrap_or_else(|| "not authenticated".to_owned()));
    }
    let user = status.user.unwrap_or_default();
    let extra = user.extra.unwrap_or_default();
    let first = |name: &str| extra.get(name).and_then(|values| values.first()).cloned();
    Ok(Caller { user_name: user.username.unwrap_or_default(), pod: first(POD_NAME).zip(first(POD_UID)) })
}

/// When a token is reviewed again: shortly after it says that it ends, within bounds that hold whatever our clock says.
fn again_after(expires: Option<SystemTime>, now: SystemTime) -> Duration {
    let left = expires.map(|end| end.duration_since(now).unwrap_or_default()).unwrap_or(LATEST);
    (left + Duration::from_secs(1)).clamp(SOONEST, LATEST)
}

/// When a token says that it ends.
fn expiry(token: &str) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(claims(token)?.get("exp")?.as_u64()?))
}

/// For how long a token was issued, by its own words: both times are the API server's.
fn life(token: &str) -> Duration {
    let issued = || {
        let claims = claims(token)?;
        claims.get("exp")?.as_u64()?.checked_sub(claims.get("iat")?.as_u64()?)
    };
    issued().map_or(LIFE, Duration::from_secs).min(LONGEST_LIFE)
}

fn claims(token: &str) -> Option<serde_json::Value> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

#[cfg(test)]
pub(super) mod tests;
