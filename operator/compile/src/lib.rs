//! Objects in, snapshot and one verdict per object out.
//!
//! Pure: no I/O, no clock, no client. The operator calls it with what it watches, `routeapi run`, `check` and `render` with
//! what they read from files, and the golden files show both sides. Equal objects give an equal [`Compiled`], in whatever
//! order they come. [`Compiler`] gives the same and does only what a change requires; [`compile()`] is what it is tested by.
//!
//! It never fails as a whole: an object that is not usable gets a verdict with the reason and the field path, and affects no
//! other object. It does not decide anything about time (expiry, rotation), Secrets of tokens, or whether data planes
//! accept the result.

mod address;
mod affinity;
mod base_url_hints;
mod certificates;
mod conflicts;
mod incremental;
mod manifests;
mod namespace_set;
mod objects;
mod options;
mod owners;
mod pattern_index;
mod provider_models;
mod providers;
mod publishers;
mod quoted_list;
mod reference_grant;
mod references;
mod route_table;
mod routes;
mod selectors;
mod subjects;
mod token_notes;
mod tokens;
mod unpriced;
mod unserved;
mod verdict;
mod workload_identity;

use std::{collections::BTreeMap, sync::Arc};

pub use incremental::{Changes, Compiler, Outcome};
pub use manifests::{Added, ManifestError, Manifests, items};
pub use objects::{Data, MAX_CERTIFICATES, MAX_VALUE, Objects};
pub use options::Options;
pub use publishers::{PUBLISH_LABEL, Publishers};
pub use routeapi_channel::Key as ObjectRef;
use routeapi_channel::{Kind, ObjectId, Snapshot};
pub use routeapi_crds::value::{AddressPolicy, AddressRules};
pub use verdict::{Detail, Verdict};
pub use workload_identity::WorkloadIdentity;

use crate::{
    providers::{KnownProviders, Providers},
    reference_grant::ReferenceGrants,
    route_table::{Due, RouteTable},
    routes::CompiledRoute,
    selectors::Namespaces,
    token_notes::{NoteWriter, Served},
};

/// The result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// The configuration for data planes.
    pub snapshot: Snapshot,
    /// One verdict for each AIProvider, AIRoute and ApiToken that is not being deleted.
    pub verdicts: BTreeMap<ObjectRef, Verdict>,
    /// What was assumed about objects that are missing, a sentence each, by the object that needs it. Always empty unless
    /// [`Options::partial`].
    pub assumptions: BTreeMap<ObjectRef, Vec<String>>,
}

/// Compiles a whole state.
pub fn compile(objects: &Objects, options: &Options) -> Compiled {
    let namespaces = Namespaces::of(objects);
    let mut known = KnownProviders::default();
    providers::compile(objects, options, &mut known);
    let providers = Providers { compiled: &known, refused: &objects.refused, unread: &objects.unread_providers };
    let grants = ReferenceGrants { providers, namespaces: &namespaces, partial: options.partial };
    let all =
        objects.routes.iter().filter_map(|object| Some((objects::live(&object.metadata)?, Some(Arc::clone(object)))));
    let mut routes = RouteTable::default();
    routes.update(Due { routes: all.collect(), ..Due::default() }, grants, &options.publishers);
    let served = Served::of(routes.compiled(), &namespaces);
    let tokens = tokens::compile(objects, NoteWriter::new(&served, &namespaces));

    let Compiled { mut snapshot, mut verdicts, mut assumptions } = Compiled::default();
    let mut assume = |key: ObjectRef, assumed: &[String]| {
        if !assumed.is_empty() {
            assumptions.insert(key, assumed.to_vec());
        }
    };
    for (id, (_, compiled)) in &known {
        let key = ObjectRef { kind: Kind::Provider, id: id.clone() };
        let (attached, unpriced) = routes.uses(id);
        assume(key.clone(), &compiled.assumed);
        verdicts.insert(key, compiled.verdict(attached, unpriced));
        keep(&mut snapshot.providers, id.clone(), compiled.provider.clone());
    }
    for compiled in routes.compiled() {
        let CompiledRoute { id, route, verdict, assumed, .. } = &**compiled;
        let key = ObjectRef { kind: Kind::Route, id: id.clone() };
        assume(key.clone(), assumed);
        verdicts.insert(key, verdict.clone());
        keep(&mut snapshot.routes, id.clone(), route.clone());
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
