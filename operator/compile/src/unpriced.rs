//! The model IDs that a token with a spend limit cannot use, because they have no price.

use std::{collections::BTreeMap, sync::Arc};

use routeapi_channel::{
    ObjectId,
    snapshot::{Published, Route},
};
use routeapi_crds::value::ModelPattern;

use crate::{pattern_index::PatternIndex, quoted_list::quoted_list, routes::CompiledRoute, selectors::Namespaces};

/// How many patterns are collected for the tokens of one namespace: a message names fewer, and a namespace may be reached by
/// thousands.
const MAX_PATTERNS: usize = 64;

/// Routes none of whose upstreams has a price, by the namespaces they serve.
pub(crate) struct UnpricedRoutes<'a> {
    own: BTreeMap<&'a str, Vec<&'a ModelPattern>>,
    published: Vec<(&'a ObjectId, &'a Route, &'a Published)>,
    /// Everything that a namespace's own routes serve, priced or not.
    served_by_own: BTreeMap<&'a str, PatternIndex<'a, ()>>,
    namespaces: &'a Namespaces<'a>,
}

impl<'a> UnpricedRoutes<'a> {
    pub fn of(routes: &'a [Arc<CompiledRoute>], namespaces: &'a Namespaces<'a>) -> Self {
        let mut all = Self { own: BTreeMap::new(), published: Vec::new(), served_by_own: BTreeMap::new(), namespaces };
        let is_open = |route: &Route, namespace: &str| namespaces.is_open_to(&route.allowed_namespaces, namespace);
        for CompiledRoute { id, route, unpriced, .. } in routes.iter().map(Arc::as_ref) {
            let Some(route) = route.as_ref().filter(|route| route.serves()) else { continue };
            let own = route.models.iter().filter(|_| is_open(route, id.namespace()));
            for pattern in own {
                all.served_by_own.entry(id.namespace()).or_default().insert(pattern, ());
                if *unpriced {
                    all.own.entry(id.namespace()).or_default().push(pattern);
                }
            }
            if *unpriced {
                all.published.extend(route.published.iter().map(|published| (id, route, published)));
            }
        }
        all
    }

    /// For tokens of one namespace; a bounded number of patterns.
    pub fn for_namespace(&self, namespace: &str) -> Vec<&'a ModelPattern> {
        let own = self.served_by_own.get(namespace);
        let shadowed = |pattern: &ModelPattern| {
            own.is_some_and(|own| !own.equal(pattern).is_empty() || own.broader(pattern).next().is_some())
        };
        let reaches = |(id, route, published): &&(&ObjectId, &Route, &'a Published)| {
            id.namespace() != namespace
                && self.namespaces.is_open_to(&route.allowed_namespaces, namespace)
                && published.reach.contains(namespace)
                && !shadowed(&published.model)
        };
        let published = self.published.iter().filter(reaches).map(|(_, _, published)| &published.model);
        let own = self.own.get(namespace).into_iter().flatten().copied();
        own.chain(published).take(MAX_PATTERNS).collect()
    }
}

/// Part of a token's `Accepted` message: the IDs that it allows and cannot use. Empty if there are none.
pub(crate) fn note(unpriced: &[&ModelPattern], named: &[ModelPattern]) -> String {
    let overlaps = |pattern: &&&ModelPattern| named.iter().any(|other| overlap(pattern, other));
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

fn overlap(one: &ModelPattern, other: &ModelPattern) -> bool {
    match (one, other) {
        (ModelPattern::Exact(id), pattern) | (pattern, ModelPattern::Exact(id)) => pattern.matches(id),
        (ModelPattern::Prefix(one), ModelPattern::Prefix(other)) => {
            one.starts_with(other.as_str()) || other.starts_with(one.as_str())
        }
    }
}
