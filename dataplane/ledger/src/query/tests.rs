use std::time::Duration;

use routeapi_metering::Outcome;

use super::*;
use crate::{
    entry::{Attempt, Entry, Gap, Request, Tokens, tests::request},
    sink::{Sink, Sunk},
    sqlite::SqliteSink,
};

const HOUR: i64 = 3_600_000;
/// The beginning of an hour, and of no day.
const BASE: i64 = 1_700_000_000_000 / HOUR * HOUR;

/// A ledger with these.
fn ledger(entries: Vec<Entry>) -> (tempfile::TempDir, Reader) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("usage.sqlite");
    let mut sink = SqliteSink::open(&path, Duration::from_secs(1)).unwrap();
    let entries: Vec<_> = entries.into_iter().map(Sunk::Entry).collect();
    sink.commit(&entries).unwrap();
    let reader = Reader::open(&path).unwrap();
    (directory, reader)
}

fn at(id: &str, time_unix_ms: i64) -> Request {
    Request { time_unix_ms, ..request(id) }
}

fn keys(reader: &Reader, since: i64, by: By) -> Vec<(String, u64, u64)> {
    let sums = reader.usage(since, by).unwrap();
    sums.into_iter().map(|sums| (sums.key, sums.requests, sums.input_tokens)).collect()
}

#[test]
fn sums_begin_at_the_minute_that_is_asked_for() {
    let times = [0, 10, 59, 60, 119, 120].map(|minute| BASE + minute * 60_000);
    let entries = times.iter().enumerate().map(|(id, time)| Entry::Request(at(&id.to_string(), *time))).collect();
    let (_directory, reader) = ledger(entries);
    for (since, expected) in [(0, 6), (1, 5), (10, 5), (11, 4), (60, 3), (61, 2), (120, 1)] {
        let sums = keys(&reader, BASE + since * 60_000, By::Token);
        assert_eq!(sums, [("apps/chat".to_owned(), expected, expected * 30)], "since minute {since}");
    }
    assert_eq!(keys(&reader, BASE + 121 * 60_000, By::Token), []);
}

#[test]
fn attempts_count_where_they_were_made_and_requests_once() {
    let mut fallback = at("a", BASE + 60_000);
    let used = Tokens { input: Some(7), output: Some(1), ..Tokens::default() };
    let first = Attempt {
        upstream: "first".to_owned(),
        error: Some("truncated".to_owned()),
        tokens: used,
        cost_nano: 5,
        ..fallback.attempts[0].clone()
    };
    fallback.attempts.insert(0, first);
    fallback.tokens.add(used);
    fallback.cost_nano += 5;
    let (_directory, reader) = ledger(vec![Entry::Request(fallback)]);
    // From the hour's sums, and from single requests.
    for since in [BASE, BASE + 1] {
        let upstreams = [("ai/p up".to_owned(), 1, 30), ("ai/p first".to_owned(), 0, 7)];
        assert_eq!(keys(&reader, since, By::Upstream), upstreams);
        for (by, key) in [(By::Team, "apps"), (By::Model, "gpt"), (By::Day, "2023-11-14")] {
            assert_eq!(keys(&reader, since, by), [(key.to_owned(), 1, 37)]);
        }
        let sums = &reader.usage(since, By::Token).unwrap()[0];
        assert_eq!((sums.attempts, sums.failed, sums.cost_nano, sums.output_tokens), (2, 0, 705, 13));
    }
}

#[test]
fn refused_requests_are_failures_and_their_models_make_no_groups() {
    let refused = |id: &str, model: &str| {
        Entry::Request(Request {
            outcome: Outcome::LimitStopped,
            status: 401,
            token: None,
            namespace: None,
            route: None,
            model: Some(model.to_owned()),
            served: None,
            tokens: Tokens::default(),
            cost_nano: 0,
            attempts: Vec::new(),
            ..at(id, BASE + 5)
        })
    };
    let (_directory, reader) = ledger(vec![refused("a", "made up"), refused("b", "made up too")]);
    for since in [BASE, BASE + 1] {
        assert_eq!(keys(&reader, since, By::Model), [(String::new(), 2, 0)]);
        assert_eq!(reader.usage(since, By::Token).unwrap()[0].failed, 2);
    }
}

#[test]
fn gaps_are_told_by_reason() {
    let gap = |id: &str, reason, lost| {
        Entry::Gap(Gap {
            id: id.to_owned(),
            time_unix_ms: BASE,
            reason,
            lost,
            from_sequence: None,
            to_sequence: None,
            bytes: 0,
        })
    };
    let (_directory, reader) = ledger(vec![
        gap("a", GapReason::SpoolFull, Some(3)),
        gap("b", GapReason::SpoolFull, Some(4)),
        gap("c", GapReason::UncleanStop, None),
    ]);
    let told = reader.gaps(BASE).unwrap();
    let told: Vec<_> =
        told.iter().map(|gaps| (&*gaps.reason, gaps.count, gaps.lost, gaps.at_least, gaps.is_certain())).collect();
    assert_eq!(told, [("spool_full", 2, 7, false, true), ("unclean_stop", 1, 0, true, false)]);
    assert_eq!(reader.gaps(BASE + 1).unwrap(), []);
}
