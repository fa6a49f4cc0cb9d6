//! Which namespaces may publish models to tokens of other namespaces.
//!
//! Whoever may write AIRoutes in a namespace decides what a model id means there and nowhere else. To reach further, the
//! namespace needs a grant that only a cluster administrator can give: a setting of the operator, or a label on the
//! Namespace, which the roles `edit` and `admin` cannot write.

use std::collections::BTreeSet;

use crate::objects::Objects;

/// The label on a Namespace. `"true"`, or a number that ranks it among other labelled namespaces, the lower first.
pub const PUBLISH_LABEL: &str = "routeapi.dev/publish-models";

/// Who may publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publishers {
    /// Every namespace, all of the same rank: for manifests on a workstation, which are one person's.
    Any,
    /// Namespaces with a grant.
    Granted {
        /// The operator's own, which comes before all others; empty for none.
        first: String,
        /// Further namespaces of the operator's setting.
        listed: BTreeSet<String>,
    },
}

/// Precedence among publishers; the lower first.
pub(crate) type Rank = u32;

impl Publishers {
    /// The rank of a namespace that may publish.
    pub(crate) fn rank(&self, objects: &Objects, namespace: &str) -> Option<Rank> {
        let Self::Granted { first, listed } = self else { return Some(0) };
        if namespace == first {
            return Some(0);
        }
        if listed.contains(namespace) {
            return Some(1);
        }
        match objects.namespaces.get(namespace)?.get(PUBLISH_LABEL)?.as_str() {
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
