//! The caller's own credential for an upstream, where the AIProvider says that it is used (`credentials.fromClient`).
//!
//! It is read only of a client that sends the gateway's key apart (`x-routeapi-key`), goes to the one provider that asks for
//! it, and is held for no longer than the request. Whether it is any good is between the caller and the vendor.

use http::{HeaderMap, HeaderName, HeaderValue};
use routeapi_crds::value::ProviderType;

/// What a request that is signed for another host begins with: of no use at the upstream, which has another name.
const AWS_SIGNATURE: &str = "AWS4-";

/// Headers of a client that go on to the vendor as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCredential {
    /// Its credential; at least one.
    proof: Vec<(HeaderName, HeaderValue)>,
    /// What of its account is billed.
    account: Vec<(HeaderName, HeaderValue)>,
}

impl ClientCredential {
    /// What a client sends for a provider of this type. None if it sends nothing, or a key of this gateway, which no
    /// vendor may see.
    pub fn read(type_: ProviderType, client: &HeaderMap, is_gateway_key: impl Fn(&str) -> bool) -> Option<Self> {
        let mut proof = Vec::new();
        for name in credential_headers(type_) {
            let Some(value) = client.get(*name).filter(|value| !value.is_empty()) else { continue };
            let text = value.to_str().ok()?;
            if is_gateway_key(key_of(text)) {
                return None;
            }
            if !text.starts_with(AWS_SIGNATURE) {
                proof.push((HeaderName::from_static(name), sensitive(value)));
            }
        }
        if proof.is_empty() {
            return None;
        }
        let sent = |name: &'static str| Some((HeaderName::from_static(name), client.get(name)?.clone()));
        let account = account_headers(type_).iter().copied().filter_map(sent).collect();
        Some(Self { proof, account })
    }

    /// Puts it on a request. What the provider's owner has set about the account stands.
    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.proof {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.account {
            headers.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
}

/// The headers that a type's vendor reads credentials from, as its SDKs send them.
const fn credential_headers(type_: ProviderType) -> &'static [&'static str] {
    match type_ {
        ProviderType::OpenAI | ProviderType::Bedrock | ProviderType::Echo => &["authorization"],
        ProviderType::Anthropic => &["authorization", "x-api-key"],
        ProviderType::Gemini | ProviderType::VertexAI => &["authorization", "x-goog-api-key"],
        // Claude's SDK for Foundry sends x-api-key.
        ProviderType::AzureOpenAI => &["authorization", "api-key", "x-api-key"],
    }
}

/// The headers that choose what of an account is billed.
const fn account_headers(type_: ProviderType) -> &'static [&'static str] {
    match type_ {
        // The last one is Codex's, for plans of ChatGPT.
        ProviderType::OpenAI => &["openai-organization", "openai-project", "chatgpt-account-id"],
        ProviderType::Anthropic => &["anthropic-workspace-id", "anthropic-user-profile-id"],
        ProviderType::Gemini | ProviderType::VertexAI => &["x-goog-user-project"],
        ProviderType::AzureOpenAI | ProviderType::Bedrock | ProviderType::Echo => &[],
    }
}

/// The headers of which a caller has to send one, in words.
pub fn wanted_headers(type_: ProviderType) -> String {
    credential_headers(type_).join(" or ")
}

/// A key without the scheme in front of it.
pub fn key_of(value: &str) -> &str {
    let value = value.trim();
    match value.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => key.trim(),
        _ => value,
    }
}

fn sensitive(value: &HeaderValue) -> HeaderValue {
    let mut value = value.clone();
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY_KEY: &str = "sk-gateway";

    fn sent(type_: ProviderType, client: &[(&'static str, &'static str)]) -> Option<Vec<String>> {
        let client =
            client.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let credential = ClientCredential::read(type_, &client.collect(), |key| key == GATEWAY_KEY)?;
        assert!(!format!("{credential:?}").contains("canary"), "{credential:?}");
        let mut headers = HeaderMap::new();
        headers.insert("openai-project", HeaderValue::from_static("the owner's"));
        credential.apply(&mut headers);
        let mut sent: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        sent.sort_unstable();
        Some(sent)
    }

    #[test]
    fn vendors_own_headers_pass_unchanged_and_no_others() {
        use ProviderType::{Anthropic, AzureOpenAI, Bedrock, Gemini, OpenAI, VertexAI};
        let client = [
            ("authorization", "Bearer canary-1"),
            ("x-api-key", "canary-2"),
            ("x-goog-api-key", "canary-3"),
            ("api-key", "canary-4"),
            ("cookie", "canary-5"),
            ("x-routeapi-key", "canary-6"),
        ];
        let owner = "openai-project: the owner's";
        let cases: [(ProviderType, &[&str]); 6] = [
            (OpenAI, &["authorization: Bearer canary-1", owner]),
            (Anthropic, &["authorization: Bearer canary-1", owner, "x-api-key: canary-2"]),
            (Gemini, &["authorization: Bearer canary-1", owner, "x-goog-api-key: canary-3"]),
            (VertexAI, &["authorization: Bearer canary-1", owner, "x-goog-api-key: canary-3"]),
            (AzureOpenAI, &["api-key: canary-4", "authorization: Bearer canary-1", owner, "x-api-key: canary-2"]),
            (Bedrock, &["authorization: Bearer canary-1", owner]),
        ];
        for (type_, expected) in cases {
            assert_eq!(sent(type_, &client).unwrap(), expected, "{type_:?}");
        }
    }

    #[test]
    fn the_callers_account_is_chosen_by_the_caller_unless_the_owner_does() {
        let client = [("authorization", "Bearer a"), ("openai-project", "p"), ("openai-organization", "o")];
        assert_eq!(
            sent(ProviderType::OpenAI, &client).unwrap(),
            ["authorization: Bearer a", "openai-organization: o", "openai-project: the owner's"]
        );
    }

    #[test]
    fn keys_of_the_gateway_and_signatures_for_it_are_no_credentials() {
        for client in [
            &[("authorization", "Bearer sk-gateway")][..],
            &[("authorization", "bearer  sk-gateway ")],
            &[("authorization", "sk-gateway")],
            &[("authorization", "Bearer mine"), ("x-api-key", "sk-gateway")],
            &[("authorization", "AWS4-HMAC-SHA256 Credential=a/b")],
            &[("authorization", "")],
            &[("openai-project", "p")],
            &[],
        ] {
            assert_eq!(sent(ProviderType::Anthropic, client), None, "{client:?}");
        }
    }
}
