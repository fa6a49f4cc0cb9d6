//! Which addresses an upstream may have, both in URLs (compile) and after name resolution (data plane).
//!
//! An AIProvider makes the gateway send requests, and the owner of a DNS zone decides what a name resolves to (SSRF). In a
//! cluster some addresses are therefore forbidden: the data plane's own pod and node, cloud metadata services, and
//! addresses that no server has. An IPv6 address that embeds an IPv4 address is classified by that address.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

/// Classes of addresses, according to the IANA special-purpose registries and the cloud vendors' documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// 127.0.0.0/8, ::1: the data plane's own pod.
    Loopback,
    /// 0.0.0.0/8, ::; Linux connects them to the host itself.
    Unspecified,
    /// 169.254.0.0/16, fe80::/10: the node and its neighbours.
    LinkLocal,
    /// A cloud service that gives credentials to every client in the network.
    Metadata,
    /// 224.0.0.0/4, ff00::/8.
    Multicast,
    /// 255.255.255.255.
    Broadcast,
    /// 6to4 (2002::/16) and Teredo (2001::/32), where a relay decides which IPv4 address is reached.
    Tunnel,
    /// Assigned to protocols, deprecated or unassigned: never a server.
    Reserved,
    /// 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7: inside a cluster or a private network.
    Private,
    /// Everything else.
    Public,
}

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

/// The host of a URL, where all resolvers agree on its meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An IPv4 address of four decimal numbers, or an IPv6 address in brackets.
    Address(IpAddr),
    /// A name in lower case, without the dot of the root.
    Name(String),
    /// Text that only some resolvers read as an address, such as `127.1`, `0x7f000001`, `010.0.0.1` or `[fe80::1%eth0]`.
    Ambiguous,
}

/// Metadata and credential services at IPv4 addresses: AWS, Google, Azure, Oracle and others (the first), ECS tasks, EKS
/// pod identity, Scaleway, Tencent; Azure's platform address; Alibaba; Oracle's classic address.
const METADATA_V4: [Ipv4Addr; 8] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(169, 254, 42, 42),
    Ipv4Addr::new(169, 254, 0, 23),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// The metadata service of AWS, Google, Azure and others, which gives a node's identity to its pods.
pub const METADATA_SERVICE: Ipv4Addr = METADATA_V4[0];

/// The same at unique-local addresses: Google, Oracle, Linode, Scaleway. Amazon keeps a whole prefix, see [`AMAZON_V6`].
const METADATA_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254),
    Ipv6Addr::new(0xfd00, 0x00c1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
    Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 0x0001),
    Ipv6Addr::new(0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042),
];

/// Names of metadata services: Google, and AWS' instance-data.
const METADATA_NAMES: [&str; 5] =
    ["metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"];

/// fd00:ec2::/32 holds the services of an EC2 host (metadata, pod identity, DNS, time); no VPC can use it.
const AMAZON_V6: [u16; 2] = [0xfd00, 0x0ec2];

impl AddressClass {
    /// The class of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let [first, second, third, _] = address.octets();
        if METADATA_V4.contains(&address) {
            return Self::Metadata;
        }
        match (first, second, third) {
            (0, ..) => Self::Unspecified,
            (127, ..) => Self::Loopback,
            (169, 254, _) => Self::LinkLocal,
            (192, 0, 0) => Self::Reserved,
            (224..=239, ..) => Self::Multicast,
            _ if address.is_broadcast() => Self::Broadcast,
            (240.., ..) => Self::Reserved,
            _ if address.is_private() => Self::Private,
            _ => Self::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        if address.is_loopback() {
            return Self::Loopback;
        }
        if address.is_unspecified() {
            return Self::Unspecified;
        }
        if let Some(class) = Self::of_embedded(address) {
            return class;
        }
        let [first, second, ..] = address.segments();
        if METADATA_V6.contains(&address) || [first, second] == AMAZON_V6 {
            return Self::Metadata;
        }
        match first {
            0xff00.. => Self::Multicast,
            0xfe80..0xfec0 => Self::LinkLocal,
            0xfc00..0xfe00 => Self::Private,
            0x2002 => Self::Tunnel,
            0x2001 if second == 0 => Self::Tunnel,
            // The block that global unicast addresses come from.
            0x2000..0x4000 => Self::Public,
            _ => Self::Reserved,
        }
    }

