//! The model IDs that a token with a spend limit cannot use, because they have no price.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use routeapi_channel::{ObjectId, snapshot::Published};
use routeapi_crds::value::ModelPattern;

use crate::{
    pattern_index::{PatternIndex, overlap},
    quoted_list::quoted_list,
    routes::CompiledRoute,
    selectors::Namespaces,
};

/// How many patterns are collected for the tokens of one namespace: a message names fewer, and a namespace may be reached by
/// thousands.
const MAX_PATTERNS: usize = 64;

/// Routes by age, the oldest first.
type ByAge = BTreeMap<(i64, ObjectId), Arc<CompiledRoute>>;

/// Routes none of whose upstreams has a price, by the namespaces they serve.
#[derive(Default)]
pub(crate) struct UnpricedRoutes {
    own: HashMap<String, OwnRoutes>,
    published: ByAge,
}

/// The routes of a namespace that serve its own tokens.
#[derive(Default)]
struct OwnRoutes {
    unpriced: ByAge,
    /// What all of them serve, priced or not.
    served: PatternIndex<ObjectId, ()>,
}

impl UnpricedRoutes {
    /// Adds a route.
    pub fn add(&mut self, compiled: &Arc<CompiledRoute>, namespaces: &Namespaces<'_>) {
        let CompiledRoute { id, route, unpriced, .. } = &**compiled;
        let Some(route) = route.as_ref().filter(|route| route.serves()) else { return };
        let age = (route.created, id.clone());
        if namespaces.is_open_to(&route.allowed_namespaces, id.namespace()) {
            let own = self.own.entry(id.namespace().to_owned()).or_default();
            route.models.iter().for_each(|pattern| own.served.insert(pattern, id.clone(), ()));
            if *unpriced {
                own.unpriced.insert(age.clone(), Arc::clone(compiled));
            }
        }
        if *unpriced && !route.published.is_empty() {
            self.published.insert(age, Arc::clone(compiled));
        }
    }

    /// Takes a route away.
    pub fn remove(&mut self, CompiledRoute { id, route, .. }: &CompiledRoute) {
        let Some(route) = route else { return };
        let age = (route.created, id.clone());
        if let Some(own) = self.own.get_mut(id.namespace()) {
            route.models.iter().for_each(|pattern| own.served.remove(pattern, id));
            own.unpriced.remove(&age);
        }
        self.published.remove(&age);
    }

    /// For tokens of one namespace; a bounded number of patterns.
    pub fn for_namespace(&self, namespace: &str, namespaces: &Namespaces<'_>) -> Vec<ModelPattern> {
        let own = self.own.get(namespace);
        let shadowed = |pattern: &ModelPattern| {
            own.is_some_and(|OwnRoutes { served, .. }| {
                !served.equal(pattern).is_empty() || served.broader(pattern).next().is_some()
            })
        };
        let reaches = |published: &&Published| published.reach.contains(namespace) && !shadowed(&published.model);
        let published = self.published.iter().filter_map(|((_, id), compiled)| {
            let route = compiled.route.as_ref().filter(|_| id.namespace() != namespace)?;
            namespaces.is_open_to(&route.allowed_namespaces, namespace).then_some(route)
        });
        let published = published.flat_map(|route| route.published.iter().filter(reaches).map(|it| &it.model));
        let own = own.into_iter().flat_map(|own| own.unpriced.values());
        let own = own.filter_map(|compiled| compiled.route.as_ref()).flat_map(|route| &route.models);
        own.chain(published).take(MAX_PATTERNS).cloned().collect()
    }
}

/// Part of a token's `Accepted` message: the IDs that it allows and cannot use. Empty if there are none.
pub(crate) fn note(unpriced: &[ModelPattern], named: &[ModelPattern]) -> String {
    let overlaps = |pattern: &&ModelPattern| named.iter().any(|other| overlap(pattern, other));
    let models: Vec<String> = unpriced.iter().filter(overlaps).map(ToString::to_string).collect();
    if models.is_empty() {
        return String::new();
    }
    format!(
        "spec.unpricedModels: no price for {}, so this token cannot use them; set prices in the AIProviders, or set this \
         field to Allow",
        quoted_list(models.iter())
    )
}
