//! Which of the models that a token names no AIRoute serves to its namespace: most often a spelling, or a route that is
//! still to come. It is no fault of the token, so it is a remark.

use std::collections::BTreeMap;

use routeapi_channel::{
    ObjectId,
    snapshot::{Published, Route},
};
use routeapi_crds::value::ModelPattern;

use crate::{
    overlaps::{MOST_BELOW, Overlaps},
    routes::Judged,
    selectors::Namespaces,
    unpriced::listed,
};

/// What every accepted route answers to, by whom it answers. Also one whose upstreams cannot be used now, which says so
/// itself.
pub(crate) struct Served<'a> {
    own: BTreeMap<&'a str, Overlaps<'a, ()>>,
    published: Overlaps<'a, (&'a ObjectId, &'a Route, &'a Published)>,
    namespaces: &'a Namespaces<'a>,
    /// What was looked up before: the tokens of a namespace mostly name the same models.
    known: BTreeMap<(&'a str, &'a ModelPattern), bool>,
}

impl<'a> Served<'a> {
    pub fn of(routes: &'a [Judged], namespaces: &'a Namespaces<'a>) -> Self {
        let mut all = Self { own: BTreeMap::new(), published: Overlaps::default(), namespaces, known: BTreeMap::new() };
        for Judged { id, route, .. } in routes {
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

    /// What the note of a token of this namespace says; empty if everything that it names is served.
    pub fn note(&mut self, namespace: &'a str, named: &'a [ModelPattern]) -> String {
        let unserved = named.iter().filter(|pattern| !self.serves(namespace, pattern));
        let unserved: Vec<String> = unserved.map(ToString::to_string).collect();
        if unserved.is_empty() {
            return String::new();
        }
        format!("spec.models: no AIRoute serves {} to namespace {namespace}", listed(unserved.iter()))
    }

    fn serves(&mut self, namespace: &'a str, pattern: &'a ModelPattern) -> bool {
        if let Some(known) = self.known.get(&(namespace, pattern)) {
            return *known;
        }
        let serves = self.own.get(namespace).is_some_and(|own| own.meeting(pattern).next().is_some())
            || self.is_published_to(namespace, pattern);
        self.known.insert((namespace, pattern), serves);
        serves
    }

    fn is_published_to(&self, namespace: &str, pattern: &ModelPattern) -> bool {
        let reaches = |(id, route, published): &(&ObjectId, &Route, &Published)| {
            id.namespace() != namespace
                && published.reach.contains(namespace)
                && self.namespaces.is_open_to(&route.allowed_namespaces, namespace)
        };
        let mut seen = 0;
        let found = self.published.meeting(pattern).inspect(|_| seen += 1).any(reaches);
        // Of so many that share ids with it, not all were looked at.
        found || seen >= MOST_BELOW
    }
}
