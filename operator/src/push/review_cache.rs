//! Caches token reviews, so that invalid tokens cost the API server little. No I/O, no clock of its own.
//!
//! A token that was denied is denied again for [`DENIED_TTL`] without a review. Tokens that are not confirmed are reviewed at
//! a limited [`RATE`] per address; confirmed ones do not count, and a token that was confirmed before is always reviewed, so a
//! data plane that shares its address with an attacker can reconnect. At most [`MAX_CONCURRENT_REVIEWS`] run at the same
//! time. All entries are limited in number.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use crate::token_bucket::{Rate, TokenBucket};

/// How long a denial is cached: long enough to stop a loop, short enough for a pod whose account was just created.
const DENIED_TTL: Duration = Duration::from_secs(5);

/// Reviews of unconfirmed tokens per address: enough for all pods behind one NAT to start, and little for the API server.
const RATE: Rate = Rate { burst: 20, interval: Duration::from_secs(1) };

/// Reviews that run at the same time: a fraction of what the API server grants one client.
const MAX_CONCURRENT_REVIEWS: usize = 32;

/// Maximum number of confirmed tokens, denied tokens and addresses, each: as many as there may be connections.
const MAX_ENTRIES: usize = 4096;

/// SHA-256 of a token.
pub type Hash = [u8; 32];

/// Cached reviews: `C` is a caller, `R` the reason of a denial.
#[derive(Debug)]
pub struct ReviewCache<C, R> {
    entries: Mutex<Entries<C, R>>,
    reviews: Semaphore,
}

#[derive(Debug)]
struct Entries<C, R> {
    confirmed: BTreeMap<Hash, (C, Instant)>,
    denied: BTreeMap<Hash, (R, Instant)>,
    addresses: HashMap<IpAddr, TokenBucket>,
}

/// What is known about a token before a review.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup<C, R> {
    /// It was confirmed before, for this caller.
    Confirmed(C),
    /// Nothing; it may be reviewed.
    NotCached,
    /// It was denied recently, for this reason.
    Denied(R),
    /// Its address has presented too many unconfirmed tokens.
    RateLimited,
}

/// The key of a token in the cache.
pub fn digest(token: &str) -> Hash {
    Sha256::digest(token).into()
}

// === impl ReviewCache ===

impl<C: Clone, R: Clone> ReviewCache<C, R> {
    /// Looks up a token that an address presents. One that is not cached counts against the address until it is confirmed.
    pub fn lookup(&self, token: &Hash, from: IpAddr, now: Instant) -> Lookup<C, R> {
        let mut entries = self.lock();
        if let Some((caller, until)) = entries.confirmed.get(token)
            && *until > now
        {
            return Lookup::Confirmed(caller.clone());
        }
        if let Some((why, until)) = entries.denied.get(token)
            && *until > now
        {
            return Lookup::Denied(why.clone());
        }
        if entries.charge(from, now) { Lookup::NotCached } else { Lookup::RateLimited }
    }

    /// Records that the API server confirmed a token with this lifetime.
    pub fn confirmed(&self, token: Hash, from: IpAddr, caller: C, lifetime: Duration, now: Instant) {
        let mut entries = self.lock();
        entries.refund(from);
        make_room(&mut entries.confirmed, now);
        entries.confirmed.insert(token, (caller, now + lifetime));
    }

    /// Records that the API server denied a token.
    pub fn denied(&self, token: Hash, why: R, now: Instant) {
        let mut entries = self.lock();
        entries.confirmed.remove(&token);
        make_room(&mut entries.denied, now);
        entries.denied.insert(token, (why, now + DENIED_TTL));
    }

    /// Records that the API server was unavailable, which does not count against the address.
    pub fn unavailable(&self, from: IpAddr) {
        self.lock().refund(from);
    }

    /// Waits for a permit to run a review.
    pub async fn acquire(&self) -> Option<SemaphorePermit<'_>> {
        self.reviews.acquire().await.ok() // it is never closed
    }

    fn lock(&self) -> MutexGuard<'_, Entries<C, R>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C, R> Default for ReviewCache<C, R> {
    fn default() -> Self {
        let entries = Entries { confirmed: BTreeMap::new(), denied: BTreeMap::new(), addresses: HashMap::new() };
        Self { entries: Mutex::new(entries), reviews: Semaphore::new(MAX_CONCURRENT_REVIEWS) }
    }
}

