use routeapi_channel::{Kind, ObjectId};
use serde_json::value::RawValue;

use super::*;

fn catalog(names: &[&str]) -> Catalog {
    let mut catalog = Catalog::default();
    for name in names {
        let body = RawValue::from_string(format!("{{\"name\":{name:?}}}")).unwrap();
        catalog.insert(key(name), Entry::new(body.into()));
    }
    catalog
}

fn key(name: &str) -> Key {
    Key { kind: Kind::Token, id: ObjectId::new("a", name) }
}

fn floor(version: u64) -> Floor {
    Floor::from([("apitokens".to_owned(), version)])
}

fn frames(base: Option<&Catalog>, target: &Catalog, floor: Floor) -> Vec<FromOperator> {
    let begin = FromOperator::Begin {
        revision: target.revision(),
        base: base.map(Catalog::revision),
        count: target.len(),
        floor,
    };
    let puts = target.iter().map(|(key, entry)| FromOperator::Put {
        t: key.kind,
        id: key.id.clone(),
        v: entry.version.clone(),
        body: Arc::clone(&entry.body),
    });
    let commit = FromOperator::Commit { revision: target.revision() };
    std::iter::once(begin).chain(puts).chain([commit]).collect()
}

fn feed(session: &mut Session, frames: Vec<FromOperator>, now: Instant) -> Result<Effect, ProtocolError> {
    let mut last = Effect::None;
    for frame in frames {
        last = session.receive(frame, now)?;
    }
    Ok(last)
}

fn install(session: &mut Session, effect: Effect, refused: Vec<Unreadable>) -> FromDataPlane {
    let Effect::Install(target) = effect else { panic!("{effect:?}") };
    let in_force = Arc::clone(&target.catalog);
    session.installed(target, in_force, refused)
}

fn holding(names: &[&str], version: u64, now: Instant) -> Session {
    let mut session = Session::default();
    let effect = feed(&mut session, frames(None, &catalog(names), floor(version)), now).unwrap();
    assert!(matches!(install(&mut session, effect, Vec::new()), FromDataPlane::Ack { .. }));
    session
}

#[test]
fn a_state_below_the_floor_is_taken_when_its_patience_is_over_and_not_before() {
    let start = Instant::now();
    let mut session = holding(&["a"], 5, start);
    let stale = catalog(&["a", "revoked"]);
    let effect = feed(&mut session, frames(None, &stale, floor(4)), start).unwrap();
    assert!(matches!(effect, Effect::Deferred(at) if at == start + PATIENCE));
    assert!(session.due(start + PATIENCE - Duration::from_millis(1)).is_none());
    let target = session.due(start + PATIENCE).unwrap();
    assert_eq!(target.revision, stale.revision());
    install(&mut session, Effect::Install(target), Vec::new());
    assert_eq!(session.floor(), &floor(4));
    assert!(session.deadline().is_none());
}

#[test]
fn reconnecting_does_not_start_the_patience_anew() {
    let start = Instant::now();
    let mut session = holding(&["a"], 5, start);
    let stale = catalog(&["b"]);
    feed(&mut session, frames(None, &stale, floor(4)), start).unwrap();
    session.hello("pod", "boot");
    assert!(session.deadline().is_none(), "what was told on the old connection waits no more");
    let later = start + PATIENCE;
    assert!(matches!(feed(&mut session, frames(None, &stale, floor(4)), later).unwrap(), Effect::Install(_)));
}

#[test]
fn the_state_in_force_is_acknowledged_whatever_its_floor() {
    let start = Instant::now();
    let mut session = holding(&["a"], 5, start);
    let effect = feed(&mut session, frames(None, &catalog(&["a"]), floor(4)), start).unwrap();
    assert!(matches!(effect, Effect::Install(_)));
}

#[test]
fn hello_names_what_is_in_force_not_what_was_told() {
    let start = Instant::now();
    let mut session = holding(&["a"], 1, start);
    let effect = feed(&mut session, frames(None, &catalog(&["a", "bad"]), floor(2)), start).unwrap();
    let Effect::Install(target) = effect else { panic!("{effect:?}") };
    let refused = vec![Unreadable { key: key("bad"), message: "no".to_owned() }];
    let answer = session.installed(target, Arc::new(catalog(&["a"])), refused);
    assert!(matches!(answer, FromDataPlane::Nack { errors, .. } if errors.len() == 1));
    let FromDataPlane::Hello(hello) = session.hello("pod", "boot") else { panic!("no hello") };
    assert_eq!(hello.revision, Some(catalog(&["a"]).revision()));
    assert_eq!(hello.held.iter().map(|it| &it.key).collect::<Vec<_>>(), [&key("a")]);
}

#[test]
fn frames_that_make_no_sense_end_the_connection() {
    let now = Instant::now();
    let target = catalog(&["a", "b"]);
    let good = || frames(None, &target, floor(1));
    let run = |frames| feed(&mut Session::default(), frames, now).unwrap_err();

    let mut lost = good();
    lost.remove(1);
    assert_eq!(run(lost), ProtocolError::Count { announced: 2, came: 1 });
    assert_eq!(run(good().split_off(1)), ProtocolError::Outside("put"));
    assert_eq!(run(good().split_off(3)), ProtocolError::Outside("commit"));
    let mut nested = good();
    nested.insert(1, nested[0].clone());
    assert_eq!(run(nested), ProtocolError::Nested);
    assert!(matches!(run(frames(Some(&catalog(&["c"])), &target, floor(1))), ProtocolError::Base(_)));
    let mut other = good();
    other[3] = FromOperator::Commit { revision: catalog(&["c"]).revision() };
    assert!(matches!(run(other), ProtocolError::Revision(..)));
    let wrong = FromOperator::Fleet { pods: 2, rank: 2 };
    assert_eq!(run(vec![wrong]), ProtocolError::Fleet { pods: 2, rank: 2 });
    assert!(feed(&mut Session::default(), good(), now).is_ok());
}
