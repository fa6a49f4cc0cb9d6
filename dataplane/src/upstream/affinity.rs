//! Which upstream of a priority a session stays on: weighted rendezvous hashing.
//!
//! Each upstream draws a number for the session from a hash of both their names, as if at random, and the one whose number
//! divided by its weight is lowest comes first. The numbers are distributed so (exponentially) that each upstream comes
//! first for the share of sessions that is its weight. Nothing of that depends on the other upstreams. So when one is left
//! out, only its own sessions move, by weight to those that remain; when it is back they return; and when a weight grows
//! from one share to another, exactly the difference moves there and nothing moves between the others.
//!
//! Every pod comes to the same order by itself: it hashes names, not addresses or places in a list, without a key that only
//! one process has, and compares whole numbers, because the last bit of a logarithm in floating point may differ between
//! machines. The ApiToken is part of the hash, so that whoever guesses another token's session learns nothing of where it
//! is. No session is kept in memory.

use std::cmp::Ordering;

use routeapi_channel::ObjectId;
use sha2::{Digest, Sha256};

/// Changing it moves every session once.
const VERSION: &[u8] = b"routeapi.dev/affinity/1";

/// Bits behind the point of a logarithm. A weight is at most 2^20, so that its share of sessions is still drawn with an
/// error below a thousandth beside upstreams of weight 1.
const FRACTION_BITS: u32 = 40;

/// A session of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session([u8; 32]);

/// How far back an upstream stands for a session; the lowest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    draw: u64,
    weight: u32,
}

impl Session {
    /// The session that a token's client calls by a name with this hash.
    pub fn new(token: &ObjectId, name_hash: &[u8; 32]) -> Self {
        let mut hash = Sha256::new();
        hash.update(VERSION);
        // Neither part can hold a zero byte, so that no two tokens run together.
        for part in [token.namespace(), token.name()] {
            hash.update([0]);
            hash.update(part);
        }
        hash.update([0]);
        hash.update(name_hash);
        Self(hash.finalize().into())
    }

    /// Enough bits to tell the sessions of a token apart in a record.
    pub fn short_hash(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// Where the upstream of this name and weight, which is above 0, stands.
    pub fn rank(&self, upstream: &str, weight: u32) -> Rank {
        let hash = Sha256::new().chain_update(self.0).chain_update(upstream).finalize();
        let [a, b, c, d, e, f, g, h, ..]: [u8; 32] = hash.into();
        Rank { draw: exponential(u64::from_be_bytes([a, b, c, d, e, f, g, h])), weight }
    }
}

impl Rank {
    /// Compares `draw / weight` without dividing.
    pub fn compare(self, other: Self) -> Ordering {
        let of = |draw: u64, weight: u32| u128::from(draw) * u128::from(weight);
        of(self.draw, other.weight).cmp(&of(other.draw, self.weight))
    }
}

/// `-log2(x / 2^64)` with [`FRACTION_BITS`] bits behind the point: uniform numbers become exponential ones. At least 1.
fn exponential(uniform: u64) -> u64 {
    let uniform = uniform | 1;
    let zeros = uniform.leading_zeros();
    // From 1 to below 2, with 63 bits behind the point. Its square is below 4: the bit of 2 is the logarithm's next bit.
    let mut mantissa = uniform << zeros;
    let mut fraction = 0_u64;
    for _ in 0..FRACTION_BITS {
        let square = (u128::from(mantissa) * u128::from(mantissa)) >> 63;
        let carries = square >> 64 != 0;
        fraction = (fraction << 1) | u64::from(carries);
        mantissa = u64::try_from(if carries { square >> 1 } else { square }).unwrap_or(u64::MAX);
    }
    ((u64::from(zeros) + 1) << FRACTION_BITS) - fraction
}

#[cfg(test)]
mod tests;
