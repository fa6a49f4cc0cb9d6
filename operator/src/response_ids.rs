//! The keys that authenticate ids of stored responses. Every data plane gets the same, from every replica, so that each can
//! read what another has issued.
//!
//! They are derived from the operator's private key rather than stored: from the CA's where this operator has one, which
//! changes when the CA is replaced and with it whatever was issued before; otherwise from the serving certificate's, which
//! may change at each renewal.

use std::{fmt, sync::Arc};

use k8s_openapi::api::core::v1::Secret as KubeSecret;
use ring::hkdf;
use routeapi_channel::Secret;
use tokio::sync::watch;

/// Separates these keys from any others that may be derived from the same private key.
const SALT: &[u8] = b"routeapi response ids";

/// Keys of the Secret that are derived from, in this order: the CA's and, ahead of its first use, the next CA's.
const CA_KEYS: [&str; 2] = ["ca.key", "next-ca.key"];

/// The keys in use.
#[derive(Default)]
pub struct ResponseIdKeys(watch::Sender<Arc<[Secret]>>);

// === impl ResponseIdKeys ===

impl ResponseIdKeys {
    /// Derives the keys from the operator's Secret. One without a private key changes nothing.
    pub fn derive(&self, secret: &KubeSecret) {
        let keys = derived(secret);
        self.0.send_if_modified(|current| {
            let changed = !keys.is_empty() && **current != *keys;
            if changed {
                *current = keys.into();
            }
            changed
        });
    }

    /// The keys, and every later change; empty until there is a Secret.
    pub fn subscribe(&self) -> watch::Receiver<Arc<[Secret]>> {
        self.0.subscribe()
    }
}

impl fmt::Debug for ResponseIdKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ResponseIdKeys")
    }
}

fn derived(secret: &KubeSecret) -> Vec<Secret> {
    let of = |name: &&str| derive(&secret.data.as_ref()?.get(*name)?.0);
    let keys: Vec<_> = CA_KEYS.iter().filter_map(of).collect();
    if keys.is_empty() { of(&"tls.key").into_iter().collect() } else { keys }
}

fn derive(private_key: &[u8]) -> Option<Secret> {
    let mut key = [0; 32];
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(private_key);
    extracted.expand(&[b"v1"], hkdf::HKDF_SHA256).ok()?.fill(&mut key).ok()?;
    (!private_key.is_empty()).then(|| Secret::new(hex::encode(key)))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    fn secret(data: &[(&str, &str)]) -> KubeSecret {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        KubeSecret { data: Some(data.collect()), ..KubeSecret::default() }
    }

    #[test]
    fn every_replica_derives_the_same_keys_and_none_holds_the_private_one() {
        let keys = derived(&secret(&[("ca.key", "a"), ("tls.key", "t")]));
        assert_eq!(keys, derived(&secret(&[("tls.key", "other"), ("ca.key", "a")])));
        assert_eq!((keys.len(), keys[0].expose().len()), (1, 64));
        assert_ne!(keys, derived(&secret(&[("ca.key", "b")])));
    }

    #[test]
    fn ids_of_the_next_ca_are_accepted_before_it_is_used() {
        let before = derived(&secret(&[("ca.key", "a"), ("next-ca.key", "b")]));
        let after = derived(&secret(&[("ca.key", "b")]));
        assert_eq!((before.len(), &before[1]), (2, &after[0]));
    }

    #[test]
    fn a_secret_that_is_maintained_elsewhere_has_a_serving_key_alone() {
        let keys = ResponseIdKeys::default();
        let mut changes = keys.subscribe();
        keys.derive(&secret(&[("tls.crt", "c")]));
        assert!(!changes.has_changed().unwrap() && changes.borrow().is_empty());
        for (data, changed) in [("t", true), ("t", false), ("u", true), ("", false)] {
            keys.derive(&secret(&[("tls.key", data)]));
            assert_eq!(changes.has_changed().unwrap(), changed, "{data}");
            assert_eq!(changes.borrow_and_update().len(), 1);
        }
    }
}
