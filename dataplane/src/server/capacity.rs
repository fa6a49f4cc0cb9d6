//! How many connections and requests are served at once, in all and for one address, and how many bytes of unfinished
//! requests are held. Shared by the listeners that share a limit; nothing here depends on what a client says.
//!
//! An address is an IPv4 address or an IPv6 /64, which is what one host is given. One address gets a share only, so that
//! it cannot take every place; behind a proxy or a NAT all clients have one address, which is what the setting is for.

mod pending;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

pub(super) use pending::Charge;

use self::pending::Pending;
use super::{Limits, share::share};

/// Connections beyond the limit that are held for a moment, so that their clients read why they are turned away.
const MAX_TURNED_AWAY: usize = 64;

/// What is in use, and how much of it there is.
#[derive(Debug)]
pub struct Capacity {
    connections: Count,
    requests: Count,
    turned_away: Count,
    connections_per_client: usize,
    requests_per_client: usize,
    clients: Mutex<HashMap<IpAddr, Arc<Client>>>,
    pending: Arc<Pending>,
}

/// A connection's place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    capacity: Arc<Capacity>,
    /// None for a connection that is not one client's.
    address: Option<IpAddr>,
    client: Arc<Client>,
}

/// A request's place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct RequestPermit(Arc<ConnectionPermit>);

/// The place of a connection that is turned away, given back when it is dropped.
#[derive(Debug)]
pub(super) struct TurnAwayPermit(Arc<Capacity>);

/// Why a connection gets no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtCapacity {
    /// There are as many connections as there may be.
    All,
    /// There are as many from this address.
    Client,
}

/// What one address uses.
#[derive(Debug, Default)]
struct Client {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

/// How many of a bounded number are in use.
#[derive(Debug)]
struct Count {
    used: AtomicUsize,
    max: usize,
}

impl Capacity {
    /// Nothing in use.
    pub fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            connections: Count::new(limits.connections),
            requests: Count::new(limits.requests),
            turned_away: Count::new(MAX_TURNED_AWAY),
            connections_per_client: limits.connections_per_client,
            // The same share of the requests as of the connections.
            requests_per_client: share(limits.requests, limits.connections_per_client, limits.connections),
            clients: Mutex::default(),
            pending: Arc::new(Pending::new(limits.pending_bytes)),
        })
    }

    /// A place for a connection.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<ConnectionPermit, AtCapacity> {
        if !self.connections.take() {
            return Err(AtCapacity::All);
        }
        let mut permit = self.unnamed();
        permit.assign_to(address)?;
        Ok(permit)
    }

    /// A place for a connection of a trusted proxy, behind which there are many clients: it counts for no address.
    pub(super) fn admit_proxy(self: &Arc<Self>) -> Result<ConnectionPermit, AtCapacity> {
        if self.connections.take() { Ok(self.unnamed()) } else { Err(AtCapacity::All) }
    }

    /// Of a connection that is counted already.
    fn unnamed(self: &Arc<Self>) -> ConnectionPermit {
        ConnectionPermit { capacity: Arc::clone(self), address: None, client: Arc::default() }
    }

    /// A place in which a connection that got none reads why; none if too many do.
    pub(super) fn turn_away(self: &Arc<Self>) -> Option<TurnAwayPermit> {
        self.turned_away.take().then(|| TurnAwayPermit(Arc::clone(self)))
    }

    fn leave(&self, address: IpAddr, client: &Client) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        // Counted down while the map is locked: nobody can enter in between and be forgotten.
        if client.connections.fetch_sub(1, Ordering::Relaxed) == 1 {
            clients.remove(&address);
        }
    }
}

impl ConnectionPermit {
    /// Counts the connection for this address from now on, and no longer for another one. Before its first request.
    pub(super) fn assign_to(&mut self, address: IpAddr) -> Result<(), AtCapacity> {
        let address = host(address);
        let client = {
            let mut clients = self.capacity.clients.lock().unwrap_or_else(PoisonError::into_inner);
            let client = clients.entry(address).or_default();
            if !take(&client.connections, self.capacity.connections_per_client) {
                return Err(AtCapacity::Client);
            }
            Arc::clone(client)
        };
        self.leave();
        (self.address, self.client) = (Some(address), client);
        Ok(())
    }

    fn leave(&mut self) {
        if let Some(address) = self.address.take() {
            self.capacity.leave(address, &self.client);
        }
    }

    /// Gives the place back for one in which the client reads why it has none; none if too many do.
    pub(super) fn turn_away(self) -> Option<TurnAwayPermit> {
        self.capacity.turn_away()
    }

