//! Tokens: one entry per key, all on one account.

use std::sync::Arc;

use routeapi_channel::{
    ObjectId,
    snapshot::{Quantity as ToldQuantity, Token as Told},
};
use routeapi_crds::value::{Enforcement, Window};
use routeapi_metering::{Limit, Period, Quantity, Share};

use crate::{
    config::{patterns::Patterns, runtime::Token},
    state::SharedState,
};

/// A key's SHA-256 and what it stands for.
type Entry = ([u8; 32], Arc<Token>);

pub fn compile(id: &ObjectId, told: &Told, state: &SharedState, share: Share) -> Result<Vec<Entry>, String> {
    let account = state.account(id);
    let limits = told.limits.iter().map(|limit| Limit {
        name: limit.name.clone(),
        period: period(limit.per),
        quantity: quantity(limit.quantity),
        is_strict: limit.enforcement == Enforcement::Strict,
    });
    account.configure(limits.collect(), told.max_concurrent_requests, share);
    let models: Arc<Patterns<()>> = Arc::new(told.models.iter().collect());
    let key = |key: &routeapi_channel::snapshot::TokenKey| {
        let mut hash = [0; 32];
        hex::decode_to_slice(&key.sha256, &mut hash).map_err(|error| format!("key {}: sha256: {error}", key.id))?;
        let token = Token {
            id: id.clone(),
            key_id: key.id.clone(),
            models: Arc::clone(&models),
            expires: told.expires,
            key_not_after: key.not_after,
            suspended: told.suspended,
            denies_unpriced: told.deny_unpriced,
            account: Arc::clone(&account),
        };
        Ok((hash, Arc::new(token)))
    };
    told.keys.iter().map(key).collect()
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
