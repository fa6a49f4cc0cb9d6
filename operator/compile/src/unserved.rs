//! The models in a token's allow-list that no AIRoute serves to its namespace: usually a typo, or a route that does not exist
//! yet. The token is valid all the same, so it is only noted.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use routeapi_channel::{
    ObjectId,
    snapshot::{Published, Route},
};
use routeapi_crds::value::ModelPattern;

use crate::{
    pattern_index::{MAX_OVERLAPPING, PatternIndex},
    quoted_list::quoted_list,
    routes::CompiledRoute,
    selectors::Namespaces,
};

/// What every accepted route serves, by namespace. Includes routes without a usable upstream: their own status reports
/// that.
pub(crate) struct ServedModels<'a> {
    own: BTreeMap<&'a str, PatternIndex<'a, ()>>,
    published: PatternIndex<'a, (&'a ObjectId, &'a Route, &'a Published)>,
    namespaces: &'a Namespaces<'a>,
    /// Results of earlier look-ups: the tokens of a namespace mostly name the same models.
    cache: BTreeMap<String, HashMap<ModelPattern, bool>>,
}

impl<'a> ServedModels<'a> {
    pub fn of(routes: &'a [Arc<CompiledRoute>], namespaces: &'a Namespaces<'a>) -> Self {
        let mut all =
            Self { own: BTreeMap::new(), published: PatternIndex::default(), namespaces, cache: BTreeMap::new() };
        for CompiledRoute { id, route, .. } in routes.iter().map(Arc::as_ref) {
            let Some(route) = route else { continue };
            if namespaces.is_open_to(&route.allowed_namespaces, id.namespace()) {
                let own = all.own.entry(id.namespace()).or_default();
                route.models.iter().for_each(|pattern| own.insert(pattern, ()));
            }
            for published in &route.published {
                all.published.insert(&published.model, (id, route, published));
            }
        }
        all
    }

    /// Part of the `Accepted` message of a token of this namespace; empty if everything that it allows is served.
    pub fn note(&mut self, namespace: &str, named: &[ModelPattern]) -> String {
        let unserved = named.iter().filter(|pattern| !self.serves(namespace, pattern));
        let unserved: Vec<String> = unserved.map(ToString::to_string).collect();
        if unserved.is_empty() {
            return String::new();
        }
        format!("spec.models: no AIRoute serves {} to namespace {namespace}", quoted_list(unserved.iter()))
    }

    fn serves(&mut self, namespace: &str, pattern: &ModelPattern) -> bool {
        if let Some(serves) = self.cache.get(namespace).and_then(|known| known.get(pattern)) {
            return *serves;
        }
        let serves = self.own.get(namespace).is_some_and(|own| own.overlapping(pattern).next().is_some())
            || self.is_published_to(namespace, pattern);
        self.cache.entry(namespace.to_owned()).or_default().insert(pattern.clone(), serves);
        serves
    }

    fn is_published_to(&self, namespace: &str, pattern: &ModelPattern) -> bool {
        let reaches = |(id, route, published): &(&ObjectId, &Route, &Published)| {
            id.namespace() != namespace
                && published.reach.contains(namespace)
                && self.namespaces.is_open_to(&route.allowed_namespaces, namespace)
        };
        let mut seen = 0;
        let found = self.published.overlapping(pattern).inspect(|_| seen += 1).any(reaches);
        // Not all of so many overlapping patterns were examined.
        found || seen >= MAX_OVERLAPPING
    }
}