// === impl Entries ===

impl<C, R> Entries<C, R> {
    fn charge(&mut self, from: IpAddr, now: Instant) -> bool {
        if self.addresses.len() >= MAX_ENTRIES && !self.addresses.contains_key(&from) {
            self.addresses.retain(|_, bucket| !bucket.is_full(RATE, now));
            if self.addresses.len() >= MAX_ENTRIES {
                return false;
            }
        }
        self.addresses.entry(from).or_insert(TokenBucket::full(RATE, now)).take(RATE, 0, now).is_ok()
    }

    fn refund(&mut self, from: IpAddr) {
        if let Some(bucket) = self.addresses.get_mut(&from) {
            bucket.put_back(RATE);
        }
    }
}

/// Removes expired entries, and if that is not enough the one that expires first.
fn make_room<T>(entries: &mut BTreeMap<Hash, (T, Instant)>, now: Instant) {
    if entries.len() < MAX_ENTRIES {
        return;
    }
    entries.retain(|_, (_, until)| *until > now);
    if entries.len() >= MAX_ENTRIES
        && let Some(first) = entries.iter().min_by_key(|(_, (_, until))| *until).map(|(hash, _)| *hash)
    {
        entries.remove(&first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn garbage(at: usize) -> Hash {
        digest(&at.to_string())
    }

    #[test]
    fn reviews_of_unconfirmed_tokens_are_limited_per_address() {
        let (cache, now) = (ReviewCache::<&str, &str>::default(), Instant::now());
        let looked_up = (0..10_000).filter(|at| cache.lookup(&garbage(*at), HERE, now) == Lookup::NotCached).count();
        assert_eq!(looked_up, RATE.burst as usize);
        assert_eq!(cache.lookup(&garbage(1), THERE, now), Lookup::NotCached);
        let later = now + RATE.interval * 3;
        let looked_up = (0..100).filter(|at| cache.lookup(&garbage(*at), HERE, later) == Lookup::NotCached).count();
        assert_eq!(looked_up, 3);
    }

    #[test]
    fn confirmed_tokens_do_not_count_against_their_address() {
        let (cache, now) = (ReviewCache::<_, &str>::default(), Instant::now());
        for at in 0..1000 {
            assert_eq!(cache.lookup(&garbage(at), HERE, now), Lookup::NotCached, "pod {at} of one address");
            cache.confirmed(garbage(at), HERE, "pod", Duration::from_secs(60), now);
        }
        while cache.lookup(&digest("other"), HERE, now) == Lookup::NotCached {}
        assert_eq!(cache.lookup(&garbage(7), HERE, now), Lookup::Confirmed("pod"));
    }

    #[test]
    fn a_denial_is_cached_briefly_and_replaces_a_confirmation() {
        let (cache, now) = (ReviewCache::default(), Instant::now());
        cache.confirmed(garbage(1), HERE, "pod", Duration::from_secs(60), now);
        cache.denied(garbage(1), "expired", now);
        assert_eq!(cache.lookup(&garbage(1), HERE, now), Lookup::Denied("expired"));
        assert_eq!(cache.lookup(&garbage(1), HERE, now + DENIED_TTL), Lookup::NotCached);
    }

    #[test]
    fn the_number_of_entries_is_limited() {
        let (cache, now) = (ReviewCache::default(), Instant::now());
        for at in 0..3 * MAX_ENTRIES {
            let from = IpAddr::from((0x0a00_0000 + at as u128).to_be_bytes());
            cache.lookup(&garbage(at), from, now);
            cache.denied(garbage(at), "", now);
            cache.confirmed(garbage(at), from, "pod", Duration::from_secs(at as u64), now);
        }
        let entries = cache.lock();
        assert!(entries.confirmed.len() <= MAX_ENTRIES && entries.denied.len() <= MAX_ENTRIES);
        assert!(entries.addresses.len() <= MAX_ENTRIES);
    }
}
