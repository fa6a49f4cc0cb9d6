//! Which namespaces may use the data plane's own identity at a cloud.
//!
//! What that identity may do was granted to the gateway, not to whoever may write AIProviders in some namespace. So the
//! namespace needs a grant, as cert-manager's issuers do for ambient credentials.

use std::collections::BTreeSet;

/// The namespaces whose AIProviders may use the data plane's own identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkloadIdentity {
    /// Every namespace: on a workstation, or where one team writes all AIProviders.
    Any,
    /// These.
    Namespaces(BTreeSet<String>),
}

impl WorkloadIdentity {
    /// Whether a namespace may use it.
    pub(crate) fn allows(&self, namespace: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Namespaces(namespaces) => namespaces.contains(namespace),
        }
    }
}

impl Default for WorkloadIdentity {
    /// None.
    fn default() -> Self {
        Self::Namespaces(BTreeSet::new())
    }
}
