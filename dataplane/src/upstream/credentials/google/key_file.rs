//! The key file of a service account, and what it signs (RFC 7523).

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{rand::SystemRandom, rsa::KeyPair, signature::RSA_PKCS1_SHA256};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde::Deserialize;
use serde_json::json;

use super::super::token::FetchError;

/// How long an assertion may be used, in seconds: the most that Google allows.
const ASSERTION_LIFE: i64 = 3_600;
/// Whom assertions are for, whatever the file's `token_uri` says: that is what Google's own libraries sign.
const AUDIENCE: &str = "https://oauth2.googleapis.com/token";
/// By how much our clock may be ahead of Google's, in seconds.
const SKEW: i64 = 60;

/// A service account's key.
pub struct KeyFile {
    client_email: String,
    key_id: Option<String>,
    token_uri: String,
    pair: KeyPair,
    /// By which one key is told from another.
    text: String,
}

/// It is no key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeyFile {
    /// Not JSON with the members that are needed.
    #[error("it is not JSON with client_email, private_key and token_uri")]
    Members,
    /// The key in it is none.
    #[error("its private_key is not an RSA key in PEM (PKCS#8)")]
    Key,
}

#[derive(Deserialize)]
struct Members {
    client_email: String,
    private_key: String,
    private_key_id: Option<String>,
    token_uri: String,
}

impl KeyFile {
    /// Reads a key file.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(text: &str) -> Result<Self, InvalidKeyFile> {
        let Members { client_email, private_key, private_key_id, token_uri } =
            serde_json::from_str(text).map_err(|_| InvalidKeyFile::Members)?;
        let der = PrivatePkcs8KeyDer::from_pem_slice(private_key.as_bytes()).map_err(|_| InvalidKeyFile::Key)?;
        let pair = KeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| InvalidKeyFile::Key)?;
        Ok(Self { client_email, key_id: private_key_id, token_uri, pair, text: text.to_owned() })
    }

    /// Where assertions are exchanged for tokens.
    pub fn token_uri(&self) -> &str {
        &self.token_uri
    }

    /// A signed statement of who asks for a token.
    pub(super) fn assertion(&self, scope: &str, now: i64) -> Result<String, FetchError> {
        let issued = now.saturating_sub(SKEW);
        let header = match &self.key_id {
            Some(id) => json!({ "alg": "RS256", "typ": "JWT", "kid": id }),
            None => json!({ "alg": "RS256", "typ": "JWT" }),
        };
        let claims = json!({
            "iss": self.client_email,
            "scope": scope,
            "aud": AUDIENCE,
            "iat": issued,
            "exp": issued.saturating_add(ASSERTION_LIFE),
        });
        let encoded = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encoded(header), encoded(claims));
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| FetchError::missing("the service account's key cannot sign"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("KeyFile").field("client_email", &self.client_email).finish_non_exhaustive()
    }
}

impl PartialEq for KeyFile {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for KeyFile {}
