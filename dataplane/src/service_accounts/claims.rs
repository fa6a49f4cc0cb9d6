//! What a ServiceAccount token says, and which of it has to hold.

use jsonwebtoken::dangerous;
use routeapi_channel::{ObjectId, service_account::GATEWAY_AUDIENCE};
use serde::Deserialize;

use super::{calling_pod::CallingPod, invalid::InvalidToken};

/// How far the clock of an API server may be ahead. Behind needs nothing: tokens are renewed at four fifths of their time.
const LEEWAY_SECONDS: i64 = 60;

/// The claims of a token as API servers issue them.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    iss: String,
    aud: Audience,
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
    #[serde(default)]
    sub: String,
    #[serde(default, rename = "kubernetes.io")]
    kubernetes: Option<Kubernetes>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

#[derive(Debug, Deserialize)]
struct Kubernetes {
    namespace: String,
    serviceaccount: Named,
    #[serde(default)]
    pod: Option<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

/// When a token is valid, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Validity {
    not_before: i64,
    expires: i64,
}

/// What a token says of itself. Nothing of it is known to be true.
pub(super) fn read(token: &str) -> Result<Claims, InvalidToken> {
    dangerous::insecure_decode_claims(token).map_err(|_| InvalidToken::Malformed)
}

// === impl Claims ===

impl Claims {
    /// Whether this issuer issued it.
    pub(super) fn is_of(&self, issuer: &str) -> bool {
        self.iss == issuer
    }

    /// Whether it is of this issuer, for the gateway, and valid now.
    pub(super) fn check(&self, issuer: &str, now: i64) -> Result<(), InvalidToken> {
        if !self.is_of(issuer) {
            return Err(InvalidToken::OtherIssuer);
        }
        let is_ours = match &self.aud {
            Audience::One(audience) => audience == GATEWAY_AUDIENCE,
            Audience::Several(audiences) => audiences.iter().any(|audience| audience == GATEWAY_AUDIENCE),
        };
        if !is_ours {
            return Err(InvalidToken::OtherAudience);
        }
        self.validity().check(now)
    }

    pub(super) fn validity(&self) -> Validity {
        Validity { not_before: self.nbf.unwrap_or(i64::MIN), expires: self.exp }
    }

    /// Whose it is.
    pub(super) fn pod(self) -> Result<CallingPod, InvalidToken> {
        let Kubernetes { namespace, serviceaccount, pod } = self.kubernetes.ok_or(InvalidToken::NoServiceAccount)?;
        if self.sub != format!("system:serviceaccount:{namespace}:{}", serviceaccount.name) {
            return Err(InvalidToken::NoServiceAccount);
        }
        let pod = pod.ok_or(InvalidToken::NotBound)?.name;
        Ok(CallingPod { account: ObjectId::new(namespace, serviceaccount.name), pod })
    }
}

// === impl Validity ===

impl Validity {
    pub(super) fn check(self, now: i64) -> Result<(), InvalidToken> {
        if now >= self.expires {
            return Err(InvalidToken::Expired(self.expires));
        }
        if now < self.not_before.saturating_sub(LEEWAY_SECONDS) {
            return Err(InvalidToken::NotYetValid(self.not_before));
        }
        Ok(())
    }
}
