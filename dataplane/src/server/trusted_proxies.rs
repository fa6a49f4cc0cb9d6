//! Proxies and load balancers in front of the gateway whose word about a client's address is taken.
//!
//! Anybody can write `X-Forwarded-For` or a PROXY header, so by default nobody's is believed.

use std::{net::IpAddr, str::FromStr, sync::Arc};

use ipnet::{IpNet, Ipv4Net};

/// Address ranges of trusted proxies. Empty by default. Clones share them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Arc<[Range]>);

/// One of them on a command line: a CIDR range, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range(IpNet);

/// Neither an address nor a CIDR range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an IP address nor a CIDR range, such as 10.0.0.0/8 or 2001:db8::/32")]
pub struct InvalidRange(String);

impl TrustedProxies {
    /// These ranges.
    pub fn new(ranges: Vec<Range>) -> Self {
        Self(ranges.into())
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an address is a trusted proxy's. IPv4 in IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|Range(range)| range.contains(&address))
    }
}

impl FromStr for Range {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let range = match text.parse::<IpAddr>() {
            Ok(address) => Some(IpNet::from(address)),
            Err(_) => text.parse().ok(),
        };
        let range = range.ok_or_else(|| InvalidRange(text.to_owned()))?;
        // Addresses are compared in their canonical form, so ranges have it too.
        let mapped = match range {
            IpNet::V6(wide) => wide.addr().to_ipv4_mapped().zip(wide.prefix_len().checked_sub(96)),
            IpNet::V4(_) => None,
        };
        let mapped = mapped.and_then(|(address, length)| Ipv4Net::new(address, length).ok());
        Ok(Self(mapped.map_or(range, IpNet::V4)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(ranges: &[&str]) -> TrustedProxies {
        TrustedProxies::new(ranges.iter().map(|range| range.parse().unwrap()).collect())
    }

    #[test]
    fn addresses_and_ranges_of_both_families_are_trusted() {
        let proxies = trusted(&["10.0.0.0/8", "192.0.2.7", " 2001:db8::/32", "::1"]);
        for address in ["10.255.0.1", "::ffff:10.0.0.1", "192.0.2.7", "2001:db8:1::2", "::1"] {
            assert!(proxies.contains(address.parse().unwrap()), "{address}");
        }
        for address in ["11.0.0.1", "192.0.2.8", "2001:db9::1", "::2"] {
            assert!(!proxies.contains(address.parse().unwrap()), "{address}");
        }
        assert!(!TrustedProxies::default().contains("127.0.0.1".parse().unwrap()), "nobody by default");
    }

    #[test]
    fn ipv4_mapped_addresses_match_ipv4_ranges() {
        let proxies = trusted(&["::ffff:10.0.0.0/104"]);
        assert!(proxies.contains("10.1.2.3".parse().unwrap()) && !proxies.contains("11.1.2.3".parse().unwrap()));
        assert!(trusted(&["0.0.0.0/0"]).contains("::ffff:192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn invalid_ranges_are_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0", "proxy.example", "10.0.0.0/8/8", "::1/129", "[::1]"] {
            assert_eq!(text.parse::<Range>(), Err(InvalidRange(text.to_owned())));
        }
    }
}
