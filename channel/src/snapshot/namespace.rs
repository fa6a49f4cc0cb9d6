//! Allowed namespaces, and the labels that selectors match.
//!
//! Selectors are sent as selectors: a new namespace changes no route, and a hundred routes that select every namespace of a
//! cluster do not repeat their names a hundred times.

use std::collections::{BTreeMap, BTreeSet};

use routeapi_crds::v1alpha1::Operator;
use serde::{Deserialize, Serialize};

/// The label that Kubernetes sets on every namespace, with its name.
pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// A namespace with tokens. Namespaces without labels are not part of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Namespace {
    /// Labels, without [`NAME_LABEL`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Whether its labels are unknown, so that no selector matches it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
}

/// The namespaces whose objects may use a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AllowedNamespaces {
    /// Every namespace.
    All,
    /// These.
    Only(BTreeSet<String>),
    /// Those with matching labels. Sent only to data planes with [`crate::frame::FEATURE_NAMESPACES`].
    Selector(NamespaceSelector),
}

/// Requirements on a namespace's labels, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamespaceSelector {
    /// Labels that must have exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelRequirement>,
}

/// A requirement on one label, with the semantics of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelRequirement {
    /// The label's key.
    pub key: String,
    /// How its value is compared.
    pub operator: Operator,
    /// The values for `In` and `NotIn`; otherwise empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

// === impl AllowedNamespaces ===

impl AllowedNamespaces {
    /// Whether a namespace is allowed. `namespaces` are those of the snapshot: one that is missing has no labels.
    pub fn is_open_to(&self, namespace: &str, namespaces: &BTreeMap<String, Namespace>) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(namespace),
            Self::Selector(selector) => match namespaces.get(namespace) {
                Some(found) => !found.unknown && selector.matches(namespace, &found.labels),
                None => selector.matches(namespace, &BTreeMap::new()),
            },
        }
    }
}

// === impl NamespaceSelector ===

impl NamespaceSelector {
    /// Whether it has no requirements and so matches every namespace.
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    /// Whether a namespace with this name and these labels meets all requirements.
    pub fn matches(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        let value = |key: &str| match key {
            NAME_LABEL => Some(name),
            _ => labels.get(key).map(String::as_str),
        };
        self.match_labels.iter().all(|(key, wanted)| value(key) == Some(wanted))
            && self.match_expressions.iter().all(|requirement| requirement.holds(value(&requirement.key)))
    }
}

// === impl LabelRequirement ===

impl LabelRequirement {
    fn holds(&self, value: Option<&str>) -> bool {
        let listed = || value.is_some_and(|value| self.values.iter().any(|wanted| wanted == value));
        match self.operator {
            Operator::In => listed(),
            Operator::NotIn => !listed(),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Namespace {
        let labels = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Namespace { labels, unknown: false }
    }

    #[test]
    fn selectors_have_the_semantics_of_kubernetes() {
        let namespaces = BTreeMap::from([
            ("a".to_owned(), labels(&[("tier", "gold")])),
            ("b".to_owned(), labels(&[("tier", "silver"), ("old", "")])),
        ]);
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
            let allowed: AllowedNamespaces = serde_json::from_value(json!({"selector": selector})).unwrap();
            let open: String =
                ["a", "b", "c"].into_iter().filter(|name| allowed.is_open_to(name, &namespaces)).collect();
            assert_eq!(open, expected, "{selector}");
        }
    }

    #[test]
    fn no_selector_matches_a_namespace_with_unknown_labels() {
        let namespaces = BTreeMap::from([("a".to_owned(), Namespace { unknown: true, ..Namespace::default() })]);
        let forbidding = json!({"selector": {"matchExpressions": [{"key": "tenant", "operator": "DoesNotExist"}]}});
        let allowed: AllowedNamespaces = serde_json::from_value(forbidding).unwrap();
        assert!(!allowed.is_open_to("a", &namespaces));
        assert!(allowed.is_open_to("b", &namespaces));
        assert!(AllowedNamespaces::Only(["a".to_owned()].into()).is_open_to("a", &namespaces));
    }

    #[test]
    fn a_selector_with_an_unknown_field_is_refused() {
        let wanted = json!({"selector": {"matchLabels": {}, "matchFields": {}}});
        assert!(serde_json::from_value::<AllowedNamespaces>(wanted).is_err());
    }
}
