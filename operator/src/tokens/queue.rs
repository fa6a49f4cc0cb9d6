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
    /// Scheduled tokens that do not fail, the earliest first.
    times: BTreeSet<(Instant, ObjectId)>,
    /// Scheduled retries, the earliest first.
    retries: BTreeSet<(Instant, ObjectId)>,
    /// The same by token.
    due: BTreeMap<ObjectId, Instant>,
    /// Tokens in progress, and when they are due again if that is known already.
    in_progress: BTreeMap<ObjectId, Option<Instant>>,
    failing: BTreeMap<ObjectId, Failing>,
    turn: u32,
}

/// Of the tokens that are due, the one that fell due last comes first: somebody has just made or changed it and waits for it,
/// which must not take until a backlog is done. But each time so many were taken, the next is the one that has been due for
/// the longest time, so that it gets its turn too.
const OLDEST_EVERY: u32 = 4;

/// A token that has been due for longer belongs to a backlog.
const BACKLOG_AFTER: Duration = Duration::from_secs(1);

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
        let times = if self.failing.contains_key(&id) { &mut self.retries } else { &mut self.times };
        times.insert((at, id.clone()));
        self.due.insert(id, at);
    }

    /// The next token that is due; it is in progress until [`Queue::done`].
    pub fn due(&mut self, now: Instant) -> Option<ObjectId> {
        let is_due = |(at, _): &&(Instant, ObjectId)| *at <= now;
        let oldest = [&self.times, &self.retries].into_iter().filter_map(BTreeSet::first).filter(is_due).min();
        self.turn = (self.turn + 1) % OLDEST_EVERY;
        let newest = self.newest(now).filter(|_| self.turn != 0);
        let (_, id) = newest.or(oldest)?.clone();
        Some(self.take(id))
    }

    /// The same, unless it has been due for a while and so belongs to a backlog.
    pub fn fresh(&mut self, now: Instant) -> Option<ObjectId> {
        let (at, id) = self.newest(now)?.clone();
        (now.duration_since(at) < BACKLOG_AFTER).then(|| self.take(id))
    }

    fn newest(&self, now: Instant) -> Option<&(Instant, ObjectId)> {
        self.times.range(..(now + Duration::from_nanos(1), ObjectId::new("", ""))).next_back()
    }

    fn take(&mut self, id: ObjectId) -> ObjectId {
        self.forget(&id);
        self.in_progress.insert(id.clone(), None);
        id
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
        match self.times.first().into_iter().chain(self.retries.first()).min() {
            Some((at, _)) => time::sleep_until(*at).await,
            None => std::future::pending().await,
        }
    }

    fn forget(&mut self, id: &ObjectId) {
        if let Some(at) = self.due.remove(id) {
            let place = (at, id.clone());
            if !self.times.remove(&place) {
                self.retries.remove(&place);
            }
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
    async fn what_fell_due_last_overtakes_a_backlog_and_the_backlog_gets_its_turn() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        let seconds = |seconds| start + Duration::from_secs(seconds);
        (0..100).for_each(|at| queue.at(id(&format!("old-{at:02}")), start));
        queue.failed(&id("failing"), start, 0.5);
        queue.at(id("failing"), seconds(1));
        queue.at(id("new"), seconds(2));
        let taken: Vec<_> = (0..8).map(|_| queue.due(seconds(3)).unwrap().name().to_owned()).collect();
        assert_eq!(taken[..4], ["new", "old-99", "old-98", "old-00"]);
        assert_eq!(taken[7], "old-01", "{taken:?}");
        let rest: Vec<_> = std::iter::from_fn(|| queue.due(seconds(3))).collect();
        assert_eq!((rest.len(), rest.last()), (94, Some(&id("failing"))), "retries come last");
        ["aged", "fresh"].into_iter().zip([3, 5]).for_each(|(name, at)| queue.at(id(name), seconds(at)));
        let fresh: Vec<_> = std::iter::from_fn(|| queue.fresh(seconds(5))).collect();
        assert_eq!(fresh, [id("fresh")], "the other belongs to a backlog");
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
