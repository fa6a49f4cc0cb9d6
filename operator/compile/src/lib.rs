//! Objects in, snapshot and one verdict per object out.
//!
//! Pure: no I/O, no clock, no client. The operator calls it with what it watches, `routeapi run`, `check` and `render` with
//! what they read from files, and the golden files show both sides. Equal objects give an equal [`Compiled`], in whatever
//! order they come.
//!
//! It never fails as a whole: an object that cannot be used gets a verdict that says why, naming the field, and costs the
//! others nothing. What it does not decide: anything about time (expiry, rotation), Secrets of tokens, or whether a data
//! plane took the result.

mod address;
mod audience;
mod certificates;
mod conflicts;
mod consent;
mod manifests;
mod objects;
mod offers;
mod overlaps;
mod providers;
mod publishers;
mod references;
mod routes;
mod selectors;
mod slips;
mod tokens;
mod unpriced;
mod unserved;
mod verdict;

use std::collections::BTreeMap;

pub use manifests::{Added, ManifestError, Manifests, items};
pub use objects::{Data, MAX_CERTIFICATES, MAX_VALUE, Objects};
pub use publishers::{PUBLISH_LABEL, Publishers};
pub use routeapi_channel::Key as ObjectRef;
use routeapi_channel::{Kind, ObjectId, Snapshot};
pub use routeapi_crds::value::{AddressPolicy, AddressRules};
pub use verdict::{Detail, Verdict};

use crate::{providers::Providers, selectors::Namespaces};

/// What differs between a cluster and a workstation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Where upstreams may be, and with that where plain http may go: inside the cluster, but anywhere from a
    /// workstation, as `routeapi run` is used.
    pub addresses: AddressRules,
    /// Namespaces whose routes may serve tokens of other namespaces.
    pub publishers: Publishers,
    /// Whether the objects are only a part of what a cluster has, as manifests in a repository are: a Secret, ConfigMap
    /// or AIProvider that is not among them, or the labels of a namespace, are then assumed to be what a reference needs
    /// ([`Compiled::assumptions`]), rather than missing.
    pub partial: bool,
}

/// The result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// What data planes are told.
    pub snapshot: Snapshot,
    /// One verdict for each AIProvider, AIRoute and ApiToken that is not being deleted.
    pub verdicts: BTreeMap<ObjectRef, Verdict>,
    /// What was assumed of things that are not among the objects, a sentence each, by the object that needs it. Always
    /// empty unless [`Options::partial`].
    pub assumptions: BTreeMap<ObjectRef, Vec<String>>,
}

/// Compiles a whole state.
pub fn compile(objects: &Objects, options: &Options) -> Compiled {
    let namespaces = Namespaces::of(objects);
    let providers = Providers::compile(objects, options);
    let routes = routes::compile(objects, &providers, &namespaces, options);
    let unpriced = unpriced::Unpriced::of(&routes.judged, &namespaces);
    let tokens = tokens::compile(objects, &unpriced, unserved::Served::of(&routes.judged, &namespaces));

    let Compiled { mut snapshot, mut verdicts, mut assumptions } = Compiled::default();
    let mut assume = |key: ObjectRef, assumed: Vec<String>| {
        if !assumed.is_empty() {
            assumptions.insert(key, assumed);
        }
    };
    for (id, providers::Judged { provider, verdict, assumed, .. }) in
        providers.finish(&routes.attached, &routes.unpriced)
    {
        let key = ObjectRef { kind: Kind::Provider, id: id.clone() };
        assume(key.clone(), assumed);
        verdicts.insert(key, verdict);
        keep(&mut snapshot.providers, id, provider);
    }
    for routes::Judged { id, route, verdict, assumed, .. } in routes.judged {
        let key = ObjectRef { kind: Kind::Route, id: id.clone() };
        assume(key.clone(), assumed);
        verdicts.insert(key, verdict);
        keep(&mut snapshot.routes, id, route);
    }
    for (id, token, verdict) in tokens {
        verdicts.insert(ObjectRef { kind: Kind::Token, id: id.clone() }, verdict);
        keep(&mut snapshot.tokens, id, token);
    }
    snapshot.namespaces = namespaces.of_tokens(&snapshot.tokens);
    Compiled { snapshot, verdicts, assumptions }
}

fn keep<T>(resources: &mut BTreeMap<ObjectId, T>, id: ObjectId, resource: Option<T>) {
    if let Some(resource) = resource {
        resources.insert(id, resource);
    }
}
