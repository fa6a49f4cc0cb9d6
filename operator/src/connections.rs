//! Places for connections, so that whoever reaches a port cannot fill the operator with connections that say nothing.
//!
//! Connections of callers that are not known yet have few places, and each address a share of them; a newcomer takes the
//! place of the one that has waited longest, so a flood never keeps anybody out who is quick to say who he is. Callers
//! that are known have places of their own. No I/O, no clock: how long a connection may wait is the listener's business.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// How many places there are.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For callers that are not known yet.
    pub strangers: usize,
    /// Of those, for one address.
    pub per_address: usize,
    /// For callers that are known.
    pub known: usize,
}

/// The places of one listener.
#[derive(Debug)]
pub struct Places {
    limits: Limits,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    /// In the order in which they came.
    strangers: BTreeMap<u64, Stranger>,
    by_address: HashMap<IpAddr, usize>,
    known: usize,
}

#[derive(Debug)]
struct Stranger {
    address: IpAddr,
    lost: CancellationToken,
}

/// A connection's place, given back when dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    id: u64,
    address: IpAddr,
    known: Mutex<bool>,
    lost: CancellationToken,
}

// === impl Places ===

impl Places {
    /// With these limits.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, taken: Mutex::default() })
    }

    /// A place for a new connection. It may cost another one its place.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Place {
        // The same host over IPv4 has one address, however the listener sees it.
        let address = address.to_canonical();
        let mut taken = self.lock();
        if taken.by_address.get(&address).is_some_and(|count| *count >= self.limits.per_address) {
            taken.evict(address);
        } else if taken.strangers.len() >= self.limits.strangers {
            taken.evict_busiest();
        }
        let (id, lost) = (taken.next, CancellationToken::new());
        taken.next += 1;
        taken.strangers.insert(id, Stranger { address, lost: lost.clone() });
        *taken.by_address.entry(address).or_default() += 1;
        drop(taken);
        Place { places: Arc::clone(self), id, address, known: Mutex::new(false), lost }
    }

    /// Connections of callers that are not known, and of those that are.
    pub fn taken(&self) -> (usize, usize) {
        let taken = self.lock();
        (taken.strangers.len(), taken.known)
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Taken ===

impl Taken {
    fn remove(&mut self, id: u64) -> Option<Stranger> {
        let stranger = self.strangers.remove(&id)?;
        if let Some(count) = self.by_address.get_mut(&stranger.address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&stranger.address);
            }
        }
        Some(stranger)
    }

    /// The one of this address that came first.
    fn evict(&mut self, address: IpAddr) {
        let first = self.strangers.iter().find(|(_, it)| it.address == address).map(|(id, _)| *id);
        if let Some(stranger) = first.and_then(|id| self.remove(id)) {
            stranger.lost.cancel();
        }
    }

    fn evict_busiest(&mut self) {
        if let Some(address) = self.by_address.iter().max_by_key(|(_, count)| **count).map(|(address, _)| *address) {
            self.evict(address);
        }
    }
}

// === impl Place ===

impl Place {
    /// Resolves when the place went to somebody else.
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// The caller is known now. False if there is no place for another one.
    pub fn admit(&self) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if *known {
            return true;
        }
        let mut taken = self.places.lock();
        if taken.known >= self.places.limits.known || taken.remove(self.id).is_none() {
            return false;
        }
        taken.known += 1;
        *known = true;
        true
    }

    /// Whether the caller is known.
    pub fn is_known(&self) -> bool {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The other end's address.
    pub fn address(&self) -> IpAddr {
        self.address
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let known = self.is_known();
        let mut taken = self.places.lock();
        if known {
            taken.known -= 1;
        } else {
            taken.remove(self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { strangers: 6, per_address: 3, known: 2 };

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn an_address_loses_its_own_oldest_connection_first() {
        let places = Places::new(LIMITS);
        let other = places.enter(address(2));
        let flood: Vec<_> = (0..100).map(|_| places.enter(address(1))).collect();
        assert!(!other.lost().is_cancelled());
        assert_eq!(flood.iter().filter(|it| !it.lost().is_cancelled()).count(), 3);
        assert!(!flood[99].lost().is_cancelled(), "the newest has a place");
        assert_eq!(places.taken(), (4, 0));
        drop(flood);
        assert_eq!(places.taken(), (1, 0));
    }

    #[test]
    fn when_all_places_are_taken_the_busiest_address_gives_one() {
        let places = Places::new(LIMITS);
        let quiet = places.enter(address(9));
        let flood: Vec<_> = (0..5).map(|at| places.enter(address(1 + at / 3))).collect();
        let newcomer = places.enter(address(8));
        assert!(!quiet.lost().is_cancelled() && !newcomer.lost().is_cancelled());
        assert!(flood[0].lost().is_cancelled());
        assert_eq!(places.taken(), (6, 0));
    }

    #[test]
    fn known_callers_have_places_of_their_own() {
        let places = Places::new(LIMITS);
        let (one, two, three) = (places.enter(address(1)), places.enter(address(1)), places.enter(address(1)));
        assert!(one.admit() && one.admit() && two.admit() && !three.admit());
        assert_eq!(places.taken(), (1, 2));
        let _flood: Vec<_> = (0..100).map(|_| places.enter(address(1))).collect();
        assert!(!one.lost().is_cancelled());
        assert!(three.lost().is_cancelled() && !three.admit(), "too late");
        drop((one, two, three));
        assert_eq!(places.taken().1, 0);
    }

    #[test]
    fn one_host_has_one_address() {
        let places = Places::new(LIMITS);
        let mapped = IpAddr::from(std::net::Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped());
        let all: Vec<_> = [address(1), mapped, address(1), mapped].map(|it| places.enter(it)).into();
        assert!(all[0].lost().is_cancelled());
    }
}
