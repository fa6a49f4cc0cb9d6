//! What is remembered of token reviews, so that strangers cost the API server little. No I/O, no clock of its own.
//!
//! A token that was refused is refused again for [`REFUSED_FOR`] without asking. An address that shows tokens that are
//! not confirmed may have [`BURST`] of them reviewed and one more every [`REFILL`]; confirmed ones cost nothing, and a
//! token that was confirmed before is always reviewed, so a data plane that shares its address with an attacker gets
//! back. At most [`AT_ONCE`] reviews run at a time. Everything is bounded in number.

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

/// How long a refusal is remembered: long enough to stop a loop, short enough for a pod whose account was just made.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// Unconfirmed tokens of one address that are reviewed at once.
const BURST: u32 = 20;

/// How soon an address may show one more.
const REFILL: Duration = Duration::from_secs(1);

/// Reviews that run at a time.
const AT_ONCE: usize = 32;

/// Confirmed tokens, refused tokens and addresses that are remembered, each.
const REMEMBERED: usize = 4096;

/// A token's SHA-256.
pub type Hash = [u8; 32];

/// What is remembered.
#[derive(Debug)]
pub struct Reviews<C, R> {
    seen: Mutex<Seen<C, R>>,
    turns: Semaphore,
}

#[derive(Debug)]
struct Seen<C, R> {
    confirmed: BTreeMap<Hash, (C, Instant)>,
    refused: BTreeMap<Hash, (R, Instant)>,
    addresses: HashMap<IpAddr, Bucket>,
}

/// Reviews that an address may still ask for.
#[derive(Debug)]
struct Bucket {
    left: u32,
    filled: Instant,
}

/// What is known of a token before it is reviewed.
#[derive(Debug, PartialEq, Eq)]
pub enum Sighting<C, R> {
    /// It was confirmed a while ago, as this caller's.
    Confirmed(C),
    /// Nothing; it may be reviewed.
    Unknown,
    /// It was refused a moment ago, for this reason.
    Refused(R),
    /// Its address showed too many others.
    TooMany,
}

/// A token, as it is remembered.
pub fn digest(token: &str) -> Hash {
    Sha256::digest(token).into()
}

// === impl Reviews ===

impl<C: Clone, R: Clone> Reviews<C, R> {
    /// A token is shown from an address. One that is unknown is charged to the address until it is confirmed.
    pub fn sight(&self, token: &Hash, from: IpAddr, now: Instant) -> Sighting<C, R> {
        let mut seen = self.lock();
        if let Some((caller, until)) = seen.confirmed.get(token)
            && *until > now
        {
            return Sighting::Confirmed(caller.clone());
        }
        if let Some((why, until)) = seen.refused.get(token)
            && *until > now
        {
            return Sighting::Refused(why.clone());
        }
        if seen.charge(from, now) { Sighting::Unknown } else { Sighting::TooMany }
    }

    /// The API server confirmed a token, which lives this long.
    pub fn confirmed(&self, token: Hash, from: IpAddr, caller: C, life: Duration, now: Instant) {
        let mut seen = self.lock();
        seen.refund(from);
        make_room(&mut seen.confirmed, now);
        seen.confirmed.insert(token, (caller, now + life));
    }

    /// It refused a token.
    pub fn refused(&self, token: Hash, why: R, now: Instant) {
        let mut seen = self.lock();
        seen.confirmed.remove(&token);
        make_room(&mut seen.refused, now);
        seen.refused.insert(token, (why, now + REFUSED_FOR));
    }

    /// It could not be asked, which is nobody's fault.
    pub fn unanswered(&self, from: IpAddr) {
        self.lock().refund(from);
    }

    /// Waits for one of the places in which reviews run.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok() // it is never closed
    }

    fn lock(&self) -> MutexGuard<'_, Seen<C, R>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C, R> Default for Reviews<C, R> {
    fn default() -> Self {
        let seen = Seen { confirmed: BTreeMap::new(), refused: BTreeMap::new(), addresses: HashMap::new() };
        Self { seen: Mutex::new(seen), turns: Semaphore::new(AT_ONCE) }
    }
}

// === impl Seen ===

