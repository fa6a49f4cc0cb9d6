//! May a route use the provider that it names: it is there, it agrees, and it can be used itself.
//!
//! A message never carries anything from another namespace. Whether a provider there does not exist or does not agree is
//! one answer, so that references cannot be used to look around.

use routeapi_channel::{ObjectId, snapshot::Provider};
use routeapi_crds::{condition::Reason, v1alpha1::ProviderRef};

use crate::{providers::Providers, selectors::Namespaces, verdict::Problem};

/// The provider that a route of this namespace names, if it may and can use it. `field` is the path of the reference.
pub(crate) fn provider<'a>(
    providers: &'a Providers,
    namespaces: &Namespaces<'_>,
    namespace: &str,
    reference: &ProviderRef,
    field: &str,
) -> Result<(ObjectId, &'a Provider), Problem> {
    let id = ObjectId::new(reference.namespace.as_deref().unwrap_or(namespace), &reference.name);
    let foreign = id.namespace() != namespace;
    let Some(found) = providers.get(&id) else {
        return Err(if foreign {
            not_permitted(&id, namespace, field)
        } else {
            Problem::new(Reason::ProviderNotFound, format!("{field}: AIProvider {id} does not exist"))
        });
    };
    if foreign && !namespaces.is_open_to(&found.allowed, namespace) {
        return Err(not_permitted(&id, namespace, field));
    }
    let Some(provider) = &found.provider else {
        let why = match found.problem() {
            Some(problem) if !foreign => format!(": {problem}"),
            _ => String::new(),
        };
        return Err(Problem::new(Reason::ProviderNotReady, format!("{field}: AIProvider {id} cannot be used{why}")));
    };
    Ok((id, provider))
}

fn not_permitted(id: &ObjectId, namespace: &str, field: &str) -> Problem {
    let message =
        format!("{field}: AIProvider {id} does not exist or its allowedRoutes do not include namespace {namespace:?}");
    Problem::new(Reason::RefNotPermitted, message)
}
