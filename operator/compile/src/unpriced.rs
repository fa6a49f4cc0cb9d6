//! Which model ids a token with a spend limit cannot use, because no price is known of them.

use std::collections::BTreeMap;

use routeapi_channel::{
    ObjectId,
    snapshot::{Published, Route},
};
use routeapi_crds::value::ModelPattern;

use crate::{overlaps::Overlaps, routes::Judged, selectors::Namespaces};

/// How many ids a message names.
const NAMED: usize = 8;
/// How many ids are kept for the tokens of one namespace.
const MOST: usize = 64;

/// Routes none of whose upstreams has a price, by whom they answer.
pub(crate) struct Unpriced<'a> {
    own: BTreeMap<&'a str, Vec<&'a ModelPattern>>,
    published: Vec<(&'a ObjectId, &'a Route, &'a Published)>,
    /// Everything that a namespace's own routes answer to, priced or not.
    answered: BTreeMap<&'a str, Overlaps<'a, ()>>,
    namespaces: &'a Namespaces<'a>,
}

impl<'a> Unpriced<'a> {
    pub fn of(routes: &'a [Judged], namespaces: &'a Namespaces<'a>) -> Self {
        let mut all = Self { own: BTreeMap::new(), published: Vec::new(), answered: BTreeMap::new(), namespaces };
        let is_open = |route: &Route, namespace: &str| namespaces.is_open_to(&route.allowed_namespaces, namespace);
        for Judged { id, route, unpriced, .. } in routes {
            let Some(route) = route.as_ref().filter(|route| route.serves()) else { continue };
            let own = route.models.iter().filter(|_| is_open(route, id.namespace()));
            for pattern in own {
                all.answered.entry(id.namespace()).or_default().insert(pattern, ());
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
        let answered = self.answered.get(namespace);
        let hidden = |pattern: &ModelPattern| {
            answered.is_some_and(|own| !own.equal(pattern).is_empty() || own.broader(pattern).next().is_some())
        };
        let reaches = |(id, route, published): &&(&ObjectId, &Route, &'a Published)| {
            id.namespace() != namespace
                && self.namespaces.is_open_to(&route.allowed_namespaces, namespace)
                && published.reach.contains(namespace)
                && !hidden(&published.model)
        };
        let published = self.published.iter().filter(reaches).map(|(_, _, published)| &published.model);
        let own = self.own.get(namespace).into_iter().flatten().copied();
        own.chain(published).take(MOST).collect()
    }
}

/// What a token's note says: the ids that it may name and cannot use. Empty if there are none.
pub(crate) fn note(unpriced: &[&ModelPattern], named: &[ModelPattern]) -> String {
    let meets = |pattern: &&&ModelPattern| named.iter().any(|other| overlap(pattern, other));
    let models: Vec<String> = unpriced.iter().filter(meets).map(ToString::to_string).collect();
    if models.is_empty() {
        return String::new();
    }
    format!(
        "spec.unpricedModels: no price is known of {}, so this token, which has a spend limit, cannot use them; set prices in \
         the AIProviders, or Allow here",
        listed(models.iter())
    )
}

/// Some of them in quotes, and how many more there are.
pub(crate) fn listed<'a>(models: impl ExactSizeIterator<Item = &'a String>) -> String {
    let more = models.len().saturating_sub(NAMED);
    let named: Vec<String> = models.take(NAMED).map(|model| format!("{model:?}")).collect();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    named.join(", ") + &rest
}

fn overlap(one: &ModelPattern, other: &ModelPattern) -> bool {
    match (one, other) {
        (ModelPattern::Exact(id), pattern) | (pattern, ModelPattern::Exact(id)) => pattern.matches(id),
        (ModelPattern::Prefix(one), ModelPattern::Prefix(other)) => {
            one.starts_with(other.as_str()) || other.starts_with(one.as_str())
        }
    }
}
