//! When each token is looked at next. Nothing is looked at twice at the same time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use routeapi_channel::ObjectId;
use tokio::time::{self, Instant};

/// Tokens by the time they are due.
#[derive(Debug, Default)]
pub struct Queue {
    times: BTreeSet<(Instant, ObjectId)>,
    due: BTreeMap<ObjectId, Instant>,
    working: BTreeMap<ObjectId, Option<Instant>>,
    failures: BTreeMap<ObjectId, u32>,
}

impl Queue {
    /// Looks at a token at this time, or earlier if that was planned. If it is being worked on, afterwards.
    pub fn at(&mut self, id: ObjectId, at: Instant) {
        if let Some(again) = self.working.get_mut(&id) {
            *again = Some(again.map_or(at, |held| held.min(at)));
            return;
        }
        let at = self.due.get(&id).map_or(at, |held| at.min(*held));
        self.forget(&id);
        self.times.insert((at, id.clone()));
        self.due.insert(id, at);
    }

    /// The next token that is due; it counts as being worked on until [`Queue::done`].
    pub fn due(&mut self, now: Instant) -> Option<ObjectId> {
        let (at, id) = self.times.first().cloned()?;
        if at > now {
            return None;
        }
        self.forget(&id);
        self.working.insert(id.clone(), None);
        Some(id)
    }

    /// Work on a token has ended; look again at this time, or earlier if something came up meanwhile.
    pub fn done(&mut self, id: &ObjectId, at: Option<Instant>) {
        let again = self.working.remove(id).flatten();
        // A token that fails waits, whatever happens to it: its failures are what happens to it.
        let again = if self.failures.contains_key(id) { None } else { again };
        if let Some(at) = [again, at].into_iter().flatten().min() {
            self.at(id.clone(), at);
        } else {
            self.failures.remove(id);
        }
    }

    /// Work ended well.
    pub fn succeeded(&mut self, id: &ObjectId) {
        self.failures.remove(id);
    }

    /// Work failed: how long to wait before the next try.
    pub fn failed(&mut self, id: &ObjectId, first: Duration, longest: Duration) -> Duration {
        let failures = self.failures.entry(id.clone()).or_default();
        let wait = first.saturating_mul(1 << (*failures).min(16)).min(longest);
        *failures += 1;
        wait
    }

    /// Waits until something is due; forever if nothing is.
    pub async fn wait(&self) {
        match self.times.first() {
            Some((at, _)) => time::sleep_until(*at).await,
            None => std::future::pending().await,
        }
    }

    fn forget(&mut self, id: &ObjectId) {
        if let Some(at) = self.due.remove(id) {
            self.times.remove(&(at, id.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ObjectId {
        ObjectId::new("shop", name)
    }

    #[tokio::test]
    async fn earliest_first_and_never_twice_at_once() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        let later = start + Duration::from_secs(5);
        queue.at(id("b"), later);
        queue.at(id("a"), start);
        assert_eq!(queue.due(start), Some(id("a")));
        assert_eq!(queue.due(start), None, "b is not due");
        queue.at(id("a"), start);
        assert_eq!(queue.due(start), None, "a is being worked on");
        queue.done(&id("a"), Some(later));
        assert_eq!(queue.due(start), Some(id("a")), "it was asked for meanwhile");
        queue.done(&id("a"), None);
        assert_eq!(queue.due(later), Some(id("b")));
    }

    #[tokio::test]
    async fn a_later_wish_does_not_postpone_an_earlier_one() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        queue.at(id("a"), start);
        queue.at(id("a"), start + Duration::from_secs(60));
        assert_eq!(queue.due(start), Some(id("a")));
    }

    #[tokio::test]
    async fn failures_wait_longer_each_time_until_one_succeeds() {
        let (mut queue, second) = (Queue::default(), Duration::from_secs(1));
        let waits: Vec<_> = (0..5).map(|_| queue.failed(&id("a"), second, 8 * second).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 8]);
        queue.succeeded(&id("a"));
        assert_eq!(queue.failed(&id("a"), second, 8 * second), second);
    }
}
