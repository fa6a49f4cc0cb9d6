//! Which statuses are to be decided, so that a change of one object costs nothing for the others: objects of which something
//! changed, and those for which it is time. All of them when pods come or go. Time comes in from outside.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use routeapi_channel::{Key, shared_map::Difference};
use tokio::time::Instant;

use crate::{
    publish::Publication,
    push::ack::{AckSummary, Membership},
};

/// How often all statuses are decided at most: when many pods come, this is done for them together.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The statuses to decide.
#[derive(Debug, Default)]
pub struct Agenda {
    due: BTreeSet<Key>,
    times: BTreeSet<(Instant, Key)>,
    by_key: BTreeMap<Key, Instant>,
    seen: Option<Arc<Publication>>,
    membership: Option<Membership>,
    /// Resources that pods reject, and providers whose keys are rejected.
    rejected: BTreeSet<Key>,
    all_due: bool,
    swept: Option<Instant>,
}

// === impl Agenda ===

impl Agenda {
    /// Objects of which something is new.
    pub fn add(&mut self, keys: impl IntoIterator<Item = Key>) {
        self.due.extend(keys);
    }

    /// An object is due at this time, or earlier.
    pub fn at(&mut self, key: Key, at: Instant) {
        if self.by_key.get(&key).is_some_and(|known| *known <= at) {
            return;
        }
        if let Some(later) = self.by_key.insert(key.clone(), at) {
            self.times.remove(&(later, key.clone()));
        }
        self.times.insert((at, key));
    }

    /// Every object is due.
    pub fn all(&mut self) {
        self.all_due = true;
    }

    /// Objects that differ from the last publication are due.
    pub fn published(&mut self, next: &Arc<Publication>) {
        let Some(seen) = self.seen.replace(Arc::clone(next)) else { return self.all() };
        if Arc::ptr_eq(&seen, next) {
            return;
        }
        let due = &mut self.due;
        seen.verdicts.differences(&next.verdicts, |(Difference::Put(key, _) | Difference::Del(key))| {
            due.insert(key.clone());
        });
        seen.catalog.differences(&next.catalog, |(Difference::Put(key, _) | Difference::Del(key))| {
            due.insert(key.clone());
        });
        let differs = |key: &&Key| seen.excluded.get(*key) != next.excluded.get(*key);
        due.extend(seen.excluded.keys().chain(next.excluded.keys()).filter(differs).cloned());
    }

    /// Objects that pods reject or no longer reject are due; all if pods came or went. `waiting` are those that not every pod
    /// had so far.
    pub fn acknowledged<'a>(&mut self, summary: &AckSummary, waiting: impl Iterator<Item = &'a Key>) {
        let membership = summary.membership();
        if self.membership.as_ref() != Some(&membership) {
            self.membership = Some(membership);
            return self.all();
        }
        self.due.extend(waiting.cloned());
        let rejected = summary.rejected_resources();
        self.due.extend(rejected.union(&self.rejected).cloned());
        self.rejected = rejected;
    }

    /// The objects that are due now; none if all are.
    pub fn take(&mut self, now: Instant) -> Option<BTreeSet<Key>> {
        while let Some((at, _)) = self.times.first().filter(|(at, _)| *at <= now) {
            let first = (*at, self.times.first().map(|(_, key)| key.clone()));
            let (at, Some(key)) = first else { break };
            self.times.remove(&(at, key.clone()));
            self.by_key.remove(&key);
            self.due.insert(key);
        }
        let rested = self.swept.is_none_or(|swept| now.duration_since(swept) >= SWEEP_INTERVAL);
        if self.all_due && rested {
            (self.all_due, self.swept) = (false, Some(now));
            self.due.clear();
            return None;
        }
        Some(std::mem::take(&mut self.due))
    }

    /// The time until something is due.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        if !self.due.is_empty() {
            return Some(Duration::ZERO);
        }
        let sweep = self.swept.filter(|_| self.all_due).map(|swept| swept + SWEEP_INTERVAL);
        let first = self.times.first().map(|(at, _)| *at);
        sweep.into_iter().chain(first).min().map(|at| at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use routeapi_channel::{Kind, ObjectId};

    fn key(name: &str) -> Key {
        Key { kind: Kind::Token, id: ObjectId::new("shop", name) }
    }

    #[tokio::test]
    async fn the_earliest_time_counts_and_each_key_is_due_once() {
        let (mut agenda, start) = (Agenda::default(), Instant::now());
        let second = Duration::from_secs(1);
        agenda.at(key("a"), start + second * 3);
        agenda.at(key("a"), start + second);
        agenda.at(key("a"), start + second * 2);
        assert_eq!((agenda.wait(start), agenda.take(start)), (Some(second), Some(BTreeSet::new())));
        assert_eq!(agenda.take(start + second), Some([key("a")].into()));
        assert_eq!((agenda.wait(start), agenda.take(start + second * 9)), (None, Some(BTreeSet::new())));
        agenda.add([key("b")]);
        assert_eq!((agenda.wait(start), agenda.take(start)), (Some(Duration::ZERO), Some([key("b")].into())));
    }

    #[tokio::test]
    async fn only_what_differs_from_the_last_state_is_due_and_all_at_most_once_a_second() {
        let (mut agenda, start) = (Agenda::default(), Instant::now());
        let token = |models: &str| serde_json::from_value(serde_json::json!({"keys": [], "models": [models]})).unwrap();
        let mut snapshot = routeapi_channel::Snapshot::default();
        (0..200).for_each(|at| drop(snapshot.tokens.insert(key(&at.to_string()).id, token("*"))));
        let publish = |snapshot: &_| Arc::new(Publication::of_snapshot(snapshot).unwrap());
        agenda.published(&publish(&snapshot));
        assert_eq!(agenda.take(start), None, "all at first");
        snapshot.tokens.insert(key("7").id, token("gpt-4o"));
        snapshot.tokens.remove(&key("9").id);
        agenda.published(&publish(&snapshot));
        assert_eq!(agenda.take(start), Some([key("7"), key("9")].into()));

        let mut summary = AckSummary::default();
        summary.connected = 1;
        agenda.acknowledged(&summary, std::iter::empty());
        assert_eq!((agenda.take(start), agenda.wait(start)), (Some(BTreeSet::new()), Some(SWEEP_INTERVAL)));
        assert_eq!(agenda.take(start + SWEEP_INTERVAL), None);
    }
}
