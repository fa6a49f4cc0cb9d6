//! Which addresses an upstream may have.
//!
//! Whoever writes an AIProvider makes the data plane send requests, so in a cluster some addresses are refused: the data
//! plane's own pod and node (loopback, link-local), the clouds' metadata services, the API server, ports of kubelets and of
//! the control plane, the gateway itself. Plain http is allowed inside the cluster only, since it exposes keys and prompts.
//! On a workstation the machine itself, an API server and plain http are allowed.
//!
//! Addresses, names and ports are checked against `AddressRules`. What a name resolves to is checked by the data plane when
//! it connects, with the same table; a name that is reached through an egress proxy is resolved by the proxy, whose own
//! rules apply.

use std::{net::IpAddr, num::NonZeroU16};

use http::Uri;
use routeapi_crds::value::{AddressClass, AddressPolicy, ForbiddenPlace, Host};

use crate::options::Options;

/// An address that may be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Whether a path follows host and port.
    pub has_path: bool,
    /// Without a trailing slash.
    pub url: String,
    /// In lower case, without a port.
    pub host: String,
    /// Whether it is http.
    pub plain: bool,
    location: Location,
}

/// Whether requests leave the cluster on their way to a host, judging by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Location {
    /// Inside the cluster or a private network.
    Local,
    /// Anywhere.
    Public,
}

/// Checks a base URL. The error completes a message that starts with the field's path.
pub(crate) fn check(base_url: &str, options: &Options) -> Result<Address, String> {
    let address = parse(base_url, options)?;
    if address.plain && address.location == Location::Public && options.addresses.policy() != AddressPolicy::Workstation
    {
        return Err(format!(
            "{:?} is outside the cluster: use https (plain http is only allowed for single-label names, *.svc, \
             *.cluster.local and private addresses)",
            address.host
        ));
    }
    Ok(address)
}

/// Checks the URL of any server that the data plane is to connect to. Errors as in [`check`].
pub(crate) fn parse(base_url: &str, options: &Options) -> Result<Address, String> {
    let uri: Uri = base_url.parse().map_err(|_| format!("{base_url:?} is not a valid URL"))?;
    let plain = match uri.scheme_str() {
        Some("https") => false,
        Some("http") => true,
        _ => return Err(format!("{base_url:?} must start with http:// or https://")),
    };
    if base_url.contains(['?', '#', '@']) {
        return Err("must not contain a user, query or fragment".to_owned());
    }
    let port =
        uri.authority().and_then(|authority| authority.as_str().strip_prefix(authority.host())).unwrap_or_default();
    let number = port.strip_prefix(':').map(str::parse::<NonZeroU16>);
    if !port.is_empty() && !matches!(number, Some(Ok(_))) {
        return Err(format!("{base_url:?} has an invalid port"));
    }
    let written = uri.host().unwrap_or_default();
    let host = written.trim_end_matches('.').to_ascii_lowercase();
    if host.is_empty() {
        return Err(format!("{base_url:?} has no host"));
    }
    let rules = &options.addresses;
    let (allowed, location) = match Host::of(written) {
        Host::Address(address) => (rules.address(address), Location::of(address)),
        Host::Name(name) => (rules.name(&name), Location::named(&name)),
        Host::Ambiguous => {
            return Err(format!(
                "{written:?} is neither a DNS name, a dotted IPv4 address nor an IPv6 address in brackets"
            ));
        }
    };
    let allowed = allowed.and_then(|()| match number {
        Some(Ok(port)) => rules.port(port.get()),
        _ => Ok(()),
    });
    allowed.map_err(|forbidden| format!("{host:?} is not allowed: it is {forbidden}{}", consequence(forbidden)))?;
    let has_path = !uri.path().trim_matches('/').is_empty();
    Ok(Address { has_path, url: base_url.trim_end_matches('/').to_owned(), host, plain, location })
}

/// Why an address is forbidden, where its class alone does not explain it.
fn consequence(forbidden: ForbiddenPlace) -> &'static str {
    match forbidden {
        ForbiddenPlace::Class(AddressClass::Loopback | AddressClass::Unspecified) => {
            ", which would be the data plane's own pod"
        }
        ForbiddenPlace::Class(AddressClass::LinkLocal) => ", which would be the data plane's own node",
        ForbiddenPlace::Gateway => ", which would call itself endlessly",
        ForbiddenPlace::Class(_) | ForbiddenPlace::ApiServer | ForbiddenPlace::Port(_) => "",
    }
}

impl Location {
    fn of(address: IpAddr) -> Self {
        match AddressClass::of(address) {
            AddressClass::Public => Self::Public,
            _ => Self::Local,
        }
    }

    fn named(host: &str) -> Self {
        let inside =
            !host.contains('.') || [".svc", ".cluster.local", ".localhost"].iter().any(|suffix| host.ends_with(suffix));
        if inside { Self::Local } else { Self::Public }
    }
}

#[cfg(test)]
mod tests {
    use routeapi_crds::value::AddressRules;

