//! How this operator writes: by whom, and how often.
//!
//! Statuses are applied server-side with our own field managers, one per writing task, and name the uid that they are
//! about, so that an object which was made anew in between is not given the status of its predecessor.

use std::{collections::BTreeMap, time::Duration};

use routeapi_channel::Key;
use tokio::time::Instant;

/// Of conditions, and of everything that is not a status.
pub const FIELD_MANAGER: &str = "routeapi-operator";

/// Of the keys in an ApiToken's status.
pub const KEYS_MANAGER: &str = "routeapi-operator-keys";

/// Writes of one object: this many at once, then one per [`OBJECT_INTERVAL`].
const OBJECT_BURST: u32 = 4;
const OBJECT_INTERVAL: Duration = Duration::from_secs(5);

/// Writes in all: this many at once, then 20 per second.
const BURST: u32 = 40;
const INTERVAL: Duration = Duration::from_millis(50);

/// What writes that can wait leave of [`BURST`] to those that cannot.
const RESERVE: u32 = BURST / 2;

/// Keeps a storm of changes from becoming a storm of writes. Time comes in from outside.
#[derive(Debug)]
pub struct Pace {
    all: Bucket,
    objects: BTreeMap<Key, Bucket>,
}

/// Whether a write can wait for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Somebody waits for it.
    News,
    /// It is nice to have.
    Numbers,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: u32,
    counted: Instant,
}

impl Pace {
    /// Nothing written yet.
    pub fn new(now: Instant) -> Self {
        Self { all: Bucket { tokens: BURST, counted: now }, objects: BTreeMap::new() }
    }

    /// Takes leave to write an object now; else how long to wait.
    ///
    /// # Errors
    /// The time until it may be written.
    pub fn admit(&mut self, key: &Key, urgency: Urgency, now: Instant) -> Result<(), Duration> {
        let mut object = *self.objects.entry(key.clone()).or_insert(Bucket { tokens: OBJECT_BURST, counted: now });
        object.take(OBJECT_BURST, OBJECT_INTERVAL, 0, now)?;
        let reserve = if urgency == Urgency::News { 0 } else { RESERVE };
        self.all.take(BURST, INTERVAL, reserve, now)?;
        self.objects.insert(key.clone(), object);
        Ok(())
    }

    /// Forgets objects that are gone.
    pub fn retain(&mut self, keep: impl Fn(&Key) -> bool) {
        self.objects.retain(|key, _| keep(key));
    }
}

impl Bucket {
    /// Takes one, if more than the reserve are left.
    fn take(&mut self, burst: u32, interval: Duration, reserve: u32, now: Instant) -> Result<(), Duration> {
        let elapsed = now.duration_since(self.counted);
        let gained = u32::try_from(elapsed.as_millis() / interval.as_millis().max(1)).unwrap_or(u32::MAX);
        if self.tokens.saturating_add(gained) >= burst {
            (self.tokens, self.counted) = (burst, now);
        } else {
            self.tokens += gained;
            self.counted += interval * gained;
        }
        if self.tokens > reserve {
            self.tokens -= 1;
            return Ok(());
        }
        let wanting = reserve + 1 - self.tokens;
        Err((interval * wanting).saturating_sub(now.duration_since(self.counted)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Urgency::{News, Numbers};
    use routeapi_channel::{Kind, ObjectId};

    fn key(name: &str) -> Key {
        Key { kind: Kind::Route, id: ObjectId::new("ai", name) }
    }

    #[tokio::test]
    async fn one_object_may_be_written_a_few_times_and_then_every_five_seconds() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for _ in 0..OBJECT_BURST {
            assert_eq!(pace.admit(&key("a"), News, start), Ok(()));
        }
        assert_eq!(pace.admit(&key("a"), News, start), Err(OBJECT_INTERVAL));
        assert_eq!(pace.admit(&key("b"), News, start), Ok(()), "others are not held up");
        let later = start + Duration::from_secs(3);
        assert_eq!(pace.admit(&key("a"), News, later), Err(Duration::from_secs(2)));
        assert_eq!(pace.admit(&key("a"), News, start + OBJECT_INTERVAL), Ok(()));
        assert!(pace.admit(&key("a"), News, start + OBJECT_INTERVAL).is_err());
    }

    #[tokio::test]
    async fn a_thousand_objects_are_written_at_twenty_per_second() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let written =
            |pace: &mut Pace, now| (0..1000).filter(|at| pace.admit(&key(&at.to_string()), News, now).is_ok()).count();
        assert_eq!(written(&mut pace, start), 40);
        assert_eq!(written(&mut pace, start + Duration::from_secs(1)), 20);
    }
    #[tokio::test]
    async fn numbers_of_a_thousand_objects_leave_room_for_news() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let mut written = |ids: std::ops::Range<u32>, urgency, now| {
            ids.filter(|at| pace.admit(&key(&at.to_string()), urgency, now).is_ok()).count()
        };
        assert_eq!(written(0..1000, Numbers, start), 20);
        assert_eq!(written(1000..1010, News, start), 10, "at once");
        let later = start + Duration::from_secs(1);
        assert_eq!(written(0..1000, Numbers, later), 10, "what news took is saved up again first");
        let later = later + Duration::from_secs(1);
        assert_eq!(written(0..1000, Numbers, later), 20);
        assert_eq!(pace.admit(&key("last"), Numbers, later), Err(INTERVAL));
    }
}
