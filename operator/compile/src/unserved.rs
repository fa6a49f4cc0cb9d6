//! The models in a token's allow-list that no AIRoute serves to its namespace: usually a typo, or a route that does not exist
//! yet. The token is valid all the same, so it is only noted.

use std::{collections::HashMap, sync::Arc};

use routeapi_channel::ObjectId;
use routeapi_crds::value::ModelPattern;

use crate::{
    pattern_index::{MAX_OVERLAPPING, PatternIndex},
    quoted_list::quoted_list,
    routes::CompiledRoute,
    selectors::Namespaces,
};

/// What every accepted route serves, by namespace. Includes routes without a usable upstream: their own status reports
/// that.
#[derive(Default)]
pub(crate) struct ServedModels {
    own: HashMap<String, PatternIndex<ObjectId, ()>>,
    /// By route and position among what it publishes.
    published: PatternIndex<(ObjectId, usize), Arc<CompiledRoute>>,
}

impl ServedModels {
    /// Adds what a route serves.
    pub fn add(&mut self, compiled: &Arc<CompiledRoute>, namespaces: &Namespaces<'_>) {
        let CompiledRoute { id, route: Some(route), .. } = &**compiled else { return };
        if namespaces.is_open_to(&route.allowed_namespaces, id.namespace()) {
            let own = self.own.entry(id.namespace().to_owned()).or_default();
            route.models.iter().for_each(|pattern| own.insert(pattern, id.clone(), ()));
        }
        for (nth, published) in route.published.iter().enumerate() {
            self.published.insert(&published.model, (id.clone(), nth), Arc::clone(compiled));
        }
    }

    /// Takes away what a route served.
    pub fn remove(&mut self, CompiledRoute { id, route, .. }: &CompiledRoute) {
        let Some(route) = route else { return };
        if let Some(own) = self.own.get_mut(id.namespace()) {
            route.models.iter().for_each(|pattern| own.remove(pattern, id));
        }
        for (nth, published) in route.published.iter().enumerate() {
            self.published.remove(&published.model, &(id.clone(), nth));
        }
    }

    /// Whether a token of this namespace is served something that it allows by this pattern.
    fn serves(&self, namespace: &str, pattern: &ModelPattern, namespaces: &Namespaces<'_>) -> bool {
        self.own.get(namespace).is_some_and(|own| own.overlapping(pattern).next().is_some())
            || self.is_published_to(namespace, pattern, namespaces)
    }

    fn is_published_to(&self, namespace: &str, pattern: &ModelPattern, namespaces: &Namespaces<'_>) -> bool {
        let reaches = |((id, nth), compiled): &((ObjectId, usize), Arc<CompiledRoute>)| {
            let Some(route) = &compiled.route else { return false };
            let reach = route.published.get(*nth).is_some_and(|published| published.reach.contains(namespace));
            id.namespace() != namespace && reach && namespaces.is_open_to(&route.allowed_namespaces, namespace)
        };
        let mut seen = 0;
        let found = self.published.overlapping(pattern).inspect(|_| seen += 1).any(reaches);
        // Not all of so many overlapping patterns were examined.
        found || seen >= MAX_OVERLAPPING
    }
}

/// Results of earlier look-ups: the tokens of a namespace mostly name the same models.
#[derive(Default)]
pub(crate) struct Known(HashMap<String, HashMap<ModelPattern, bool>>);

/// Part of the `Accepted` message of a token of this namespace; empty if everything that it allows is served.
pub(crate) fn note(
    models: &ServedModels,
    known: &mut Known,
    namespace: &str,
    named: &[ModelPattern],
    namespaces: &Namespaces<'_>,
) -> String {
    let known = match known.0.get_mut(namespace) {
        Some(known) => known,
        None => known.0.entry(namespace.to_owned()).or_default(),
    };
    let mut serves = |pattern: &ModelPattern| {
        known.get(pattern).copied().unwrap_or_else(|| {
            let serves = models.serves(namespace, pattern, namespaces);
            known.insert(pattern.clone(), serves);
            serves
        })
    };
    let unserved: Vec<String> = named.iter().filter(|pattern| !serves(pattern)).map(ToString::to_string).collect();
    if unserved.is_empty() {
        return String::new();
    }
    format!("spec.models: no AIRoute serves {} to namespace {namespace}", quoted_list(unserved.iter()))
}
