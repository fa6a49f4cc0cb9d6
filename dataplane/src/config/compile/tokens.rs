//! Tokens: one entry per key and ServiceAccount, all on one account.

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

/// What stands for a token.
#[derive(Default)]
pub struct Compiled {
    /// Keys, by their SHA-256.
    pub keys: Vec<([u8; 32], Arc<Token>)>,
    /// ServiceAccounts.
    pub service_accounts: Vec<(ObjectId, Arc<Token>)>,
}

pub fn compile(id: &ObjectId, told: &Told, draft: &mut Draft<'_>, share: Share) -> Result<Compiled, String> {
    // Taken apart, so that a field that is forgotten here does not compile.
    let Told { keys, service_accounts, models, limits, deny_unpriced, max_concurrent_requests, expires, suspended } =
        told;
    let hashes = keys.iter().map(hash).collect::<Result<Vec<_>, _>>()?;
    let limits =
        TokenLimits { limits: limits.iter().map(limit).collect(), max_concurrent: *max_concurrent_requests, share };
    let account = draft.account(id, limits);
    let models: Arc<Patterns<()>> = Arc::new(models.iter().collect());
    let token = |key_id: String, key_not_after: Option<i64>| {
        Arc::new(Token {
            id: id.clone(),
            key_id,
            models: Arc::clone(&models),
            expires: *expires,
            key_not_after,
            suspended: *suspended,
            denies_unpriced: *deny_unpriced,
            account: Arc::clone(&account),
        })
    };
    let key = |(hash, key): ([u8; 32], &TokenKey)| {
        let TokenKey { id: key_id, sha256: _, not_after } = key;
        (hash, token(key_id.clone(), *not_after))
    };
    let service_account =
        |name: &String| (ObjectId::new(id.namespace(), name), token(format!("serviceaccount/{name}"), None));
    Ok(Compiled {
        keys: hashes.into_iter().zip(keys).map(key).collect(),
        service_accounts: service_accounts.iter().map(service_account).collect(),
    })
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
