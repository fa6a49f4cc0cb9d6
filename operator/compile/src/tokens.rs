//! ApiToken → [`Token`]: the hashes of its keys, its allow-list and its limits.
//!
//! A key stands for one token only. If two tokens hold the same one (imported twice), the older token keeps it: otherwise
//! whose limits a request is charged to would be chance. Expiry and the end of a rotation's overlap travel as times,
//! because only the data plane's own clock may decide about them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use routeapi_channel::{
    ObjectId,
    snapshot::{Limit, Quantity, Token, TokenKey},
};
use routeapi_crds::{
    condition::{ConditionType, Decision, Reason},
    v1alpha1::{self, ApiToken, ApiTokenSpec, KeyStatus, TokenState},
    value::{Enforcement, ModelPattern},
};

use crate::{
    objects::{self, Objects},
    unpriced::{self, Unpriced},
    unserved::Served,
    verdict::{Detail, Problem, Verdict},
};

/// Every token: none in the snapshot if it was not accepted.
pub(crate) fn compile<'a>(
    objects: &'a Objects,
    unpriced: &Unpriced<'_>,
    mut served: Served<'a>,
) -> Vec<(ObjectId, Option<Token>, Verdict)> {
    let mut taken = BTreeMap::new();
    let mut without_price: BTreeMap<String, Vec<&ModelPattern>> = BTreeMap::new();
    objects::oldest_first(&objects.tokens, |object| &object.metadata)
        .into_iter()
        .map(|(_, id, object)| {
            let judged = limits(&object.spec).and_then(|limits| Ok((limits, Keys::claim(object, &id, &mut taken)?)));
            let expires = object.spec.expiration_time.as_ref().map(seconds);
            let suspended = object.spec.state == TokenState::Suspended;
            let deny_unpriced = object.spec.denies_unpriced();
            let note = if deny_unpriced {
                let namespace = || unpriced.for_namespace(id.namespace());
                unpriced::note(
                    without_price.entry(id.namespace().to_owned()).or_insert_with(namespace),
                    &object.spec.models,
                )
            } else {
                String::new()
            };
            let verdict = Verdict {
                generation: object.metadata.generation,
                decisions: vec![match &judged {
                    Ok((_, keys)) => {
                        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
                        let unserved = served.note(namespace, &object.spec.models);
                        let notes = [keys.note.as_str(), &unserved, &note].into_iter().filter(|it| !it.is_empty());
                        let message = notes.collect::<Vec<_>>().join("; ");
                        Decision::yes_but(ConditionType::Accepted, Reason::Accepted, message)
                    }
                    Err(problem) => problem.decision(ConditionType::Accepted),
                }],
                detail: Detail::Token { expires, suspended },
            };
            let token = judged.ok().map(|(limits, keys)| Token {
                keys: keys.won,
                models: object.spec.models.clone(),
                limits,
                deny_unpriced,
                max_concurrent_requests: object.spec.max_concurrent_requests,
                expires,
                suspended,
            });
            (id, token, verdict)
        })
        .collect()
}

/// The keys that a token holds now.
struct Keys {
    won: Vec<TokenKey>,
    note: String,
}

impl Keys {
    /// Takes the token's keys, as far as no older token has them.
    fn claim<'a>(
        object: &'a ApiToken,
        id: &ObjectId,
        taken: &mut BTreeMap<&'a str, ObjectId>,
    ) -> Result<Self, Problem> {
        let listed: &[KeyStatus] = object.status.as_ref().map_or(&[], |status| &status.keys);
        let (mut won, mut lost) = (Vec::new(), Vec::new());
        for key in listed {
            match taken.get(key.sha256.as_str()) {
                // The same key twice in one status is lost too.
                Some(owner) => lost.push(format!("{} belongs to {}", key.id, older(owner, id))),
                None => {
                    taken.insert(&key.sha256, id.clone());
                    won.push(key);
                }
            }
        }
        let note = if lost.is_empty() {
            String::new()
        } else {
            format!("status.keys: left out, since a key stands for one ApiToken only: {}", lost.join(", "))
        };
        if won.is_empty() && !lost.is_empty() {
            return Err(Problem::new(Reason::KeyConflict, note));
        }
        Ok(Self { won: won.into_iter().map(key).collect(), note })
    }
}

/// Whose a key is, told to the token `to`: nothing is said about other namespaces.
fn older(owner: &ObjectId, to: &ObjectId) -> String {
    if owner.namespace() == to.namespace() {
        format!("the older ApiToken {}", owner.name())
    } else {
        "an older ApiToken of another namespace".to_owned()
    }
}

fn key(status: &KeyStatus) -> TokenKey {
    TokenKey {
        id: status.id.clone(),
        sha256: status.sha256.clone(),
        not_after: status.not_after_time.as_ref().map(seconds),
    }
}

/// Checks what an API server would have refused, because local files meet none.
fn limits(spec: &ApiTokenSpec) -> Result<Vec<Limit>, Problem> {
    let mut names = BTreeSet::new();
    let mut limits = Vec::with_capacity(spec.limits.len());
    for (index, limit) in spec.limits.iter().enumerate() {
        let invalid = |message: String| Problem::new(Reason::InvalidConfig, format!("spec.limits[{index}]{message}"));
        if !names.insert(limit.name.as_str()) {
            return Err(invalid(format!(".name: {:?} is used twice", limit.name)));
        }
        let quantity = quantity(limit)
            .ok_or_else(|| invalid(": exactly one of requests, tokens or spendUSD must be set".to_owned()))?;
        if limit.requests.is_some() && limit.enforcement == Enforcement::Strict {
            return Err(invalid(".enforcement: Strict needs tokens or spendUSD".to_owned()));
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
