//! Gives each ApiToken of local manifests a value: the `token` of its Secret, else one that is made here and kept for as
//! long as the process runs, so that a reload does not lock anyone out.
//!
//! In a cluster the operator writes a token's hash to `status.keys`, and that is what is compiled; here the same place is
//! filled from the value.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use routeapi_channel::{
    ObjectId, Secret,
    token_format::{self, ENTROPY, Minted, Reading},
};
use routeapi_compile::Objects;
use routeapi_crds::v1alpha1::{ApiToken, ApiTokenStatus, KeyStatus, TOKEN_KEY};
use sha2::{Digest, Sha256};

/// A token that can be used now.
#[derive(Clone, Debug)]
pub struct LocalToken {
    /// The ApiToken.
    pub id: ObjectId,
    /// What a client sends.
    pub value: Secret,
    /// Whether it was made here, rather than brought along in a Secret.
    pub made: bool,
}

/// Where values come from that no Secret has.
#[derive(Debug)]
pub enum Values {
    /// Random; for serving.
    Random(BTreeMap<ObjectId, Minted>),
    /// The same in each run and known to everybody; for commands that only show what would be.
    Placeholder,
}

/// The operating system gave no random bytes.
const NO_ENTROPY: &str = "no token can be made: the operating system gives no random bytes";

impl Values {
    /// For serving.
    pub fn random() -> Self {
        Self::Random(BTreeMap::new())
    }

    /// Fills every token's status. What is wrong goes to `problem`; such a token gets no key.
    pub fn assign(&mut self, objects: &mut Objects, mut problem: impl FnMut(&ObjectId, String)) -> Vec<LocalToken> {
        let mut given = Vec::new();
        for object in &mut objects.tokens {
            let Some(id) = id(object) else { continue };
            let secret = ObjectId::new(id.namespace(), object.secret_name());
            let token = match objects.secrets.get(&secret) {
                Some(data) => match data.get(TOKEN_KEY).map(|bytes| token_format::import(bytes)) {
                    Some(Ok(text)) => Ok((Secret::new(text), false)),
                    Some(Err(unusable)) => Err(format!("Secret {secret}: {TOKEN_KEY}: {unusable}")),
                    None => Err(format!("Secret {secret}: {TOKEN_KEY}: is missing")),
                },
                None => self.make(&id).map(|value| (value, true)),
            };
            match token {
                Ok((value, made)) => {
                    Arc::make_mut(object).status = Some(status(&value));
                    given.push(LocalToken { id, value, made });
                }
                Err(message) => {
                    Arc::make_mut(object).status = None;
                    problem(&id, message);
                }
            }
        }
        given
    }

    fn make(&mut self, id: &ObjectId) -> Result<Secret, String> {
        match self {
            Self::Random(made) => {
                if let Some(minted) = made.get(id) {
                    return Ok(minted.value.clone());
                }
                let mut entropy = [0; ENTROPY];
                getrandom::fill(&mut entropy).map_err(|_| NO_ENTROPY.to_owned())?;
                let minted = token_format::mint(&entropy);
                let value = minted.value.clone();
                made.insert(id.clone(), minted);
                Ok(value)
            }
            Self::Placeholder => {
                let mut entropy = [0; ENTROPY];
                let hash = Sha256::digest(id.to_string());
                entropy.iter_mut().zip(hash.iter().cycle()).for_each(|(byte, from)| *byte = *from);
                Ok(token_format::mint(&entropy).value)
            }
        }
    }
}

fn id(object: &ApiToken) -> Option<ObjectId> {
    Some(ObjectId::new(object.metadata.namespace.clone()?, object.metadata.name.clone()?))
}

fn status(value: &Secret) -> ApiTokenStatus {
    let sha256 = token_format::sha256(value.expose());
    let id = match token_format::read(value.expose()) {
        Reading::Minted { id } => id.to_owned(),
        Reading::Damaged { .. } | Reading::Foreign => token_format::id_of_hash(&sha256),
    };
    let key = KeyStatus { id, sha256, issued_time: Time(Timestamp::UNIX_EPOCH), not_after_time: None };
    ApiTokenStatus { keys: vec![key], ..ApiTokenStatus::default() }
}

#[cfg(test)]
mod tests {
    use routeapi_compile::Manifests;
    use serde_json::json;

    use super::*;

    fn assign(value: &str) -> (Vec<LocalToken>, Vec<String>) {
        let mut manifests = Manifests::default();
        let token = json!({"apiVersion": "routeapi.dev/v1alpha1", "kind": "ApiToken", "metadata": {"name": "app"},
            "spec": {"models": ["*"], "secretName": "mine"}});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"},
            "stringData": {"token": value}});
        manifests.add(&token).unwrap();
        manifests.add(&secret).unwrap();
        let mut problems = Vec::new();
        let given =
            Values::random().assign(&mut manifests.finish(), |id, message| problems.push(format!("{id}: {message}")));
        (given, problems)
    }

    #[test]
    fn guessable_key_is_refused() {
        let (given, problems) = assign("0123456789abcde\n");
        assert!(given.is_empty());
        let problem = "default/app: Secret default/mine: token: has 15 bytes; at least 16 are required, \
                       because shorter keys can be guessed";
        assert_eq!(problems, [problem]);
    }

    #[test]
    fn white_space_around_a_key_is_trimmed() {
        let (given, problems) = assign(" 0123456789abcdef\n");
        assert_eq!(problems, [""; 0]);
        assert_eq!(given[0].value.expose(), "0123456789abcdef");
    }
}
