//! Every line of `golden/v1` was sent by some version, and the current code must read it: `operator.jsonl` and
//! `data-plane.jsonl` contain the frames, `resources.jsonl` the resources as each version that changed them sent them.
//!
//! Add lines when a frame or a resource gets something new; never change or remove any: old data planes and new operators
//! meet during every rollout, and the reverse.
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
        Ok(Line::Unknown(name)) => panic!("{name} is no longer known: {line}"),
        Err(error) => panic!("{error}: {line}"),
    };
    lines.lines().map(frame).collect()
}

/// Does not compile when a frame is added, which then needs an entry in `NAMES` and a golden line.
fn operator_name(frame: &FromOperator) -> &'static str {
    match frame {
        FromOperator::Begin { .. } => "begin",
        FromOperator::Put { .. } => "put",
        FromOperator::Del { .. } => "del",
        FromOperator::Commit { .. } => "commit",
        FromOperator::Fleet { .. } => "fleet",
        FromOperator::ResponseIdKeys { .. } => "responseIdKeys",
        FromOperator::ServiceAccountIssuer(_) => "serviceAccountIssuer",
        FromOperator::List {} => "list",
        FromOperator::Ping {} => "ping",
    }
}

fn data_plane_name(frame: &FromDataPlane) -> &'static str {
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
fn every_frame_is_recorded_and_serializes_as_recorded() {
    let sent = read::<FromOperator>(OPERATOR);
    for (line, frame) in &sent {
        assert_eq!(serde_json::to_string(frame).unwrap(), *line);
    }
    let names: BTreeSet<_> = sent.iter().map(|(_, frame)| operator_name(frame)).collect();
    assert_eq!(names, FromOperator::NAMES.iter().copied().collect());

    let received = read::<FromDataPlane>(DATA_PLANE);
    for (line, frame) in &received {
        assert_eq!(serde_json::to_string(frame).unwrap(), *line);
    }
    let names: BTreeSet<_> = received.iter().map(|(_, frame)| data_plane_name(frame)).collect();
    assert_eq!(names, FromDataPlane::NAMES.iter().copied().collect());
}

#[test]
fn every_recorded_resource_decodes() {
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
fn frames_and_members_of_newer_versions_are_skipped() {
    for line in [r#"{"weather":{"rain":true}}"#, r#"{"weather":null}"#, r#"{"Ping":{}}"#] {
        assert!(matches!(frame::read::<FromOperator>(line.as_bytes()), Ok(Line::Unknown(_))), "{line}");
        assert!(matches!(frame::read::<FromDataPlane>(line.as_bytes()), Ok(Line::Unknown(_))), "{line}");
    }
    let more = r#"{"commit":{"revision":"a81b3c0de4f50617","signature":"x"}}"#;
    assert!(matches!(frame::read(more.as_bytes()), Ok(Line::Frame(FromOperator::Commit { .. }))));
}

#[test]
fn malformed_lines_are_errors() {
    for line in ["", "7", "[]", "{}", r#"{"ping":{},"pong":{}}"#, r#"{"weather":{}"#, "\u{feff}{}"] {
        assert!(frame::read::<FromOperator>(line.as_bytes()).is_err(), "{line}");
        assert!(frame::read::<FromDataPlane>(line.as_bytes()).is_err(), "{line}");
    }
    assert!(frame::read::<FromOperator>(br#"{"commit":7}"#).is_err());
    assert!(frame::read::<FromDataPlane>(br#"{"ack":7}"#).is_err());
}
