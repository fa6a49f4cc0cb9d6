//! Pods that call with a ServiceAccount token: verified here, without asking anybody, with what the operator says of the
//! cluster's issuer.
//!
//! Decides whether a token is genuine and valid now, and whose it is. Which ApiToken that ServiceAccount calls with, if any,
//! is the configuration's business ([`crate::config::runtime::Runtime::service_account`]).
//!
//! A signature is checked once per token: what was verified is kept by the token's SHA-256 until it expires or the issuer's
//! keys change. Times are checked each time. That a pod was deleted is not known here: its token counts until it expires.

mod calling_pod;
mod claims;
mod invalid;
mod keys;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwapOption;
use routeapi_channel::ServiceAccountIssuer;

pub use calling_pod::CallingPod;
pub use invalid::InvalidToken;

use self::{
    claims::{Claims, Validity},
    keys::Keys,
};
use crate::clock::Now;

/// Longest token that is looked at. With the longest possible names and an RSA key of 4,096 bits one has about 3,000 bytes.
const MAX_LENGTH: usize = 8 << 10;

/// Verified tokens that are kept, about 300 bytes each. Of each pod there are two at a time at most.
const MAX_VERIFIED: usize = 16_384;

/// What every JWT begins with: `{"` in base64url.
const PREFIX: &str = "eyJ";

/// SHA-256 of a token.
type Digest = [u8; 32];

/// Verifies the tokens of the cluster's ServiceAccounts.
#[derive(Debug, Default)]
pub struct ServiceAccounts {
    issuer: ArcSwapOption<Issuer>,
}

#[derive(Debug)]
struct Issuer {
    told: ServiceAccountIssuer,
    keys: Keys,
    verified: Mutex<HashMap<Digest, (Validity, Arc<CallingPod>)>>,
}

/// Whether a presented value is meant as a ServiceAccount token, whole or not.
pub fn is_like_one(value: &str) -> bool {
    value.starts_with(PREFIX) && value.contains('.')
}

// === impl ServiceAccounts ===

impl ServiceAccounts {
    /// Goes by this issuer from now on; whether that is a change. Keys that cannot be used are skipped with a warning.
    pub fn set(&self, told: ServiceAccountIssuer) -> bool {
        if self.issuer.load().as_ref().is_some_and(|current| current.told == told) {
            return false;
        }
        let (keys, skipped) = Keys::of(&told.keys);
        for (kid, why) in skipped {
            tracing::warn!(kid, why, "skipping a key of the cluster's ServiceAccount tokens");
        }
        tracing::info!(issuer = told.issuer, keys = keys.len(), "ServiceAccount tokens are verified");
        self.issuer.store(Some(Arc::new(Issuer { told, keys, verified: Mutex::default() })));
        true
    }

    /// What it goes by; none where nobody has told.
    pub fn issuer(&self) -> Option<ServiceAccountIssuer> {
        self.issuer.load().as_ref().map(|issuer| issuer.told.clone())
    }

    /// Whether a presented value says that this cluster issued it, valid or not. It is not for others to see then.
    pub fn is_of_cluster(&self, token: &str) -> bool {
        let issuer = self.issuer.load();
        let is_of = |issuer: &Arc<Issuer>| claims::read(token).is_ok_and(|claims| claims.is_of(&issuer.told.issuer));
        token.len() <= MAX_LENGTH && is_like_one(token) && issuer.as_ref().is_some_and(is_of)
    }

    /// Whose token it is. `digest` is its SHA-256.
    ///
    /// # Errors
    /// When it is not a token that the cluster issued to a pod for the gateway, or is not valid now.
    pub fn verify(&self, token: &str, digest: &Digest, now: Now) -> Result<Arc<CallingPod>, InvalidToken> {
        let issuer = self.issuer.load();
        let issuer = issuer.as_ref().ok_or(InvalidToken::IssuerUnknown)?;
        if let Some((validity, pod)) = issuer.lock().get(digest) {
            validity.check(now.unix_seconds())?;
            return Ok(Arc::clone(pod));
        }
        let (validity, pod) = issuer.verify(token, now.unix_seconds())?;
        let pod = Arc::new(pod);
        issuer.keep(*digest, (validity, Arc::clone(&pod)), now.unix_seconds());
        Ok(pod)
    }
}

// === impl Issuer ===

impl Issuer {
    /// Reads what the token says of itself first: the reason that it gives is clearer than a signature that does not match,
    /// and costs less.
    fn verify(&self, token: &str, now: i64) -> Result<(Validity, CallingPod), InvalidToken> {
        if token.len() > MAX_LENGTH {
            return Err(InvalidToken::TooLong(MAX_LENGTH));
        }
        let key = self.keys.of_token(token);
        let unverified = claims::read(token)?;
        unverified.check(&self.told.issuer, now)?;
        let claims: Claims = key?.verify(token)?;
        claims.check(&self.told.issuer, now)?;
        Ok((claims.validity(), claims.pod()?))
    }

    fn keep(&self, digest: Digest, verified: (Validity, Arc<CallingPod>), now: i64) {
        let mut kept = self.lock();
        if kept.len() >= MAX_VERIFIED {
            kept.retain(|_, (validity, _)| validity.check(now).is_ok());
            if kept.len() >= MAX_VERIFIED {
                kept.clear();
            }
        }
        kept.insert(digest, verified);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, (Validity, Arc<CallingPod>)>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