impl<C, R> Seen<C, R> {
    fn charge(&mut self, from: IpAddr, now: Instant) -> bool {
        if self.addresses.len() >= REMEMBERED && !self.addresses.contains_key(&from) {
            self.addresses.retain(|_, bucket| bucket.refill(now) < BURST);
            if self.addresses.len() >= REMEMBERED {
                return false;
            }
        }
        let bucket = self.addresses.entry(from).or_insert(Bucket { left: BURST, filled: now });
        let left = bucket.refill(now);
        bucket.left = left.saturating_sub(1);
        left > 0
    }

    fn refund(&mut self, from: IpAddr) {
        if let Some(bucket) = self.addresses.get_mut(&from) {
            bucket.left = (bucket.left + 1).min(BURST);
        }
    }
}

// === impl Bucket ===

impl Bucket {
    fn refill(&mut self, now: Instant) -> u32 {
        let periods = now.duration_since(self.filled).as_millis() / REFILL.as_millis();
        let periods = u32::try_from(periods).unwrap_or(u32::MAX);
        self.filled += REFILL.saturating_mul(periods.min(BURST));
        if periods >= BURST {
            self.filled = now;
        }
        self.left = self.left.saturating_add(periods).min(BURST);
        self.left
    }
}

/// Forgets what is over, and if that is not enough the entry that is over first.
fn make_room<T>(entries: &mut BTreeMap<Hash, (T, Instant)>, now: Instant) {
    if entries.len() < REMEMBERED {
        return;
    }
    entries.retain(|_, (_, until)| *until > now);
    if entries.len() >= REMEMBERED
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
    fn an_address_that_shows_garbage_is_not_reviewed_for_ever_and_others_are() {
        let (reviews, now) = (Reviews::<&str, &str>::default(), Instant::now());
        let reviewed = (0..10_000).filter(|at| reviews.sight(&garbage(*at), HERE, now) == Sighting::Unknown).count();
        assert_eq!(reviewed, BURST as usize);
        assert_eq!(reviews.sight(&garbage(1), THERE, now), Sighting::Unknown);
        let later = now + REFILL * 3;
        let reviewed = (0..100).filter(|at| reviews.sight(&garbage(*at), HERE, later) == Sighting::Unknown).count();
        assert_eq!(reviewed, 3);
    }

    #[test]
    fn confirmed_tokens_cost_nothing_and_get_in_whatever_their_address_did() {
        let (reviews, now) = (Reviews::<_, &str>::default(), Instant::now());
        for at in 0..1000 {
            assert_eq!(reviews.sight(&garbage(at), HERE, now), Sighting::Unknown, "pod {at} of one address");
            reviews.confirmed(garbage(at), HERE, "pod", Duration::from_secs(60), now);
        }
        while reviews.sight(&digest("other"), HERE, now) == Sighting::Unknown {}
        assert_eq!(reviews.sight(&garbage(7), HERE, now), Sighting::Confirmed("pod"));
    }

    #[test]
    fn a_refusal_is_remembered_for_a_moment_and_ends_a_confirmation() {
        let (reviews, now) = (Reviews::default(), Instant::now());
        reviews.confirmed(garbage(1), HERE, "pod", Duration::from_secs(60), now);
        reviews.refused(garbage(1), "expired", now);
        assert_eq!(reviews.sight(&garbage(1), HERE, now), Sighting::Refused("expired"));
        assert_eq!(reviews.sight(&garbage(1), HERE, now + REFUSED_FOR), Sighting::Unknown);
    }

    #[test]
    fn nothing_grows_without_end() {
        let (reviews, now) = (Reviews::default(), Instant::now());
        for at in 0..3 * REMEMBERED {
            let from = IpAddr::from((0x0a00_0000 + at as u128).to_be_bytes());
            reviews.sight(&garbage(at), from, now);
            reviews.refused(garbage(at), "", now);
            reviews.confirmed(garbage(at), from, "pod", Duration::from_secs(at as u64), now);
        }
        let seen = reviews.lock();
        assert!(seen.confirmed.len() <= REMEMBERED && seen.refused.len() <= REMEMBERED);
        assert!(seen.addresses.len() <= REMEMBERED);
    }
}
