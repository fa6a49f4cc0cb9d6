//! The cluster's public keys, and signatures made with them. The JWT library reads tokens; the arithmetic is ring's, as for
//! TLS, so that the program has one implementation of it.

use std::{collections::HashMap, sync::Once};

use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind, EncodingKey, Validation,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    decode, decode_header,
    errors::{Error, ErrorKind, Result as JwtResult, new_error},
    signature::{Error as SignatureError, Verifier},
};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, EcdsaVerificationAlgorithm, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use routeapi_channel::VerificationKey;
use serde::de::DeserializeOwned;

use super::invalid::InvalidToken;

/// Public keys by ID.
#[derive(Debug)]
pub(super) struct Keys(HashMap<String, Key>);

/// A public key, and the only algorithm that it is used with: what a token's header says is compared with it and decides
/// nothing.
#[derive(Debug)]
pub(super) struct Key {
    key: DecodingKey,
    validation: Validation,
}

/// A signature of one algorithm and key, checked by ring.
struct RingVerifier {
    algorithm: Algorithm,
    key: RingKey,
}

enum RingKey {
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    Ec(UnparsedPublicKey<Vec<u8>>),
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: no_signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(), // nothing is made from keys
};

// === impl Keys ===

impl Keys {
    /// The usable keys, and the IDs of others with the reason.
    pub(super) fn of(told: &[VerificationKey]) -> (Self, Vec<(String, &'static str)>) {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            // Fails only if there is one already, which only this line installs.
            let _ = PROVIDER.install_default();
        });
        let (mut keys, mut skipped) = (HashMap::new(), Vec::new());
        for key in told {
            match Key::of(key) {
                Ok(usable) => drop(keys.insert(key.kid.clone(), usable)),
                Err(why) => skipped.push((key.kid.clone(), why)),
            }
        }
        (Self(keys), skipped)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The key that a token says it is signed with.
    pub(super) fn of_token(&self, token: &str) -> Result<&Key, InvalidToken> {
        let header = decode_header(token).map_err(|_| InvalidToken::Malformed)?;
        let key = self.0.get(header.kid.as_deref().unwrap_or_default()).ok_or(InvalidToken::UnknownKey)?;
        if key.validation.algorithms.contains(&header.alg) { Ok(key) } else { Err(InvalidToken::Malformed) }
    }
}

// === impl Key ===

impl Key {
    fn of(told: &VerificationKey) -> Result<Self, &'static str> {
        let VerificationKey { kid: _, kty, alg, n, e, crv, x, y } = told;
        let (algorithm, name, key) = match (kty.as_str(), crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = n.as_deref().zip(e.as_deref()).ok_or("n or e is missing")?;
                (Algorithm::RS256, "RS256", DecodingKey::from_rsa_components(n, e))
            }
            ("EC", Some(curve @ ("P-256" | "P-384"))) => {
                let (x, y) = x.as_deref().zip(y.as_deref()).ok_or("x or y is missing")?;
                let key = DecodingKey::from_ec_components(x, y);
                if curve == "P-256" { (Algorithm::ES256, "ES256", key) } else { (Algorithm::ES384, "ES384", key) }
            }
            _ => return Err("it is neither RSA nor on the curve P-256 or P-384"),
        };
        if alg.as_deref().is_some_and(|alg| alg != name) {
            return Err("it is for another algorithm than RS256, ES256 or ES384");
        }
        let key = key.map_err(|_| "it is not base64url")?;
        let mut validation = Validation::new(algorithm);
        // The claims are checked where the process's clock is known.
        validation.required_spec_claims.clear();
        (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
        Ok(Self { key, validation })
    }

    /// The claims of a token that is signed with this key.
    pub(super) fn verify<T: DeserializeOwned>(&self, token: &str) -> Result<T, InvalidToken> {
        match decode::<T>(token, &self.key, &self.validation) {
            Ok(verified) => Ok(verified.claims),
            Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => Err(InvalidToken::BadSignature),
            Err(_) => Err(InvalidToken::Malformed),
        }
    }
}

fn no_signer(_: &Algorithm, _: &EncodingKey) -> JwtResult<Box<dyn JwtSigner>> {
    Err(new_error(ErrorKind::UnsupportedAlgorithm))
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> JwtResult<Box<dyn JwtVerifier>> {
    let curve = |curve: &'static EcdsaVerificationAlgorithm, bytes: &[u8]| {
        RingKey::Ec(UnparsedPublicKey::new(curve, bytes.to_vec()))
    };
    let key = match (algorithm, key.kind()) {
        (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            RingKey::Rsa(RsaPublicKeyComponents { n: n.clone(), e: e.clone() })
        }
        (Algorithm::ES256, DecodingKeyKind::SecretOrDer(bytes)) => curve(&ECDSA_P256_SHA256_FIXED, bytes),
        (Algorithm::ES384, DecodingKeyKind::SecretOrDer(bytes)) => curve(&ECDSA_P384_SHA384_FIXED, bytes),
        _ => return Err(Error::from(ErrorKind::UnsupportedAlgorithm)),
    };
    Ok(Box::new(RingVerifier { algorithm: *algorithm, key }))
}

// === impl RingVerifier ===

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        let checked = match &self.key {
            RingKey::Rsa(key) => key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature),
            RingKey::Ec(key) => key.verify(message, signature),
        };
        checked.map_err(|_| SignatureError::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