    /// The class of the IPv4 address that an IPv6 address embeds, where that determines the class.
    fn of_embedded(address: Ipv6Addr) -> Option<Self> {
        let [.., a, b, c, d] = address.octets();
        let last = Self::of_v4(Ipv4Addr::new(a, b, c, d));
        match address.segments() {
            // IPv4-mapped, IPv4-translated (SIIT) and NAT64's well-known prefix, which DNS64 gives out for public names.
            [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(last),
            // IPv4-compatible, deprecated: nothing is routed there, but some stacks read it as the address inside.
            [0, 0, 0, 0, 0, 0, ..] => Some(if last.is_ordinary() { Self::Reserved } else { last }),
            [0x64, 0xff9b, 1, ..] => Some(Self::of_local_nat64(address)),
            // ISATAP: an interface identifier in any prefix.
            [.., 0x0000 | 0x0200, 0x5efe, _, _] if !last.is_ordinary() => Some(last),
            _ => None,
        }
    }

    /// NAT64 with an operator's own prefix inside 64:ff9b:1::/48. Where the IPv4 address is depends on the prefix's length
    /// (RFC 6052, 2.2), which is not part of the address; so every possible length must give an allowed address.
    fn of_local_nat64(address: Ipv6Addr) -> Self {
        let [_, _, _, _, _, _, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15] = address.octets();
        // Bits 64 to 71 and those after the IPv4 address are zero.
        let readings = [
            ([b6, b7, b9, b10], b8 | b11 | b12 | b13 | b14 | b15), // /48
            ([b7, b9, b10, b11], b8 | b12 | b13 | b14 | b15),      // /56
            ([b9, b10, b11, b12], b8 | b13 | b14 | b15),           // /64
            ([b12, b13, b14, b15], b8),                            // /96
        ];
        let possible = readings.into_iter().filter(|(_, zero)| *zero == 0);
        let embedded: Vec<Ipv4Addr> =
            possible.map(|(octets, _)| Ipv4Addr::from(octets)).filter(|address| !address.is_unspecified()).collect();
        let mut classes = embedded.iter().map(|address| Self::of_v4(*address));
        match classes.find(|class| !class.is_ordinary() && *class != Self::Unspecified) {
            Some(forbidden) => forbidden,
            None if embedded.is_empty() => Self::Unspecified,
            None => Self::Public,
        }
    }

    /// Whether servers have such addresses.
    fn is_ordinary(self) -> bool {
        matches!(self, Self::Private | Self::Public)
    }
}

impl fmt::Display for AddressClass {
    /// As in "is a loopback address".
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Loopback => "a loopback address",
            Self::Unspecified => "an unspecified address",
            Self::LinkLocal => "a link-local address",
            Self::Metadata => "the address of a cloud metadata service",
            Self::Multicast => "a multicast address",
            Self::Broadcast => "the broadcast address",
            Self::Tunnel => "a 6to4 or Teredo address",
            Self::Reserved => "a reserved address",
            Self::Private => "a private address",
            Self::Public => "a public address",
        })
    }
}

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

/// An address, and the IPv4 addresses that it embeds or may embed.
fn readings(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let embedded = match address {
        IpAddr::V4(_) => Vec::new(),
        IpAddr::V6(address) => {
            let [_, _, b2, b3, b4, b5, b6, b7, _, b9, b10, b11, b12, b13, b14, b15] = address.octets();
            let last = [b12, b13, b14, b15];
            match address.segments() {
                [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
                    vec![last]
                }
                [0x64, 0xff9b, 1, ..] => vec![[b6, b7, b9, b10], [b7, b9, b10, b11], [b9, b10, b11, b12], last],
                [0x2002, ..] => vec![[b2, b3, b4, b5]],
                [.., 0x0000 | 0x0200, 0x5efe, _, _] => vec![last],
                _ => Vec::new(),
            }
        }
    };
    std::iter::once(address).chain(embedded.into_iter().map(|octets| IpAddr::V4(octets.into())))
}

