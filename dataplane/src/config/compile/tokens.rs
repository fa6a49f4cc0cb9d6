//! Tokens: one entry per key, all on one account.

use std::sync::Arc;

use routeapi_channel::{
    ObjectId,
    snapshot::{self, Quantity as ToldQuantity, Token as Told, TokenKey},
};
use routeapi_crds::value::{Enforcement, Window};
use routeapi_metering::{Limit, Period, Quantity, Share};

use crate::{
    config::{patterns::Patterns, runtime::Token},
    limits::TokenLimits,
    state::Draft,
};

/// A key's SHA-256 and what it stands for.
type Entry = ([u8; 32], Arc<Token>);

pub fn compile(id: &ObjectId, told: &Told, draft: &mut Draft<'_>, share: Share) -> Result<Vec<Entry>, String> {
    // Taken apart, so that a field that is forgotten here does not compile.
    let Told { keys, models, limits, deny_unpriced, max_concurrent_requests, expires, suspended } = told;
    let hashes = keys.iter().map(hash).collect::<Result<Vec<_>, _>>()?;
    let limits =
        TokenLimits { limits: limits.iter().map(limit).collect(), max_concurrent: *max_concurrent_requests, share };
    let account = draft.account(id, limits);
    let models: Arc<Patterns<()>> = Arc::new(models.iter().collect());
    let entry = |(hash, key): ([u8; 32], &TokenKey)| {
        let TokenKey { id: key_id, sha256: _, not_after } = key;
        let token = Token {
            id: id.clone(),
            key_id: key_id.clone(),
            models: Arc::clone(&models),
            expires: *expires,
            key_not_after: *not_after,
            suspended: *suspended,
            denies_unpriced: *deny_unpriced,
            account: Arc::clone(&account),
        };
        (hash, Arc::new(token))
    };
    Ok(hashes.into_iter().zip(keys).map(entry).collect())
}

fn hash(key: &TokenKey) -> Result<[u8; 32], String> {
    let mut hash = [0; 32];
    hex::decode_to_slice(&key.sha256, &mut hash).map_err(|error| format!("key {}: sha256: {error}", key.id))?;
    Ok(hash)
}

fn limit(told: &snapshot::Limit) -> Limit {
    let snapshot::Limit { name, per, quantity: counted, enforcement } = told;
    Limit {
        name: name.clone(),
        period: period(*per),
        quantity: quantity(*counted),
        is_strict: *enforcement == Enforcement::Strict,
    }
}

const fn period(window: Window) -> Period {
    match window {
        Window::Second => Period::Second,
        Window::Minute => Period::Minute,
        Window::Hour => Period::Hour,
        Window::Day => Period::Day,
        Window::Month => Period::Month,
    }
}

fn quantity(told: ToldQuantity) -> Quantity {
    match told {
        ToldQuantity::Requests(cap) => Quantity::Requests(cap),
        ToldQuantity::Tokens(cap) => Quantity::Tokens(cap),
        ToldQuantity::Spend(cap) => Quantity::Spend(u64::try_from(cap.get()).unwrap_or(0)),
    }
}
