//! What one upstream model has to do for this process, and how soon it begins to answer.
//!
//! The latency is a peak-sensitive moving average, as Finagle and linkerd balance by: a sample above the estimate replaces
//! it at once, one below pulls it down slowly, and time alone lowers it too, so that an upstream that was slow is asked
//! again after a while. Together with the requests in flight it says what one more request would wait.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use crate::clock;

/// In which time an estimate falls to a third (1/e). An answer takes seconds, so that an upstream that is 40 times slower
/// is asked once in about four minutes beside one that is not.
const DECAY_TIME: Duration = Duration::from_secs(60);

/// What an upstream that has not answered yet is taken to need once it was asked. The first request costs nothing, so that
/// it is tried; further ones do, so that it does not get everything before it has shown what it can.
const ASSUMED_LATENCY: Duration = Duration::from_secs(1);

/// What a failure counts as at least: failing fast is not being fast.
const FAILURE_LATENCY: Duration = Duration::from_secs(5);

/// What one upstream model has to do.
#[derive(Debug, Default)]
pub struct Load {
    in_flight: AtomicU32,
    used: AtomicBool,
    latency: Mutex<Option<Latency>>,
}

/// The estimate as of a moment.
#[derive(Clone, Copy, Debug)]
struct Latency {
    seconds: f64,
    at: Instant,
}

/// A request under way; it ends when dropped.
#[derive(Debug)]
pub struct InFlight {
    load: Arc<Load>,
    began: Instant,
    answered: bool,
}

// === impl Load ===

impl Load {
    /// A request goes out.
    pub fn begin(self: &Arc<Self>, now: Instant) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.used.store(true, Ordering::Relaxed);
        InFlight { load: Arc::clone(self), began: now, answered: false }
    }

    /// Requests under way.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether it was ever asked.
    pub fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// From sending a request to the first content, as expected now; none if nothing is known of it.
    pub fn latency(&self, now: Instant) -> Option<Duration> {
        let latency = *self.estimate();
        latency.map(|latency| Duration::try_from_secs_f64(latency.decayed(now)).unwrap_or_default())
    }

    /// What one more request would wait, for comparison: the latency times all requests it would share the upstream with.
    pub fn cost(&self, now: Instant) -> f64 {
        let others = f64::from(self.in_flight());
        match *self.estimate() {
            Some(latency) => latency.decayed(now) * (others + 1.0),
            None => ASSUMED_LATENCY.as_secs_f64() * others,
        }
    }

    /// It failed on a request.
    pub fn failed(&self, now: Instant) {
        self.at_least(FAILURE_LATENCY, now);
    }

    fn sample(&self, took: Duration, now: Instant) {
        let mut latency = self.estimate();
        let took = took.as_secs_f64();
        let seconds = match *latency {
            Some(before) if took < before.decayed(now) => before.moved(took, now),
            _ => took,
        };
        *latency = Some(Latency { seconds, at: now });
    }

    /// A request took so long without an answer. That says something only if it is more than was expected.
    fn at_least(&self, took: Duration, now: Instant) {
        let mut latency = self.estimate();
        let took = took.as_secs_f64();
        if latency.is_none_or(|before| took > before.decayed(now)) {
            *latency = Some(Latency { seconds: took, at: now });
        }
    }

    fn estimate(&self) -> MutexGuard<'_, Option<Latency>> {
        self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Latency ===

impl Latency {
    fn decayed(self, now: Instant) -> f64 {
        self.seconds * self.weight(now)
    }

    /// A lower sample pulls the estimate down by the more, the longer ago the last one is.
    fn moved(self, took: f64, now: Instant) -> f64 {
        let weight = self.weight(now);
        self.seconds * weight + took * (1.0 - weight)
    }

    fn weight(self, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.at);
        (-since.as_secs_f64() / DECAY_TIME.as_secs_f64()).exp()
    }
}

// === impl InFlight ===

impl InFlight {
    /// Its first content has come.
    pub fn answered(&mut self, now: Instant) {
        self.answered = true;
        self.load.sample(now.saturating_duration_since(self.began), now);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.load.in_flight.fetch_sub(1, Ordering::Relaxed);
        if !self.answered {
            let now = clock::mono();
            self.load.at_least(now.saturating_duration_since(self.began), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(load: &Arc<Load>, began: Instant, took: Duration) {
        load.begin(began).answered(began + took);
    }

    #[test]
    fn latency_peak_raises_at_once_and_decays_slowly() {
        let (load, start) = (Arc::new(Load::default()), Instant::now());
        let millis = |at: Instant| load.latency(at).map(|latency| latency.as_millis());
        assert_eq!(millis(start), None);
        answers(&load, start, Duration::from_millis(100));
        let later = start + Duration::from_millis(100);
        assert_eq!(millis(later), Some(100));
        answers(&load, later, Duration::from_secs(4));
        let later = later + Duration::from_secs(4);
        assert_eq!(millis(later), Some(4_000));
        answers(&load, later, Duration::from_millis(100));
        assert!(millis(later + Duration::from_millis(100)) > Some(3_900), "one fast answer proves little");
        assert!(millis(later + DECAY_TIME) < Some(1_500));
        assert!(load.is_used());
    }

    #[test]
    fn requests_in_flight_count_until_they_are_dropped() {
        let (load, now) = (Arc::new(Load::default()), Instant::now());
        assert!(load.cost(now) <= 0.0, "what is not known is tried");
        answers(&load, now, Duration::from_secs(1));
        let idle = load.cost(now);
        let held = [load.begin(now), load.begin(now)];
        assert_eq!(load.in_flight(), 2);
        assert!(load.cost(now) > idle * 2.9);
        drop(held);
        assert_eq!(load.in_flight(), 0);
    }

    #[test]
    fn fast_failure_counts_as_slow() {
        let (load, now) = (Arc::new(Load::default()), Instant::now());
        load.failed(now);
        assert_eq!(load.latency(now), Some(FAILURE_LATENCY));
        answers(&load, now, FAILURE_LATENCY * 2);
        load.failed(now + FAILURE_LATENCY * 2);
        assert_eq!(load.latency(now + FAILURE_LATENCY * 2), Some(FAILURE_LATENCY * 2), "a failure makes nobody faster");
    }

    #[test]
    fn unanswered_request_only_raises_the_latency() {
        let (load, now) = (Arc::new(Load::default()), Instant::now());
        answers(&load, now, Duration::from_secs(3));
        drop(load.begin(now));
        assert!(load.latency(now + Duration::from_secs(3)) >= Some(Duration::from_secs(3)));
    }
}
