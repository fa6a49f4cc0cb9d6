//! Where an upstream may be.
//!
//! Whoever writes an AIProvider makes the data plane send requests, so in a cluster some places are refused: the data
//! plane's own pod and node (loopback, link-local), the clouds' metadata services, the API server; and keys and prompts
//! cross a network in the clear only inside the cluster. On a workstation all of this is allowed.
//!
//! Names are judged by what they say. A public name whose DNS answers with a private address is not caught here.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU16,
};

use http::Uri;

use crate::Options;

/// An address that may be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Without a trailing slash.
    pub url: String,
    /// In lower case, without a port.
    pub host: String,
    /// Whether it is http.
    pub plain: bool,
}

/// What a host is, as far as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Loopback,
    LinkLocal,
    Metadata,
    ApiServer,
    /// Inside the cluster, or at least inside a private network.
    Local,
    Public,
    /// Digits that resolvers read in different ways, such as `127.1` or `0x7f000001`.
    Ambiguous,
}

/// Services that hand out credentials to whoever asks from inside a cloud.
const METADATA_NAMES: [&str; 5] =
    ["metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"];
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254);

const API_SERVER: [&str; 4] =
    ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"];

/// Checks a base URL. The error is the rest of a sentence that starts with the field's name.
pub(crate) fn check(base_url: &str, options: Options) -> Result<Address, String> {
    let uri: Uri = base_url.parse().map_err(|_| format!("{base_url:?} is not a URL"))?;
    let plain = match uri.scheme_str() {
        Some("https") => false,
        Some("http") => true,
        _ => return Err(format!("{base_url:?} must start with http:// or https://")),
    };
    if base_url.contains(['?', '#', '@']) {
        return Err("must have no user, query or fragment".to_owned());
    }
    let port = uri.authority().and_then(|it| it.as_str().strip_prefix(it.host())).unwrap_or_default();
    let number = port.strip_prefix(':').map(str::parse::<NonZeroU16>);
    if !port.is_empty() && !matches!(number, Some(Ok(_))) {
        return Err(format!("{base_url:?} has no valid port"));
    }
    let host = uri.host().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    if host.is_empty() {
        return Err(format!("{base_url:?} has no host"));
    }
    let place = place(&host);
    if place == Place::Ambiguous {
        return Err(format!("{host:?} is not an address: write four decimal numbers"));
    }
    if !options.loopback {
        permitted(&host, place, plain)?;
    }
    Ok(Address { url: base_url.trim_end_matches('/').to_owned(), host, plain })
}

fn permitted(host: &str, place: Place, plain: bool) -> Result<(), String> {
    match place {
        Place::Loopback => Err(format!("{host:?} is a loopback address, which would be the data plane's own pod")),
        Place::LinkLocal => Err(format!("{host:?} is a link-local address, which would be the data plane's own node")),
        Place::Metadata => Err(format!("{host:?} is a cloud's metadata service")),
        Place::ApiServer => Err(format!("{host:?} is the Kubernetes API server")),
        Place::Public if plain => Err(format!(
            "plain http is for names and addresses inside the cluster (one label, *.svc, *.cluster.local, private \
             addresses), and {host:?} is none: use https"
        )),
        Place::Local | Place::Public | Place::Ambiguous => Ok(()),
    }
}

fn place(host: &str) -> Place {
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match literal.unwrap_or(host).parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => place_v4(address),
        Ok(IpAddr::V6(address)) => address.to_ipv4_mapped().map_or_else(|| place_v6(address), place_v4),
        Err(_) if literal.is_some() => Place::Ambiguous,
        Err(_) => place_name(host),
    }
}

fn place_v4(address: Ipv4Addr) -> Place {
    let first = address.octets().first().copied();
    if address.is_loopback() || first == Some(0) {
        Place::Loopback
    } else if address.is_link_local() {
        Place::LinkLocal
    } else if METADATA_V4.contains(&address) {
        Place::Metadata
    } else if address.is_private() {
        Place::Local
    } else {
        Place::Public
    }
}

fn place_v6(address: Ipv6Addr) -> Place {
    if address.is_loopback() || address.is_unspecified() {
        Place::Loopback
    } else if address.is_unicast_link_local() {
        Place::LinkLocal
    } else if address == METADATA_V6 {
        Place::Metadata
    } else if address.is_unique_local() {
        Place::Local
    } else {
        Place::Public
    }
}

fn place_name(host: &str) -> Place {
    let last = host.rsplit('.').next().unwrap_or_default();
    // As the URL standard decides whether a host is meant as an IPv4 address.
    let hex = last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if hex || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Place::Ambiguous;
    }
    if last == "localhost" {
        Place::Loopback
    } else if METADATA_NAMES.contains(&host) {
        Place::Metadata
    } else if API_SERVER.contains(&host) {
        Place::ApiServer
    } else if !host.contains('.') || last == "svc" || host.ends_with(".cluster.local") {
        Place::Local
    } else {
        Place::Public
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: Options = Options { loopback: false };
    const WORKSTATION: Options = Options { loopback: true };

    #[test]
    fn a_cluster_reaches_vendors_by_https_and_its_own_servers_by_either() {
        for url in [
            "https://api.openai.com/v1",
            "https://8.8.8.8",
            "http://vllm:8000/v1",
            "http://vllm.ai.svc:8000",
            "http://vllm.ai.svc.cluster.local.",
            "http://10.1.2.3",
            "http://192.168.0.9:80",
            "http://172.16.0.1",
            "http://[fd12::1]:8000",
            "https://kubernetes.example.com",
        ] {
            assert!(check(url, CLUSTER).is_ok(), "{url}: {:?}", check(url, CLUSTER));
        }
    }

    #[test]
    fn a_cluster_refuses_what_a_workstation_may() {
        for url in [
            "http://localhost:11434/v1",
            "https://api.localhost",
            "https://127.0.0.1",
            "http://127.9.9.9",
            "http://0.0.0.0",
            "http://[::1]:80",
            "http://[::]",
            "http://[::ffff:127.0.0.1]",
            "http://[::ffff:169.254.169.254]",
            "http://169.254.169.254",
            "http://[fe80::1]",
            "http://[fd00:ec2::254]",
            "http://100.100.100.200",
            "http://metadata.google.internal",
            "http://METADATA",
            "https://kubernetes.default.svc",
            "http://api.openai.com/v1",
            "http://8.8.8.8",
        ] {
            assert!(check(url, CLUSTER).is_err(), "{url}");
            assert!(check(url, WORKSTATION).is_ok(), "{url}: {:?}", check(url, WORKSTATION));
        }
    }

    #[test]
    fn nobody_takes_what_is_not_an_address() {
        for url in [
            "",
            "api.openai.com",
            "ftp://api.openai.com",
            "https://",
            "https:///v1",
            "https://user:pass@api.openai.com",
            "https://api.openai.com/v1?x=1",
            "https://api.openai.com/v1#x",
            "https://api.openai.com:99999",
            "https://api.openai.com:",
            "https://api.openai.com:0",
            "http://2130706433",
            "http://127.1",
            "http://0x7f.1",
            "http://0x7f000001",
            "http://[::1",
            "http://a b",
        ] {
            assert!(check(url, WORKSTATION).is_err(), "{url}");
        }
    }

    #[test]
    fn a_trailing_slash_goes() {
        let address = check("https://API.openai.com/v1/", CLUSTER).unwrap();
        assert_eq!((address.url.as_str(), address.host.as_str()), ("https://API.openai.com/v1", "api.openai.com"));
    }
}
