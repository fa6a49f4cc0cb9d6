use rusqlite::params;
use tempfile::TempDir;

use super::*;
use crate::{
    entry::{Attempt, Entry, Gap, GapReason, Request, Tokens, tests::request},
    query::{By, Reader},
};

const DAY: Duration = Duration::from_secs(86_400);

fn open(directory: &TempDir) -> (SqliteSink, PathBuf) {
    let path = directory.path().join("state/usage.sqlite");
    (SqliteSink::open(&path, 90 * DAY).unwrap(), path)
}

fn sunk(request: Request) -> Sunk {
    Sunk::Entry(Entry::Request(request))
}

fn count(sink: &SqliteSink, table: &str) -> i64 {
    sink.connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[test]
fn request_is_read_back_as_it_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let (mut sink, path) = open(&directory);
    let mut written = request("r1");
    written.attempts.insert(
        0,
        Attempt { error: Some("timeout".to_owned()), status: None, price: None, ..written.attempts[0].clone() },
    );
    sink.commit(&[sunk(written.clone())]).unwrap();
    let reader = Reader::open(&path).unwrap();
    assert_eq!(reader.request("r1").unwrap(), Some(written));
    assert_eq!(reader.request("r2").unwrap(), None);
}

#[test]
fn entry_that_comes_again_counts_once() {
    let directory = tempfile::tempdir().unwrap();
    let (mut sink, path) = open(&directory);
    let gap = Gap {
        id: "g".to_owned(),
        time_unix_ms: 1_700_000_000_000,
        reason: GapReason::SpoolFull,
        lost: Some(3),
        from_sequence: None,
        to_sequence: None,
        bytes: 0,
    };
    let unread = Sunk::Unread { bytes: b"{}".to_vec(), why: "another version".to_owned() };
    let batch = [sunk(request("a")), sunk(request("b")), sunk(request("a")), Sunk::Entry(Entry::Gap(gap)), unread];
    for _ in 0..3 {
        sink.commit(&batch).unwrap();
    }
    let counts = ["requests", "attempts", "prices", "hourly", "gaps", "unread"].map(|table| count(&sink, table));
    assert_eq!(counts, [2, 2, 1, 1, 1, 1]);
    let sums = Reader::open(&path).unwrap().usage(0, By::Token).unwrap();
    assert_eq!((sums[0].requests, sums[0].input_tokens, sums[0].cost_nano), (2, 60, 1_400));
}

#[test]
fn several_gateways_write_to_one_ledger() {
    let directory = tempfile::tempdir().unwrap();
    let sinks: Vec<_> = (0..4).map(|_| open(&directory).0).collect();
    std::thread::scope(|scope| {
        for (writer, mut sink) in sinks.into_iter().enumerate() {
            scope.spawn(move || {
                for batch in 0..10 {
                    sink.commit(&[sunk(request(&format!("{writer}-{batch}"))), sunk(request("shared"))]).unwrap();
                }
            });
        }
    });
    assert_eq!(count(&open(&directory).0, "requests"), 41);
}

#[test]
fn hostile_texts_are_values() {
    let directory = tempfile::tempdir().unwrap();
    let (mut sink, path) = open(&directory);
    let hostile = "'; DROP TABLE requests; --\0\u{202e}";
    let written = Request { model: Some(hostile.to_owned()), ..request(hostile) };
    sink.commit(&[sunk(written.clone())]).unwrap();
    let reader = Reader::open(&path).unwrap();
    assert_eq!(reader.request(hostile).unwrap(), Some(written));
    assert_eq!(reader.usage(0, By::Model).unwrap()[0].key, hostile);
}

#[test]
fn absurd_numbers_saturate_and_add_up() {
    let directory = tempfile::tempdir().unwrap();
    let (mut sink, path) = open(&directory);
    let most = Tokens { input: Some(u64::MAX), output: Some(u64::MAX), ..Tokens::default() };
    for id in 0..20 {
        let mut absurd = request(&id.to_string());
        absurd.attempts[0].tokens = most;
        absurd.attempts[0].cost_nano = u64::MAX;
        sink.commit(&[sunk(Request { tokens: most, cost_nano: u64::MAX, duration_ms: u64::MAX, ..absurd })]).unwrap();
    }
    let sums = &Reader::open(&path).unwrap().usage(0, By::Token).unwrap()[0];
    assert_eq!((sums.requests, sums.input_tokens, sums.cost_nano), (20, 1 << 53, 1 << 53));
}

#[test]
fn old_requests_are_deleted_and_their_sums_stay() {
    let directory = tempfile::tempdir().unwrap();
    let (mut sink, path) = open(&directory);
    let old = clock::unix_ms() - i64::try_from((100 * DAY).as_millis()).unwrap();
    let batch: Vec<_> = (0..5_000).map(|id| sunk(Request { time_unix_ms: old, ..request(&id.to_string()) })).collect();
    sink.commit(&batch).unwrap();
    sink.commit(&[sunk(Request { time_unix_ms: clock::unix_ms(), ..request("new") })]).unwrap();
    sink.maintain().unwrap();
    assert_eq!((count(&sink, "requests"), count(&sink, "attempts")), (1, 1));
    let sums = Reader::open(&path).unwrap().usage(0, By::Token).unwrap();
    assert_eq!(sums[0].requests, 5_001);
}

#[test]
fn other_databases_and_newer_ledgers_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let foreign = directory.path().join("foreign.sqlite");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    assert!(matches!(SqliteSink::open(&foreign, DAY), Err(SqliteError::NotALedger)));
    let (sink, path) = open(&directory);
    sink.connection.pragma_update(None, "user_version", 9).unwrap();
    drop(sink);
    let error = SqliteSink::open(&path, DAY).unwrap_err().to_string();
    assert_eq!(error, "its tables have version 9; this program knows versions up to 1");
    assert!(matches!(Reader::open(&path), Err(SqliteError::Newer { .. })));
    let text = directory.path().join("text");
    std::fs::write(
        &text,
        "no database, but quite a long text, longer than a header of SQLite, which has 100 bytes of it",
    )
    .unwrap();
    assert!(matches!(SqliteSink::open(&text, DAY), Err(SqliteError::Sqlite(_))));
}

#[test]
fn ledger_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let (mut sink, path) = open(&directory);
    sink.commit(&[sunk(request("a"))]).unwrap();
    for file in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.file_name());
    }
}

#[test]
fn locked_ledger_fails_the_commit_and_stores_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (mut sink, path) = open(&directory);
    sink.connection.busy_timeout(Duration::from_millis(20)).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other.execute("INSERT INTO unread (entry, time_ms, why) VALUES (?1, 0, '')", params![b"x".as_slice()]).unwrap();
    assert!(sink.commit(&[sunk(request("a"))]).is_err());
    other.execute_batch("ROLLBACK").unwrap();
    sink.commit(&[sunk(request("a"))]).unwrap();
    assert_eq!((count(&sink, "requests"), count(&sink, "unread")), (1, 0));
}
