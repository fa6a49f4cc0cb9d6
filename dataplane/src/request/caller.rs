//! Who a request is from, and whether that token may still be used: asked when the request arrives, and again whenever
//! the configuration may have changed.

use std::sync::Arc;

use super::refusal::Refusal;
use crate::{
    clock::Now,
    config::runtime::{Runtime, Token},
    service_accounts::CallingPod,
};

/// SHA-256 of a presented value.
pub(super) type Digest256 = [u8; 32];

/// Someone known.
#[derive(Clone)]
pub(super) struct Caller {
    /// The ApiToken.
    pub token: Arc<Token>,
    /// What was presented; asks later whether the token still stands.
    pub digest: Digest256,
    /// It came in a header of its own, so that what stands in the SDKs' headers is for the vendor.
    pub sends_key_apart: bool,
    /// Whose ServiceAccount token that was, if it was one.
    pub pod: Option<Arc<CallingPod>>,
}

/// The same caller in another configuration.
///
/// # Errors
/// When its key is gone, or belongs to another token now.
pub(super) fn find_again(runtime: &Runtime, caller: &Caller) -> Result<Caller, Refusal> {
    let token = token_of(runtime, caller).filter(|token| token.id == caller.token.id);
    let token = token.ok_or_else(|| gone(caller))?;
    let Caller { token: _, digest, sends_key_apart, pod } = caller;
    Ok(Caller { token: Arc::clone(token), digest: *digest, sends_key_apart: *sends_key_apart, pod: pod.clone() })
}

/// The token that what was presented stands for in this configuration.
fn token_of<'a>(runtime: &'a Runtime, caller: &Caller) -> Option<&'a Arc<Token>> {
    match &caller.pod {
        Some(pod) => runtime.service_account(&pod.account),
        None => runtime.token(&caller.digest),
    }
}

fn gone(caller: &Caller) -> Refusal {
    match &caller.pod {
        Some(pod) => Refusal::NoTokenForServiceAccount { account: pod.account.to_string() },
        None => Refusal::UnknownToken,
    }
}

/// Whether a token may be used now.
pub(super) fn check(token: &Token, now: Now) -> Result<(), Refusal> {
    let name = || token.id.to_string();
    if token.suspended {
        return Err(Refusal::TokenSuspended { token: name() });
    }
    if let Some(since) = token.expires.filter(|&at| at <= now.unix_seconds()) {
        return Err(Refusal::TokenExpired { token: name(), since });
    }
    if token.key_not_after.is_some_and(|at| at <= now.unix_seconds()) {
        return Err(Refusal::KeyRotatedOut { token: name() });
    }
    Ok(())
}

/// Whether a token that was fine when its request began has been taken away since. That its time has run out meanwhile
/// does not count: what began in time may end.
pub(super) fn revoked(runtime: &Runtime, caller: &Caller) -> Option<Refusal> {
    match token_of(runtime, caller) {
        None => Some(gone(caller)),
        Some(token) => token.suspended.then(|| Refusal::TokenSuspended { token: token.id.to_string() }),
    }
}
