//! Which addresses an upstream may have, both in URLs (compile) and after name resolution (data plane).
//!
//! An AIProvider makes the gateway send requests, and the owner of a DNS zone decides what a name resolves to (SSRF). In a
//! cluster some addresses are therefore forbidden: the data plane's own pod and node, cloud metadata services, and
//! addresses that no server has. An IPv6 address that embeds an IPv4 address is classified by that address.

mod class;
mod host;

use std::{fmt, net::IpAddr, sync::Arc};

pub use self::{
    class::{AddressClass, METADATA_SERVICE},
    host::Host,
};

use self::class::readings;

/// Which classes of addresses upstreams may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AddressPolicy {
    /// Private and public ones.
    #[default]
    Cluster,
    /// Loopback in addition, for trials on one machine.
    ClusterAndLoopback,
    /// Loopback and unspecified addresses in addition, and the API server: for `routeapi run`, whose upstreams often run
    /// on the same machine. Plain http is allowed to any address.
    Workstation,
}

/// The addresses that upstreams may have: a policy for classes, and single hosts that are forbidden in a cluster. Cheap
/// to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressRules {
    policy: AddressPolicy,
    refused: Arc<Refused>,
}

/// Hosts that are forbidden in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Refused {
    api_server: Vec<IpAddr>,
    api_server_names: Vec<String>,
    gateway_names: Vec<String>,
}

/// Why an upstream may not have an address. Displays as in "is a loopback address".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForbiddenPlace {
    /// Its class is not allowed.
    Class(AddressClass),
    /// The Kubernetes API server.
    ApiServer,
    /// The gateway itself: an endless loop.
    Gateway,
    /// A port of this component of the Kubernetes control plane or of a node.
    Port(&'static str),
}

/// Ports of Kubernetes nodes and of the control plane. Model servers do not use them, while most pods can connect to
/// these components.
const NODE_PORTS: [(u16, &str); 10] = [
    (2379, "etcd"),
    (2380, "etcd"),
    (6443, "kube-apiserver"),
    (10248, "kubelet"),
    (10249, "kube-proxy"),
    (10250, "kubelet"),
    (10255, "kubelet"),
    (10256, "kube-proxy"),
    (10257, "kube-controller-manager"),
    (10259, "kube-scheduler"),
];

/// Names of metadata services: Google, and AWS' instance-data.
const METADATA_NAMES: [&str; 5] =
    ["metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"];

impl AddressPolicy {
    /// In a cluster, with loopback or without.
    pub fn in_cluster(loopback: bool) -> Self {
        if loopback { Self::ClusterAndLoopback } else { Self::Cluster }
    }

    /// Whether an upstream may have an address of this class.
    pub fn allows(self, class: AddressClass) -> bool {
        match self {
            Self::Cluster => class.is_ordinary(),
            Self::ClusterAndLoopback => class.is_ordinary() || class == AddressClass::Loopback,
            Self::Workstation => {
                class.is_ordinary() || matches!(class, AddressClass::Loopback | AddressClass::Unspecified)
            }
        }
    }
}

impl AddressRules {
    /// Forbids the API server, which pods reach at this host (`KUBERNETES_SERVICE_HOST`, an address or a name).
    #[must_use]
    pub fn with_api_server(mut self, host: &str) -> Self {
        let refused = Arc::make_mut(&mut self.refused);
        let bare = host.trim().trim_start_matches('[').trim_end_matches(']');
        match bare.parse() {
            Ok(address) => refused.api_server.push(address),
            Err(_) if bare.is_empty() => {}
            Err(_) => refused.api_server_names.push(bare.trim_end_matches('.').to_ascii_lowercase()),
        }
        self
    }

    /// Forbids the gateway's own names.
    #[must_use]
    pub fn with_gateway(mut self, names: impl IntoIterator<Item = String>) -> Self {
        let names = names.into_iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        Arc::make_mut(&mut self.refused).gateway_names.extend(names);
        self
    }

    /// The policy for classes of addresses.
    pub fn policy(&self) -> AddressPolicy {
        self.policy
    }

