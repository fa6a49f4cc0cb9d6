//! Why a ServiceAccount token is refused, in words for whoever runs the pod. Nothing that a token says is repeated: it may
//! not be true.

use routeapi_channel::service_account::GATEWAY_AUDIENCE;

use crate::moment::Moment;

/// Why a ServiceAccount token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// Nobody has said who issues them.
    #[error("the gateway does not know yet who issues this cluster's ServiceAccount tokens; try again in a moment")]
    IssuerUnknown,
    /// Longer than any.
    #[error("the ServiceAccount token is longer than {0} bytes")]
    TooLong(usize),
    /// Not three parts of base64url with JSON in two of them, or not signed in a way that clusters use.
    #[error("the ServiceAccount token is truncated or damaged, or is not signed with RS256, ES256 or ES384")]
    Malformed,
    /// Of another cluster, or of something else.
    #[error("the token was not issued by this cluster: its issuer is another one")]
    OtherIssuer,
    /// For someone else.
    #[error("the ServiceAccount token is not meant for this gateway: project one with the audience {GATEWAY_AUDIENCE}")]
    OtherAudience,
    /// Its time is over.
    #[error("the ServiceAccount token expired at {}; read it again from its file, which the kubelet renews", Moment(*.0))]
    Expired(i64),
    /// Its time has not come.
    #[error("the ServiceAccount token is not valid before {}; check the clocks", Moment(*.0))]
    NotYetValid(i64),
    /// Signed with none of the cluster's keys.
    #[error("the ServiceAccount token is signed with a key that this cluster does not list")]
    UnknownKey,
    /// Altered.
    #[error("the signature of the ServiceAccount token does not match: it was changed, or issued by another cluster")]
    BadSignature,
    /// Issued for an account and no pod.
    #[error("the ServiceAccount token is not bound to a pod: use a projected volume of the pod")]
    NotBound,
    /// Not of a ServiceAccount.
    #[error("the token is not one of a ServiceAccount")]
    NoServiceAccount,
}

// === impl InvalidToken ===

impl InvalidToken {
    /// Its code in records and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::IssuerUnknown => "service_account_issuer_unknown",
            Self::TooLong(_) | Self::Malformed => "service_account_token_malformed",
            Self::OtherIssuer => "service_account_token_issuer",
            Self::OtherAudience => "service_account_token_audience",
            Self::Expired(_) => "service_account_token_expired",
            Self::NotYetValid(_) => "service_account_token_not_yet_valid",
            Self::UnknownKey => "service_account_token_key",
            Self::BadSignature => "service_account_token_signature",
            Self::NotBound => "service_account_token_not_bound",
            Self::NoServiceAccount => "service_account_token_account",
        }
    }
}
