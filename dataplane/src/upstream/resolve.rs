//! Names to addresses, with a guard: in a cluster no upstream may lead to this pod, its node or a metadata service,
//! whatever its name resolves to at the moment of connecting.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    vec,
};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

/// Which addresses upstreams may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All of them: `routeapi run`, where upstreams on this machine are normal.
    Anywhere,
    /// All but loopback, link-local (cloud metadata) and unspecified ones.
    NotThisHost,
}

impl Reach {
    /// Whether a connection to this address may be made.
    pub fn allows(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let local = match address {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.is_unspecified(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified(),
        };
        self == Self::Anywhere || !local
    }
}

/// The system's resolver behind the guard.
#[derive(Clone, Debug)]
pub struct Resolver {
    system: GaiResolver,
    reach: Reach,
}

impl Resolver {
    /// A resolver that gives only addresses within reach.
    pub fn new(reach: Reach) -> Self {
        Self { system: GaiResolver::new(), reach }
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
        let reach = self.reach;
        let host = name.as_str().to_owned();
        let lookup = self.system.call(name);
        Box::pin(async move {
            let allowed: Vec<SocketAddr> = lookup.await?.filter(|address| reach.allows(address.ip())).collect();
            if allowed.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    format!("{host} resolves to no address that an upstream may have"),
                ));
            }
            Ok(allowed.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_and_metadata_services_are_out_of_reach_in_a_cluster() {
        for (address, allowed) in [
            ("127.0.0.1", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("169.254.169.254", false),
            ("fe80::1", false),
            ("0.0.0.0", false),
            ("10.96.0.1", true),
            ("8.8.8.8", true),
            ("fd00::1", true),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(Reach::NotThisHost.allows(address), allowed, "{address}");
            assert!(Reach::Anywhere.allows(address));
        }
    }
}