impl Host {
    /// Reads the host of a URL as `http::Uri` gives it, with brackets around an IPv6 address.
    pub fn of(host: &str) -> Self {
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if let Some(inner) = name.strip_prefix('[') {
            let literal = inner.strip_suffix(']').and_then(|inner| inner.parse().ok());
            return literal.map_or(Self::Ambiguous, |address| Self::Address(IpAddr::V6(address)));
        }
        if let Ok(address) = name.parse() {
            return Self::Address(IpAddr::V4(address));
        }
        // As in the URL standard, the last label decides whether a host is an IPv4 address.
        let last = name.rsplit('.').next().unwrap_or_default();
        let hexadecimal =
            last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let name_bytes = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit()) || !name.bytes().all(name_bytes) {
            return Self::Ambiguous;
        }
        Self::Name(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(address: &str) -> AddressClass {
        AddressClass::of(address.parse().unwrap())
    }

    #[test]
    fn every_range_has_its_class() {
        use AddressClass::{
            Broadcast, LinkLocal, Loopback, Metadata, Multicast, Private, Public, Reserved, Tunnel, Unspecified,
        };
        for (expected, addresses) in [
            (Loopback, ["127.0.0.1", "127.255.255.254", "::1"].as_slice()),
            (Unspecified, &["0.0.0.0", "0.1.2.3", "::"]),
            (LinkLocal, &["169.254.0.1", "169.254.169.253", "fe80::1", "febf::1", "fe80::a9fe:a9fe"]),
            (
                Metadata,
                &[
                    "169.254.169.254",
                    "169.254.170.2",
                    "168.63.129.16",
                    "100.100.100.200",
                    "192.0.0.192",
                    "fd00:ec2::254",
                    "fd00:ec2::23",
                    "fd20:ce::254",
                ],
            ),
            (Multicast, &["224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1"]),
            (Broadcast, &["255.255.255.255"]),
            (Tunnel, &["2002:a9fe:a9fe::1", "2002:808:808::1", "2001:0:53aa:64c::1"]),
            (Reserved, &["240.0.0.1", "255.255.255.254", "192.0.0.1", "fec0::1", "100::1", "4000::1", "::8.8.8.8"]),
            (Private, &["10.96.0.1", "172.16.0.1", "172.31.255.1", "192.168.0.1", "fc00::1", "fd00::1", "fdff::1"]),
            (Public, &["8.8.8.8", "172.32.0.1", "168.63.129.17", "192.0.1.1", "2606:4700::1111", "2001:4860::8888"]),
        ] {
            for address in addresses {
                assert_eq!(class(address), expected, "{address}");
            }
        }
    }

    /// All forms of IPv6 addresses that embed an IPv4 address.
    #[test]
    fn embedded_addresses_determine_the_class() {
        for v4 in ["127.0.0.1", "169.254.169.254", "169.254.1.1", "168.63.129.16", "100.100.100.200", "192.0.0.192"] {
            let [a, b, c, d] = v4.parse::<Ipv4Addr>().unwrap().octets();
            let hex = format!("{a:02x}{b:02x}:{c:02x}{d:02x}");
            for form in [
                format!("::ffff:{v4}"),
                format!("::ffff:0:{v4}"),
                format!("::{v4}"),
                format!("64:ff9b::{v4}"),
                format!("64:ff9b:1::{v4}"),
                format!("64:ff9b:1:ffff:0:1:{hex}"),
                format!("64:ff9b:1:{a:02x}{b:02x}:{c:02x}:{d:02x}00::"),
                format!("64:ff9b:1:{a:02x}:{b:02x}:{c:02x}{d:02x}::"),
                format!("64:ff9b:1:0:{a:02x}:{b:02x}{c:02x}:{d:02x}00::"),
                format!("2001:db8::5efe:{hex}"),
                format!("2001:db8::200:5efe:{hex}"),
            ] {
                assert_eq!(class(&form), class(v4), "{form}");
            }
        }
        for v4 in ["8.8.8.8", "10.0.0.1"] {
            assert_eq!(class(&format!("64:ff9b::{v4}")), class(v4), "as DNS64 responds in a cluster without IPv4");
        }
        assert_eq!(class("64:ff9b:1::8.8.8.8"), AddressClass::Public);
        assert_eq!(class("64:ff9b:1::"), AddressClass::Unspecified);
    }

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
            let policies = [Cluster, ClusterAndLoopback, Workstation];
            assert_eq!(policies.map(|policy| policy.allows(class(address))), allowed, "{address}");
        }
    }

    #[test]
    fn hosts_are_addresses_names_or_ambiguous() {
        for (host, expected) in [
            ("169.254.169.254.", Host::Address(IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)))),
            ("[::1]", Host::Address(IpAddr::V6(Ipv6Addr::LOCALHOST))),
            ("API.openai.com.", Host::Name("api.openai.com".to_owned())),
            ("1password.com", Host::Name("1password.com".to_owned())),
        ] {
            assert_eq!(Host::of(host), expected, "{host}");
        }
        for host in [
            "2852039166",
            "0x7f.1",
            "0xa9fea9fe",
            "0X7F000001",
            "0x",
            "127.1",
            "0251.0376.0251.0376",
            "169.254.169.254..",
            "10.0.0.256",
            "1.2.3.4.5",
            "[fe80::1%25eth0]",
            "[fe80::1%eth0]",
            "[127.0.0.1]",
            "[::1",
            "",
            ".",
            "169%2e254.169.254",
            "\u{ff11}\u{ff16}\u{ff19}.254.169.254",
            "\u{2460}27.0.0.1",
        ] {
            assert_eq!(Host::of(host), Host::Ambiguous, "{host}");
        }
    }
}
