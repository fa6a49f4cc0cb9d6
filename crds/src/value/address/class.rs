//! What an address is: its class, and what it means to those who read an IPv4 address in it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
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
    pub(super) fn is_ordinary(self) -> bool {
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

/// An address, and the IPv4 addresses that it embeds or may embed.
pub(super) fn readings(address: IpAddr) -> impl Iterator<Item = IpAddr> {
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
}
