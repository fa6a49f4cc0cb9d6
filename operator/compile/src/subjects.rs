//! `spec.subjects` of an ApiToken: the ServiceAccounts of its namespace that may call without an API key.
//!
//! A ServiceAccount belongs to one token only, the oldest that names it: otherwise it would be undefined whose limits a
//! request counts against.

use std::collections::BTreeSet;

use routeapi_channel::ObjectId;
use routeapi_crds::{condition::Reason, v1alpha1::ApiTokenSpec};

use crate::{owners::Owners, verdict::SpecError};

/// The ServiceAccounts that belong to a token.
pub(crate) struct Subjects {
    /// Their names.
    pub owned: Vec<String>,
    /// Part of the `Accepted` message; empty if it has all that it names.
    pub note: String,
}

impl Subjects {
    /// The ServiceAccounts that a token names, except those that an older token has.
    ///
    /// # Errors
    /// When nobody could use the token: it has no key, and older tokens have all of its ServiceAccounts.
    pub fn of(spec: &ApiTokenSpec, id: &ObjectId, owners: &Owners) -> Result<Self, SpecError> {
        let (mut owned, mut conflicts) = (Vec::new(), Vec::new());
        for name in names(spec) {
            match owners.owner(&claim(id, name)).filter(|owner| *owner != id) {
                Some(owner) => conflicts.push(format!("{name} belongs to the older ApiToken {}", owner.name())),
                None => owned.push(name.to_owned()),
            }
        }
        if conflicts.is_empty() {
            return Ok(Self { owned, note: String::new() });
        }
        let note = format!(
            "spec.subjects: ignored, because a ServiceAccount can belong to one ApiToken only: {}",
            conflicts.join(", ")
        );
        if owned.is_empty() && !spec.has_key() {
            return Err(SpecError::new(Reason::SubjectConflict, note));
        }
        Ok(Self { owned, note })
    }
}

/// What a token claims by its subjects.
pub(crate) fn claims(spec: &ApiTokenSpec, id: &ObjectId) -> impl Iterator<Item = String> {
    names(spec).into_iter().map(|name| claim(id, name))
}

/// Each name once.
fn names(spec: &ApiTokenSpec) -> BTreeSet<&str> {
    spec.subjects.iter().map(|subject| subject.service_account_name.as_str()).collect()
}

/// No key's hash is written so.
fn claim(id: &ObjectId, name: &str) -> String {
    format!("serviceaccount:{}/{name}", id.namespace())
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::json;

    use super::*;

    /// What each of these tokens gets, of which the first is the oldest: its ID, names and `secretKeys`.
    fn shared_out(tokens: &[(ObjectId, &[&str], &str)]) -> Vec<Result<Subjects, SpecError>> {
        let mut owners = Owners::default();
        let specs: Vec<ApiTokenSpec> = tokens.iter().map(|(_, names, secret_keys)| spec(names, secret_keys)).collect();
        for (created, ((id, ..), spec)) in (0..).zip(tokens.iter().zip(&specs)) {
            owners.add(claims(spec, id).map(Cow::Owned), &(created, id.clone()));
        }
        tokens.iter().zip(&specs).map(|((id, ..), spec)| Subjects::of(spec, id, &owners)).collect()
    }

    fn spec(names: &[&str], secret_keys: &str) -> ApiTokenSpec {
        let subjects: Vec<_> = names.iter().map(|name| json!({"serviceAccountName": name})).collect();
        serde_json::from_value(json!({"models": ["*"], "subjects": subjects, "secretKeys": secret_keys})).unwrap()
    }

    #[test]
    fn service_account_belongs_to_the_oldest_token_of_its_namespace() {
        let shared = shared_out(&[
            (ObjectId::new("shop", "old"), &["pay", "cart", "pay"], "None"),
            (ObjectId::new("shop", "new"), &["pay", "mail"], "None"),
            (ObjectId::new("bank", "new"), &["pay"], "None"),
        ]);
        let owned: Vec<_> = shared.iter().map(|it| it.as_ref().ok().unwrap().owned.join(" ")).collect();
        assert_eq!(owned, ["cart pay", "mail", "pay"]);
        let notes: Vec<_> = shared.iter().map(|it| it.as_ref().ok().unwrap().note.as_str()).collect();
        assert!(notes[1].contains("pay belongs to the older ApiToken old"), "{notes:?}");
        assert_eq!((notes[0], notes[2]), ("", ""));
    }

    #[test]
    fn token_that_nobody_could_use_is_refused() {
        let shared = shared_out(&[
            (ObjectId::new("shop", "old"), &["pay"], "None"),
            (ObjectId::new("shop", "new"), &["pay"], "None"),
            (ObjectId::new("shop", "newest"), &["pay"], "Plain"),
        ]);
        assert!(shared[1].is_err());
        let with_key = shared[2].as_ref().ok().unwrap();
        assert!(with_key.owned.is_empty() && !with_key.note.is_empty());
    }
}
