//! Sets of namespaces, including "all except these".

use std::collections::BTreeSet;

/// A set of namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NamespaceSet {
    /// Every namespace, existing or not, except these.
    AllExcept(BTreeSet<String>),
    /// The namespaces with these names.
    Only(BTreeSet<String>),
}

impl NamespaceSet {
    pub fn contains(&self, namespace: &str) -> bool {
        match self {
            Self::AllExcept(names) => !names.contains(namespace),
            Self::Only(names) => names.contains(namespace),
        }
    }

    pub fn without(mut self, namespace: &str) -> Self {
        match &mut self {
            Self::AllExcept(names) => drop(names.insert(namespace.to_owned())),
            Self::Only(names) => drop(names.remove(namespace)),
        }
        self
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Only(names) if names.is_empty())
    }

    pub fn minus(self, other: &Self) -> Self {
        match (self, other) {
            (Self::AllExcept(mut names), Self::Only(others)) => {
                names.extend(others.iter().cloned());
                Self::AllExcept(names)
            }
            (Self::AllExcept(names), Self::AllExcept(others)) => {
                Self::Only(others.difference(&names).cloned().collect())
            }
            (Self::Only(mut names), others) => {
                names.retain(|name| !others.contains(name));
                Self::Only(names)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &str) -> BTreeSet<String> {
        names.chars().map(String::from).collect()
    }

    #[test]
    fn minus_is_the_set_difference() {
        let universe = "abcd";
        let sets = [
            NamespaceSet::AllExcept(set("")),
            NamespaceSet::AllExcept(set("ab")),
            NamespaceSet::Only(set("")),
            NamespaceSet::Only(set("bc")),
            NamespaceSet::Only(set("abcd")),
        ];
        for one in &sets {
            for other in &sets {
                let left = one.clone().minus(other);
                for name in universe.chars().map(String::from) {
                    assert_eq!(
                        left.contains(&name),
                        one.contains(&name) && !other.contains(&name),
                        "{one:?} {other:?}"
                    );
                }
            }
        }
    }
}
