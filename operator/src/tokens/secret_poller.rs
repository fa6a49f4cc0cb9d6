//! Notices that a token's Secret was deleted, labelled or changed.
//!
//! The operator must not watch Secrets in apps' namespaces, since that needs permission to read all of them. So it reads their
//! metadata one after the other, which the API server serves from its cache. A token whose Secret has another version than
//! before is reconciled, and so is one whose Secret was not read since this replica became the leader. Pure; `tokens` does the
//! reads.

use std::{collections::BTreeMap, ops::Bound, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use routeapi_channel::ObjectId;
use tokio::time::{self, Instant};

/// The shortest time between two reads: 20 per second, however many tokens there are.
const MIN_INTERVAL: Duration = Duration::from_millis(50);

/// UID and resourceVersion of a Secret; none if it does not exist.
pub type SecretVersion = Option<(String, String)>;

/// The Secrets to poll, and their versions when they were last read.
#[derive(Debug)]
pub struct SecretPoller {
    interval: Duration,
    /// The versions; none of those that were not read yet.
    known: BTreeMap<ObjectId, Option<SecretVersion>>,
    last: Option<ObjectId>,
}

/// What is to be read next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// The metadata of a token's Secret.
    Version(ObjectId),
    /// The whole Secret: by a reconciliation of the token.
    All(ObjectId),
}

/// The version in a Secret's metadata.
pub fn version(metadata: &ObjectMeta) -> SecretVersion {
    Some((metadata.uid.clone()?, metadata.resource_version.clone()?))
}

// === impl SecretPoller ===

impl SecretPoller {
    /// Polls each Secret at this interval, or less often if there are too many; never if it is zero.
    pub fn new(interval: Duration) -> Self {
        Self { interval, known: BTreeMap::new(), last: None }
    }

    /// Records that a token's Secret was read or written.
    pub fn observed(&mut self, token: ObjectId, version: SecretVersion) {
        self.known.insert(token, Some(version));
    }

    /// Adds a token whose Secret was not read yet, although its status says that all is well. Whether it will be.
    pub fn unread(&mut self, token: ObjectId) -> bool {
        let polls = !self.interval.is_zero();
        if polls {
            self.known.insert(token, None);
        }
        polls
    }

    /// Forgets a token that was deleted, or that is reconciled soon anyway.
    pub fn forget(&mut self, token: &ObjectId) {
        self.known.remove(token);
    }

    /// The time between two reads; none if there is nothing to read.
    pub fn poll_interval(&self) -> Option<Duration> {
        let tokens = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
        let even = self.interval.checked_div(tokens)?;
        (!self.interval.is_zero()).then_some(even.max(MIN_INTERVAL))
    }

    /// Waits until the next read is due after one at this time; forever if there is nothing to read.
    pub async fn wait(&self, last_read: Instant) {
        match self.poll_interval() {
            Some(interval) => time::sleep_until(last_read + interval).await,
            None => std::future::pending().await,
        }
    }

    /// What is to be read next.
    pub fn next(&mut self) -> Option<Read> {
        let after = self.last.take().map_or(Bound::Unbounded, Bound::Excluded);
        let (id, version) = self.known.range((after, Bound::Unbounded)).chain(&self.known).next()?;
        self.last = Some(id.clone());
        Some(if version.is_some() { Read::Version(id.clone()) } else { Read::All(id.clone()) })
    }

    /// Whether a Secret has another version than when it was last read.
    pub fn differs(&self, token: &ObjectId, found: &SecretVersion) -> bool {
        self.known.get(token).is_some_and(|known| known.as_ref() != Some(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);

    fn id(number: usize) -> ObjectId {
        ObjectId::new("shop", format!("{number:05}"))
    }

    fn of(tokens: usize) -> SecretPoller {
        let mut poller = SecretPoller::new(INTERVAL);
        (0..tokens).for_each(|number| poller.observed(id(number), None));
        poller
    }

    #[test]
    fn secrets_are_polled_in_turn() {
        let mut poller = of(3);
        let mut turns = |count| (0..count).map(|_| poller.next().unwrap()).collect::<Vec<_>>();
        assert_eq!(turns(4), [0, 1, 2, 0].map(|number| Read::Version(id(number))));
        poller.forget(&id(0));
        poller.observed(id(7), None);
        let next: Vec<_> = (0..4).map(|_| poller.next().unwrap()).collect();
        assert_eq!(next, [1, 2, 7, 1].map(|number| Read::Version(id(number))));
        assert_eq!(of(0).next(), None);
    }

    #[test]
    fn what_was_not_read_yet_is_read_as_a_whole_in_its_turn() {
        let mut poller = of(1);
        assert!(poller.unread(id(1)));
        assert_eq!([poller.next(), poller.next()], [Some(Read::Version(id(0))), Some(Read::All(id(1)))]);
        poller.observed(id(1), None);
        assert_eq!([poller.next(), poller.next()], [0, 1].map(|number| Some(Read::Version(id(number)))));
        assert!(!SecretPoller::new(Duration::ZERO).unread(id(1)), "nobody would");
    }

    #[test]
    fn polls_are_evenly_spaced_and_at_most_twenty_per_second() {
        let pace = |tokens| of(tokens).poll_interval().map(|pace| pace.as_millis());
        assert_eq!(
            [pace(0), pace(1), pace(10), pace(100), pace(10_000)],
            [None, Some(5000), Some(500), Some(50), Some(50)]
        );
        let mut off = SecretPoller::new(Duration::ZERO);
        off.observed(id(0), None);
        assert_eq!(off.poll_interval(), None);
    }

    #[test]
    fn another_version_another_secret_and_none_differ() {
        let version = |uid: &str, version: &str| Some((uid.to_owned(), version.to_owned()));
        let mut poller = SecretPoller::new(INTERVAL);
        poller.observed(id(1), version("u", "5"));
        let differs = |found| poller.differs(&id(1), &found);
        assert!(!differs(version("u", "5")));
        assert!(differs(version("u", "6")) && differs(version("v", "5")) && differs(None));
        assert!(!poller.differs(&id(2), &None), "one that is being looked at");
    }
}
