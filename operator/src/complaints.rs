//! Keeps the log short where something fails again and again: one line per thing and cause, again after a while, and all
//! of them together at a rate. Time comes in from outside.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

/// After this time the same cause is worth a line again.
const AGAIN: Duration = Duration::from_secs(600);

/// So many lines at once, then one per [`INTERVAL`].
const BURST: u32 = 20;
const INTERVAL: Duration = Duration::from_secs(1);

/// What was complained of.
#[derive(Debug)]
pub struct Complaints<K> {
    said: BTreeMap<K, (String, Instant)>,
    left: u32,
    counted: Instant,
    omitted: u64,
}

// === impl Complaints ===

impl<K: Ord + Clone> Complaints<K> {
    /// Of nothing yet.
    pub fn new(now: Instant) -> Self {
        Self { said: BTreeMap::new(), left: BURST, counted: now, omitted: 0 }
    }

    /// Whether a failure deserves a line now; if so, how many lines were left out since the last one for want of room.
    pub fn admit(&mut self, about: &K, cause: &str, now: Instant) -> Option<u64> {
        let known = self.said.get(about).is_some_and(|(said, at)| said == cause && now.duration_since(*at) < AGAIN);
        if known {
            return None;
        }
        let gained = u32::try_from(now.duration_since(self.counted).as_millis() / INTERVAL.as_millis().max(1));
        let gained = gained.unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(gained).min(BURST);
        self.counted = if self.left == BURST { now } else { self.counted + INTERVAL * gained };
        if self.left == 0 {
            self.omitted += 1;
            return None; // it will fail again
        }
        self.left -= 1;
        self.said.insert(about.clone(), (cause.to_owned(), now));
        Some(std::mem::take(&mut self.omitted))
    }

    /// It works again, or is gone.
    pub fn forget(&mut self, about: &K) {
        self.said.remove(about);
    }

    /// Forgets all but these.
    pub fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        self.said.retain(|about, _| keep(about));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_line_per_cause_and_thing() {
        let start = Instant::now();
        let mut complaints = Complaints::new(start);
        assert_eq!(complaints.admit(&"a", "quota", start), Some(0));
        assert_eq!(complaints.admit(&"a", "quota", start), None);
        assert_eq!(complaints.admit(&"b", "quota", start), Some(0));
        assert_eq!(complaints.admit(&"a", "policy", start), Some(0));
        assert_eq!(complaints.admit(&"a", "policy", start + AGAIN), Some(0));
        complaints.forget(&"a");
        assert_eq!(complaints.admit(&"a", "policy", start + AGAIN), Some(0));
    }

    #[tokio::test]
    async fn a_thousand_things_that_fail_are_told_at_a_rate_and_counted() {
        let start = Instant::now();
        let mut complaints = Complaints::new(start);
        let mut lines = |now| (0..1000).filter_map(|at| complaints.admit(&at, "quota", now)).collect::<Vec<_>>();
        assert_eq!(lines(start).len(), 20);
        assert_eq!(lines(start + 3 * INTERVAL), [980, 0, 0], "the first line says how many were left out");
    }
}