    use super::*;
    use crate::{Publishers, WorkloadIdentity};

    fn check(url: &str, policy: AddressPolicy) -> Result<Address, String> {
        super::check(
            url,
            &Options {
                addresses: policy.into(),
                publishers: Publishers::Any,
                workload_identity: WorkloadIdentity::Any,
                partial: false,
            },
        )
    }

    const CLUSTER: AddressPolicy = AddressPolicy::Cluster;
    const WORKSTATION: AddressPolicy = AddressPolicy::Workstation;

    #[test]
    fn public_upstreams_need_https_and_cluster_upstreams_do_not() {
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
    fn loopback_the_api_server_and_public_http_are_for_workstations() {
        for url in [
            "http://localhost:11434/v1",
            "https://api.localhost",
            "https://127.0.0.1",
            "http://127.9.9.9",
            "http://0.0.0.0",
            "http://[::1]:80",
            "http://[::]",
            "http://[::ffff:127.0.0.1]",
            "https://kubernetes.default.svc",
            "http://api.openai.com/v1",
            "http://8.8.8.8",
        ] {
            assert!(check(url, CLUSTER).is_err(), "{url}");
            assert!(check(url, WORKSTATION).is_ok(), "{url}: {:?}", check(url, WORKSTATION));
        }
    }

    #[test]
    fn metadata_services_and_reserved_addresses_are_always_refused() {
        for url in [
            "http://169.254.169.254",
            "http://[::ffff:169.254.169.254]",
            "http://[fe80::1]",
            "http://[fd00:ec2::254]",
            "http://100.100.100.200",
            "https://168.63.129.16",
            "https://192.0.0.192",
            "https://[fd20:ce::254]",
            "https://[64:ff9b::a9fe:a9fe]",
            "https://[::169.254.169.254]",
            "https://[2002:a9fe:a9fe::1]",
            "https://224.0.0.1",
            "https://169.254.169.254.",
            "http://metadata.google.internal",
            "http://METADATA",
        ] {
            assert!(check(url, CLUSTER).is_err(), "{url}");
            assert!(check(url, WORKSTATION).is_err(), "{url}");
        }
    }

    #[test]
    fn loopback_is_the_only_exception_of_its_policy() {
        let options = AddressPolicy::ClusterAndLoopback;
        for url in ["http://127.0.0.1:11434/v1", "http://localhost:8000", "http://[::1]:80", "https://api.openai.com"] {
            assert!(check(url, options).is_ok(), "{url}: {:?}", check(url, options));
        }
        for url in [
            "http://169.254.169.254",
            "http://[fe80::1]",
            "http://0.0.0.0",
            "http://metadata.google.internal",
            "https://kubernetes.default.svc",
            "http://api.openai.com/v1",
        ] {
            assert!(check(url, options).is_err(), "{url}");
        }
    }

    #[test]
    fn the_api_server_node_ports_and_the_gateway_are_refused() {
        let rules = AddressRules::from(CLUSTER)
            .with_api_server("10.96.0.1")
            .with_gateway(["routeapi.ai-platform.svc".to_owned(), "ai.example.com".to_owned()]);
        let options = Options {
            addresses: rules,
            publishers: Publishers::Any,
            workload_identity: WorkloadIdentity::Any,
            partial: false,
        };
        for (url, why) in [
            ("https://10.96.0.1", "the Kubernetes API server"),
            ("https://[::ffff:10.96.0.1]:443/v1", "the Kubernetes API server"),
            ("https://kubernetes.default.svc.corp.example/v1", "the Kubernetes API server"),
            ("https://KUBERNETES.default.", "the Kubernetes API server"),
            ("https://10.1.2.3:10250/v1", "at a port of kubelet"),
            ("http://node.ai.svc:10255", "at a port of kubelet"),
            ("https://192.168.0.1:6443", "at a port of kube-apiserver"),
            ("http://routeapi.ai-platform.svc/v1", "this gateway itself"),
            ("https://ai.example.com:8443", "this gateway itself"),
        ] {
            let error = super::check(url, &options).unwrap_err();
            assert!(error.contains(why), "{url}: {error}");
        }
        for url in ["https://10.96.0.2", "http://vllm.ai.svc:8000", "https://kubernetes.example.com"] {
            assert!(super::check(url, &options).is_ok(), "{url}");
        }
    }

    #[test]
    fn malformed_base_urls_are_refused() {
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
            "http://2852039166/",
            "http://0251.0376.0251.0376",
            "http://[fe80::1%25eth0]",
            "http://169.254.169.254..",
            "http://\u{ff11}\u{ff16}\u{ff19}.254.169.254",
            "http://[::1",
            "http://a b",
        ] {
            assert!(check(url, WORKSTATION).is_err(), "{url}");
        }
    }

    #[test]
    fn a_trailing_slash_is_removed() {
        let address = check("https://API.openai.com/v1/", CLUSTER).unwrap();
        assert_eq!((address.url.as_str(), address.host.as_str()), ("https://API.openai.com/v1", "api.openai.com"));
    }
}
