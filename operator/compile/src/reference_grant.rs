//! Whether a route may use the provider that it refers to: the provider exists, its `allowedRoutes` admit the route's
//! namespace, and it is ready itself.
//!
//! A message never reveals anything about another namespace. A provider there that does not exist and one that does not
//! admit the route give the same message, so that references cannot be used to explore other namespaces.

use routeapi_channel::{ObjectId, snapshot::Provider};
use routeapi_crds::{condition::Reason, v1alpha1::ProviderRef};

use crate::{providers::Providers, selectors::Namespaces, verdict::SpecError};

/// Everything needed to resolve references to providers.
#[derive(Clone, Copy)]
pub(crate) struct ReferenceGrants<'a> {
    pub providers: Providers<'a>,
    pub namespaces: &'a Namespaces<'a>,
    /// Whether missing providers are assumed to exist.
    pub partial: bool,
}

/// A provider that a route may use.
pub(crate) struct PermittedProvider<'a> {
    pub id: ObjectId,
    pub provider: &'a Provider,
    /// What was assumed about the route's namespace, as a sentence.
    pub assumed: Option<String>,
}

/// A reference to a provider that did not resolve.
pub(crate) enum Unresolved {
    /// The provider does not exist, does not admit the route, or is not ready.
    Error(SpecError),
    /// The provider is missing and assumed to exist and to admit the route: what is assumed, as a sentence.
    Assumed(String),
}

impl From<SpecError> for Unresolved {
    fn from(error: SpecError) -> Self {
        Self::Error(error)
    }
}

/// The provider that a route of this namespace refers to, if the route may use it. `field` is the path of the reference.
pub(crate) fn resolve<'a>(
    grants: ReferenceGrants<'a>,
    namespace: &str,
    reference: &ProviderRef,
    field: &str,
) -> Result<PermittedProvider<'a>, Unresolved> {
    let ReferenceGrants { providers, namespaces, partial } = grants;
    let id = ObjectId::new(reference.namespace.as_deref().unwrap_or(namespace), &reference.name);
    let foreign = id.namespace() != namespace;
    let Some(found) = providers.get(&id) else { return Err(missing(grants, &id, namespace, field)) };
    let mut assumed = None;
    if foreign && !namespaces.is_open_to(&found.allowed, namespace) {
        if !partial || !namespaces.could_be_open_to(&found.allowed, namespace) {
            return Err(not_permitted(&id, namespace, field).into());
        }
        assumed = Some(format!(
            "Namespace {namespace} has the labels that spec.allowedRoutes of AIProvider {id} selects ({field})"
        ));
    }
    let Some(provider) = &found.provider else {
        let why = match found.failed_condition() {
            Some(condition) if !foreign => format!(": {}", condition.message),
            // The reason alone reveals nothing that the provider's owner wrote.
            Some(condition) => format!(" ({}); its own status has the details", condition.reason),
            None => String::new(),
        };
        let message = format!("{field}: AIProvider {id} is not ready{why}");
        return Err(SpecError::new(Reason::ProviderNotReady, message).into());
    };
    Ok(PermittedProvider { id, provider, assumed })
}

/// What a missing provider means.
fn missing(grants: ReferenceGrants<'_>, id: &ObjectId, namespace: &str, field: &str) -> Unresolved {
    let ReferenceGrants { providers, partial, .. } = grants;
    let foreign = id.namespace() != namespace;
    // Rejected objects come from manifests, whose reader can see all of them anyway.
    if providers.is_refused(id) || (!foreign && providers.is_unread(id)) {
        let message = format!("{field}: AIProvider {id} exists but is invalid; correct it first");
        return SpecError::new(Reason::ProviderNotReady, message).into();
    }
    if !partial {
        if foreign {
            return not_permitted(id, namespace, field).into();
        }
        let message = format!("{field}: AIProvider {id} does not exist");
        return SpecError::new(Reason::ProviderNotFound, message).into();
    }
    let admits = if foreign { format!(" and its allowedRoutes include namespace {namespace}") } else { String::new() };
    // Tells a typo from an object that is not among the manifests.
    let similar = match providers.names_in(id.namespace()).as_slice() {
        [] => String::new(),
        names => format!("; did you mean {}?", names.join(" or ")),
    };
    Unresolved::Assumed(format!("AIProvider {id} exists{admits} ({field}{similar})"))
}

/// The provider that a route counts as attached to: it exists and admits the route, whether or not it is ready.
pub(crate) fn attached(grants: ReferenceGrants<'_>, namespace: &str, reference: &ProviderRef) -> Option<ObjectId> {
    let ReferenceGrants { providers, namespaces, .. } = grants;
    let id = ObjectId::new(reference.namespace.as_deref().unwrap_or(namespace), &reference.name);
    let found = providers.get(&id)?;
    (id.namespace() == namespace || namespaces.is_open_to(&found.allowed, namespace)).then_some(id)
}

fn not_permitted(id: &ObjectId, namespace: &str, field: &str) -> SpecError {
    let message =
        format!("{field}: AIProvider {id} does not exist, or its allowedRoutes do not include namespace {namespace:?}");
    SpecError::new(Reason::RefNotPermitted, message)
}
