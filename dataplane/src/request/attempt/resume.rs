//! When waiting for an upstream that asked for a pause is over.

use std::{
    ops::RangeTo,
    time::{Duration, Instant},
};

/// When to go on with an upstream that asked for a pause. Everyone whom it sent away waits for the same moment; so that
/// they do not all come back in it, each waits up to a quarter longer, at most a second.
pub(super) fn resume_at(
    until: Instant,
    now: Instant,
    longest: Instant,
    random: impl FnOnce(RangeTo<u64>) -> u64,
) -> Instant {
    let quarter = until.saturating_duration_since(now).min(Duration::from_secs(4)) / 4;
    let spread = u64::try_from(quarter.as_micros()).unwrap_or(0);
    let later = if spread == 0 { 0 } else { random(..spread) };
    until.checked_add(Duration::from_micros(later)).unwrap_or(until).min(longest.max(until))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cooldown_wakeups_are_jittered() {
        let now = Instant::now();
        let at = |millis: u64| now + Duration::from_millis(millis);
        let most = |bound: RangeTo<u64>| bound.end - 1;
        assert_eq!(resume_at(at(2_000), now, at(9_000), |_| 0), at(2_000));
        assert_eq!(resume_at(at(2_000), now, at(9_000), most).duration_since(at(2_000)).as_millis(), 499);
        assert_eq!(resume_at(at(60_000), now, at(90_000), most).duration_since(at(60_000)).as_millis(), 999);
        assert_eq!(resume_at(at(2_000), now, at(2_100), most), at(2_100), "what the route allows holds");
        assert_eq!(resume_at(now, at(5), at(10), most), now, "a pause that is over is not made longer");
        let resumed: std::collections::BTreeSet<_> =
            (0..100).map(|_| resume_at(at(2_000), now, at(9_000), fastrand::u64)).collect();
        assert!(resumed.len() > 90, "{}", resumed.len());
    }
}
