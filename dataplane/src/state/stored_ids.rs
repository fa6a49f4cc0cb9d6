//! Ids of stored responses and conversations, as clients get them.
//!
//! An id says which model was asked and what the upstream calls it, and is authenticated for the token that asked and the
//! provider that answered. Whoever presents it needs the same token, and the gateway finds the provider by
//! trying those of the model's route: nothing is stored, and any pod with the same key can read it.
//!
//! ```text
//! resp_ or conv_ + base64url(version 1 │ tag, 32 bytes │ length of model, 2 bytes │ model │ upstream's id)
//! tag = HMAC-SHA-256(key, context │ token │ provider │ model │ upstream's id), each part behind its length
//! ```
//!
//! Keys come from the operator. Until they do, and where there is no operator, this process has a random one, so that its
//! ids hold until it ends.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use routeapi_channel::{ObjectId, snapshot::Secret};
use routeapi_protocol::stored::StoredKind;

const VERSION: u8 = 1;
const TAG: usize = 32;
const HEAD: usize = 1 + TAG + 2;
/// Longest id of an upstream's that is replaced. OpenAI's have some 55 bytes; another gateway's like this one some hundred
/// more.
const LONGEST_UPSTREAM_ID: usize = 1_024;

/// The keys, and what is made with them. Without any, upstreams' ids stay as they are and no id holds.
pub struct StoredIds {
    /// Ids are made with the first and read with any.
    keys: ArcSwap<Vec<hmac::Key>>,
}

/// An id as a client presents it: read, and not yet believed.
#[derive(Debug)]
pub struct PresentedId {
    kind: StoredKind,
    tag: [u8; TAG],
    /// The model that was asked.
    pub model: String,
    /// The upstream's id.
    pub upstream_id: String,
}

// === impl StoredIds ===

impl StoredIds {
    /// Uses these keys from now on; without any, those before stay.
    pub fn set(&self, keys: &[Secret]) {
        if !keys.is_empty() {
            self.keys.store(Arc::new(keys.iter().map(|key| key_of(key.expose().as_bytes())).collect()));
        }
    }

