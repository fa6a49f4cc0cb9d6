//! The host of a URL: an address, a name, or what resolvers disagree about.

use std::net::IpAddr;

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
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

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
