//! Names to addresses, with a guard: whatever a name resolves to at the moment of connecting is judged by the same table
//! as an address in a URL. The addresses that pass are the ones that are connected to; the name is not asked again, so a
//! DNS server that changes its mind gains nothing.
//!
//! A name that is reached through an egress proxy does not come here: the proxy resolves it, and its own rules decide.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    vec,
};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use routeapi_crds::value::AddressRules;
use tower_service::Service;

/// The system's resolver behind the guard.
#[derive(Clone, Debug)]
pub struct Resolver {
    system: GaiResolver,
    /// None: every address may be connected to.
    rules: Option<AddressRules>,
}

impl Resolver {
    /// A resolver that gives only addresses that upstreams may have.
    pub fn new(rules: impl Into<AddressRules>) -> Self {
        Self { system: GaiResolver::new(), rules: Some(rules.into()) }
    }

    /// A resolver for names that whoever runs this process has chosen.
    pub fn unguarded() -> Self {
        Self { system: GaiResolver::new(), rules: None }
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        self.system.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let rules = self.rules.clone();
        let host = name.as_str().to_owned();
        let lookup = self.system.call(name);
        Box::pin(async move {
            let found = lookup.await?;
            match rules {
                Some(rules) => allowed(&rules, &host, found).map(Vec::into_iter),
                None => Ok(found.collect::<Vec<_>>().into_iter()),
            }
        })
    }
}

/// The addresses that may be connected to; an error that names the first other one if there are none.
fn allowed(rules: &AddressRules, host: &str, found: impl Iterator<Item = SocketAddr>) -> io::Result<Vec<SocketAddr>> {
    let mut refused = None;
    let mut allowed = Vec::new();
    for address in found {
        match rules.address(address.ip()) {
            Ok(()) => allowed.push(address),
            Err(forbidden) => drop(refused.get_or_insert((address.ip(), forbidden))),
        }
    }
    match refused {
        Some((address, forbidden)) if allowed.is_empty() => {
            let message = format!("{host} resolves to {address}, {forbidden}, which no upstream may have");
            Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
        }
        _ => Ok(allowed),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, TcpListener};

    use hyper_util::client::legacy::connect::HttpConnector;
    use routeapi_crds::value::AddressPolicy;

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| SocketAddr::new(text.parse::<IpAddr>().unwrap(), 443)).collect()
    }

    #[test]
    fn resolved_addresses_obey_the_same_rules_as_literals() {
        for forbidden in [
            "127.0.0.1",
            "169.254.169.254",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fe80::1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "::a9fe:a9fe",
            "0.0.0.0",
            "224.0.0.1",
        ] {
            let found = addresses(&[forbidden]);
            let error = allowed(&AddressPolicy::Cluster.into(), "evil.example", found.into_iter()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{forbidden}");
            let beside = addresses(&[forbidden, "10.96.0.1", "fd00::1", "8.8.8.8"]);
            let kept = allowed(&AddressPolicy::Cluster.into(), "evil.example", beside.into_iter()).unwrap();
            assert_eq!(kept, addresses(&["10.96.0.1", "fd00::1", "8.8.8.8"]), "{forbidden}");
        }
    }

    #[test]
    fn refused_address_is_named_with_its_class() {
        let error = allowed(&AddressPolicy::Cluster.into(), "a.example", addresses(&["169.254.169.254"]).into_iter());
        assert_eq!(
            error.unwrap_err().to_string(),
            "a.example resolves to 169.254.169.254, the address of a cloud metadata service, which no upstream may have"
        );
    }

    #[test]
    fn name_that_resolves_to_the_api_server_is_refused() {
        let rules = AddressRules::from(AddressPolicy::Cluster).with_api_server("10.96.0.1");
        for address in ["10.96.0.1", "::ffff:10.96.0.1", "64:ff9b::10.96.0.1"] {
            let error = allowed(&rules, "alias.example", addresses(&[address]).into_iter()).unwrap_err();
            assert!(error.to_string().contains("the Kubernetes API server"), "{error}");
        }
        assert!(allowed(&rules, "alias.example", addresses(&["10.96.0.2"]).into_iter()).is_ok());
    }

    /// The guard sits in the connector, not only in the table.
    #[tokio::test]
    async fn loopback_names_are_refused_in_a_cluster() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let uri: http::Uri = format!("http://localhost:{}", listener.local_addr().unwrap().port()).parse().unwrap();
        for spelled in ["localhost", "2130706433", "0x7f.1", "127.1"] {
            let uri: http::Uri = uri.to_string().replace("localhost", spelled).parse().unwrap();
            let mut connector = HttpConnector::new_with_resolver(Resolver::new(AddressPolicy::Cluster));
            assert!(connector.call(uri).await.is_err(), "{spelled}");
        }
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "nobody connected");

        let mut connector = HttpConnector::new_with_resolver(Resolver::new(AddressPolicy::Workstation));
        assert!(connector.call(uri).await.is_ok());
    }
}
