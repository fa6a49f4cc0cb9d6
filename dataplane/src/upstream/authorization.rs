//! What proves to an upstream that we may call it, put on a request that is finished otherwise.
//!
//! Pure: who has a request in its hands calls [`Authorization::apply`] with everything that a proof may be about (method,
//! URL with its query, the final headers, the body or that it streams, the time). Where the proof comes from and how it is
//! kept fresh is [`super::credentials`]'s business.

use http::{HeaderName, HeaderValue, header::AUTHORIZATION, request::Parts};
use routeapi_channel::Secret;
use routeapi_protocol::dialect::Family;

use super::{
    aws_signer::AwsSigner,
    client_credential::ClientCredential,
    payload::{Payload, Stale},
};
use crate::clock::Now;

/// How requests to one upstream account prove that we may make them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Authorization {
    /// Not at all: the upstream asks for nothing.
    #[default]
    None,
    /// It has to be fetched, and the first has not come yet.
    Pending,
    /// It has to be fetched, which has failed so far.
    Unavailable,
    /// By what the caller sends.
    FromClient,
    /// By a header, whatever the request is about.
    Header {
        /// Its name.
        name: HeaderName,
        /// Its value, marked as sensitive.
        value: HeaderValue,
        /// Milliseconds since 1970 from which on the upstream does not take it any more; none if it knows no end.
        expires: Option<i64>,
    },
    /// By a signature of AWS about all of the request.
    Aws {
        /// What signs.
        signer: AwsSigner,
        /// Milliseconds since 1970 from which on its keys do not hold any more; none if they have no end.
        expires: Option<i64>,
    },
}

/// The key holds characters that no HTTP header may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the API key holds characters that an HTTP header cannot carry (a line break, perhaps)")]
pub struct InvalidKey;

impl Authorization {
    /// An API key in the header that the family expects.
    ///
    /// # Errors
    /// When the key cannot be a header value.
    pub fn api_key(family: Family, key: &Secret) -> Result<Self, InvalidKey> {
        match family {
            Family::OpenAi | Family::Bedrock => Self::fixed(AUTHORIZATION, &format!("Bearer {}", key.expose())),
            Family::Anthropic => Self::fixed(HeaderName::from_static("x-api-key"), key.expose()),
            Family::Gemini => Self::fixed(HeaderName::from_static("x-goog-api-key"), key.expose()),
        }
    }

    /// A header of the owner's choice.
    ///
    /// # Errors
    /// When name or value cannot be a header's.
    pub fn header(name: &str, value: &Secret) -> Result<Self, InvalidKey> {
        Self::fixed(HeaderName::try_from(name).map_err(|_| InvalidKey)?, value.expose())
    }

    fn fixed(name: HeaderName, value: &str) -> Result<Self, InvalidKey> {
        let mut value = HeaderValue::try_from(value).map_err(|_| InvalidKey)?;
        value.set_sensitive(true);
        Ok(Self::Header { name, value, expires: None })
    }

    /// Puts the proof on a request. Nothing of the request may change afterwards: a proof may be about all of it. `client` is
    /// the caller's own.
    ///
    /// # Errors
    /// When there is none that holds now.
    pub fn apply(
        &self,
        request: &mut Parts,
        body: Payload<'_>,
        client: Option<&ClientCredential>,
        now: Now,
    ) -> Result<(), Stale> {
        match self {
            Self::None => Ok(()),
            Self::Pending | Self::Unavailable => Err(Stale),
            Self::FromClient => client.map(|client| client.apply(&mut request.headers)).ok_or(Stale),
            Self::Header { expires: Some(end), .. } | Self::Aws { expires: Some(end), .. } if *end <= now.unix_ms => {
                Err(Stale)
            }
            Self::Aws { signer, expires: _ } => signer.sign(request, body, now),
            Self::Header { name, value, expires: _ } => {
                request.headers.insert(name.clone(), value.clone());
                Ok(())
            }
        }
    }

    /// When it ends, in milliseconds since 1970; none if it has no end.
    pub const fn expires(&self) -> Option<i64> {
        match self {
            Self::None | Self::Pending | Self::Unavailable | Self::FromClient => None,
            Self::Header { expires, .. } | Self::Aws { expires, .. } => *expires,
        }
    }

    /// The header that it sets, for `explain`; none if it sets none, or those that the caller sends.
    pub fn header_name(&self) -> Option<&HeaderName> {
        match self {
            Self::None | Self::FromClient => None,
            // All that is fetched goes there.
            Self::Pending | Self::Unavailable | Self::Aws { .. } => Some(&AUTHORIZATION),
            Self::Header { name, .. } => Some(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::clock;

    fn applied(authorization: &Authorization, now: Now) -> Result<Parts, Stale> {
        let (mut parts, ()) = Request::post("https://up.example/v1/x?a=b").body(()).unwrap().into_parts();
        authorization.apply(&mut parts, Payload::Whole([b"{}", &[], &[]]), None, now)?;
        Ok(parts)
    }

    #[test]
    fn key_uses_the_family_header_and_is_not_in_debug_output() {
        for (family, header, value) in [
            (Family::OpenAi, "authorization", "Bearer canary-key"),
            (Family::Anthropic, "x-api-key", "canary-key"),
            (Family::Gemini, "x-goog-api-key", "canary-key"),
            (Family::Bedrock, "authorization", "Bearer canary-key"),
        ] {
            let authorization = Authorization::api_key(family, &Secret::new("canary-key")).unwrap();
            assert_eq!(authorization.header_name().unwrap(), header);
            let parts = applied(&authorization, clock::now()).unwrap();
            assert_eq!(parts.headers[header], value);
            assert!(!format!("{authorization:?} {parts:?}").contains("canary"));
        }
        assert!(Authorization::api_key(Family::OpenAi, &Secret::new("a\nb")).is_err());
        let custom = Authorization::header("api-key", &Secret::new("Key canary")).unwrap();
        assert_eq!(applied(&custom, clock::now()).unwrap().headers["api-key"], "Key canary");
        assert!(Authorization::header("api key", &Secret::new("a")).is_err());
        assert!(applied(&Authorization::None, clock::now()).unwrap().headers.is_empty());
    }

    #[test]
    fn nothing_is_sent_without_the_callers_own_credential() {
        assert_eq!(applied(&Authorization::FromClient, clock::now()).unwrap_err(), Stale);
    }

    #[test]
    fn expired_header_is_not_sent() {
        let now = clock::now();
        let until = |expires| {
            let (name, value) = (AUTHORIZATION, HeaderValue::from_static("Bearer t"));
            applied(&Authorization::Header { name, value, expires: Some(expires) }, now)
        };
        assert!(until(now.unix_ms + 1).unwrap().headers.contains_key(AUTHORIZATION));
        assert_eq!(until(now.unix_ms).unwrap_err(), Stale);
    }
}
