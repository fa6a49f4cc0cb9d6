//! ApiToken → [`Token`]: the hashes of its keys, its allow-list and its limits.
//!
//! A key belongs to one token only. If two tokens have the same one (imported twice), the older token keeps it: otherwise it
//! would be undefined whose limits a request counts against. Expiry and the end of a rotation's overlap are sent as times,
//! because the data plane enforces them by its own clock.

use std::{borrow::Cow, collections::BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use routeapi_channel::{
    ObjectId,
    snapshot::{Limit, Quantity, Token, TokenKey},
};
use routeapi_crds::{
    condition::{ConditionType, Decision, Reason},
    v1alpha1::{self, ApiToken, ApiTokenSpec, KeyStatus, TokenState},
    value::Enforcement,
};

use crate::{
    objects::{self, Objects},
    owners::Owners,
    subjects::{self, Subjects},
    token_notes::{NoteWriter, TokenNotes},
    verdict::{Detail, SpecError, Verdict},
};

/// Compiles every token; none if it is not accepted.
pub(crate) fn compile(objects: &Objects, mut notes: NoteWriter<'_>) -> Vec<(ObjectId, Option<Token>, Verdict)> {
    let tokens = objects::oldest_first(&objects.tokens, |object| &object.metadata);
    let mut owners = Owners::default();
    for (created, id, object) in &tokens {
        owners.add(claims(object, id), &(*created, id.clone()));
    }
    let compiled = tokens.into_iter().map(|(_, id, object)| {
        let (token, verdict) = compile_one(object, &id, &owners, &notes.of(&id, &object.spec));
        (id, token, verdict)
    });
    compiled.collect()
}

/// Compiles one token; none if it is not accepted.
pub(crate) fn compile_one(
    object: &ApiToken,
    id: &ObjectId,
    owners: &Owners,
    notes: &TokenNotes,
) -> (Option<Token>, Verdict) {
    let compiled = limits(&object.spec)
        .and_then(|limits| Ok((limits, Keys::of(object, id, owners)?, Subjects::of(&object.spec, id, owners)?)));
    let expires = object.spec.expiration_time.as_ref().map(seconds);
    let suspended = object.spec.state == TokenState::Suspended;
    let verdict = Verdict {
        generation: object.metadata.generation,
        decisions: vec![match &compiled {
            Ok((_, keys, subjects)) => {
                let parts = [keys.note.as_str(), &subjects.note, &notes.unserved, &notes.unpriced];
                let message = parts.into_iter().filter(|note| !note.is_empty()).collect::<Vec<_>>().join("; ");
                Decision::yes_but(ConditionType::Accepted, Reason::Accepted, message)
            }
            Err(error) => error.decision(ConditionType::Accepted),
        }],
        detail: Detail::Token { expires, suspended },
    };
    let token = compiled.ok().map(|(limits, keys, subjects)| build(&object.spec, limits, keys, subjects));
    (token, verdict)
}

/// What a token claims, the hashes of its keys and its ServiceAccounts: nothing if it is not valid.
pub(crate) fn claims<'a>(object: &'a ApiToken, id: &'a ObjectId) -> impl Iterator<Item = Cow<'a, str>> {
    let listed: &[KeyStatus] = object.status.as_ref().map_or(&[], |status| &status.keys);
    let keys = listed.iter().map(|key| Cow::Borrowed(key.sha256.as_str()));
    let all = keys.chain(subjects::claims(&object.spec, id).map(Cow::Owned));
    let is_valid = limits(&object.spec).is_ok();
    all.filter(move |_| is_valid)
}

fn build(spec: &ApiTokenSpec, limits: Vec<Limit>, keys: Keys, subjects: Subjects) -> Token {
    // Taken apart, so that a field that is forgotten here does not compile.
    let ApiTokenSpec {
        models,
        // In `limits`.
        limits: _,
        // In `denies_unpriced`.
        unpriced_models: _,
        max_concurrent_requests,
        expiration_time,
        state,
        // For people, and for whoever makes the keys.
        description: _,
        secret_name: _,
        secret_keys: _,
        rotation: _,
        // In `subjects`.
        subjects: _,
    } = spec;
    Token {
        keys: keys.owned,
        service_accounts: subjects.owned,
        models: models.clone(),
        limits,
        deny_unpriced: spec.denies_unpriced(),
        max_concurrent_requests: *max_concurrent_requests,
        expires: expiration_time.as_ref().map(seconds),
        suspended: *state == TokenState::Suspended,
    }
}

/// The keys that belong to a token.
struct Keys {
    owned: Vec<TokenKey>,
    /// Part of the `Accepted` message; empty if it has all of its keys.
    note: String,
}

impl Keys {
    /// The token's keys, except those that an older token has.
    fn of(object: &ApiToken, id: &ObjectId, owners: &Owners) -> Result<Self, SpecError> {
        let listed: &[KeyStatus] = object.status.as_ref().map_or(&[], |status| &status.keys);
        let (mut owned, mut conflicts): (Vec<&KeyStatus>, Vec<String>) = (Vec::new(), Vec::new());
        for key in listed {
            // The same key twice in one status is a conflict too.
            let repeated = owned.iter().any(|other| other.sha256 == key.sha256);
            match owners.owner(&key.sha256).filter(|owner| repeated || *owner != id) {
                Some(owner) => conflicts.push(format!("{} belongs to {}", key.id, describe_owner(owner, id))),
                None => owned.push(key),
            }
        }
        let note = if conflicts.is_empty() {
            String::new()
        } else {
            format!("status.keys: ignored, because a key can belong to one ApiToken only: {}", conflicts.join(", "))
        };
        if owned.is_empty() && !conflicts.is_empty() {
            return Err(SpecError::new(Reason::KeyConflict, note));
        }
        Ok(Self { owned: owned.into_iter().map(key).collect(), note })
    }
}

/// The owner of a key as the token `to` may see it: objects of other namespaces are not named.
fn describe_owner(owner: &ObjectId, to: &ObjectId) -> String {
    if owner.namespace() == to.namespace() {
        format!("the older ApiToken {}", owner.name())
    } else {
        "an older ApiToken in another namespace".to_owned()
    }
}

fn key(status: &KeyStatus) -> TokenKey {
    TokenKey {
        id: status.id.clone(),
        sha256: status.sha256.clone(),
        not_after: status.not_after_time.as_ref().map(seconds),
    }
}

/// The limits, with checks that an API server makes too and manifests in files have not passed.
fn limits(spec: &ApiTokenSpec) -> Result<Vec<Limit>, SpecError> {
    let mut names = BTreeSet::new();
    let mut limits = Vec::with_capacity(spec.limits.len());
    for (index, limit) in spec.limits.iter().enumerate() {
        let invalid = |message: String| SpecError::new(Reason::InvalidConfig, format!("spec.limits[{index}]{message}"));
        if !names.insert(limit.name.as_str()) {
            return Err(invalid(format!(".name: {:?} is used twice", limit.name)));
        }
        let quantity = quantity(limit)
            .ok_or_else(|| invalid(": exactly one of requests, tokens or spendUSD must be set".to_owned()))?;
        if limit.requests.is_some() && limit.enforcement == Enforcement::Strict {
            return Err(invalid(".enforcement: Strict requires tokens or spendUSD".to_owned()));
        }
        limits.push(Limit { name: limit.name.clone(), per: limit.per, quantity, enforcement: limit.enforcement });
    }
    Ok(limits)
}

fn quantity(limit: &v1alpha1::Limit) -> Option<Quantity> {
    match (limit.requests, limit.tokens, limit.spend_usd) {
        (Some(requests), None, None) => Some(Quantity::Requests(requests)),
        (None, Some(tokens), None) => Some(Quantity::Tokens(tokens)),
        (None, None, Some(spend)) => Some(Quantity::Spend(spend)),
        _ => None,
    }
}

fn seconds(time: &Time) -> i64 {
    time.0.as_second()
}
