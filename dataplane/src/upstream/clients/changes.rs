//! Connections that a configuration needs, as they are before it is put in force: what there is already is shared, and
//! what is missing is made without anybody else knowing of it.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, PoisonError},
    time::Duration,
};

use http::uri::{Authority, Scheme};

use super::{Clients, InvalidTrust, PoolKey, Trust};
use crate::upstream::{
    base_url::BaseUrl,
    pool::{Host, Pool},
};

/// Every pool that a configuration uses, with the hosts that are new in each.
#[derive(Debug, Default)]
pub struct NewConnections(HashMap<PoolKey, Used>);

#[derive(Debug)]
struct Used {
    pool: Arc<Pool>,
    hosts: HashMap<(Scheme, Authority), Arc<Host>>,
}

/// No connection could be made with these settings.
#[derive(Debug, thiserror::Error)]
pub enum UnusableConnection {
    /// Whom to trust, or as whom.
    #[error(transparent)]
    Trust(#[from] InvalidTrust),
    /// Where to.
    #[error(transparent)]
    Address(#[from] http::Error),
}

impl NewConnections {
    /// The connections to a base URL's host for this trust and this bound on connecting.
    ///
    /// # Errors
    /// When certificates, the server name or the host cannot be used.
    pub fn host(
        &mut self,
        clients: &Clients,
        (trust, connect): (&Trust, Duration),
        base: &BaseUrl,
    ) -> Result<Arc<Host>, UnusableConnection> {
        let Used { pool, hosts } = match self.0.entry((trust.clone(), connect)) {
            Entry::Occupied(used) => used.into_mut(),
            Entry::Vacant(vacant) => {
                let pool = match clients.find(vacant.key()) {
                    Some(pool) => pool,
                    None => Arc::new(clients.new_pool(trust, connect)?),
                };
                vacant.insert(Used { pool, hosts: HashMap::new() })
            }
        };
        let (scheme, authority) = (base.scheme(), base.authority());
        if let Some(host) = pool.find(scheme, authority) {
            return Ok(host);
        }
        match hosts.entry((scheme.clone(), authority.clone())) {
            Entry::Occupied(host) => Ok(Arc::clone(host.get())),
            Entry::Vacant(vacant) => Ok(Arc::clone(vacant.insert(pool.new_host(scheme, authority)?))),
        }
    }

    /// Makes them known to the configurations that follow.
    pub fn apply(self, clients: &Clients) {
        let mut pools = clients.pools.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, Used { pool, hosts }) in self.0 {
            pool.keep(hosts);
            pools.insert(key, pool);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::AddressPolicy;

    #[test]
    fn equal_settings_share_connections_and_unused_ones_are_closed() {
        let clients = Clients::new(AddressPolicy::Workstation);
        let (second, trust) = (Duration::from_secs(1), Trust::default());
        let base = |text: &str| BaseUrl::parse(text).unwrap();
        let mut new = NewConnections::default();
        let host = new.host(&clients, (&trust, second), &base("http://a:1/v1")).unwrap();
        assert!(Arc::ptr_eq(&host, &new.host(&clients, (&trust, second), &base("http://a:1/v2")).unwrap()));
        assert!(!Arc::ptr_eq(&host, &new.host(&clients, (&trust, second), &base("http://a:2")).unwrap()));
        assert!(!Arc::ptr_eq(&host, &new.host(&clients, (&trust, 2 * second), &base("http://a:1")).unwrap()));
        assert!(clients.pools.lock().unwrap().is_empty(), "nothing is known before it is applied");
        new.apply(&clients);
        let mut next = NewConnections::default();
        assert!(Arc::ptr_eq(&host, &next.host(&clients, (&trust, second), &base("http://a:1/v1")).unwrap()));
        drop(next);
        clients.prune();
        assert_eq!(clients.pools.lock().unwrap().len(), 1, "one is in use");
        drop(host);
        clients.prune();
        assert!(clients.pools.lock().unwrap().is_empty());
    }
}
