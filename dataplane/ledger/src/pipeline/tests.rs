use std::{
    collections::BTreeMap,
    sync::atomic::AtomicU64,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::*;
use crate::{
    entry::{Entry, tests::request},
    sink::{SinkError, Sunk},
};

/// A record with this id.
struct Record(u64);

impl Recordable for Record {
    fn size(&self) -> usize {
        100
    }

    fn entry(&self) -> Entry {
        Entry::Request(request(&self.0.to_string()))
    }
}

/// Counts how often each id was committed; can be told to fail, or to fail after committing.
#[derive(Clone, Default)]
struct Counted(Arc<Inner>);

#[derive(Default)]
struct Inner {
    seen: Mutex<BTreeMap<String, u64>>,
    gaps: Mutex<Vec<(GapReason, Option<u64>)>>,
    fails: AtomicBool,
    fails_after: AtomicBool,
    attempts: AtomicU64,
}

impl Sink for Counted {
    fn commit(&mut self, entries: &[Sunk]) -> Result<(), SinkError> {
        self.0.attempts.fetch_add(1, Ordering::Relaxed);
        if self.0.fails.load(Ordering::Relaxed) {
            return Err(SinkError("away".into()));
        }
        for entry in entries {
            match entry {
                Sunk::Entry(Entry::Request(request)) => {
                    *self.0.seen.lock().unwrap().entry(request.id.clone()).or_default() += 1;
                }
                Sunk::Entry(Entry::Gap(gap)) => self.0.gaps.lock().unwrap().push((gap.reason, gap.lost)),
                Sunk::Unread { .. } => panic!("unread"),
            }
        }
        if self.0.fails_after.swap(false, Ordering::Relaxed) {
            return Err(SinkError("committed, and did not say so".into()));
        }
        Ok(())
    }

    fn maintain(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

impl Counted {
    fn count(&self) -> usize {
        self.0.seen.lock().unwrap().len()
    }

    fn lost(&self) -> u64 {
        self.0.gaps.lock().unwrap().iter().filter_map(|(_, lost)| *lost).sum()
    }
}

fn open(directory: &TempDir, sink: &Counted, bytes: u64, on_full: OnFull) -> Ledger<Record> {
    let limits = SpoolLimits { bytes, segment_bytes: 16 * 1024 };
    Ledger::open(Settings { spool: directory.path().join("spool"), limits, on_full, sink: Box::new(sink.clone()) })
        .unwrap()
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

const ROOM: u64 = 64 << 20;

#[test]
fn everything_pushed_is_committed_once_when_the_ledger_is_closed() {
    let (directory, sink) = (tempfile::tempdir().unwrap(), Counted::default());
    let ledger = open(&directory, &sink, ROOM, OnFull::DropAndCount);
    (0..3_000).for_each(|id| ledger.push(Record(id)));
    until("all are committed", || sink.count() == 3_000);
    drop(ledger);
    assert!(sink.0.seen.lock().unwrap().values().all(|count| *count == 1));
    assert_eq!(sink.lost(), 0);
    // It was closed: no gap is found.
    drop(open(&directory, &sink, ROOM, OnFull::DropAndCount));
    assert_eq!(*sink.0.gaps.lock().unwrap(), []);
}

#[test]
fn sink_that_is_away_gets_everything_later_even_after_a_restart() {
    let (directory, sink) = (tempfile::tempdir().unwrap(), Counted::default());
    sink.0.fails.store(true, Ordering::Relaxed);
    let ledger = open(&directory, &sink, ROOM, OnFull::DropAndCount);
    (0..100).for_each(|id| ledger.push(Record(id)));
    until("the sink is tried", || sink.0.attempts.load(Ordering::Relaxed) > 1);
    assert_eq!(ledger.metrics().written.get(), 100);
    drop(ledger);
    assert_eq!(sink.count(), 0);
    sink.0.fails.store(false, Ordering::Relaxed);
    sink.0.fails_after.store(true, Ordering::Relaxed);
    let ledger = open(&directory, &sink, ROOM, OnFull::DropAndCount);
    until("all are committed", || sink.count() == 100 && ledger.metrics().waiting.get() == 0);
    // The sink of a test counts; a real one takes each id once.
    assert!(sink.0.seen.lock().unwrap().values().any(|count| *count == 2), "given again, as nothing was said");
    drop(ledger);
    assert_eq!(*sink.0.gaps.lock().unwrap(), []);
}

#[test]
fn full_spool_drops_and_says_how_many() {
    let (directory, sink) = (tempfile::tempdir().unwrap(), Counted::default());
    sink.0.fails.store(true, Ordering::Relaxed);
    let ledger = open(&directory, &sink, 50_000, OnFull::DropAndCount);
    (0..1_000).for_each(|id| ledger.push(Record(id)));
    let dropped = || ledger.metrics().dropped(GapReason::SpoolFull).get();
    until("all are written or dropped", || ledger.metrics().written.get() + dropped() == 1_000);
    assert!(dropped() > 500 && !ledger.is_refusing());
    sink.0.fails.store(false, Ordering::Relaxed);
    until("the gap is entered", || sink.lost() > 0);
    let dropped = dropped();
    until("the rest is there", || sink.count() as u64 + dropped == 1_000);
    drop(ledger);
    assert_eq!(sink.lost(), dropped);
    assert_eq!(sink.0.gaps.lock().unwrap()[0].0, GapReason::SpoolFull);
}

#[test]
fn requests_are_refused_before_the_spool_is_full_and_taken_again() {
    let (directory, sink) = (tempfile::tempdir().unwrap(), Counted::default());
    sink.0.fails.store(true, Ordering::Relaxed);
    let ledger = open(&directory, &sink, 50_000, OnFull::Reject);
    let mut pushed = 0;
    while !ledger.is_refusing() {
        ledger.push(Record(pushed));
        pushed += 1;
        until("it is written", || ledger.metrics().written.get() == pushed);
    }
    assert_eq!(ledger.metrics().dropped(GapReason::SpoolFull).get(), 0, "there is room for requests in flight");
    sink.0.fails.store(false, Ordering::Relaxed);
    until("there is room again", || !ledger.is_refusing());
    drop(ledger);
    assert_eq!(sink.count() as u64, pushed);
}

#[test]
fn what_a_killed_process_left_is_committed_by_the_next_one_with_a_gap() {
    let (directory, sink) = (tempfile::tempdir().unwrap(), Counted::default());
    let slots = Slots::new(directory.path().join("spool"));
    let mut spools = Vec::new();
    for slot in 0..2_u64 {
        let (mut spool, _) = slots.open(SpoolLimits::default()).unwrap();
        for id in 0..10 {
            spool.append(&Record(slot * 10 + id).entry().to_json().unwrap()).unwrap();
        }
        spools.push(spool);
    }
    // Killed: neither synced nor closed.
    drop(spools);
    let ledger = open(&directory, &sink, ROOM, OnFull::DropAndCount);
    until("both are committed", || sink.count() == 20);
    drop(ledger);
    assert_eq!(*sink.0.gaps.lock().unwrap(), [(GapReason::UncleanStop, None); 2]);
}
