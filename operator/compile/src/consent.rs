//! May a route use the provider that it names: it is there, it agrees, and it can be used itself.
//!
//! A message never carries anything from another namespace. Whether a provider there does not exist or does not agree is
//! one answer, so that references cannot be used to look around.

use routeapi_channel::{ObjectId, snapshot::Provider};
use routeapi_crds::{condition::Reason, v1alpha1::ProviderRef};

use crate::{providers::Providers, selectors::Namespaces, verdict::Problem};

/// Everything that references to providers are judged by.
#[derive(Clone, Copy)]
pub(crate) struct Consent<'a> {
    pub providers: &'a Providers<'a>,
    pub namespaces: &'a Namespaces<'a>,
    /// Whether what is not there may be elsewhere.
    pub partial: bool,
}

/// A provider that a route may use.
pub(crate) struct Permitted<'a> {
    pub id: ObjectId,
    pub provider: &'a Provider,
    /// What was assumed of the route's namespace.
    pub assumed: Option<String>,
}

/// Why a provider cannot be used.
pub(crate) enum Unusable {
    /// It is not there, does not agree, or cannot be used by anybody.
    Problem(Problem),
    /// It is not there, and assumed to be elsewhere and to agree: a sentence for what is assumed.
    Elsewhere(String),
}

impl From<Problem> for Unusable {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// The provider that a route of this namespace names, if it may and can use it. `field` is the path of the reference.
pub(crate) fn provider<'a>(
    consent: Consent<'a>,
    namespace: &str,
    reference: &ProviderRef,
    field: &str,
) -> Result<Permitted<'a>, Unusable> {
    let Consent { providers, namespaces, partial } = consent;
    let id = ObjectId::new(reference.namespace.as_deref().unwrap_or(namespace), &reference.name);
    let foreign = id.namespace() != namespace;
    let Some(found) = providers.get(&id) else { return Err(absent(consent, &id, namespace, field)) };
    let mut assumed = None;
    if foreign && !namespaces.is_open_to(&found.allowed, namespace) {
        if !partial || !namespaces.could_be_open_to(&found.allowed, namespace) {
            return Err(not_permitted(&id, namespace, field).into());
        }
        assumed = Some(format!(
            "Namespace {namespace} has labels that spec.allowedRoutes of AIProvider {id} asks for ({field})"
        ));
    }
    let Some(provider) = &found.provider else {
        let why = match found.problem() {
            Some(problem) if !foreign => format!(": {}", problem.message),
            // The word alone says nothing that its owner wrote.
            Some(problem) => format!(" ({}); its own status says more", problem.reason),
            None => String::new(),
        };
        let message = format!("{field}: AIProvider {id} cannot be used{why}");
        return Err(Problem::new(Reason::ProviderNotReady, message).into());
    };
    Ok(Permitted { id, provider, assumed })
}

/// What to make of a provider that is not there.
fn absent(consent: Consent<'_>, id: &ObjectId, namespace: &str, field: &str) -> Unusable {
    let Consent { providers, partial, .. } = consent;
    let foreign = id.namespace() != namespace;
    // Only manifests of a workstation know of such objects, and whoever has those may see them all.
    if providers.is_refused(id) || (!foreign && providers.is_unread(id)) {
        let message = format!("{field}: AIProvider {id} exists but is not accepted: correct it first");
        return Problem::new(Reason::ProviderNotReady, message).into();
    }
    if !partial {
        return match foreign {
            true => not_permitted(id, namespace, field).into(),
            false => Problem::new(Reason::ProviderNotFound, format!("{field}: AIProvider {id} does not exist")).into(),
        };
    }
    let consents =
        if foreign { format!(" and its allowedRoutes include namespace {namespace}") } else { String::new() };
    let named = providers.named_in(id.namespace());
    // A slip in a name is told from an object that is elsewhere by what is here.
    let here = match named.as_slice() {
        [] => String::new(),
        names => format!("; here are {}", names.join(", ")),
    };
    Unusable::Elsewhere(format!("AIProvider {id} exists{consents} ({field}{here})"))
}

/// The provider that a reference names, whether or not it can be used now, if it is there and agrees.
pub(crate) fn attached(consent: Consent<'_>, namespace: &str, reference: &ProviderRef) -> Option<ObjectId> {
    let Consent { providers, namespaces, .. } = consent;
    let id = ObjectId::new(reference.namespace.as_deref().unwrap_or(namespace), &reference.name);
    let found = providers.get(&id)?;
    (id.namespace() == namespace || namespaces.is_open_to(&found.allowed, namespace)).then_some(id)
}

fn not_permitted(id: &ObjectId, namespace: &str, field: &str) -> Problem {
    let message =
        format!("{field}: AIProvider {id} does not exist or its allowedRoutes do not include namespace {namespace:?}");
    Problem::new(Reason::RefNotPermitted, message)
}
