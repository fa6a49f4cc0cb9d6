//! Tokens as API servers issue them, and every way in which one may be wrong.

use std::time::Instant;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    rand::SystemRandom,
    rsa,
    signature::{self, EcdsaKeyPair, KeyPair, RsaKeyPair},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use routeapi_channel::VerificationKey;

use super::*;

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const NOW: i64 = 1_796_000_000;
/// PKCS #8; made for these tests.
const RSA_KEY: &str = include_str!("rsa_test_key.b64");

enum Signer {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

impl Signer {
    fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::from_pkcs8(&STANDARD.decode(RSA_KEY.trim()).unwrap()).unwrap())
    }

    fn ec() -> Self {
        let (algorithm, random) = (&signature::ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::Ec(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap())
    }

    fn key(&self, kid: &str) -> VerificationKey {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let value = match self {
            Self::Rsa(pair) => {
                let public = rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kid": kid, "kty": "RSA", "alg": "RS256", "use": "sig", "n": text(&public.n), "e": text(&public.e)})
            }
            Self::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kid": kid, "kty": "EC", "alg": "ES256", "use": "sig", "crv": "P-256", "x": text(x), "y": text(y)})
            }
        };
        serde_json::from_value(value).unwrap()
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
        }
    }

    fn sign(&self, kid: &str, claims: &Value) -> String {
        self.sign_with_header(&json!({"alg": self.algorithm(), "kid": kid}), claims)
    }

    fn sign_with_header(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = match self {
            Self::Rsa(pair) => {
                let mut bytes = vec![0; pair.public().modulus_len()];
                let padding = &signature::RSA_PKCS1_SHA256;
                pair.sign(padding, &SystemRandom::new(), message.as_bytes(), &mut bytes).unwrap();
                bytes
            }
            Self::Ec(pair) => pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn claims() -> Value {
    json!({
        "aud": ["routeapi-gateway"], "exp": NOW + 3_600, "iat": NOW, "nbf": NOW, "iss": ISSUER, "jti": "j",
        "kubernetes.io": {
            "namespace": "shop", "node": {"name": "n", "uid": "1"}, "pod": {"name": "checkout-1", "uid": "2"},
            "serviceaccount": {"name": "checkout", "uid": "3"},
        },
        "sub": "system:serviceaccount:shop:checkout",
    })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut claims = claims();
    *claims.pointer_mut(pointer).unwrap() = value;
    claims
}

fn without(member: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(member).unwrap();
    claims
}

fn at(unix_seconds: i64) -> Now {
    Now { mono: Instant::now(), unix_ms: unix_seconds * 1_000 }
}

fn knowing(keys: Vec<VerificationKey>) -> ServiceAccounts {
    let accounts = ServiceAccounts::default();
    accounts.set(ServiceAccountIssuer { issuer: ISSUER.to_owned(), keys });
    accounts
}

fn verify_at(accounts: &ServiceAccounts, token: &str, now: i64) -> Result<Arc<CallingPod>, InvalidToken> {
    accounts.verify(token, &Sha256::digest(token).into(), at(now))
}

fn verify(accounts: &ServiceAccounts, token: &str) -> Result<Arc<CallingPod>, InvalidToken> {
    verify_at(accounts, token, NOW)
}

#[test]
fn token_of_a_pod_is_accepted_with_each_kind_of_key() {
    for signer in [Signer::rsa(), Signer::ec()] {
        let accounts = knowing(vec![signer.key("k")]);
        let pod = verify(&accounts, &signer.sign("k", &claims())).unwrap();
        assert_eq!((pod.account.to_string().as_str(), pod.pod.as_str()), ("shop/checkout", "checkout-1"));
        let one_audience = signer.sign("k", &with("/aud", json!("routeapi-gateway")));
        assert!(verify(&accounts, &one_audience).is_ok());
        assert!(is_like_one(&one_audience));
    }
}

#[test]
fn claims_that_do_not_hold_are_named() {
    let signer = Signer::ec();
    let accounts = knowing(vec![signer.key("k")]);
    for (claims, expected) in [
        (with("/exp", json!(NOW)), InvalidToken::Expired(NOW)),
        (with("/nbf", json!(NOW + 61)), InvalidToken::NotYetValid(NOW + 61)),
        (with("/aud", json!(["https://kubernetes.default.svc"])), InvalidToken::OtherAudience),
        (with("/aud", json!([])), InvalidToken::OtherAudience),
        (with("/iss", json!("https://other.example")), InvalidToken::OtherIssuer),
        (with("/kubernetes.io/pod", Value::Null), InvalidToken::NotBound),
        (without("kubernetes.io"), InvalidToken::NoServiceAccount),
        (with("/sub", json!("system:serviceaccount:shop:admin")), InvalidToken::NoServiceAccount),
        (without("exp"), InvalidToken::Malformed),
        (with("/exp", json!("never")), InvalidToken::Malformed),
    ] {
        assert_eq!(verify(&accounts, &signer.sign("k", &claims)), Err(expected), "{claims}");
    }
    assert!(verify(&accounts, &signer.sign("k", &with("/nbf", json!(NOW + 60)))).is_ok());
}

#[test]
fn only_signatures_of_listed_keys_count() {
    let (signer, other) = (Signer::rsa(), Signer::ec());
    let accounts = knowing(vec![signer.key("k")]);
    assert_eq!(verify(&accounts, &signer.sign("l", &claims())), Err(InvalidToken::UnknownKey));
    assert_eq!(
        verify(&accounts, &signer.sign_with_header(&json!({"alg": "RS256"}), &claims())),
        Err(InvalidToken::UnknownKey)
    );
    // Another cluster may use the same issuer and even the same ID.
    let elsewhere = knowing(vec![Signer::ec().key("k")]);
    assert_eq!(verify(&elsewhere, &other.sign("k", &claims())), Err(InvalidToken::BadSignature));
    let token = signer.sign("k", &claims());
    let (_, signature) = token.rsplit_once('.').unwrap();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut forged = claims();
    forged["kubernetes.io"]["serviceaccount"]["name"] = json!("admin");
    forged["sub"] = json!("system:serviceaccount:shop:admin");
    let header = json!({"alg": "RS256", "kid": "k"});
    let forged = format!("{}.{}.{signature}", part(&header), part(&forged));
    assert_eq!(verify(&accounts, &forged), Err(InvalidToken::BadSignature));
}

#[test]
fn algorithms_that_prove_nothing_are_refused() {
    let signer = Signer::rsa();
    let accounts = knowing(vec![signer.key("k")]);
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    for algorithm in ["none", "None", "HS256", "HS512", "ES256", "PS256", "RS512", ""] {
        let header = json!({"alg": algorithm, "kid": "k"});
        let unsigned = format!("{}.{}.", part(&header), part(&claims()));
        assert_eq!(verify(&accounts, &unsigned), Err(InvalidToken::Malformed), "{algorithm}");
        // The public key as an HMAC's secret, as in the attacks of 2015.
        let public = signer.key("k").n.unwrap();
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, public.as_bytes());
        let message = format!("{}.{}", part(&header), part(&claims()));
        let signature = URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, message.as_bytes()));
        let confused = format!("{message}.{signature}");
        assert_eq!(verify(&accounts, &confused), Err(InvalidToken::Malformed), "{algorithm}");
    }
}