    /// Checks an address from a URL or from name resolution.
    ///
    /// # Errors
    /// If no upstream may have this address.
    pub fn address(&self, address: IpAddr) -> Result<(), ForbiddenPlace> {
        let class = AddressClass::of(address);
        if !self.policy.allows(class) {
            return Err(ForbiddenPlace::Class(class));
        }
        let same = |one: IpAddr| readings(one).any(|one| readings(address).any(|other| one == other));
        if self.in_cluster() && self.refused.api_server.iter().copied().any(same) {
            return Err(ForbiddenPlace::ApiServer);
        }
        Ok(())
    }

    /// Checks a name in the form of [`Host::Name`], without resolving it.
    ///
    /// # Errors
    /// As [`AddressRules::address`].
    pub fn name(&self, name: &str) -> Result<(), ForbiddenPlace> {
        let class = match name.rsplit('.').next() {
            Some("localhost") => Some(AddressClass::Loopback),
            _ if METADATA_NAMES.contains(&name) => Some(AddressClass::Metadata),
            _ => None,
        };
        if let Some(class) = class.filter(|class| !self.policy.allows(*class)) {
            return Err(ForbiddenPlace::Class(class));
        }
        let listed = |names: &[String]| names.iter().any(|listed| listed == name);
        if !self.in_cluster() {
            return Ok(());
        }
        if is_api_server(name) || listed(&self.refused.api_server_names) {
            return Err(ForbiddenPlace::ApiServer);
        }
        if listed(&self.refused.gateway_names) {
            return Err(ForbiddenPlace::Gateway);
        }
        Ok(())
    }

    /// Checks a port, at any host: a name can resolve to a node, too.
    ///
    /// # Errors
    /// As [`AddressRules::address`].
    pub fn port(&self, port: u16) -> Result<(), ForbiddenPlace> {
        let component = NODE_PORTS.iter().find(|(reserved, _)| *reserved == port).filter(|_| self.in_cluster());
        component.map_or(Ok(()), |(_, component)| Err(ForbiddenPlace::Port(component)))
    }

    fn in_cluster(&self) -> bool {
        self.policy != AddressPolicy::Workstation
    }
}

impl From<AddressPolicy> for AddressRules {
    fn from(policy: AddressPolicy) -> Self {
        Self { policy, refused: Arc::default() }
    }
}

impl fmt::Display for ForbiddenPlace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class(class) => class.fmt(out),
            Self::ApiServer => out.write_str("the Kubernetes API server"),
            Self::Gateway => out.write_str("this gateway itself"),
            Self::Port(component) => write!(out, "at a port of {component}"),
        }
    }
}