    /// The id for a client; none for an id that no path or model could hold, which stays as it is.
    pub fn issue(
        &self,
        (token, provider): (&ObjectId, &ObjectId),
        model: &str,
        (kind, upstream_id): (StoredKind, &str),
    ) -> Option<String> {
        let length = u16::try_from(model.len()).ok()?;
        if !is_plain(upstream_id) {
            return None;
        }
        let tag = hmac::sign(self.keys.load().first()?, &signed(kind, (token, provider), model, upstream_id));
        let mut bytes = Vec::with_capacity(HEAD + model.len() + upstream_id.len());
        bytes.push(VERSION);
        bytes.extend(tag.as_ref());
        bytes.extend(length.to_be_bytes());
        bytes.extend(model.as_bytes());
        bytes.extend(upstream_id.as_bytes());
        Some(format!("{}{}", kind.prefix(), URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Whether an id was made for this token, of an answer of this provider.
    pub fn is_issued(&self, presented: &PresentedId, (token, provider): (&ObjectId, &ObjectId)) -> bool {
        let PresentedId { kind, tag, model, upstream_id } = presented;
        let signed = signed(*kind, (token, provider), model, upstream_id);
        self.keys.load().iter().any(|key| hmac::verify(key, &signed, tag).is_ok())
    }
}

impl Default for StoredIds {
    /// With a random key, if the operating system provides randomness.
    fn default() -> Self {
        let mut key = [0; 32];
        let keys = getrandom::fill(&mut key).map(|()| vec![key_of(&key)]);
        Self { keys: ArcSwap::from_pointee(keys.unwrap_or_default()) }
    }
}

impl fmt::Debug for StoredIds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("StoredIds")
    }
}

// === impl PresentedId ===

impl PresentedId {
    /// Reads an id; none if no gateway like this one can have made it.
    pub fn read(kind: StoredKind, id: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(id.strip_prefix(kind.prefix())?).ok()?;
        let (&version, rest) = bytes.split_first()?;
        let (tag, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (model, upstream_id) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let presented = Self { kind, tag: *tag, model: text(model)?, upstream_id: text(upstream_id)? };
        (version == VERSION && is_plain(&presented.upstream_id)).then_some(presented)
    }
}

/// Whether an upstream's id can stand in a path as it is.
fn is_plain(id: &str) -> bool {
    (1..=LONGEST_UPSTREAM_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn key_of(bytes: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, bytes)
}

/// Keeps the tags of a response's ids, a conversation's, and of other purposes apart, should the key ever have any.
const fn context(kind: StoredKind) -> &'static [u8] {
    match kind {
        StoredKind::Response => b"routeapi response id",
        StoredKind::Conversation => b"routeapi conversation id",
    }
}

/// What is authenticated. Lengths keep two lists of parts apart that are the same text.
fn signed(kind: StoredKind, (token, provider): (&ObjectId, &ObjectId), model: &str, upstream_id: &str) -> Vec<u8> {
    let (context, token, provider) = (context(kind), token.to_string(), provider.to_string());
    let mut signed =
        Vec::with_capacity(context.len() + token.len() + provider.len() + model.len() + upstream_id.len() + 40);
    for part in [context, token.as_bytes(), provider.as_bytes(), model.as_bytes(), upstream_id.as_bytes()] {
        signed.extend(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        signed.extend(part);
    }
    signed
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: StoredKind = StoredKind::Response;

    fn ids(text: &str) -> (ObjectId, ObjectId) {
        let (token, provider) = text.split_once(' ').unwrap();
        (ObjectId::new("team", token), ObjectId::new("ai", provider))
    }

    fn issued(ids: &StoredIds, (token, provider): &(ObjectId, ObjectId)) -> String {
        ids.issue((token, provider), "gpt", (RESPONSE, "resp_0a")).unwrap()
    }

    fn holds(ids: &StoredIds, id: &str, (token, provider): &(ObjectId, ObjectId)) -> bool {
        PresentedId::read(RESPONSE, id).is_some_and(|presented| ids.is_issued(&presented, (token, provider)))
    }

    #[test]
    fn an_id_holds_for_its_token_and_its_provider_alone() {
        let keys = StoredIds::default();
        let id = issued(&keys, &ids("app openai"));
        let presented = PresentedId::read(RESPONSE, &id).unwrap();
        assert_eq!((presented.model.as_str(), presented.upstream_id.as_str()), ("gpt", "resp_0a"));
        assert!(holds(&keys, &id, &ids("app openai")));
        for other in ["other openai", "app azure", "ap popenai"] {
            assert!(!holds(&keys, &id, &ids(other)), "{other}");
        }
        assert_eq!(id, issued(&keys, &ids("app openai")), "the same id wherever the response is named");
        assert!(!holds(&StoredIds::default(), &id, &ids("app openai")), "another installation's");
    }

    #[test]
    fn a_conversations_id_is_no_responses() {
        let keys = StoredIds::default();
        let (token, provider) = ids("app openai");
        let id = keys.issue((&token, &provider), "gpt", (StoredKind::Conversation, "conv_0a")).unwrap();
        let presented = PresentedId::read(StoredKind::Conversation, &id).unwrap();
        assert!(id.starts_with("conv_") && keys.is_issued(&presented, (&token, &provider)));
        assert!(PresentedId::read(RESPONSE, &id).is_none());
        assert!(!holds(&keys, &id.replacen("conv_", "resp_", 1), &(token, provider)));
    }

    #[test]
    fn no_changed_id_holds() {
        let (keys, whose) = (StoredIds::default(), ids("app openai"));
        let id = issued(&keys, &whose);
        let bytes = URL_SAFE_NO_PAD.decode(&id[RESPONSE.prefix().len()..]).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert!(!holds(&keys, &format!("resp_{}", URL_SAFE_NO_PAD.encode(changed)), &whose), "{at} {bit}");
            }
            let cut = format!("resp_{}", URL_SAFE_NO_PAD.encode(&bytes[..at]));
            assert!(!holds(&keys, &cut, &whose), "{cut}");
        }
        for foreign in
            ["", "resp_", "resp_0a", "resp_68af4030592c81938ec0a5fbab4a3e9f05438e46b5f69a3b", "msg_1", "resp_é"]
        {
            assert!(!holds(&keys, foreign, &whose), "{foreign}");
        }
    }

    #[test]
    fn keys_of_the_operator_are_the_same_in_every_pod() {
        let (one, other) = (StoredIds::default(), StoredIds::default());
        let (first, second) = (Secret::new("a".repeat(64)), Secret::new("b".repeat(64)));
        one.set(std::slice::from_ref(&first));
        other.set(&[second.clone(), first.clone()]);
        let whose = ids("app openai");
        assert!(holds(&other, &issued(&one, &whose), &whose), "an id of before a change of keys");
        assert!(!holds(&one, &issued(&other, &whose), &whose));
        one.set(&[]);
        assert!(holds(&other, &issued(&one, &whose), &whose), "none is no change");
    }

    #[test]
    fn what_cannot_stand_in_a_path_is_not_replaced() {
        let (keys, (token, provider)) = (StoredIds::default(), ids("app openai"));
        for id in ["", "a/b", "..", "a b", "é", &"a".repeat(LONGEST_UPSTREAM_ID + 1)] {
            assert_eq!(keys.issue((&token, &provider), "gpt", (RESPONSE, id)), None, "{id}");
        }
        assert_eq!(keys.issue((&token, &provider), &"m".repeat(70_000), (RESPONSE, "resp_1")), None);
    }
}
