//! Every line of `golden/v1` was said by some version, and today's code reads it: `operator.jsonl` and `data-plane.jsonl`
//! have the frames, `resources.jsonl` has resources as each version that changed them sent them.
//!
//! Lines are added when a frame or a resource gets something new, and none is ever changed or taken out: old data planes
//! and new operators meet during every rollout, and the reverse.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::collections::BTreeSet;

use routeapi_channel::{
    Catalog, Entry, Key,
    frame::{self, Frame, FromDataPlane, FromOperator, Line},
};

const OPERATOR: &str = include_str!("../golden/v1/operator.jsonl");
const DATA_PLANE: &str = include_str!("../golden/v1/data-plane.jsonl");
const RESOURCES: &str = include_str!("../golden/v1/resources.jsonl");

fn read<F: Frame>(lines: &'static str) -> Vec<(&'static str, F)> {
    let frame = |line: &'static str| match frame::read(line.as_bytes()) {
        Ok(Line::Frame(frame)) => (line, frame),
        Ok(Line::Unknown(name)) => panic!("{name} is not known any more: {line}"),
        Err(error) => panic!("{error}: {line}"),
    };
    lines.lines().map(frame).collect()
}

/// A frame that is added to the enum has to be named here, and then in `NAMES` and in a golden line.
fn operators(frame: &FromOperator) -> &'static str {
    match frame {
        FromOperator::Begin { .. } => "begin",
        FromOperator::Put { .. } => "put",
        FromOperator::Del { .. } => "del",
        FromOperator::Commit { .. } => "commit",
        FromOperator::Fleet { .. } => "fleet",
        FromOperator::List {} => "list",
        FromOperator::Ping {} => "ping",
    }
}

fn data_planes(frame: &FromDataPlane) -> &'static str {
    match frame {
        FromDataPlane::Hello(_) => "hello",
        FromDataPlane::Ack { .. } => "ack",
        FromDataPlane::Nack { .. } => "nack",
        FromDataPlane::Held { .. } => "held",
        FromDataPlane::Credentials { .. } => "credentials",
        FromDataPlane::Pong {} => "pong",
    }
}

#[test]
fn every_frame_is_recorded_and_written_as_recorded() {
    let told = read::<FromOperator>(OPERATOR);
    for (line, frame) in &told {
        assert_eq!(serde_json::to_string(frame).unwrap(), *line);
    }
    let names: BTreeSet<_> = told.iter().map(|(_, frame)| operators(frame)).collect();
    assert_eq!(names, FromOperator::NAMES.iter().copied().collect());

    let said = read::<FromDataPlane>(DATA_PLANE);
    for (line, frame) in &said {
        assert_eq!(serde_json::to_string(frame).unwrap(), *line);
    }
    let names: BTreeSet<_> = said.iter().map(|(_, frame)| data_planes(frame)).collect();
    assert_eq!(names, FromDataPlane::NAMES.iter().copied().collect());
}

#[test]
fn every_resource_that_was_ever_sent_is_read() {
    let puts = read::<FromOperator>(RESOURCES);
    assert!(puts.len() > 100);
    for (line, frame) in puts {
        let FromOperator::Put { t, id, v, body } = frame else { panic!("not a resource: {line}") };
        let entry = Entry::new(body);
        assert_eq!(entry.version, v, "{line}");
        let mut catalog = Catalog::default();
        catalog.insert(Key { kind: t, id }, entry);
        let (_, unreadable) = catalog.decode();
        assert!(unreadable.is_empty(), "{unreadable:?}: {line}");
    }
}

#[test]
fn what_a_newer_side_says_too_much_is_passed_over() {
    for line in [r#"{"weather":{"rain":true}}"#, r#"{"weather":null}"#, r#"{"Ping":{}}"#] {
        assert!(matches!(frame::read::<FromOperator>(line.as_bytes()), Ok(Line::Unknown(_))), "{line}");
        assert!(matches!(frame::read::<FromDataPlane>(line.as_bytes()), Ok(Line::Unknown(_))), "{line}");
    }
    let more = r#"{"commit":{"revision":"a81b3c0de4f50617","signature":"x"}}"#;
    assert!(matches!(frame::read(more.as_bytes()), Ok(Line::Frame(FromOperator::Commit { .. }))));
}

#[test]
fn what_is_no_frame_is_an_error() {
    for line in ["", "7", "[]", "{}", r#"{"ping":{},"pong":{}}"#, r#"{"weather":{}"#, "\u{feff}{}"] {
        assert!(frame::read::<FromOperator>(line.as_bytes()).is_err(), "{line}");
        assert!(frame::read::<FromDataPlane>(line.as_bytes()).is_err(), "{line}");
    }
    assert!(frame::read::<FromOperator>(br#"{"commit":7}"#).is_err());
    assert!(frame::read::<FromDataPlane>(br#"{"ack":7}"#).is_err());
}