/// Whether this is the Service `kubernetes` in the namespace `default`, with any cluster domain or shortened as DNS
/// search paths allow.
fn is_api_server(name: &str) -> bool {
    let mut labels = name.split('.');
    match (labels.next(), labels.next(), labels.next()) {
        (Some("kubernetes"), None, _) | (Some("kubernetes"), Some("default"), None) => true,
        (Some("kubernetes"), Some("default"), Some(third)) => third == "svc",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(policy: AddressPolicy) -> AddressRules {
        AddressRules::from(policy)
            .with_api_server("10.96.0.1")
            .with_api_server("fd12::1")
            .with_api_server("API.example.")
    }

    #[test]
    fn the_api_servers_address_is_forbidden_in_every_form() {
        let cluster = rules(AddressPolicy::Cluster);
        for address in [
            "10.96.0.1",
            "::ffff:10.96.0.1",
            "::ffff:0:10.96.0.1",
            "64:ff9b::10.96.0.1",
            "64:ff9b:1:0a60:0:0100::",
            "64:ff9b:1::10.96.0.1",
            "2001:db8::5efe:10.96.0.1",
            "fd12::1",
        ] {
            let address = address.parse().unwrap();
            assert_eq!(cluster.address(address), Err(ForbiddenPlace::ApiServer), "{address}");
            assert_eq!(rules(AddressPolicy::Workstation).address(address), Ok(()), "{address}");
        }
        for address in ["10.96.0.2", "64:ff9b::10.96.0.2", "fd12::2", "8.8.8.8"] {
            assert_eq!(cluster.address(address.parse().unwrap()), Ok(()), "{address}");
        }
        assert_eq!(cluster.address([127, 0, 0, 1].into()), Err(ForbiddenPlace::Class(AddressClass::Loopback)));
    }

    #[test]
    fn the_api_servers_name_is_forbidden_in_every_domain() {
        let cluster = rules(AddressPolicy::Cluster);
        for name in [
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "kubernetes.default.svc.corp.example",
            "kubernetes.default.svc.a.b.c",
            "api.example",
        ] {
            assert_eq!(cluster.name(name), Err(ForbiddenPlace::ApiServer), "{name}");
            assert_eq!(rules(AddressPolicy::ClusterAndLoopback).name(name), Err(ForbiddenPlace::ApiServer), "{name}");
            assert_eq!(rules(AddressPolicy::Workstation).name(name), Ok(()), "{name}");
        }
        for name in ["kubernetes.example.com", "kubernetes.ai.svc", "my-kubernetes.default.svc", "vllm.default.svc"] {
            assert_eq!(cluster.name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn the_gateways_own_names_are_forbidden() {
        let names = ["routeapi", "Routeapi.ai.svc."].map(str::to_owned);
        let cluster = AddressRules::from(AddressPolicy::Cluster).with_gateway(names);
        for name in ["routeapi", "routeapi.ai.svc"] {
            assert_eq!(cluster.name(name), Err(ForbiddenPlace::Gateway), "{name}");
        }
        assert_eq!(cluster.name("routeapi.other.svc"), Ok(()));
    }

    #[test]
    fn ports_of_nodes_are_forbidden_in_a_cluster() {
        let (cluster, workstation) = (rules(AddressPolicy::Cluster), rules(AddressPolicy::Workstation));
        for port in [2379, 2380, 6443, 10248, 10249, 10250, 10255, 10256, 10257, 10259] {
            assert!(matches!(cluster.port(port), Err(ForbiddenPlace::Port(_))), "{port}");
            assert_eq!(workstation.port(port), Ok(()), "{port}");
        }
        for port in [80, 443, 8000, 8080, 8443, 10000, 10251, 11434] {
            assert_eq!(cluster.port(port), Ok(()), "{port}");
        }
        assert_eq!(cluster.port(10250).unwrap_err().to_string(), "at a port of kubelet");
    }

    #[test]
    fn localhost_and_metadata_names_have_classes() {
        let loopback = AddressRules::from(AddressPolicy::ClusterAndLoopback);
        assert_eq!(loopback.name("a.localhost"), Ok(()));
        assert_eq!(rules(AddressPolicy::Cluster).name("localhost"), Err(ForbiddenPlace::Class(AddressClass::Loopback)));
        let metadata = Err(ForbiddenPlace::Class(AddressClass::Metadata));
        assert_eq!(AddressRules::from(AddressPolicy::Workstation).name("metadata.google.internal"), metadata);
    }

    #[test]
    fn policies_allow_classes() {
        use AddressPolicy::{Cluster, ClusterAndLoopback, Workstation};
        for (address, allowed) in [
            ("10.0.0.1", [true, true, true]),
            ("8.8.8.8", [true, true, true]),
            ("127.0.0.1", [false, true, true]),
            ("::ffff:127.0.0.1", [false, true, true]),
            ("0.0.0.0", [false, false, true]),
            ("169.254.169.254", [false, false, false]),
            ("100.100.100.200", [false, false, false]),
            ("fe80::1", [false, false, false]),
            ("224.0.0.1", [false, false, false]),
        ] {
            let class = AddressClass::of(address.parse().unwrap());
            let policies = [Cluster, ClusterAndLoopback, Workstation];
            assert_eq!(policies.map(|policy| policy.allows(class)), allowed, "{address}");
        }
    }
}
