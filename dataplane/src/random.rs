//! Random bits for ids and choices that need not be secret, from the operating system in one call.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock;

/// Fresh bits. Should the system ever fail to give some, the clock still makes ids that differ.
pub fn bits() -> [u64; 2] {
    let mut bytes = [0; 16];
    if getrandom::fill(&mut bytes).is_err() {
        let fallback = clock::now().unix_ms.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        return [fallback, fallback.rotate_left(21)];
    }
    let (bits, _) = bytes.as_chunks::<8>();
    std::array::from_fn(|at| bits.get(at).map_or(0, |word| u64::from_ne_bytes(*word)))
}

/// A request's id, as `x-routeapi-request-id` has it: 32 hexadecimal digits.
pub fn request_id(high: u64, low: u64) -> String {
    hex::encode(((u128::from(high) << 64) | u128::from(low)).to_be_bytes())
}

/// When a connection that begins now takes no more requests: at `max_age`, or up to a tenth earlier, so that connections
/// which began together do not end together. None for no bound.
pub fn retire_at(max_age: Option<Duration>) -> Option<Instant> {
    let age = max_age?;
    let tenth = u64::try_from(age.as_millis() / 10).unwrap_or(u64::MAX);
    let earlier = if tenth == 0 { 0 } else { fastrand::u64(..tenth) };
    Instant::now().checked_add(age.saturating_sub(Duration::from_millis(earlier)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn max_age_is_jittered_downwards() {
        let now = Instant::now();
        let ages: std::collections::BTreeSet<_> =
            (0..50).filter_map(|_| retire_at(Some(Duration::from_secs(600)))).map(|at| at - now).collect();
        assert!(ages.len() > 25 && ages.iter().all(|age| (540..=600).contains(&age.as_secs())), "{ages:?}");
        assert_eq!(retire_at(None), None);
    }

    #[test]
    fn request_ids_differ() {
        let [a, b] = bits();
        assert!(a != b && bits() != [a, b]);
        assert_eq!(request_id(1, 2), "00000000000000010000000000000002");
    }
}
