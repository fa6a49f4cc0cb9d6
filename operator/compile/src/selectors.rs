//! Which namespaces a choice of namespaces means, with label selectors resolved over those that exist.
//!
//! As in Gateway API, `Selector` means the matching namespaces only: an object's own namespace must match too. Every
//! namespace carries `kubernetes.io/metadata.name`, whether its labels say so or not.

use std::collections::BTreeMap;

use routeapi_channel::snapshot::AllowedNamespaces;
use routeapi_crds::v1alpha1::{self, From, LabelSelector, Operator, Requirement};

use crate::objects::Objects;

const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The namespaces that exist.
pub(crate) struct Namespaces<'a> {
    labels: &'a BTreeMap<String, BTreeMap<String, String>>,
}

impl<'a> Namespaces<'a> {
    pub fn of(objects: &'a Objects) -> Self {
        Self { labels: &objects.namespaces }
    }

    /// What a choice written in an object of namespace `own` means. No choice means `Same`.
    pub fn resolve(&self, own: &str, choice: Option<&v1alpha1::Namespaces>) -> AllowedNamespaces {
        let same = || AllowedNamespaces::Only([own.to_owned()].into());
        let Some(choice) = choice else { return same() };
        match choice.from {
            From::Same => same(),
            From::All => AllowedNamespaces::All,
            From::Selector => AllowedNamespaces::Only(
                self.labels
                    .iter()
                    .filter(|(name, labels)| choice.selector.as_ref().is_some_and(|it| selects(it, name, labels)))
                    .map(|(name, _)| name.clone())
                    .collect(),
            ),
        }
    }
}

/// Whether a resolved choice contains a namespace.
pub(crate) fn allows(allowed: &AllowedNamespaces, namespace: &str) -> bool {
    match allowed {
        AllowedNamespaces::All => true,
        AllowedNamespaces::Only(names) => names.contains(namespace),
    }
}

fn selects(selector: &LabelSelector, name: &str, labels: &BTreeMap<String, String>) -> bool {
    let value = |key: &str| match key {
        NAME_LABEL => Some(name),
        _ => labels.get(key).map(String::as_str),
    };
    selector.match_labels.iter().all(|(key, wanted)| value(key) == Some(wanted))
        && selector.match_expressions.iter().all(|requirement| holds(requirement, value(&requirement.key)))
}

fn holds(requirement: &Requirement, value: Option<&str>) -> bool {
    let listed = || value.is_some_and(|value| requirement.values.iter().any(|wanted| wanted == value));
    match requirement.operator {
        Operator::In => listed(),
        Operator::NotIn => !listed(),
        Operator::Exists => value.is_some(),
        Operator::DoesNotExist => value.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_mean_what_kubernetes_says() {
        let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let objects = Objects {
            namespaces: BTreeMap::from([
                ("a".to_owned(), labels(&[("tier", "gold")])),
                ("b".to_owned(), labels(&[("tier", "silver"), ("old", "")])),
                ("c".to_owned(), labels(&[])),
            ]),
            ..Objects::default()
        };
        for (selector, expected) in [
            (json!({}), "abc"),
            (json!({"matchLabels": {"tier": "gold"}}), "a"),
            (json!({"matchLabels": {NAME_LABEL: "c"}}), "c"),
            (json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["gold", "silver"]}]}), "ab"),
            (json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["gold"]}]}), "bc"),
            (json!({"matchExpressions": [{"key": "old", "operator": "Exists"}]}), "b"),
            (json!({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}), "c"),
            (json!({"matchLabels": {"tier": "gold"}, "matchExpressions": [{"key": "old", "operator": "Exists"}]}), ""),
        ] {
            let choice = serde_json::from_value(json!({"from": "Selector", "selector": selector})).unwrap();
            let AllowedNamespaces::Only(names) = Namespaces::of(&objects).resolve("a", Some(&choice)) else {
                panic!("not a set");
            };
            assert_eq!(names.into_iter().collect::<String>(), expected, "{selector}");
        }
    }
}
