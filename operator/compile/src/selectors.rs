//! Resolves `namespaces.from` and `namespaces.selector`.
//!
//! As in Gateway API, `Selector` means the matching namespaces only: an object's own namespace must match too. Data planes
//! get the selector itself, so that a new namespace changes no existing resource; they get labels once per namespace, see
//! [`Namespaces::of_tokens`].

use std::collections::{BTreeMap, BTreeSet};

use routeapi_channel::{
    ObjectId,
    snapshot::{AllowedNamespaces, LabelRequirement, NAME_LABEL, Namespace, NamespaceSelector, Token},
};
use routeapi_crds::v1alpha1::{self, From, LabelSelector, Requirement};

use crate::{namespace_set::NamespaceSet, objects::Objects};

/// The namespaces that exist.
pub(crate) struct Namespaces<'a> {
    labels: &'a BTreeMap<String, BTreeMap<String, String>>,
}

impl<'a> Namespaces<'a> {
    pub fn of(objects: &'a Objects) -> Self {
        Self { labels: &objects.namespaces }
    }

    pub fn labelled(labels: &'a BTreeMap<String, BTreeMap<String, String>>) -> Self {
        Self { labels }
    }

    /// The value of a namespace's label.
    pub fn label(&self, namespace: &str, label: &str) -> Option<&'a str> {
        self.labels.get(namespace)?.get(label).map(String::as_str)
    }

    /// Whether a namespace is allowed. No selector matches one that does not exist.
    pub fn is_open_to(&self, allowed: &AllowedNamespaces, namespace: &str) -> bool {
        match allowed {
            AllowedNamespaces::All => true,
            AllowedNamespaces::Only(names) => names.contains(namespace),
            AllowedNamespaces::Selector(selector) => {
                self.labels.get(namespace).is_some_and(|labels| selector.matches(namespace, labels))
            }
        }
    }

    /// Whether a namespace may be allowed, given that its labels are not known.
    pub fn could_be_open_to(&self, allowed: &AllowedNamespaces, namespace: &str) -> bool {
        let labelled = self.labels.get(namespace).is_some_and(|labels| !labels.is_empty());
        matches!(allowed, AllowedNamespaces::Selector(_)) && !labelled
    }

    /// The allowed namespaces; of a selector, those that exist and match.
    pub fn resolve(&self, allowed: &AllowedNamespaces) -> NamespaceSet {
        match allowed {
            AllowedNamespaces::All => NamespaceSet::AllExcept(BTreeSet::new()),
            AllowedNamespaces::Only(names) => NamespaceSet::Only(names.clone()),
            AllowedNamespaces::Selector(_) => {
                let chosen = self.labels.keys().filter(|name| self.is_open_to(allowed, name));
                NamespaceSet::Only(chosen.cloned().collect())
            }
        }
    }

    /// The labels that data planes need to evaluate selectors: those of namespaces with tokens.
    pub fn of_tokens(&self, tokens: &BTreeMap<ObjectId, Token>) -> BTreeMap<String, Namespace> {
        let callers: BTreeSet<&str> = tokens.keys().map(ObjectId::namespace).collect();
        callers.into_iter().filter_map(|name| Some((name.to_owned(), self.labels_of(name)?))).collect()
    }

    /// None for one without labels, which data planes need not know.
    pub fn labels_of(&self, name: &str) -> Option<Namespace> {
        let Some(labels) = self.labels.get(name) else {
            return Some(Namespace { unknown: true, ..Namespace::default() });
        };
        let mut labels = labels.clone();
        labels.remove(NAME_LABEL);
        (!labels.is_empty()).then_some(Namespace { labels, unknown: false })
    }
}

/// The namespaces that an object in namespace `own` allows. The default is `Same`; a selector without requirements means every
/// namespace.
pub(crate) fn allowed(own: &str, choice: Option<&v1alpha1::Namespaces>) -> AllowedNamespaces {
    let same = || AllowedNamespaces::Only([own.to_owned()].into());
    let Some(choice) = choice else { return same() };
    match (choice.from, &choice.selector) {
        (From::Same, _) => same(),
        (From::All, _) => AllowedNamespaces::All,
        (From::Selector, None) => AllowedNamespaces::Only(BTreeSet::new()),
        (From::Selector, Some(selector)) => match build_selector(selector) {
            selector if selector.is_empty() => AllowedNamespaces::All,
            selector => AllowedNamespaces::Selector(selector),
        },
    }
}

fn build_selector(selector: &LabelSelector) -> NamespaceSelector {
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
        allowed("own", Some(&choice))
    }

    #[test]
    fn only_an_empty_selector_is_resolved_to_all_namespaces() {
        assert_eq!(choice(&json!({})), AllowedNamespaces::All);
        assert_eq!(choice(&json!({"matchLabels": {}, "matchExpressions": []})), AllowedNamespaces::All);
        let gold = choice(&json!({"matchLabels": {"tier": "gold"}}));
        assert!(matches!(gold, AllowedNamespaces::Selector(_)), "{gold:?}");
    }

    #[test]
    fn a_selector_matches_existing_namespaces_only() {
        let mut objects = Objects::default();
        objects.namespaces.insert("a".to_owned(), [("tier".to_owned(), "gold".to_owned())].into());
        objects.namespaces.insert("b".to_owned(), BTreeMap::new());
        let namespaces = Namespaces::of(&objects);
        let (gold, not_silver) = (
            choice(&json!({"matchLabels": {"tier": "gold"}})),
            choice(&json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["silver"]}]})),
        );
        let open = |allowed| ["a", "b", "absent"].map(|name| namespaces.is_open_to(allowed, name));
        assert_eq!((open(&gold), open(&not_silver)), ([true, false, false], [true, true, false]));
    }
}
