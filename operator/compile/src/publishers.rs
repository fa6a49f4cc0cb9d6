//! Which namespaces may publish models to tokens of other namespaces.
//!
//! Whoever may write AIRoutes in a namespace decides what a model ID means there and nowhere else. To serve tokens of other
//! namespaces, the namespace needs a grant that only a cluster administrator can give: a setting of the operator, or a label
//! on the Namespace, which the roles `edit` and `admin` cannot write.

use std::collections::BTreeSet;

use crate::selectors::Namespaces;

/// The label of a Namespace that may publish: `"true"`, or a number that ranks it among labelled namespaces, the lowest
/// first.
pub const PUBLISH_LABEL: &str = "routeapi.dev/publish-models";

/// The namespaces that may publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publishers {
    /// Every namespace, all with the same rank: for manifests on a workstation.
    Any,
    /// Namespaces with a grant.
    Granted {
        /// The operator's own, which takes precedence over all others; empty for none.
        first: String,
        /// Further namespaces from the operator's setting.
        listed: BTreeSet<String>,
    },
}

/// Precedence among publishers: 0 for the operator's own namespace, 1 for those from its setting, then labelled ones.
pub(crate) type Rank = u32;

impl Publishers {
    /// The rank of a namespace that may publish.
    pub(crate) fn rank(&self, namespaces: &Namespaces<'_>, namespace: &str) -> Option<Rank> {
        let Self::Granted { first, listed } = self else { return Some(0) };
        if namespace == first {
            return Some(0);
        }
        if listed.contains(namespace) {
            return Some(1);
        }
        match namespaces.label(namespace, PUBLISH_LABEL)? {
            "true" => Some(Rank::MAX),
            number => number.parse::<u16>().ok().map(|number| Rank::from(number) + 2),
        }
    }
}

impl Default for Publishers {
    /// Labelled namespaces only.
    fn default() -> Self {
        Self::Granted { first: String::new(), listed: BTreeSet::new() }
    }
}