    /// Counts what this connection holds of unfinished requests.
    pub(super) fn charge(&self) -> Charge {
        Charge::new(Arc::clone(&self.capacity.pending))
    }

    /// A place for a request; none if all are taken, or this address's share of them.
    pub(super) fn request(self: &Arc<Self>) -> Option<RequestPermit> {
        let capacity = &self.capacity;
        if !capacity.requests.take() {
            return None;
        }
        if !take(&self.client.requests, capacity.requests_per_client) {
            capacity.requests.give_back();
            return None;
        }
        Some(RequestPermit(Arc::clone(self)))
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.leave();
        self.capacity.connections.give_back();
    }
}

impl Drop for TurnAwayPermit {
    fn drop(&mut self) {
        self.0.turned_away.give_back();
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        self.0.client.requests.fetch_sub(1, Ordering::Relaxed);
        self.0.capacity.requests.give_back();
    }
}

impl Count {
    fn new(max: usize) -> Self {
        Self { used: AtomicUsize::new(0), max }
    }

    fn take(&self) -> bool {
        take(&self.used, self.max)
    }

    fn give_back(&self) {
        self.used.fetch_sub(1, Ordering::Relaxed);
    }
}

fn take(used: &AtomicUsize, max: usize) -> bool {
    let next = |used: usize| (used < max).then_some(used + 1);
    used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
}

/// Whom an address stands for.
fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(connections: usize, connections_per_client: usize, requests: usize) -> Arc<Capacity> {
        Capacity::new(&Limits { connections, connections_per_client, requests, ..Limits::default() })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn connections_per_address_are_limited() {
        let capacity = capacity(3, 2, 3);
        let first = capacity.admit(ip("10.0.0.1")).unwrap();
        let _second = capacity.admit(ip("::ffff:10.0.0.1")).unwrap();
        assert_eq!(capacity.admit(ip("10.0.0.1")).unwrap_err(), AtCapacity::Client);
        let _other = capacity.admit(ip("10.0.0.2")).unwrap();
        assert_eq!(capacity.admit(ip("10.0.0.3")).unwrap_err(), AtCapacity::All);
        drop(first);
        assert!(capacity.admit(ip("10.0.0.1")).is_ok());
    }

    #[test]
    fn addresses_of_one_ipv6_64_count_together() {
        let capacity = capacity(9, 1, 9);
        let _one = capacity.admit(ip("2001:db8:0:1::1")).unwrap();
        assert_eq!(capacity.admit(ip("2001:db8:0:1:ffff::2")).unwrap_err(), AtCapacity::Client);
        assert!(capacity.admit(ip("2001:db8:0:2::1")).is_ok());
    }

    #[test]
    fn proxied_connections_count_for_the_announced_client() {
        let capacity = capacity(4, 1, 4);
        let mut first = capacity.admit_proxy().unwrap();
        let mut second = capacity.admit_proxy().unwrap();
        let _third = capacity.admit_proxy().unwrap();
        assert_eq!(first.assign_to(ip("10.0.0.1")), Ok(()));
        assert_eq!(second.assign_to(ip("10.0.0.1")), Err(AtCapacity::Client));
        assert_eq!(capacity.admit(ip("10.0.0.1")).unwrap_err(), AtCapacity::Client);
        assert_eq!(first.assign_to(ip("10.0.0.2")), Ok(()), "it moves");
        assert_eq!(second.assign_to(ip("10.0.0.1")), Ok(()));
        let _fourth = capacity.admit_proxy().unwrap();
        assert_eq!(capacity.admit_proxy().unwrap_err(), AtCapacity::All);
        drop((first, second));
        assert!(capacity.clients.lock().unwrap().is_empty());
        assert_eq!(capacity.connections.used.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn closed_connections_leave_no_entry() {
        let capacity = capacity(9, 9, 9);
        for last in 0..200 {
            drop(capacity.admit(IpAddr::from([10, 0, 0, last])).unwrap());
        }
        assert!(capacity.clients.lock().unwrap().is_empty());
    }

    #[test]
    fn requests_per_address_are_limited() {
        let capacity = capacity(10, 5, 4);
        let one = Arc::new(capacity.admit(ip("10.0.0.1")).unwrap());
        let other = Arc::new(capacity.admit(ip("10.0.0.2")).unwrap());
        let held = [one.request(), one.request()];
        assert!(held.iter().all(Option::is_some) && one.request().is_none());
        assert!(other.request().is_some());
        drop(held);
        assert!(one.request().is_some());
    }
}
