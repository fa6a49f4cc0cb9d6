//! Who is calling: the presented credential → an ApiToken that is valid now. Decides nothing about what it may do.
//!
//! A token may stand in any header that one of the SDKs uses, or in Gemini's `key` parameter. Clients exist that fill two
//! of them (one for the gateway, one left over), so each is looked up; the complaint is about the first. A client that sends
//! it in [`KEY_HEADER`] means all others for the vendor. The value is hashed at once and neither kept nor logged.
//!
//! What is no key that the gateway knows may be a pod's ServiceAccount token ([`ServiceAccounts`]).

use std::{borrow::Cow, sync::Arc};

use http::{
    HeaderMap,
    header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL},
    request::Parts,
};
use percent_encoding::percent_decode_str;
use routeapi_channel::token_format::{self, Reading};
use sha2::{Digest, Sha256};

use super::{
    caller::{Caller, Digest256, check},
    refusal::Refusal,
};
use crate::{
    clock::Now,
    config::runtime::Runtime,
    service_accounts::{self, InvalidToken, ServiceAccounts},
    upstream::key_of,
};

/// Headers that hold a bare token, in the order they are looked at after `Authorization`.
const HEADERS: [&str; 3] = ["x-api-key", "x-goog-api-key", "api-key"];

/// Holds a token and nothing else, so that the SDKs' own headers are free for the caller's credential at the vendor.
const KEY_HEADER: &str = "x-routeapi-key";

/// What is in front of a token among the protocols of a WebSocket: the only place that a browser's page can put it.
const PROTOCOL_PREFIX: &str = "openai-insecure-api-key.";

/// Finds out who is calling.
pub(super) fn identify(
    runtime: &Runtime,
    accounts: &ServiceAccounts,
    head: &Parts,
    now: Now,
) -> Result<Caller, Refusal> {
    if let Some(value) = head.headers.get(KEY_HEADER).filter(|value| !value.is_empty()) {
        let value = value.to_str().map_err(|_| Refusal::UnknownToken)?;
        return Ok(Caller { sends_key_apart: true, ..look_up(runtime, accounts, key_of(value), now)? });
    }
    let mut first = None;
    for value in presented_keys(head) {
        match look_up(runtime, accounts, &value, now) {
            Ok(caller) => return Ok(caller),
            Err(refusal) => {
                first.get_or_insert(refusal);
            }
        }
    }
    Err(first.unwrap_or(Refusal::NoToken))
}

fn look_up(runtime: &Runtime, accounts: &ServiceAccounts, value: &str, now: Now) -> Result<Caller, Refusal> {
    let digest = digest_of(value);
    match runtime.token(&digest) {
        Some(token) => {
            check(token, now)?;
            Ok(Caller { token: Arc::clone(token), digest, sends_key_apart: false, pod: None })
        }
        None if runtime.revision.is_none() => Err(Refusal::NotConfigured),
        None if service_accounts::is_like_one(value) => calling_pod(runtime, accounts, (value, digest), now),
        None => Err(match token_format::read(value) {
            Reading::Damaged { .. } => Refusal::MistypedToken,
            Reading::Minted { .. } | Reading::Foreign => Refusal::UnknownToken,
        }),
    }
}

/// Whether it is a key of this gateway, could be one, or is a token of this cluster's: no vendor may see it.
pub(super) fn is_gateway_key(runtime: &Runtime, accounts: &ServiceAccounts, value: &str) -> bool {
    let is_minted = !matches!(token_format::read(value), Reading::Foreign);
    is_minted || runtime.token(&digest_of(value)).is_some() || accounts.is_of_cluster(value)
}

fn digest_of(value: &str) -> Digest256 {
    Sha256::digest(value.as_bytes()).into()
}

/// Whose ServiceAccount token it is, and which token that one calls with.
fn calling_pod(
    runtime: &Runtime,
    accounts: &ServiceAccounts,
    (value, digest): (&str, Digest256),
    now: Now,
) -> Result<Caller, Refusal> {
    let pod = match accounts.verify(value, &digest, now) {
        Ok(pod) => pod,
        // Where no ServiceAccount may call, it is a key like any other that is not known.
        Err(InvalidToken::IssuerUnknown) if !runtime.has_service_accounts() => return Err(Refusal::UnknownToken),
        Err(why) => return Err(Refusal::ServiceAccountToken(why)),
    };
    let Some(token) = runtime.service_account(&pod.account) else {
        return Err(Refusal::NoTokenForServiceAccount { account: pod.account.to_string() });
    };
    check(token, now)?;
    Ok(Caller { token: Arc::clone(token), digest, sends_key_apart: false, pod: Some(pod) })
}

fn presented_keys(head: &Parts) -> impl Iterator<Item = Cow<'_, str>> {
    let bearer = bearer(&head.headers).into_iter();
    let named = HEADERS.iter().filter_map(|&name| head.headers.get(name)?.to_str().ok());
    let protocols = head.headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|value| value.to_str().ok());
    let offered = protocols.flat_map(|value| value.split(','));
    let offered = offered.filter_map(|name| name.trim().strip_prefix(PROTOCOL_PREFIX));
    let query = head.uri.query().and_then(|query| parameter(query, "key"));
    bearer
        .chain(named)
        .chain(offered)
        .map(|value| Cow::Borrowed(value.trim()))
        .chain(query)
        .filter(|value| !value.is_empty())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, value) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(value)
}

/// A query parameter with percent-encoding undone; what is not UTF-8 then is no token. `+` stays what it is: keys may hold
/// it, and those who write them into URLs by hand do not encode it.
fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let raw = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    percent_decode_str(raw).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn api_key_is_found_in_every_sdk_header() {
        type Case = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);
        let cases: [Case; 9] = [
            ("/", &[("authorization", "Bearer a")], &["a"]),
            ("/", &[("authorization", "bearer  a ")], &["a"]),
            ("/", &[("authorization", "Basic a"), ("x-api-key", "b")], &["b"]),
            ("/", &[("x-goog-api-key", "c"), ("api-key", "d")], &["c", "d"]),
            ("/", &[("sec-websocket-protocol", "realtime, openai-insecure-api-key.i")], &["i"]),
            ("/", &[("sec-websocket-protocol", "openai-insecure-api-key., x"), ("api-key", "j")], &["j"]),
            ("/?alt=sse&key=e%2Df+g%", &[], &["e-f+g%"]),
            ("/?monkey=x&key=", &[], &[]),
            ("/?key=g", &[("authorization", "Bearer h")], &["h", "g"]),
        ];
        for (uri, headers, expected) in cases {
            let head = head(uri, headers);
            assert_eq!(presented_keys(&head).collect::<Vec<_>>(), expected, "{uri} {headers:?}");
        }
    }
}
