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
    failing: BTreeMap<ObjectId, Failing>,
}

/// The first wait after a failure. It doubles
const FIRST: Duration = Duration::from_millis(500);

/// up to this, so that a token is made within seconds of the moment when nothing stands in its way any more,
const LONGEST: Duration = Duration::from_secs(5);

/// and up to this once it has failed for [`PATIENCE`].
const LONGEST_LATER: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(300);

/// A namespace full of tokens that fail does not get more than one try per this time for all of them.
const SPACING: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug)]
struct Failing {
    times: u32,
    since: Instant,
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
        let again = if self.failing.contains_key(id) { None } else { again };
        if let Some(at) = [again, at].into_iter().flatten().min() {
            self.at(id.clone(), at);
        } else {
            self.failing.remove(id);
        }
    }

    /// Work ended well. If it had failed before, whatever stood in the way may be gone for its neighbours too: tokens of
    /// the same namespace that fail are looked at now.
    pub fn succeeded(&mut self, id: &ObjectId, now: Instant) {
        if self.failing.remove(id).is_none() {
            return;
        }
        let failing = self.failing.keys().filter(|it| it.namespace() == id.namespace());
        for neighbour in failing.cloned().collect::<Vec<_>>() {
            self.at(neighbour, now);
        }
    }

    /// Somebody changed a token, which may help: it is looked at now, as if it had never failed.
    pub fn changed(&mut self, id: &ObjectId, now: Instant) {
        self.failing.remove(id);
        self.at(id.clone(), now);
    }

    /// Whether the last look at a token failed.
    pub fn is_failing(&self, id: &ObjectId) -> bool {
        self.failing.contains_key(id)
    }

    /// Work failed: for the how-manieth time in a row, and how long to wait before the next try. `jitter` is from 0 to 1:
    /// tokens that failed together do not come back in step.
    pub fn failed(&mut self, id: &ObjectId, now: Instant, jitter: f64) -> (u32, Duration) {
        let all = u32::try_from(self.failing.len()).unwrap_or(u32::MAX);
        let failing = self.failing.entry(id.clone()).or_insert(Failing { times: 0, since: now });
        let longest = if now.duration_since(failing.since) < PATIENCE { LONGEST } else { LONGEST_LATER };
        let wait = FIRST.saturating_mul(1 << failing.times.min(16)).min(longest);
        failing.times = failing.times.saturating_add(1);
        let wait = wait.max(SPACING.saturating_mul(all));
        (failing.times, wait.mul_f64(0.75 + jitter.clamp(0.0, 1.0) / 2.0))
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
        let (mut queue, start) = (Queue::default(), Instant::now());
        let waits: Vec<_> = (0..6).map(|_| queue.failed(&id("a"), start, 0.5)).collect();
        let millis: Vec<_> = waits.iter().map(|(_, wait)| wait.as_millis()).collect();
        assert_eq!(millis, [500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(waits[5].0, 6);
        let much_later = start + PATIENCE;
        assert_eq!(queue.failed(&id("a"), much_later, 0.5).1, LONGEST_LATER);
        assert_eq!(queue.failed(&id("a"), much_later, 0.0).1, LONGEST_LATER.mul_f64(0.75));
        assert_eq!(queue.failed(&id("a"), much_later, 1.0).1, LONGEST_LATER.mul_f64(1.25));
        queue.succeeded(&id("a"), start);
        assert_eq!(queue.failed(&id("a"), start, 0.5), (1, FIRST));
    }

    #[tokio::test]
    async fn many_that_fail_share_one_rate() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        for at in 0..1000 {
            queue.failed(&id(&at.to_string()), start, 0.5);
        }
        assert_eq!(queue.failed(&id("0"), start, 0.5).1, Duration::from_secs(50));
    }

    #[tokio::test]
    async fn one_that_recovers_wakes_its_namespace_and_no_other() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        let later = start + Duration::from_secs(60);
        let other = ObjectId::new("search", "c");
        for it in [&id("a"), &id("b"), &other] {
            queue.failed(it, start, 0.5);
            queue.at(it.clone(), later);
        }
        queue.succeeded(&id("a"), start);
        assert_eq!((queue.due(start), queue.due(start)), (Some(id("b")), None));
        queue.succeeded(&id("a"), start);
        assert_eq!(queue.due(start), None, "one that never failed wakes nobody");
    }

    #[tokio::test]
    async fn one_that_fails_is_not_woken_by_its_own_writes_but_by_a_change() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        let later = start + Duration::from_secs(60);
        queue.at(id("a"), start);
        assert_eq!(queue.due(start), Some(id("a")));
        queue.at(id("a"), start);
        queue.failed(&id("a"), start, 0.5);
        queue.done(&id("a"), Some(later));
        assert_eq!(queue.due(start), None);
        queue.changed(&id("a"), start);
        assert_eq!(queue.due(start), Some(id("a")));
        assert!(!queue.is_failing(&id("a")));
    }
}
