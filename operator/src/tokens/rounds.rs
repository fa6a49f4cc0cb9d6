//! Notices that somebody deleted, labelled or changed a token's Secret.
//!
//! The operator may not watch Secrets in apps' namespaces, since that would be a right to read all of them. So it asks for
//! one after the other, and for metadata alone: the API server answers that out of its cache. What is not the version
//! that was read last is looked at again in full. Pure; who asks is `tokens`.

use std::{collections::BTreeMap, ops::Bound, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use routeapi_channel::ObjectId;
use tokio::time::{self, Instant};

/// The shortest time between two questions: 20 a second, however many tokens there are.
const SHORTEST: Duration = Duration::from_millis(50);

/// Which version of a Secret there is; none if there is no Secret.
pub type Version = Option<(String, String)>;

/// The Secrets that are asked for, and what they were when they were read.
#[derive(Debug)]
pub struct Rounds {
    every: Duration,
    known: BTreeMap<ObjectId, Version>,
    last: Option<ObjectId>,
}

/// Of the metadata of a Secret.
pub fn version(metadata: &ObjectMeta) -> Version {
    Some((metadata.uid.clone()?, metadata.resource_version.clone()?))
}

// === impl Rounds ===

impl Rounds {
    /// Each Secret is asked for this often, less often if they are too many; zero: never.
    pub fn new(every: Duration) -> Self {
        Self { every, known: BTreeMap::new(), last: None }
    }

    /// A token's Secret was read or written.
    pub fn saw(&mut self, token: ObjectId, version: Version) {
        self.known.insert(token, version);
    }

    /// A token is gone, or will be looked at soon anyway.
    pub fn forget(&mut self, token: &ObjectId) {
        self.known.remove(token);
    }

    /// The time from one question to the next; none if there is nothing to ask.
    pub fn pace(&self) -> Option<Duration> {
        let tokens = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
        let even = self.every.checked_div(tokens)?;
        (!self.every.is_zero()).then_some(even.max(SHORTEST))
    }

    /// Waits for the next question, if the last one was asked at this time; for ever if there is nothing to ask.
    pub async fn turn(&self, asked: Instant) {
        match self.pace() {
            Some(pace) => time::sleep_until(asked + pace).await,
            None => std::future::pending().await,
        }
    }

    /// The token whose Secret is asked for next.
    pub fn next(&mut self) -> Option<ObjectId> {
        let after = self.last.take().map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.known.range((after, Bound::Unbounded)).chain(&self.known).next().map(|(id, _)| id.clone());
        self.last.clone_from(&next);
        next
    }

    /// Whether a Secret is not what it was when it was read.
    pub fn differs(&self, token: &ObjectId, found: &Version) -> bool {
        self.known.get(token).is_some_and(|known| known != found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(5);

    fn id(number: usize) -> ObjectId {
        ObjectId::new("shop", format!("{number:05}"))
    }

    fn of(tokens: usize) -> Rounds {
        let mut rounds = Rounds::new(EVERY);
        (0..tokens).for_each(|number| rounds.saw(id(number), None));
        rounds
    }

    #[test]
    fn every_token_gets_its_turn_whoever_comes_and_goes() {
        let mut rounds = of(3);
        let mut turns = |count| (0..count).map(|_| rounds.next().unwrap()).collect::<Vec<_>>();
        assert_eq!(turns(4), [id(0), id(1), id(2), id(0)]);
        rounds.forget(&id(0));
        rounds.saw(id(7), None);
        let next: Vec<_> = (0..4).map(|_| rounds.next().unwrap()).collect();
        assert_eq!(next, [id(1), id(2), id(7), id(1)]);
        assert_eq!(of(0).next(), None);
    }

    #[test]
    fn questions_are_even_and_at_most_twenty_a_second() {
        let pace = |tokens| of(tokens).pace().map(|it| it.as_millis());
        assert_eq!(
            [pace(0), pace(1), pace(10), pace(100), pace(10_000)],
            [None, Some(5000), Some(500), Some(50), Some(50)]
        );
        let mut off = Rounds::new(Duration::ZERO);
        off.saw(id(0), None);
        assert_eq!(off.pace(), None);
    }

    #[test]
    fn another_version_or_another_secret_or_none_is_told_apart() {
        let version = |uid: &str, version: &str| Some((uid.to_owned(), version.to_owned()));
        let mut rounds = Rounds::new(EVERY);
        rounds.saw(id(1), version("u", "5"));
        let differs = |found| rounds.differs(&id(1), &found);
        assert!(!differs(version("u", "5")));
        assert!(differs(version("u", "6")) && differs(version("v", "5")) && differs(None));
        assert!(!rounds.differs(&id(2), &None), "one that is being looked at");
    }
}
