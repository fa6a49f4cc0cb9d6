//! When each token is reconciled next. No token is reconciled twice at the same time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use routeapi_channel::ObjectId;
use tokio::time::{self, Instant};

use crate::backoff::{Backoff, NO_JITTER, spread};

/// The tokens by the time when they are due.
#[derive(Debug, Default)]
pub struct Queue {
    /// Scheduled tokens, the earliest first.
    times: BTreeSet<(Instant, ObjectId)>,
    /// The same by token.
    due: BTreeMap<ObjectId, Instant>,
    /// Tokens in progress, and when they are due again if that is known already.
    in_progress: BTreeMap<ObjectId, Option<Instant>>,
    failing: BTreeMap<ObjectId, Failing>,
}

/// Retries of a token that has just started to fail: it is reconciled within seconds of the moment when it can succeed.
const RETRY: Backoff = Backoff { first: Duration::from_millis(500), max: Duration::from_secs(5) };

/// Retries of a token that has failed for [`LONG_FAILURE`].
const LATE_RETRY: Backoff = Backoff { max: Duration::from_secs(15), ..RETRY };

/// A failure of that duration needs a person to fix it, so a few more seconds do not matter.
const LONG_FAILURE: Duration = Duration::from_secs(300);

/// Minimum time between retries of all failing tokens together: a namespace full of them costs 20 calls per second.
const SPACING: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug)]
struct Failing {
    times: u32,
    since: Instant,
}

impl Queue {
    /// Schedules a token at this time, unless it is due earlier. If it is in progress, it is due again afterwards.
    pub fn at(&mut self, id: ObjectId, at: Instant) {
        if let Some(again) = self.in_progress.get_mut(&id) {
            *again = Some(again.map_or(at, |planned| planned.min(at)));
            return;
        }
        let at = self.due.get(&id).map_or(at, |planned| at.min(*planned));
        self.forget(&id);
        self.times.insert((at, id.clone()));
        self.due.insert(id, at);
    }

    /// The next token that is due; it is in progress until [`Queue::done`].
    pub fn due(&mut self, now: Instant) -> Option<ObjectId> {
        let (at, id) = self.times.first().cloned()?;
        if at > now {
            return None;
        }
        self.forget(&id);
        self.in_progress.insert(id.clone(), None);
        Some(id)
    }

    /// A token is no longer in progress. Schedules it at this time, or earlier if it was scheduled in the meantime.
    pub fn done(&mut self, id: &ObjectId, at: Option<Instant>) {
        let again = self.in_progress.remove(id).flatten();
        // A failing token waits for its retry, because its failures themselves touch it.
        let again = if self.failing.contains_key(id) { None } else { again };
        if let Some(at) = [again, at].into_iter().flatten().min() {
            self.at(id.clone(), at);
        } else {
            self.failing.remove(id);
        }
    }

    /// A token succeeded. If it had failed before, the cause may have been fixed for others too: failing tokens of the same namespace are
    /// due now.
    pub fn succeeded(&mut self, id: &ObjectId, now: Instant) {
        if self.failing.remove(id).is_none() {
            return;
        }
        let failing = self.failing.keys().filter(|failing| failing.namespace() == id.namespace());
        for other in failing.cloned().collect::<Vec<_>>() {
            self.at(other, now);
        }
    }

    /// Somebody changed the spec of a token: it is due now, as if it had never failed.
    pub fn changed(&mut self, id: &ObjectId, now: Instant) {
        self.failing.remove(id);
        self.at(id.clone(), now);
    }

    /// Whether a token failed the last time.
    pub fn is_failing(&self, id: &ObjectId) -> bool {
        self.failing.contains_key(id)
    }

    /// A token failed. Returns the number of consecutive failures and the delay of the next retry. `jitter` from 0 to 1, so that
    /// tokens that failed together are not retried together.
    pub fn failed(&mut self, id: &ObjectId, now: Instant, jitter: f64) -> (u32, Duration) {
        let all = u32::try_from(self.failing.len()).unwrap_or(u32::MAX);
        let failing = self.failing.entry(id.clone()).or_insert(Failing { times: 0, since: now });
        let retry = if now.duration_since(failing.since) < LONG_FAILURE { RETRY } else { LATE_RETRY };
        let delay = retry.delay(failing.times, NO_JITTER).max(SPACING.saturating_mul(all));
        failing.times = failing.times.saturating_add(1);
        (failing.times, spread(delay, jitter))
    }

    /// Waits until a token is due; forever if none is scheduled.
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
    async fn the_earliest_is_first_and_no_token_is_in_progress_twice() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        let later = start + Duration::from_secs(5);
        queue.at(id("b"), later);
        queue.at(id("a"), start);
        assert_eq!(queue.due(start), Some(id("a")));
        assert_eq!(queue.due(start), None, "b is not due");
        queue.at(id("a"), start);
        assert_eq!(queue.due(start), None, "a is in progress");
        queue.done(&id("a"), Some(later));
        assert_eq!(queue.due(start), Some(id("a")), "it was scheduled in the meantime");
        queue.done(&id("a"), None);
        assert_eq!(queue.due(later), Some(id("b")));
    }

    #[tokio::test]
    async fn a_later_time_does_not_postpone_an_earlier_one() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        queue.at(id("a"), start);
        queue.at(id("a"), start + Duration::from_secs(60));
        assert_eq!(queue.due(start), Some(id("a")));
    }

    #[tokio::test]
    async fn delays_grow_with_failures_until_a_success() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        let waits: Vec<_> = (0..6).map(|_| queue.failed(&id("a"), start, 0.5)).collect();
        let millis: Vec<_> = waits.iter().map(|(_, wait)| wait.as_millis()).collect();
        assert_eq!(millis, [500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(waits[5].0, 6);
        let much_later = start + LONG_FAILURE;
        assert_eq!(queue.failed(&id("a"), much_later, 0.5).1, LATE_RETRY.max);
        assert_eq!(queue.failed(&id("a"), much_later, 0.0).1, LATE_RETRY.max.mul_f64(0.75));
        assert_eq!(queue.failed(&id("a"), much_later, 1.0).1, LATE_RETRY.max.mul_f64(1.25));
        queue.succeeded(&id("a"), start);
        assert_eq!(queue.failed(&id("a"), start, 0.5), (1, RETRY.first));
    }

    #[tokio::test]
    async fn many_failing_tokens_share_one_rate() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        for at in 0..1000 {
            queue.failed(&id(&at.to_string()), start, 0.5);
        }
        assert_eq!(queue.failed(&id("0"), start, 0.5).1, Duration::from_secs(50));
    }

    #[tokio::test]
    async fn a_recovered_token_retries_failing_ones_of_its_namespace() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        let later = start + Duration::from_secs(60);
        let other = ObjectId::new("search", "c");
        for failing in [&id("a"), &id("b"), &other] {
            queue.failed(failing, start, 0.5);
            queue.at(failing.clone(), later);
        }
        queue.succeeded(&id("a"), start);
        assert_eq!((queue.due(start), queue.due(start)), (Some(id("b")), None));
        queue.succeeded(&id("a"), start);
        assert_eq!(queue.due(start), None, "one that never failed retries no others");
    }

    #[tokio::test]
    async fn a_failing_token_is_not_retried_because_of_its_own_writes() {
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
