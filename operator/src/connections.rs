//! Limits connections, so that clients cannot fill the operator with idle connections.
//!
//! The number of unauthenticated connections is small, in all and per address; a new one evicts the oldest, so that a flood
//! never keeps out a caller that authenticates promptly. Authenticated connections are counted separately. No I/O, no clock:
//! how long a connection may remain unauthenticated is up to the listener.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// Maximum numbers of connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Unauthenticated connections in all.
    pub unauthenticated: usize,
    /// Unauthenticated connections from one address.
    pub per_address: usize,
    /// Authenticated connections.
    pub authenticated: usize,
}

/// Limits the connections of one listener.
#[derive(Debug)]
pub struct ConnectionLimiter {
    limits: Limits,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next_id: u64,
    /// By ID, the oldest first.
    unauthenticated: BTreeMap<u64, Unauthenticated>,
    by_address: HashMap<IpAddr, usize>,
    authenticated: usize,
}

#[derive(Debug)]
struct Unauthenticated {
    address: IpAddr,
    evicted: CancellationToken,
}

/// The permit of one connection; released when dropped.
#[derive(Debug)]
pub struct ConnectionPermit {
    limiter: Arc<ConnectionLimiter>,
    id: u64,
    address: IpAddr,
    authenticated: Mutex<bool>,
    evicted: CancellationToken,
}

// === impl ConnectionLimiter ===

impl ConnectionLimiter {
    /// A limiter with no connections.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, open: Mutex::default() })
    }

    /// A permit for a new connection, which may evict another one.
    pub fn accept(self: &Arc<Self>, address: IpAddr) -> ConnectionPermit {
        // A dual-stack listener sees IPv4 addresses as mapped ones.
        let address = address.to_canonical();
        let mut open = self.lock();
        if open.by_address.get(&address).is_some_and(|count| *count >= self.limits.per_address) {
            open.evict(address);
        } else if open.unauthenticated.len() >= self.limits.unauthenticated {
            open.evict_busiest();
        }
        let (id, evicted) = (open.next_id, CancellationToken::new());
        open.next_id += 1;
        open.unauthenticated.insert(id, Unauthenticated { address, evicted: evicted.clone() });
        *open.by_address.entry(address).or_default() += 1;
        drop(open);
        ConnectionPermit { limiter: Arc::clone(self), id, address, authenticated: Mutex::new(false), evicted }
    }

    /// The numbers of unauthenticated and authenticated connections.
    pub fn counts(&self) -> (usize, usize) {
        let open = self.lock();
        (open.unauthenticated.len(), open.authenticated)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Open ===

impl Open {
    fn remove(&mut self, id: u64) -> Option<Unauthenticated> {
        let connection = self.unauthenticated.remove(&id)?;
        if let Some(count) = self.by_address.get_mut(&connection.address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&connection.address);
            }
        }
        Some(connection)
    }

    /// Evicts the oldest unauthenticated connection of an address.
    fn evict(&mut self, address: IpAddr) {
        let first =
            self.unauthenticated.iter().find(|(_, connection)| connection.address == address).map(|(id, _)| *id);
        if let Some(connection) = first.and_then(|id| self.remove(id)) {
            connection.evicted.cancel();
        }
    }

    fn evict_busiest(&mut self) {
        if let Some(address) = self.by_address.iter().max_by_key(|(_, count)| **count).map(|(address, _)| *address) {
            self.evict(address);
        }
    }
}

// === impl ConnectionPermit ===

impl ConnectionPermit {
    /// Cancelled when another connection evicts this one.
    pub fn evicted(&self) -> CancellationToken {
        self.evicted.clone()
    }

    /// Counts the connection as authenticated. False if there are too many, or if it was evicted.
    pub fn authenticate(&self) -> bool {
        let mut authenticated = self.authenticated.lock().unwrap_or_else(PoisonError::into_inner);
        if *authenticated {
            return true;
        }
        let mut open = self.limiter.lock();
        if open.authenticated >= self.limiter.limits.authenticated || open.remove(self.id).is_none() {
            return false;
        }
        open.authenticated += 1;
        *authenticated = true;
        true
    }

    /// Whether the connection counts as authenticated.
    pub fn is_authenticated(&self) -> bool {
        *self.authenticated.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The remote address; of a mapped one the IPv4 address.
    pub fn address(&self) -> IpAddr {
        self.address
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let authenticated = self.is_authenticated();
        let mut open = self.limiter.lock();
        if authenticated {
            open.authenticated -= 1;
        } else {
            open.remove(self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { unauthenticated: 6, per_address: 3, authenticated: 2 };

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn an_address_over_its_limit_loses_its_oldest_connection() {
        let limiter = ConnectionLimiter::new(LIMITS);
        let other = limiter.accept(address(2));
        let flood: Vec<_> = (0..100).map(|_| limiter.accept(address(1))).collect();
        assert!(!other.evicted().is_cancelled());
        assert_eq!(flood.iter().filter(|permit| !permit.evicted().is_cancelled()).count(), 3);
        assert!(!flood[99].evicted().is_cancelled(), "the newest stays");
        assert_eq!(limiter.counts(), (4, 0));
        drop(flood);
        assert_eq!(limiter.counts(), (1, 0));
    }

    #[test]
    fn a_full_listener_evicts_from_the_busiest_address() {
        let limiter = ConnectionLimiter::new(LIMITS);
        let quiet = limiter.accept(address(9));
        let flood: Vec<_> = (0..5).map(|at| limiter.accept(address(1 + at / 3))).collect();
        let newcomer = limiter.accept(address(8));
        assert!(!quiet.evicted().is_cancelled() && !newcomer.evicted().is_cancelled());
        assert!(flood[0].evicted().is_cancelled());
        assert_eq!(limiter.counts(), (6, 0));
    }

    #[test]
    fn authenticated_connections_are_counted_separately() {
        let limiter = ConnectionLimiter::new(LIMITS);
        let (one, two, three) = (limiter.accept(address(1)), limiter.accept(address(1)), limiter.accept(address(1)));
        assert!(one.authenticate() && one.authenticate() && two.authenticate() && !three.authenticate());
        assert_eq!(limiter.counts(), (1, 2));
        let _flood: Vec<_> = (0..100).map(|_| limiter.accept(address(1))).collect();
        assert!(!one.evicted().is_cancelled());
        assert!(three.evicted().is_cancelled() && !three.authenticate(), "too late");
        drop((one, two, three));
        assert_eq!(limiter.counts().1, 0);
    }

    #[test]
    fn a_mapped_address_counts_as_its_ipv4_address() {
        let limiter = ConnectionLimiter::new(LIMITS);
        let mapped = IpAddr::from(std::net::Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped());
        let all: Vec<_> = [address(1), mapped, address(1), mapped].map(|address| limiter.accept(address)).into();
        assert!(all[0].evicted().is_cancelled());
    }
}