#[test]
fn no_truncated_token_is_accepted() {
    let signer = Signer::ec();
    let accounts = knowing(vec![signer.key("k")]);
    let token = signer.sign("k", &claims());
    for length in 0..token.len() {
        let refused = verify(&accounts, &token[..length]).unwrap_err();
        let expected = [InvalidToken::Malformed, InvalidToken::BadSignature];
        assert!(expected.contains(&refused), "{length}: {refused:?}");
    }
    let long = format!("eyJ.{}", "a".repeat(MAX_LENGTH));
    assert_eq!(verify(&accounts, &long), Err(InvalidToken::TooLong(MAX_LENGTH)));
    for odd in ["eyJ.", "eyJ..", "eyJ...", "eyJhbGciOiJSUzI1NiJ9.e30.", "eyJ.\u{0}.\u{7f}", "eyJ.a.b.c.d"] {
        assert_eq!(verify(&accounts, odd), Err(InvalidToken::Malformed), "{odd:?}");
    }
}

#[test]
fn verified_token_still_expires() {
    let signer = Signer::ec();
    let accounts = knowing(vec![signer.key("k")]);
    let token = signer.sign("k", &claims());
    let first = verify(&accounts, &token).unwrap();
    assert!(Arc::ptr_eq(&first, &verify_at(&accounts, &token, NOW + 3_599).unwrap()), "verified twice");
    assert_eq!(verify_at(&accounts, &token, NOW + 3_600), Err(InvalidToken::Expired(NOW + 3_600)));
}

#[test]
fn keys_are_followed() {
    let (old, new) = (Signer::ec(), Signer::rsa());
    let accounts = ServiceAccounts::default();
    let issuer = |keys| ServiceAccountIssuer { issuer: ISSUER.to_owned(), keys };
    let (of_old, of_new) = (old.sign("old", &claims()), new.sign("new", &claims()));
    assert_eq!(verify(&accounts, &of_old), Err(InvalidToken::IssuerUnknown));
    assert!(accounts.set(issuer(vec![old.key("old")])));
    assert!(!accounts.set(issuer(vec![old.key("old")])));
    assert_eq!(verify(&accounts, &of_new), Err(InvalidToken::UnknownKey));
    assert!(verify(&accounts, &of_old).is_ok());
    accounts.set(issuer(vec![new.key("new"), old.key("old")]));
    assert!(verify(&accounts, &of_new).is_ok() && verify(&accounts, &of_old).is_ok());
    accounts.set(issuer(vec![new.key("new")]));
    assert_eq!(verify(&accounts, &of_old), Err(InvalidToken::UnknownKey), "a key that is gone verified");
}

#[test]
fn unusable_keys_cost_only_themselves() {
    let signer = Signer::ec();
    let odd = |value: Value| serde_json::from_value::<VerificationKey>(value).unwrap();
    let keys = vec![
        odd(json!({"kid": "a", "kty": "OKP", "crv": "Ed25519", "x": "AA"})),
        odd(json!({"kid": "b", "kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"})),
        odd(json!({"kid": "c", "kty": "RSA", "n": "AA"})),
        odd(json!({"kid": "d", "kty": "RSA", "n": "!", "e": "AQAB"})),
        odd(json!({"kid": "e", "kty": "RSA", "alg": "PS256", "n": "AA", "e": "AQAB"})),
        signer.key("k"),
    ];
    let (usable, skipped) = Keys::of(&keys);
    assert_eq!((usable.len(), skipped.len()), (1, 5));
    assert!(verify(&knowing(keys), &signer.sign("k", &claims())).is_ok());
}

#[test]
fn as_many_tokens_are_kept_as_there_is_room_for() {
    let signer = Signer::ec();
    let accounts = knowing(vec![signer.key("k")]);
    let issuer = accounts.issuer.load_full().unwrap();
    let (validity, pod) = issuer.verify(&signer.sign("k", &claims()), NOW).unwrap();
    let pod = Arc::new(pod);
    for number in 0..MAX_VERIFIED + 10 {
        issuer.keep(Sha256::digest(number.to_string()).into(), (validity, Arc::clone(&pod)), NOW);
    }
    assert!(issuer.lock().len() <= MAX_VERIFIED);
}
