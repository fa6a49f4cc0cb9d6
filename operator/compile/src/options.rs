//! How a cluster and a workstation differ.

use routeapi_crds::value::AddressRules;

use crate::{publishers::Publishers, workload_identity::WorkloadIdentity};

/// How a cluster and a workstation differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Addresses that upstreams may have, and with that where plain http is allowed: inside the cluster, but anywhere from
    /// a workstation, as `routeapi run` is used.
    pub addresses: AddressRules,
    /// Namespaces whose routes may serve tokens of other namespaces.
    pub publishers: Publishers,
    /// Namespaces whose AIProviders may use the data plane's own identity at a cloud.
    pub workload_identity: WorkloadIdentity,
    /// Whether the objects are only a part of what a cluster has, as manifests in a repository are: a Secret, ConfigMap
    /// or AIProvider that is not among them, or the labels of a namespace, are then assumed to be what a reference needs
    /// ([`crate::Compiled::assumptions`]), rather than missing.
    pub partial: bool,
}
