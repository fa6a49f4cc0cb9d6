//! What proves to an upstream that we may call it.

use http::{HeaderName, HeaderValue, header::AUTHORIZATION};
use routeapi_channel::Secret;
use routeapi_protocol::dialect::Family;

/// A header that is added to every request, or nothing.
#[derive(Clone, Debug, Default)]
pub struct Credential(Option<(HeaderName, HeaderValue)>);

/// The key holds characters that no HTTP header may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the API key holds characters that an HTTP header cannot carry (a line break, perhaps)")]
pub struct InvalidCredential;

impl Credential {
    /// No credential: the upstream asks for none.
    pub const fn none() -> Self {
        Self(None)
    }

    /// An API key in the header that the family expects.
    ///
    /// # Errors
    /// When the key cannot be a header value.
    pub fn api_key(family: Family, key: &Secret) -> Result<Self, InvalidCredential> {
        let (name, value) = match family {
            Family::OpenAi => (AUTHORIZATION, format!("Bearer {}", key.expose())),
            Family::Anthropic => (HeaderName::from_static("x-api-key"), key.expose().to_owned()),
            Family::Gemini => (HeaderName::from_static("x-goog-api-key"), key.expose().to_owned()),
        };
        let mut value = HeaderValue::try_from(value).map_err(|_| InvalidCredential)?;
        value.set_sensitive(true);
        Ok(Self(Some((name, value))))
    }

    /// A header of the owner's choice.
    ///
    /// # Errors
    /// When name or value cannot be a header's.
    pub fn custom(name: &str, value: &Secret) -> Result<Self, InvalidCredential> {
        let name = HeaderName::try_from(name).map_err(|_| InvalidCredential)?;
        let mut value = HeaderValue::try_from(value.expose()).map_err(|_| InvalidCredential)?;
        value.set_sensitive(true);
        Ok(Self(Some((name, value))))
    }

    /// The header to add.
    pub fn header(&self) -> Option<(&HeaderName, &HeaderValue)> {
        self.0.as_ref().map(|(name, value)| (name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credential_uses_the_family_header_and_is_not_in_debug_output() {
        for (family, header) in
            [(Family::OpenAi, "authorization"), (Family::Anthropic, "x-api-key"), (Family::Gemini, "x-goog-api-key")]
        {
            let credential = Credential::api_key(family, &Secret::new("canary-key")).unwrap();
            assert_eq!(credential.header().unwrap().0, header);
            assert!(!format!("{credential:?}").contains("canary"));
        }
        assert!(Credential::api_key(Family::OpenAi, &Secret::new("a\nb")).is_err());
        let custom = Credential::custom("api-key", &Secret::new("Key canary")).unwrap();
        assert_eq!(
            custom.header().unwrap(),
            (&HeaderName::from_static("api-key"), &HeaderValue::from_static("Key canary"))
        );
        assert!(!format!("{custom:?}").contains("canary"));
        assert!(Credential::custom("api key", &Secret::new("a")).is_err());
    }
}
