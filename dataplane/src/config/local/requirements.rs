//! Which environment variables are needed: those in values that a provider or a token is going to use. The others of the
//! same Secrets may stay unset.

use std::collections::{BTreeMap, BTreeSet};

use routeapi_channel::ObjectId;
use routeapi_compile::Objects;
use routeapi_crds::v1alpha1::{AIProvider, CaCertificateKind, Credentials, TOKEN_KEY};

use super::problem::ManifestProblem;

/// A Secret, one of its keys, and a variable in its value that is not set.
pub type Unset = (ObjectId, String, String);

/// Variables that are needed and not set, each with the Secrets and keys that need it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Required(BTreeMap<String, BTreeSet<(ObjectId, String)>>);

/// Which of the unset variables these objects need.
pub fn of(objects: &Objects, unset: &[Unset]) -> Required {
    let mut used: BTreeSet<(ObjectId, &str)> = BTreeSet::new();
    for provider in &objects.providers {
        used.extend(values(provider));
    }
    for token in &objects.tokens {
        let namespace = token.metadata.namespace.as_deref().unwrap_or_default();
        used.insert((ObjectId::new(namespace, token.secret_name()), TOKEN_KEY));
    }
    let mut required = Required::default();
    for (secret, key, name) in unset.iter().filter(|(secret, key, _)| used.contains(&(secret.clone(), key.as_str()))) {
        required.0.entry(name.clone()).or_default().insert((secret.clone(), key.clone()));
    }
    required
}

/// The Secrets and keys that a provider refers to.
fn values(provider: &AIProvider) -> Vec<(ObjectId, &str)> {
    let namespace = provider.metadata.namespace.as_deref().unwrap_or_default();
    let spec = &provider.spec;
    let mut found = Vec::new();
    found.extend(spec.credentials.iter().flat_map(Credentials::secret_keys));
    if let Some(tls) = &spec.tls {
        let roots = tls.ca_certificate_ref.iter().filter(|it| it.kind == CaCertificateKind::Secret);
        found.extend(roots.map(|it| (it.name.as_str(), it.key.as_str())));
        let own = tls.client_certificate_ref.iter();
        found.extend(own.flat_map(|it| ["tls.crt", "tls.key"].map(|key| (it.name.as_str(), key))));
    }
    if let Some(auth) = spec.proxy.as_ref().and_then(|it| it.basic_auth.as_ref()) {
        found.extend(["username", "password"].map(|key| (auth.secret_ref.name.as_str(), key)));
    }
    if let Some(request) = &spec.request {
        let headers = request.headers.iter().map(|it| &it.value_from);
        let parameters = request.query_parameters.iter().map(|it| &it.value_from);
        let secrets = headers.chain(parameters).flatten().filter_map(|it| it.secret_key_ref.as_ref());
        found.extend(secrets.map(|it| (it.name.as_str(), it.key.as_str())));
    }
    found.into_iter().map(|(name, key)| (ObjectId::new(namespace, name), key)).collect()
}

impl Required {
    /// All of them in one problem, if there are any.
    pub fn problem(&self) -> Option<ManifestProblem> {
        let one = |(name, places): (&String, &BTreeSet<(ObjectId, String)>)| {
            let places: Vec<String> = places.iter().map(|(secret, key)| format!("{key} of Secret {secret}")).collect();
            format!("{name} ({})", places.join(", "))
        };
        let each: Vec<String> = self.0.iter().map(one).collect();
        self.problem_of(&format!("{} not set: {}", if each.len() == 1 { "is" } else { "are" }, each.join(", ")))
    }

    /// All of them in one assumption, if there are any.
    pub fn assumption(&self) -> Option<ManifestProblem> {
        let names: Vec<&str> = self.0.keys().map(String::as_str).collect();
        self.problem_of(&format!("{} will be set", names.join(", ")))
    }

    fn problem_of(&self, what: &str) -> Option<ManifestProblem> {
        let subject = if self.0.len() == 1 { "environment variable" } else { "environment variables" };
        let message = format!("{subject} {what}");
        (!self.0.is_empty()).then_some(ManifestProblem { origin: None, object: None, message })
    }
}

#[cfg(test)]
mod tests {
    use routeapi_compile::Manifests;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_variables_used_by_a_provider_or_token_are_required() {
        let mut manifests = Manifests::default();
        let ours = |kind: &str, name: &str, spec: serde_json::Value| {
            json!({"apiVersion": "routeapi.dev/v1alpha1",
            "kind": kind, "metadata": {"name": name, "namespace": "ai"}, "spec": spec})
        };
        let key = json!({"apiKey": {"secretRef": {"name": "keys", "key": "openai"}}});
        let tls = json!({"caCertificateRef": {"kind": "Secret", "name": "roots", "key": "ca.crt"}});
        for object in [
            ours("AIProvider", "openai", json!({"type": "OpenAI", "credentials": key, "tls": tls})),
            ours("ApiToken", "app", json!({"models": ["*"], "secretName": "app"})),
        ] {
            manifests.add(&object).unwrap();
        }
        let unset = |namespace: &str, secret: &str, key: &str, name: &str| -> Unset {
            (ObjectId::new(namespace, secret), key.to_owned(), name.to_owned())
        };
        let required = of(
            &manifests.finish(),
            &[
                unset("ai", "keys", "openai", "OPENAI_API_KEY"),
                unset("ai", "keys", "other", "OTHER_KEY"),
                unset("other", "keys", "openai", "ELSEWHERE"),
                unset("ai", "roots", "ca.crt", "ROOTS"),
                unset("ai", "app", "token", "APP_KEY"),
                unset("ai", "app", "note", "NOTE"),
            ],
        );
        assert_eq!(
            required.problem().unwrap().to_string(),
            "environment variables are not set: APP_KEY (token of Secret ai/app), OPENAI_API_KEY (openai of Secret \
             ai/keys), ROOTS (ca.crt of Secret ai/roots)"
        );
        assert_eq!(
            required.assumption().unwrap().to_string(),
            "environment variables APP_KEY, OPENAI_API_KEY, ROOTS will be set"
        );
        assert_eq!(of(&Objects::default(), &[]).problem(), None);
    }
}
