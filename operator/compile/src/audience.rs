//! Sets of namespaces that may be "all but these", for telling which tokens of which namespaces a claim reaches.

use std::collections::BTreeSet;

/// A set of namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    AllBut(BTreeSet<String>),
    Only(BTreeSet<String>),
}

impl Audience {
    pub fn contains(&self, namespace: &str) -> bool {
        match self {
            Self::AllBut(names) => !names.contains(namespace),
            Self::Only(names) => names.contains(namespace),
        }
    }

    pub fn without(mut self, namespace: &str) -> Self {
        match &mut self {
            Self::AllBut(names) => drop(names.insert(namespace.to_owned())),
            Self::Only(names) => drop(names.remove(namespace)),
        }
        self
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Only(names) if names.is_empty())
    }

    pub fn minus(self, other: &Self) -> Self {
        match (self, other) {
            (Self::AllBut(mut names), Self::Only(others)) => {
                names.extend(others.iter().cloned());
                Self::AllBut(names)
            }
            (Self::AllBut(names), Self::AllBut(others)) => Self::Only(others.difference(&names).cloned().collect()),
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
    fn what_is_left_is_what_one_has_and_the_other_has_not() {
        let universe = "abcd";
        let sets = [
            Audience::AllBut(set("")),
            Audience::AllBut(set("ab")),
            Audience::Only(set("")),
            Audience::Only(set("bc")),
            Audience::Only(set("abcd")),
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
