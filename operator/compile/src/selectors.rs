//! Which namespaces a choice of namespaces means.
//!
//! As in Gateway API, `Selector` means the matching namespaces only: an object's own namespace must match too. A selector
//! is not resolved here but travels as it is, so that a new namespace changes nothing that exists; the labels it is about
//! travel once per namespace, see [`Namespaces::of_tokens`].

use std::collections::{BTreeMap, BTreeSet};

use routeapi_channel::{
    ObjectId,
    snapshot::{AllowedNamespaces, LabelRequirement, NAME_LABEL, Namespace, NamespaceSelector, Token},
};
use routeapi_crds::v1alpha1::{self, From, LabelSelector, Requirement};

use crate::{audience::Audience, objects::Objects};

/// The namespaces that exist.
pub(crate) struct Namespaces<'a> {
    labels: &'a BTreeMap<String, BTreeMap<String, String>>,
}

impl<'a> Namespaces<'a> {
    pub fn of(objects: &'a Objects) -> Self {
        Self { labels: &objects.namespaces }
    }

    /// Whether a choice contains a namespace. No selector matches one that does not exist.
    pub fn is_open_to(&self, allowed: &AllowedNamespaces, namespace: &str) -> bool {
        match allowed {
            AllowedNamespaces::All => true,
            AllowedNamespaces::Only(names) => names.contains(namespace),
            AllowedNamespaces::Selector(selector) => {
                self.labels.get(namespace).is_some_and(|labels| selector.matches(namespace, labels))
            }
        }
    }

    /// Whether a choice may contain a namespace whose labels are not known.
    pub fn could_be_open_to(&self, allowed: &AllowedNamespaces, namespace: &str) -> bool {
        let labelled = self.labels.get(namespace).is_some_and(|labels| !labels.is_empty());
        matches!(allowed, AllowedNamespaces::Selector(_)) && !labelled
    }

    /// The namespaces of a choice, as far as they exist.
    pub fn audience(&self, allowed: &AllowedNamespaces) -> Audience {
        match allowed {
            AllowedNamespaces::All => Audience::AllBut(BTreeSet::new()),
            AllowedNamespaces::Only(names) => Audience::Only(names.clone()),
            AllowedNamespaces::Selector(_) => {
                let chosen = self.labels.keys().filter(|name| self.is_open_to(allowed, name));
                Audience::Only(chosen.cloned().collect())
            }
        }
    }

    /// What data planes must know to decide whom selectors admit: only namespaces with tokens ask.
    pub fn of_tokens(&self, tokens: &BTreeMap<ObjectId, Token>) -> BTreeMap<String, Namespace> {
        let callers: BTreeSet<&str> = tokens.keys().map(ObjectId::namespace).collect();
        let told = callers.into_iter().filter_map(|name| Some((name.to_owned(), self.told(name)?)));
        told.collect()
    }

    /// None for one without labels, which goes without saying.
    fn told(&self, name: &str) -> Option<Namespace> {
        let Some(labels) = self.labels.get(name) else {
            return Some(Namespace { unknown: true, ..Namespace::default() });
        };
        let mut labels = labels.clone();
        labels.remove(NAME_LABEL);
        (!labels.is_empty()).then_some(Namespace { labels, unknown: false })
    }
}

/// What a choice written in an object of namespace `own` means. No choice means `Same`, and a selector without
/// requirements every namespace.
pub(crate) fn resolve(own: &str, choice: Option<&v1alpha1::Namespaces>) -> AllowedNamespaces {
    let same = || AllowedNamespaces::Only([own.to_owned()].into());
    let Some(choice) = choice else { return same() };
    match (choice.from, &choice.selector) {
        (From::Same, _) => same(),
        (From::All, _) => AllowedNamespaces::All,
        (From::Selector, None) => AllowedNamespaces::Only(BTreeSet::new()),
        (From::Selector, Some(selector)) => match told(selector) {
            everything if everything.is_empty() => AllowedNamespaces::All,
            some => AllowedNamespaces::Selector(some),
        },
    }
}

fn told(selector: &LabelSelector) -> NamespaceSelector {
    let requirement = |Requirement { key, operator, values }: &Requirement| LabelRequirement {
        key: key.clone(),
        operator: *operator,
        values: values.clone(),
    };
    let LabelSelector { match_labels, match_expressions } = selector;
    NamespaceSelector {
        match_labels: match_labels.clone(),
        match_expressions: match_expressions.iter().map(requirement).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn choice(selector: &serde_json::Value) -> AllowedNamespaces {
        let choice = serde_json::from_value(json!({"from": "Selector", "selector": selector})).unwrap();
        resolve("own", Some(&choice))
    }

    #[test]
    fn an_empty_selector_is_everything_and_others_stay_selectors() {
        assert_eq!(choice(&json!({})), AllowedNamespaces::All);
        assert_eq!(choice(&json!({"matchLabels": {}, "matchExpressions": []})), AllowedNamespaces::All);
        let gold = choice(&json!({"matchLabels": {"tier": "gold"}}));
        assert!(matches!(gold, AllowedNamespaces::Selector(_)), "{gold:?}");
    }

    #[test]
    fn a_selector_is_about_namespaces_that_exist() {
        let mut objects = Objects::default();
        objects.namespaces.insert("a".to_owned(), [("tier".to_owned(), "gold".to_owned())].into());
        objects.namespaces.insert("b".to_owned(), BTreeMap::new());
        let namespaces = Namespaces::of(&objects);
        let (gold, not_silver) = (
            choice(&json!({"matchLabels": {"tier": "gold"}})),
            choice(&json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["silver"]}]})),
        );
        let open = |allowed| ["a", "b", "absent"].map(|it| namespaces.is_open_to(allowed, it));
        assert_eq!((open(&gold), open(&not_silver)), ([true, false, false], [true, true, false]));
    }
}
