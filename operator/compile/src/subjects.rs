//! `spec.subjects` of an ApiToken: the ServiceAccounts of its namespace that may call without an API key.
//!
//! A ServiceAccount belongs to one token only, the oldest that names it: otherwise it would be undefined whose limits a
//! request counts against.

use std::collections::BTreeMap;

use routeapi_channel::ObjectId;
use routeapi_crds::{condition::Reason, v1alpha1::ApiTokenSpec};

use crate::verdict::SpecError;

/// Which token has which ServiceAccount.
#[derive(Default)]
pub(crate) struct SubjectOwners(BTreeMap<ObjectId, ObjectId>);

/// The ServiceAccounts that belong to a token.
pub(crate) struct Subjects {
    /// Their names.
    pub owned: Vec<String>,
    /// Part of the `Accepted` message; empty if it has all that it names.
    pub note: String,
}

impl SubjectOwners {
    /// Claims what a token names, unless an older token has it. Tokens come oldest first.
    ///
    /// # Errors
    /// When nobody could use the token: it has no key, and older tokens have all of its ServiceAccounts. Nothing is claimed
    /// then.
    pub fn claim(&mut self, spec: &ApiTokenSpec, id: &ObjectId) -> Result<Subjects, SpecError> {
        let (mut owned, mut conflicts) = (Vec::new(), Vec::new());
        for name in spec.subjects.iter().map(|subject| &subject.service_account_name) {
            let account = ObjectId::new(id.namespace(), name);
            match self.0.get(&account).filter(|owner| *owner != id) {
                Some(owner) => conflicts.push(format!("{name} belongs to the older ApiToken {}", owner.name())),
                None if owned.contains(name) => {}
                None => {
                    self.0.insert(account, id.clone());
                    owned.push(name.clone());
                }
            }
        }
        if conflicts.is_empty() {
            return Ok(Subjects { owned, note: String::new() });
        }
        let note = format!(
            "spec.subjects: ignored, because a ServiceAccount can belong to one ApiToken only: {}",
            conflicts.join(", ")
        );
        if owned.is_empty() && !spec.has_key() {
            return Err(SpecError::new(Reason::SubjectConflict, note));
        }
        Ok(Subjects { owned, note })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(names: &[&str], secret_keys: &str) -> ApiTokenSpec {
        let subjects: Vec<_> = names.iter().map(|name| json!({"serviceAccountName": name})).collect();
        serde_json::from_value(json!({"models": ["*"], "subjects": subjects, "secretKeys": secret_keys})).unwrap()
    }

    #[test]
    fn service_account_belongs_to_the_oldest_token_of_its_namespace() {
        let mut owners = SubjectOwners::default();
        let first = owners.claim(&spec(&["cart", "pay"], "None"), &ObjectId::new("shop", "old")).unwrap();
        assert_eq!(
            (first.owned.as_slice(), first.note.as_str()),
            (["cart".to_owned(), "pay".to_owned()].as_slice(), "")
        );
        let second = owners.claim(&spec(&["pay", "mail"], "None"), &ObjectId::new("shop", "new")).unwrap();
        assert_eq!(second.owned, ["mail"]);
        assert!(second.note.contains("pay belongs to the older ApiToken old"), "{}", second.note);
        let elsewhere = owners.claim(&spec(&["pay"], "None"), &ObjectId::new("bank", "new")).unwrap();
        assert_eq!((elsewhere.owned.as_slice(), elsewhere.note.as_str()), (["pay".to_owned()].as_slice(), ""));
    }

    #[test]
    fn token_that_nobody_could_use_is_refused() {
        let mut owners = SubjectOwners::default();
        owners.claim(&spec(&["pay"], "None"), &ObjectId::new("shop", "old")).unwrap();
        assert!(owners.claim(&spec(&["pay"], "None"), &ObjectId::new("shop", "new")).is_err());
        let with_key = owners.claim(&spec(&["pay"], "Plain"), &ObjectId::new("shop", "new")).unwrap();
        assert!(with_key.owned.is_empty() && !with_key.note.is_empty());
    }
}
